"""Numbers about numbers: proportions with intervals, percentiles, paired tests, pass@k, votes.

Stands between the records of an evaluation and its report. Standard library only.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
_MAX_EXACT_TRIALS = 10_000
_NUM_RESAMPLES = 2_000
#: With fewer blocks, a bootstrap's interval is no 95 % one.
_FEWEST_BLOCKS = 6


def wilson_interval(successes: float, trials: float) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval of a proportion, as (low, high) within [0, 1].

    Unlike the normal approximation it stays within [0, 1] and has a width at 0 % and 100 %.
    Without trials nothing is known: (0.0, 1.0).

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.

    Raises:
        ValueError: unless 0 <= successes <= trials.

    Examples:
        >>> low, high = wilson_interval(8, 10)
        >>> round(low, 4), round(high, 4)
        (0.4902, 0.9433)
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"found {successes} successes in {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + 0.95) / 2)
    share = successes / trials
    center = share + z * z / (2 * trials)
    margin = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Exact at the ends; rounding would leave 1e-17 instead of 0.
    low = 0.0 if successes == 0 else (center - margin) / scale
    high = 1.0 if successes == trials else (center + margin) / scale
    return low, high


def percentile(values: Sequence[float], q: float) -> float:
    """Returns the q-th percentile with linear interpolation, as numpy's default does.

    Source: R. J. Hyndman and Y. Fan, The American Statistician 50 (1996), definition 7.

    Args:
        values: at least one number, in any order.
        q: from 0 (the least) to 100 (the greatest).

    Raises:
        ValueError: for no values, or q outside [0, 100].

    Examples:
        >>> percentile([10, 20, 30, 40], 50), percentile([10, 20, 30, 40], 95)
        (25.0, 38.5)
    """
    if not values:
        raise ValueError("found no values, needed: at least one")
    if not 0 <= q <= 100:
        raise ValueError(f"q is {q}, needed: 0 to 100")
    ordered = sorted(values)
    position = (len(ordered) - 1) * q / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Returns the two-sided exact p-value that two models answer the same questions equally well.

    Only questions on which they differ count: under the hypothesis each of these is a fair coin.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157, with the exact binomial distribution.

    Args:
        only_first: how many questions only the first model has right.
        only_second: how many questions only the second model has right.

    Raises:
        ValueError: for a negative count.

    Examples:
        >>> mcnemar_exact(1, 5)
        0.21875
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"found counts {only_first} and {only_second}, needed: none below 0")
    trials = only_first + only_second
    if trials > _MAX_EXACT_TRIALS:
        return min(1.0, 2 * _binomial_tail(min(only_first, only_second), trials))
    tail = ways = 1
    for count in range(min(only_first, only_second)):
        ways = ways * (trials - count) // (count + 1)  # C(trials, count + 1), exactly
        tail += ways
    # Integers up to the division: 0.5 ** 2000 would be 0.
    return min(1.0, 2 * tail / 2**trials)


def _binomial_tail(most: int, trials: int) -> float:
    """Returns the probability of at most so many heads, with a relative error below 1e-8.

    Summed from its greatest term on, for trials whose exact integers would take minutes.
    """
    ways = math.lgamma(trials + 1) - math.lgamma(most + 1) - math.lgamma(trials - most + 1)
    total = term = 1.0
    for count in range(most, 0, -1):
        term *= count / (trials - count + 1)
        total += term
        if term < total * 1e-17:
            break
    return math.exp(ways - trials * math.log(2)) * total


def pass_at_k(n: int, c: int, k: int) -> float:
    """Returns the unbiased estimate that at least one of k samples is right.

    Source: Chen et al. 2021, arXiv 2107.03374, eq. 1: 1 - C(n - c, k) / C(n, k).

    Args:
        n: samples drawn for the question.
        c: how many of them are right.
        k: how many a user would draw; at most n.

    Raises:
        ValueError: unless 0 <= c <= n and 1 <= k <= n.

    Examples:
        >>> pass_at_k(n=4, c=1, k=2)
        0.5
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"found n={n}, c={c}, k={k}; needed: 0 <= c <= n and 1 <= k <= n")
    drawn = math.comb(n, k)
    return (drawn - math.comb(n - c, k)) / drawn


def majority(predictions: Sequence[T], equal: Callable[[T, T], bool]) -> T:
    """Returns the prediction that most others are equal to, in its first spelling.

    Predictions are grouped with the first one that they are equal to. Of groups of the same size
    the earlier one wins, so the result does not depend on anything but the order.

    Source: self-consistency, Wang et al. 2022, arXiv 2203.11171.

    Args:
        predictions: at least one.
        equal: says whether two predictions are the same answer, such as `answers_equal`; it is
            not asked of two that are the same value.

    Raises:
        ValueError: for no predictions.

    Examples:
        >>> majority(["7", "36", "36.0"], lambda first, second: float(first) == float(second))
        '36'
    """
    if not predictions:
        raise ValueError("found no predictions, needed: at least one")
    counts: Counter[T] = Counter()
    groups: dict[T, T] = {}  # the group's first prediction by one of its predictions
    for prediction in predictions:
        if prediction not in groups:
            alike = (first for first in counts if equal(prediction, first))
            groups[prediction] = next(alike, prediction)
        counts[groups[prediction]] += 1
    return max(counts, key=counts.__getitem__)


