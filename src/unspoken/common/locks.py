"""A lock file: one process at a time writes to what it stands beside."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from unspoken.common.errors import DataError, shorten
from unspoken.common.files import open_own
from unspoken.common.places import place_error

logger = logging.getLogger(__name__)

#: What a system says whose file system has no locks, such as NFS without its lock daemon.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}

_warned: set[int] = set()  # devices of such file systems


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within the block no other process gets this file; a killed process leaves no lock behind.

    Where a file system has no locks nothing is locked, and a warning says so, once for each.

    Raises:
        DataError: another process has it, or the folder cannot be written.
    """
    file = path.with_name(f".{path.name}.lock")
    # The fallback, a file whose being there is the lock, would outlive a killed process.
    lock = FileLock(file, timeout=0, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise DataError(
            f"{path}: {_read_owner(file) or 'another process'} is writing to it; needed: one "
            "process for one file; wait for it, or name another output"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            blamed = file if os.path.lexists(file) else path.parent
            if error.errno == errno.ENAMETOOLONG:
                blamed = path
            raise (place_error(error, blamed) or error) from error
        _warn_once(path)
    try:
        if lock.is_locked:
            with (
                contextlib.suppress(OSError),
                open_own(file, "wb") as owner,
            ):  # a full disk locks, too
                owner.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        file.unlink(missing_ok=True)  # before the lock is given back, so it is never another's
        lock.release()


def _read_owner(file: Path) -> str:
    """Who has the lock; empty where that cannot be told."""
    try:
        return shorten(file.read_text(encoding="utf-8").strip(), 80)[1:-1]
    except (OSError, ValueError):  # it was given back meanwhile, or is not ours
        return ""


def _warn_once(path: Path) -> None:
    device = path.parent.stat().st_dev
    if device not in _warned:
        _warned.add(device)
        logger.warning(
            "%s: its file system has no locks, so nothing keeps a second process from writing to "
            "it at the same time; start only one, or work in a folder of another file system",
            path,
        )
