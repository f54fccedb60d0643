"""Where encoded data sets and what was measured of this machine are kept between runs."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "UNSPOKEN_CACHE"


def default_cache() -> Path:
    """$UNSPOKEN_CACHE, or ~/.cache/unspoken; without a home to write to, a folder in $TMPDIR.

    A container that runs as any user, and many services, have no home. That is found out here, and
    not when a teacher has written for hours. The folder may not be there yet.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else _without_choice(os.environ.get("HOME", ""))


@functools.cache
def _without_choice(home: str) -> Path:
    """The same where no folder was chosen; `home` as the environment has it."""
    try:
        usual = Path(home or Path.home()) / ".cache" / "unspoken"
    except RuntimeError:  # this user is in no list
        usual = Path("/", ".cache", "unspoken")
    if _can_be_made(usual):
        return usual
    other = _own_temporary()
    if other is None:  # whoever writes will hear of the usual one
        return usual
    logger.warning(
        "%s: cannot be written, so encoded data sets are kept in %s; set %s to keep them elsewhere",
        usual, other, CACHE_VARIABLE,
    )  # fmt: skip
    return other


def _can_be_made(folder: Path) -> bool:
    there = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    is_effective = os.access in os.supports_effective_ids
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK, effective_ids=is_effective)


def _own_temporary() -> Path | None:
    """A folder in the temporary one that nobody else can write to; None where there is none."""
    user = os.geteuid()
    with contextlib.suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"unspoken-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()  # others may have made one of this name, or a link
        if stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022:
            return folder
    return None
