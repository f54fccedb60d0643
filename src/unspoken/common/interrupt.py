"""SIGTERM and Ctrl-C end a run after the step it is in, with everything saved.

Each step of the work has a `StopRequest` around it, which its owner asks and obeys:

- `train.loop` after every optimizer step, and within validation: saves a checkpoint;
- `teach.traces.write` when its engine has ended the batch, which a server's does within seconds;
  the traces are in the file by then;
- `teach.traces.together` while it waits for the other processes;
- `launch.slurm.submit` between jobs: cancels those that it submitted.

Work of several steps, a run (`run.run`) or its preparation (`run.shards`), has `carry_signals_over`
around them all, so that a signal that came too late for one step counts before the next, where
`end_if_asked` obeys it. Whoever saved exits with EXIT_INTERRUPTED.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import FrameType, TracebackType

#: Exit status of a run that was asked to stop, saved a checkpoint and can go on (EX_TEMPFAIL).
EXIT_INTERRUPTED = 75

#: How long a launcher may take to hand on the Ctrl-C that its processes have heard already.
ECHO_S = 5.0


class Interrupted(Exception):  # noqa: N818 - no error
    """Work that a signal ended half-way; what is there of it is thrown away."""


@dataclass
class _Late:
    """The number of a signal that came too late for the step it came in, if one did."""

    number: int | None = None


_late: ContextVar[_Late | None] = ContextVar("late", default=None)
_innermost: ContextVar[StopRequest | None] = ContextVar("innermost", default=None)


#: A signal before the first work, whose exit was lost; see `remember_signal`.
_early = _Late()


def remember_signal(number: int) -> None:
    """Keeps a signal for `end_if_asked`, whatever becomes of the exit that its handler asks for.

    What a handler raises within a `__del__` is told by Python and lost.
    """
    late = _late.get() or _early
    late.number = number


@contextmanager
def carry_signals_over() -> Iterator[None]:
    """Within the block a signal that came too late for one `StopRequest` counts before the next.

    What comes too late for the last one is forgotten: the work is done.
    """
    token = _late.set(_Late(_early.number))
    _early.number = None
    try:
        yield
    finally:
        _late.reset(token)


class StopRequest:
    """A context in which the signals are remembered instead of obeyed at once.

    A second Ctrl-C is obeyed at once, except for the launcher's: torchrun hears the terminal's and
    hands it on to processes that have heard it themselves. Outside the main thread nothing is
    caught. One within another takes over a signal that the outer one has, and gives back what
    nobody heeded.

    Attributes:
        requested: whether a signal came.
    """

    def __init__(self, *, is_launched: bool = False) -> None:
        """Nothing is caught before the block.

        Args:
            is_launched: whether torchrun watches over this process, and hands signals on.
        """
        self.requested = False
        self._is_launched = is_launched
        self._late = _Late()
        self._number: int | None = None
        self._echo_until = 0.0
        self._before: dict[int, object] = {}
        self._outer: StopRequest | None = None
        self._token: Token[StopRequest | None] | None = None

    def __enter__(self) -> StopRequest:
        self._late = _late.get() or _Late()
        self._number, self._late.number = self._late.number, None
        self._outer = _innermost.get()
        if self._outer is not None and self._number is None:
            self._number, self._outer._number = self._outer._number, None
        self._token = _innermost.set(self)
        self.requested = self._number is not None
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
        if self._token is not None:
            _innermost.reset(self._token)
        if kind is not None or self._number is None:
            return
        if self._outer is not None:
            self._outer.requested, self._outer._number = True, self._number
        else:
            self._late.number = self._number

    def heed(self) -> bool:
        """Whether a signal came; from now on it is the caller's to obey."""
        self._number = None
        return self.requested

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._number = True, number
            self._echo_until = time.monotonic() + ECHO_S if self._is_launched else 0.0
        elif number == signal.SIGINT and time.monotonic() > self._echo_until:
            raise KeyboardInterrupt


def end_if_asked() -> None:
    """Obeys a signal that came too late for a `StopRequest` of this work.

    To be called before the next step begins: whoever sends SIGTERM sends it once.
    """
    late = _late.get()
    if late is not None and late.number is not None:
        number, late.number = late.number, None
        signal.raise_signal(number)
