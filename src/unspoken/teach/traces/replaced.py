"""Traces that --overwrite replaces: kept in OUTPUT.replaced/N until the new ones are whole."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unspoken.common.files import move
from unspoken.common.numbered import next_numbered, numbered
from unspoken.teach.traces.settings import settings_path, unanswered_path

logger = logging.getLogger(__name__)


@contextmanager
def keeping_replaced(output: Path) -> Iterator[None]:
    """Within the block, which may set traces aside, new ones are written; its process has the lock.

    Where it ends, by an error too, without a new trace, the old ones are back in their place.
    """
    _bring_back(output)  # what a kill left
    try:
        yield
    finally:
        _bring_back(output)
        if numbered(replaced_folder(output)):
            logger.warning(
                "%s: the traces that it replaces are kept in %s until it is whole",
                output, replaced_folder(output),
            )  # fmt: skip


def replaced_folder(output: Path) -> Path:
    """Where traces stand that are to be replaced."""
    return output.with_name(f"{output.name}.replaced")


def set_aside(output: Path) -> None:
    """Moves traces and what is beside them away; the settings last, for they are read first."""
    folder = next_numbered(replaced_folder(output))
    folder.mkdir(parents=True)
    for path in (output, unanswered_path(output), settings_path(output)):
        if path.exists():
            move(path, folder / path.name)


def drop_replaced(output: Path) -> None:
    """Removes what was set aside: the new traces are whole."""
    for folder in numbered(replaced_folder(output)).values():
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or files of a user's are in it
        replaced_folder(output).rmdir()


def _bring_back(output: Path) -> None:
    """Moves the newest traces back, where no new one and nothing that was charged is there."""
    folders = numbered(replaced_folder(output))
    if not folders or unanswered_path(output).exists() or _has_record(output):
        return
    newest = folders[max(folders)]
    for path in (settings_path(output), unanswered_path(output), output):
        if (newest / path.name).exists():
            (newest / path.name).replace(path)
    shutil.rmtree(newest, ignore_errors=True)
    if len(folders) == 1:
        drop_replaced(output)


def _has_record(output: Path) -> bool:
    """Whether a whole line is there."""
    if not output.exists():
        return False
    with output.open("rb") as file:
        return file.readline().endswith(b"\n")
