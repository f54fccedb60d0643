"""Two models on the same questions: who is right where the other is wrong, and is it chance?"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from unspoken.measure.grade import grade, is_right
from unspoken.measure.stats import mcnemar_exact, wilson_interval


@dataclass(frozen=True)
class Side:
    """One of two models on the questions that both answered.

    Attributes:
        interval: Wilson's 95 % interval of the accuracy.
        num_only: questions that only this one has right.
        mean_tokens: written per question, or None where a record does not tell.
    """

    num_correct: int
    accuracy: float
    interval: tuple[float, float]
    num_only: int
    mean_tokens: float | None


@dataclass(frozen=True)
class Paired:
    """Two models on the same questions.

    Attributes:
        difference: accuracy of the second minus that of the first.
        interval: 95 % interval of the difference, see `paired_interval`.
        p_value: McNemar's exact test that they are equally good.
    """

    num_questions: int
    first: Side
    second: Side
    difference: float
    interval: tuple[float, float]
    p_value: float


class Judged(NamedTuple):
    """What of a prediction is compared."""

    correct: int | None
    tokens: float | None
    category: str | None = None
    gold: str | None = None


@dataclass
class Pairs:
    """Counts of pairs of verdicts, by (first is right, second is right), and sums of tokens.

    Attributes:
        num_ungraded: questions without a verdict in one of the two; they are left out.
        num_other_gold: those whose gold answers differ, so that verdicts do not compare; likewise.
    """

    counts: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    tokens: list[float | None] = field(default_factory=lambda: [0, 0])
    num_ungraded: int = 0
    num_other_gold: int = 0

    @property
    def num_questions(self) -> int:
        """Those that both models have judged by the same gold answer."""
        return self.counts.total()

    def add(self, one: Judged, other: Judged) -> bool:
        """Counts one question; returns False where it is left out."""
        if one.correct is None or other.correct is None:
            self.num_ungraded += 1
            return False
        if not _same_gold(one.gold, other.gold):
            self.num_other_gold += 1
            return False
        self.counts[bool(one.correct), bool(other.correct)] += 1
        self.tokens = [
            None if total is None or tokens is None else total + tokens
            for total, tokens in zip(self.tokens, (one.tokens, other.tokens), strict=True)
        ]
        return True

    def paired(self) -> Paired:
        """What they amount to; there must be some."""
        kinds = ((True, True), (True, False), (False, True))
        both, only_first, only_second = (self.counts[kind] for kind in kinds)
        count = self.num_questions
        return Paired(
            num_questions=count,
            first=self._side(0, both, only_first),
            second=self._side(1, both, only_second),
            difference=(only_second - only_first) / count,
            interval=paired_interval(
                both, only_second, only_first, count - both - only_first - only_second
            ),
            p_value=mcnemar_exact(only_first, only_second),
        )

    def _side(self, place: int, num_both: int, num_only: int) -> Side:
        correct, count, tokens = num_both + num_only, self.num_questions, self.tokens[place]
        return Side(
            num_correct=correct,
            accuracy=correct / count,
            interval=wilson_interval(correct, count),
            num_only=num_only,
            mean_tokens=None if tokens is None else tokens / count,
        )


def _same_gold(one: str | None, other: str | None) -> bool:
    """Whether both were judged by the same answer, as far as the files say by which."""
    if one is None or other is None or one == other:
        return True
    return is_right(one, other) or bool(grade(one, other).correct)


def paired_interval(
    both: int, only_first: int, only_second: int, neither: int
) -> tuple[float, float]:
    """Returns the 95 % interval of the first accuracy minus the second, from paired answers.

    Stays within [-1, 1] and has a width where the two never differ. Source: R. G. Newcombe,
    Statistics in Medicine 17 (1998), 2635-2650, method 10: Wilson's limits of both proportions,
    put together with the correlation (continuity-corrected) of the pairs.

    Args:
        both, only_first, only_second, neither: how many questions who has right; not all 0.

    Examples:
        >>> [round(end, 4) for end in paired_interval(36, 12, 2, 0)]  # the paper's
        [0.0569, 0.3404]
    """
    count = both + only_first + only_second + neither
    right, other_right = both + only_first, both + only_second
    share, other = right / count, other_right / count
    low, high = wilson_interval(right, count)
    other_low, other_high = wilson_interval(other_right, count)
    product = right * (count - right) * other_right * (count - other_right)
    excess = both * neither - only_first * only_second
    if excess > 0:
        excess = max(0.0, excess - count / 2)
    phi = excess / math.sqrt(product) if product else 0.0

    def distance(end: float, other_end: float) -> float:
        # rounding may leave a negative 1e-18
        return math.sqrt(max(0.0, end**2 - 2 * phi * end * other_end + other_end**2))

    difference = share - other
    return (
        difference - distance(share - low, other_high - other),
        difference + distance(high - share, other - other_low),
    )
