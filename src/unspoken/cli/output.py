"""How verbs print a line, and how the messages of the libraries they call are switched off."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from unspoken.common.libraries import silence_libraries, uncollected

#: How errors of encoding are handled, by the name that Python knows this way by.
_BYTES = "unspoken.bytes"


def say(text: str) -> None:
    """Prints a line at once, also into a pipe.

    Where nobody reads the pipe any more, as after `| head -1`, what goes on goes on without it.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        drop_output()
        print("nobody reads standard output any more: going on without it", file=sys.stderr)


def drop_output() -> None:
    """What was printed and cannot be written: Python would try it again at its end, and tell it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_output() -> None:
    """Gives standard output what it lacks: a place where it is closed, signs it cannot print.

    And standard input, whose bytes that are no signs reach the verb, which knows their line.

    A file that the command opens would else get the number of the closed one, and its text. In a
    locale that has ASCII alone it prints UTF-8, as Python itself does there unless it is told not
    to, and paths of any bytes as these bytes; an encoding that was asked for stays.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.errors == "strict":
        sys.stdin.reconfigure(errors="surrogateescape")
    codecs.register_error(_BYTES, _as_bytes)
    for file in (sys.stdout, sys.stderr):
        if not isinstance(file, io.TextIOWrapper):
            continue
        if codecs.lookup(file.encoding).name == "ascii" and "PYTHONIOENCODING" not in os.environ:
            file.reconfigure(encoding="utf-8", errors=_BYTES)
        elif file.errors == "strict":
            file.reconfigure(errors="replace")


def _as_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handles a sign that UTF-8 lacks: a byte of a path as it was, any other as its code."""
    if isinstance(error, UnicodeEncodeError):
        error.end = error.start + 1
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


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
