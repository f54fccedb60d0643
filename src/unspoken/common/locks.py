"""A lock file: one process at a time writes to what it stands beside."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from unspoken.common.errors import DataError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within the block no other process gets this file; a killed process leaves no lock behind.

    Where a file system has no locks there is none.

    Raises:
        DataError: another process has it, or the folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _lock(lock)
    except BlockingIOError:
        owner = lock.read_text(encoding="utf-8").strip() if lock.exists() else ""
        raise DataError(
            f"{path}: {owner or 'another process'} is writing to it; needed: one process for one "
            "file; wait for it, or name another output"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); needed: a folder that you may write "
            "to; name another output"
        ) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # before the lock is given back
        os.close(handle)


def _lock(lock: Path) -> int:
    """A handle that holds the lock; raises BlockingIOError where another process does."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _flock(handle)
            if lock.exists() and os.fstat(handle).st_ino == lock.stat().st_ino:
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # it was given back and removed meanwhile


def _flock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # no POSIX
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a network file system without locks
        return
