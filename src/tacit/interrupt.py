"""SIGTERM and Ctrl-C end a run after the step it is in, with everything saved."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

#: Exit status of a run that was asked to stop, saved a checkpoint and can go on (EX_TEMPFAIL).
EXIT_INTERRUPTED = 75


class StopRequest:
    """A context in which the signals are remembered instead of obeyed at once.

    A second Ctrl-C is obeyed at once. Outside the main thread nothing is caught.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._before[number] = signal.signal(number, self._remember)
            except ValueError:  # not the main thread: whoever owns it decides
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.requested:
            raise KeyboardInterrupt
        self.requested = True
