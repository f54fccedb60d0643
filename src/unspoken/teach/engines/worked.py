"""A task's own solutions as traces: no model, no tokens, nothing wrong in them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from unspoken.common.errors import DataError, setting
from unspoken.data.example import extract_solution
from unspoken.data.tasks import arithmetic, multiplication
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import Reply, Request, Style, Usage


class WorkedEngine:
    """Answers with the solution that a record carries, or that unspoken can work out itself.

    A record carries one as `cot`, `thought` or GSM8K's `answer` with `####`. Multiplications such
    as `9 1 7 3 * 9 4 3 3` and the questions of `unspoken data arithmetic` are worked out.
    """

    name: str = "worked"
    model: str = "worked"
    style: Style = "none"

    def settings(self) -> dict[str, Any]:
        """Nothing decides but the questions."""
        return {"engine": self.name}

    def cost(self, usage: Usage) -> float | None:
        """Nothing."""
        return 0.0

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        skip: Collection[int],
        used: Usage,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None] = lambda num_tokens: None,
    ) -> Iterator[tuple[int, Reply]]:
        """Yields a reply for each request, in their order; see `Engine.generate`.

        Raises:
            DataError: for a question without a solution.
        """
        for number, request in enumerate(requests):
            if number in skip:
                continue
            if stopping():
                return
            yield number, Reply(solution(request), 0, 0, True, "stop")


def solution(request: Request) -> str:
    """The worked solution of a question, ending in its final answer."""
    found = extract_solution(request.record, request.place)
    if found is not None:
        return found
    for solve_question in (multiplication.solve_question, arithmetic.solve_question):
        with contextlib.suppress(DataError):
            return arithmetic.write_cot(solve_question(request.question))
    raise DataError(
        f"{request.place}: found {request.question[:60]!r} without a solution; "
        f"needed for {setting('engine', 'worked')}: a field 'thought' or 'cot', or a question "
        "as unspoken data multiplication or arithmetic writes it; add one or choose another "
        "engine"
    )
