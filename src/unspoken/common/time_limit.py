"""An end for code of others, such as a chat template, that may run for ever."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class TookTooLongError(Exception):
    """Code of others that did not come to an end."""


@contextmanager
def time_limit(filename: str, seconds: float) -> Iterator[None]:
    """Within the block, Python code that was compiled under this name ends after so long.

    What counts is this thread's processor time, so a busy machine does not end it earlier; it works
    in any thread. It is looked at before each line of that code, which takes time itself: some
    0.2 ms for a chat template. A debugger's trace is put back afterwards.

    Args:
        filename: such as "<template>", which Jinja compiles under.
        seconds: of processor time.

    Raises:
        TookTooLongError: from within the block.
    """
    until = time.thread_time() + seconds

    def check(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != filename:
            return None
        if time.thread_time() > until:
            raise TookTooLongError(f"not at its end after {seconds:g} s")
        return check

    before = sys.gettrace()
    sys.settrace(check)
    try:
        yield
    finally:
        sys.settrace(before)
