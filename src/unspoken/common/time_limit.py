"""An end for code of others, such as a chat template, that may run for ever or fill the memory."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

_one_at_a_time = threading.RLock()  # whose limit it is has to be known to put the old one back


class TookTooLongError(Exception):
    """Code of others that did not come to an end."""


@contextmanager
def time_limit(filename: str, seconds: float) -> Iterator[None]:
    """Within the block, Python code that was compiled under this name ends after so long.

    What counts is this thread's processor time, so a busy machine does not end it earlier; it works
    in any thread. It is looked at before each line of that code and whenever it calls a function
    of Python's, which takes time itself: some 0.2 ms for a chat template. A debugger's trace is
    put back afterwards.

    Args:
        filename: such as "<template>", which Jinja compiles under.
        seconds: of processor time.

    Raises:
        TookTooLongError: from within the block.
    """
    until = time.thread_time() + seconds

    def check(frame: FrameType, event: str, argument: Any) -> Any:
        if time.thread_time() > until:
            raise TookTooLongError(f"not at its end after {seconds:g} s")
        return check if frame.f_code.co_filename == filename else None

    before = sys.gettrace()
    sys.settrace(check)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def memory_limit(num_bytes: int) -> Iterator[None]:
    """Within the block, whoever asks for so much more memory gets a MemoryError.

    It holds for all threads of the process, so it is meant for moments. Only Linux tells what is in
    use and keeps to the limit; elsewhere there is none.

    Args:
        num_bytes: of address space, beyond what the process has now.
    """
    with _one_at_a_time:
        before = resource.getrlimit(resource.RLIMIT_AS)
        limit = _address_space() + num_bytes
        is_lower = before[0] == resource.RLIM_INFINITY or limit < before[0]
        if limit > num_bytes and is_lower:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        try:
            yield
        finally:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space() -> int:
    """Bytes of address space that this process has; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()
