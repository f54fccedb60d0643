"""Root as a user like others: for tests of files that may not be read or written."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_VERSION = 0x20080522  # of the structures below, from linux/capability.h
_OVERRIDE = 1 << 1 | 1 << 2 | 1 << 3  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


@contextmanager
def like_another_user() -> Iterator[None]:
    """Within the block this thread is held to the rights of files, also where it is root's.

    The test is skipped where that cannot be.
    """
    if os.geteuid() != 0 or not Path("/proc/self/status").exists():
        pytest.skip("only root on Linux has rights to give up")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    had = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    if libc.capget(header, had) != 0:
        pytest.skip("this system does not tell its capabilities")
    fewer = (ctypes.c_uint32 * 6)(*had)
    fewer[0] &= ~_OVERRIDE
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, had) == 0
