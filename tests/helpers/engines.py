"""An engine that answers sums, and fails when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import Reply, Request, Style, Usage

QUESTIONS = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(20)]


class FakeEngine:
    """Chunks of four, longest first, as the transformers engine does; remembers what it did."""

    name: str = "fake"
    model: str = "fake-1"
    style: Style = "plain"

    def __init__(self, break_after: int | None = None, **settings: Any) -> None:
        self.extra = settings
        self.break_after = break_after
        self.chunks: list[list[str]] = []
        self.used = Usage()

    def settings(self) -> dict[str, Any]:
        return {"engine": self.name, "model": self.model, **self.extra}

    def cost(self, usage: Usage) -> float | None:
        return usage.num_tokens / 100

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        skip: Collection[int],
        used: Usage,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Iterator[tuple[int, Reply]]:
        self.used = used
        num_yielded = 0
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt.text))
        for start in range(0, len(order), 4):
            chunk = order[start : start + 4]
            if all(number in skip for number in chunk):
                continue
            if stopping():
                return
            names = [requests[number].id for number in chunk]
            self.chunks.append(names)
            for number in chunk:
                if number in skip:
                    continue
                if num_yielded == self.break_after:
                    raise KeyboardInterrupt
                num_yielded += 1
                # what is written depends on the company, as with padding
                text = f"with {' '.join(names)}, {requests[number].seed}\nFinal Answer: 1"
                yield number, Reply(text, 10, 5, True, "stop")
