"""A small disk that fills up, for tests that run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PAGE = 4096


class SmallDisk:
    """A file system of its own, of a few megabytes.

    Attributes:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    @property
    def num_used(self) -> int:
        """Bytes that are taken."""
        return shutil.disk_usage(self.path).used

    def leave(self, num_bytes: int) -> None:
        """Fills the disk up to so many bytes, in whole pages."""
        self.make_room()
        left = shutil.disk_usage(self.path).free - num_bytes // _PAGE * _PAGE
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(_PAGE, left))

    def make_room(self) -> None:
        """Takes away what filled it."""
        self._filler.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes everything from it."""
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextmanager
def small_disk(path: Path, num_bytes: int = 32_000_000) -> Iterator[SmallDisk]:
    """Within the block there is such a disk at `path`; the test is skipped where it cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
