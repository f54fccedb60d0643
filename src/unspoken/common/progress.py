"""Progress bars: how often they are drawn, and one that also tells how fast tokens are written."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm


def bar_intervals() -> dict[str, Any]:
    """How often tqdm draws a bar; a file, such as a job's log, keeps every drawing."""
    seconds = 0.5 if sys.stderr.isatty() else 30.0
    return {"mininterval": seconds, "maxinterval": max(10.0, seconds)}


class AnswersBar:
    """A bar of answers that moves with every token: it tells how many there are, and tokens/s.

    Attributes:
        note: stands after them.
    """

    def __init__(
        self,
        num_answers: int,
        num_done: int,
        description: str | None,
        unit: str,
        *,
        leave: bool = False,
        delay: float = 0.0,
    ) -> None:
        """A bar that is closed by leaving its context.

        Args:
            num_answers: all that are wanted.
            num_done: of them, there already.
            description: stands before it; None shows no bar.
            unit: what an answer is called.
            leave: the bar stays there when it is closed.
            delay: it is drawn after so many seconds; what is done before then shows nothing.
        """
        self._bar: Any = tqdm(
            total=num_answers,
            initial=num_done,
            desc=description,
            unit=unit,
            disable=description is None,
            leave=leave,
            delay=delay,
            **bar_intervals(),
        )
        self._delay = delay
        self._num_tokens, self._begin = 0, time.perf_counter()
        self.note = ""

    def __enter__(self) -> AnswersBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add_tokens(self, number: int) -> None:
        """So many tokens were written."""
        self._num_tokens += number
        if self._bar.disable:
            return
        now = time.perf_counter()
        rate = self._num_tokens / max(now - self._begin, 1e-9)
        told = f"{self._num_tokens:,} tokens, {rate:,.0f} tokens/s{self.note}"
        self._bar.set_postfix_str(told, refresh=False)
        since = max(self._bar.last_print_t + self._bar.mininterval, self._bar.start_t + self._delay)
        if time.time() >= since:
            self._bar.refresh()
            self._bar.last_print_t = time.time()

    def add_answers(self, number: int = 1) -> None:
        """So many answers are there."""
        self._bar.update(number)
