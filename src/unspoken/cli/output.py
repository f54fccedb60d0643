"""How verbs print a line, and how the messages of the libraries they call are switched off."""

from __future__ import annotations

from unspoken.common.libraries import silence_libraries  # noqa: F401


def say(text: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(text, flush=True)
