"""The old/ of a run folder: what was set aside, for good or until it is replaced.

old/1, old/2, ... are kept. What --overwrite replaces stands in old/replaced-1, ... until what
comes in its place is done, so a setting that is refused costs nothing that was there.
"""

from __future__ import annotations

import os
from pathlib import Path

from unspoken.common.files import clean, move, remove
from unspoken.common.numbered import next_numbered, numbered
from unspoken.recipe.layout import OLD

_REPLACED = "replaced-"


class OldFolder:
    """The old/ of one run folder.

    Attributes:
        path: of it; it may not be there.
    """

    def __init__(self, run: Path, *, replace: bool) -> None:
        """Of the run folder `run`; `replace`: what is set aside goes once another is done."""
        self.path, self._run, self._replace = run / OLD, run, replace
        self._own: dict[str, Path] = {}  # prefix -> the folder that this run sets aside into

    def places(self, path: Path) -> list[Path]:
        """Where a file or folder of the run may stand that was set aside.

        First what is to be replaced, then what is kept, the newest of each first.
        """
        replaced, kept = numbered(self.path, _REPLACED).values(), numbered(self.path).values()
        folders = [*reversed(replaced), *reversed(kept)]
        return [folder / path.relative_to(self._run) for folder in folders]

    def take(self, path: Path, *, keep: bool = False) -> str:
        """Moves a file or folder of the run here; returns what is said of it.

        What one run sets aside stands in one folder, under its name in the run. Another begins
        where something of that name is in it already.

        Args:
            path: within the run folder.
            keep: for good, whatever the user asked for.
        """
        prefix = _REPLACED if self._replace and not keep else ""
        name, own = path.relative_to(self._run), self._own.get(prefix)
        if own is None or os.path.lexists(own / name):
            own = self._own[prefix] = next_numbered(self.path, prefix)
        target = own / name
        move(path, target)
        return f"is kept in {target}{' until this is done' if prefix else ''}"

    def drop_replaced(self, path: Path) -> None:
        """Removes what stood at `path` and is replaced now, where the user asked for that."""
        for folder in numbered(self.path, _REPLACED).values():
            old = folder / path.relative_to(self._run)
            if old.parent.is_dir():
                clean(old.parent)  # what a kill left of this
            if self._replace:
                remove(old)
            _remove_empty(old.parent, self.path)


def _remove_empty(folder: Path, last: Path) -> None:
    """Removes a folder and those above it up to `last`, as far as nothing is in them."""
    while last in (folder, *folder.parents):
        if folder.is_dir():
            if any(folder.iterdir()):
                return
            folder.rmdir()
        folder = folder.parent