def clustered_interval(shares: Sequence[float], num_samples: int) -> tuple[float, float]:
    """Returns the 95 % interval of the mean of `shares`, as (low, high) within [0, 1].

    The samples of one question are like each other, so they are fewer independent trials than
    they are samples. How many is read from how far the questions lie apart: n = p (1 - p) / v, with
    v the variance of the mean over questions. Wilson's interval is taken with that n, which is the
    number of questions where their samples always agree. Where nothing is right, or all, the
    samples do not tell how alike they are, and the number of questions is taken, too.

    Source: effective sample size of clustered trials, E. L. Korn and B. I. Graubard, Survey
    Methodology 24 (1998), 193-201; with Wilson's interval N. Dean and M. Pagano, Journal of Survey
    Statistics and Methodology 3 (2015), 484-503. Questions as clusters of an evaluation: Miller
    2024, arXiv 2411.00640.

    Args:
        shares: one for each question, from 0 to 1, such as the share of its samples that is right.
        num_samples: of all questions together; n is never above it.

    Examples:
        >>> [round(end, 3) for end in clustered_interval([1, 1, 0, 1], 16)]  # 3 of 4
        [0.301, 0.954]
        >>> [round(end, 3) for end in clustered_interval([0.75, 0.75, 0.5, 1], 16)]  # 12 of 16
        [0.505, 0.898]
    """
    count = len(shares)
    mean = math.fsum(shares) / count
    trials: float = count
    if count > 1 and 0 < mean < 1:
        variance = math.fsum((share - mean) ** 2 for share in shares) / count**2
        wanted = mean * (1 - mean)
        trials = wanted / variance if variance * num_samples > wanted else num_samples
    return wilson_interval(mean * trials, trials)


def interval_of_share(rights: Sequence[int], sizes: Sequence[int]) -> tuple[float, float]:
    """Returns the 95 % interval of the share of right samples, as (low, high) within [0, 1].

    Wilson's where each question has one sample, else `clustered_interval`.

    Args:
        rights: right samples of each question.
        sizes: samples of each question, at least one.

    Examples:
        >>> interval_of_share([1, 0], [1, 1]) == wilson_interval(1, 2)
        True
    """
    count = sum(sizes)
    if count == len(sizes):
        return wilson_interval(sum(rights), count)
    return clustered_interval(
        [right / size for right, size in zip(rights, sizes, strict=True)], count
    )


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians.

    Attributes:
        value: the ratio.
        interval: 95 %; None where there are too few values for one.
    """

    value: float
    interval: tuple[float, float] | None = None

    @property
    def is_a_difference(self) -> bool:
        """Whether the interval leaves out 1, and so the two differ by more than the noise."""
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]


def ratio_of_medians(
    above: Sequence[float], below: Sequence[float], *, blocks: Sequence[int] | None = None
) -> Ratio:
    """Returns median(above) / median(below) with a 95 % bootstrap interval of paired values.

    Pairs are drawn together, so that what slowed both down, such as other work on the machine,
    changes the ratio little. Values that were taken in a row share more than that, and are drawn as
    one block. Percentiles of 2,000 resamples, always the same ones.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), ch. 8 and 13;
    blocks: H. R. Kuensch, The Annals of Statistics 17 (1989), 1217-1241.

    Args:
        above, below: positive, the n-th of one belonging to the n-th of the other; at least one.
        blocks: how many values in a row belong together, for each block; None: each by itself.

    Example:
        >>> ratio_of_medians([2.0, 4.0, 6.0, 2.0, 4.0, 6.0], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
        Ratio(value=2.0, interval=(2.0, 2.0))
    """
    pairs = list(zip(above, below, strict=True))
    rest = iter(pairs)
    groups = [list(itertools.islice(rest, size)) for size in blocks or [1] * len(pairs)]
    value = _median([one for one, _ in pairs]) / _median([other for _, other in pairs])
    if len(groups) < _FEWEST_BLOCKS:
        return Ratio(value)
    draw, found = random.Random(0), []
    for _ in range(_NUM_RESAMPLES):
        chosen = [pair for group in draw.choices(groups, k=len(groups)) for pair in group]
        found.append(_median([one for one, _ in chosen]) / _median([other for _, other in chosen]))
    return Ratio(value, (percentile(found, 2.5), percentile(found, 97.5)))


def _median(values: list[float]) -> float:
    return percentile(values, 50)
