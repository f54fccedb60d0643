"""Places that cannot be written to: full, of another user, read-only; told in one line.

Libraries tell a full disk in many ways, some without the error of the system, so whether it is one
is looked up and not read from what they say.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unspoken.common.errors import PlaceError, SettingError, UnspokenError, setting

#: What the system says of a full disk, and of a quota that is used up.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PROBE = 256 * 1024
_KEPT = "what was whole before is kept, and the same command goes on"


@contextmanager
def writing(
    path: str | os.PathLike[str], num_bytes: int | None = None, *, other: str = ""
) -> Iterator[None]:
    """What goes wrong with a place in the block is told as that.

    Args:
        path: the file or folder that is written.
        num_bytes: that it takes, where that is known.
        other: how another place is named; empty: as `output`.

    Raises:
        PlaceError: the disk is full, or the place cannot be written.
    """
    try:
        yield
    except (UnspokenError, ConnectionError):
        raise
    except Exception as error:
        refused = place_error(error, path, num_bytes, other=other)
        if refused is None:
            raise
        raise refused from error


def place_error(
    error: Exception,
    path: str | os.PathLike[str] | None = None,
    num_bytes: int | None = None,
    *,
    other: str = "",
) -> PlaceError | None:
    """What an error says of a place, or None where it is about something else.

    Args:
        error: of the operating system, or of a library that wrote.
        path: that was written; None: the one that the error names.
        num_bytes: that it takes, where that is known.
        other: how another place is named; empty: as `output`.
    """
    other = other or f"name another {setting('output')}"
    known = error.errno if isinstance(error, OSError) else None
    place = _place(error, path)
    if known in _FULL or (path is not None and known is None and _is_full(Path(path), num_bytes)):
        return PlaceError(
            f"{place}: the disk is full{_room(path)}; needed: room for "
            f"{'it' if num_bytes is None else human(num_bytes)}; free some, or {other}; {_KEPT}"
        )
    if known is None:
        return None
    if known in (errno.ENOENT, errno.ENOTDIR) and path is None:
        return PlaceError(f"{place}: no such file; needed: a file; correct the path")
    if known == errno.ENAMETOOLONG:
        return PlaceError(
            f"{place}: its name is too long for the file system, with what is put before and after "
            f"it while it is written; needed: a shorter one; {other}"
        )
    if known == errno.EEXIST:
        return PlaceError(
            f"{place}: found a file; needed: a folder, or a name that nothing has; move the file "
            f"away, or {other}"
        )
    return PlaceError(
        f"{place}: cannot be {'used' if path is None else 'written'} ({os.strerror(known)}); "
        "needed: a place that you may read and write; correct its permissions, or "
        f"{other}"
    )


def require_folder_place(path: Path) -> None:
    """Checks that a folder is at a path, or can be made there.

    Raises:
        SettingError: a file stands at the path, or where one of the folders above it should.
    """
    found = next((each for each in (path, *path.parents) if os.path.lexists(each)), None)
    if found is not None and not found.is_dir():
        raise SettingError(
            "output",
            found=f"{path}, where {found} is a file" if found != path else f"{path}, a file",
            needed="a folder, or a name that nothing has",
            remedy="name another one, or move the file away",
        )


def is_full_disk(error: OSError) -> bool:
    """Whether the system says that a disk is full, or a quota used up."""
    return error.errno in _FULL


def require_room(path: Path, num_bytes: int) -> None:
    """Checks that so much can be written at a path.

    Raises:
        PlaceError: the disk has less room left.
    """
    try:
        free = shutil.disk_usage(existing_folder(path)).free
    except OSError:  # whoever writes will hear of it
        return
    if free < num_bytes:
        raise PlaceError(
            f"{path}: the disk has too little room (found {human(free)} left); needed: "
            f"{human(num_bytes)}; free some, or name another place; {_KEPT}"
        )


def human(num_bytes: float) -> str:
    """Bytes for people.

    Examples:
        >>> human(640), human(3_200_000)
        ('640 bytes', '3.2 MB')
    """
    if num_bytes < 1_000:
        return f"{num_bytes:.0f} bytes"
    size, units = num_bytes / 1_000, ["kB", "MB", "GB", "TB"]
    while size >= 1_000 and len(units) > 1:
        size /= 1_000
        units.pop(0)
    return f"{size:.1f} {units[0]}"


def _place(error: Exception, path: str | os.PathLike[str] | None) -> str:
    """What to call it: what was written, unless the error is about something elsewhere."""
    named = error.filename if isinstance(error, OSError) else None
    if isinstance(named, bytes | str):
        named = os.fsdecode(named)
        beside = None if path is None else Path(path).absolute().parent
        if beside is None or beside not in Path(named).absolute().parents:
            return named
    return "a file" if path is None else str(path)


def existing_folder(path: Path) -> Path:
    """The nearest folder that is there: the path itself, or one above it."""
    return next((each for each in (path, *path.absolute().parents) if each.is_dir()), Path())


def _room(path: Any) -> str:
    if path is None:
        return ""
    try:
        usage = shutil.disk_usage(existing_folder(Path(path)))
    except OSError:
        return ""
    return f" (found {human(usage.free)} left of {human(usage.total)})"


def _is_full(path: Path, num_bytes: int | None) -> bool:
    """Whether nothing more can be written there, or less than is needed; quotas count, too."""
    try:
        folder = existing_folder(path)
        if shutil.disk_usage(folder).free < (num_bytes or 0):
            return True
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in _FULL
    return False
