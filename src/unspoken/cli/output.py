"""How verbs print a line, and how the messages of the libraries they call are switched off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from unspoken.common.libraries import silence_libraries, uncollected


def say(text: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(text, flush=True)


def waiting(text: str) -> AbstractContextManager[object]:
    """Within the block, a terminal shows that something goes on; a file or pipe gets nothing.

    Nothing may be printed within it, and no bar shown.
    """
    from rich.console import Console

    return Console(stderr=True).status(text)


@contextmanager
def importing() -> Iterator[None]:
    """Within the block, torch and transformers are imported: told, and without their talk."""
    with waiting("importing torch and transformers"), uncollected():
        silence_libraries()
        yield
