"""Statistics against published and independently computed values."""

import doctest
import itertools
import math
import random

import numpy
import pytest

from unspoken.measure import stats
from unspoken.measure.answers import answers_equal
from unspoken.measure.stats import (
    Ratio,
    clustered_interval,
    majority,
    mcnemar_exact,
    pass_at_k,
    percentile,
    ratio_of_medians,
    wilson_interval,
)


# Newcombe, Statistics in Medicine 17 (1998), table I, method 3 (Wilson without correction).
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_published_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(8, 10), (1, 7), (500, 1000)])
def test_wilson_bounds_solve_the_score_equation(successes, trials):
    z = 1.959963984540054
    for bound in wilson_interval(successes, trials):
        distance = abs(successes / trials - bound)
        assert distance == pytest.approx(z * math.sqrt(bound * (1 - bound) / trials), rel=1e-12)


def test_wilson_at_its_edges():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0
    assert wilson_interval(10, 10)[0] == pytest.approx(1 - wilson_interval(0, 10)[1])
    for arguments in ((3, 2), (-1, 2), (0, -1)):
        with pytest.raises(ValueError):
            wilson_interval(*arguments)


def test_percentile_equals_numpy():
    generator = random.Random(0)
    for size in (1, 2, 3, 10, 101):
        values = [generator.uniform(-5, 5) for _ in range(size)]
        for q in (0, 5, 50, 95, 99.9, 100):
            assert percentile(values, q) == pytest.approx(float(numpy.percentile(values, q)))


def test_percentile_leaves_its_values_alone_and_refuses_nonsense():
    values = [3, 1, 2]
    assert percentile(values, 50) == 2
    assert values == [3, 1, 2]
    for values, q in (([], 50), ([1], -1), ([1], 101)):
        with pytest.raises(ValueError):
            percentile(values, q)


# Two-sided exact binomial test with p = 0.5, as R's binom.test gives it.
@pytest.mark.parametrize(
    ("only_first", "only_second", "expected"),
    [(0, 0, 1.0), (1, 5, 0.21875), (0, 10, 0.001953125), (4, 4, 1.0), (2, 10, 0.03857421875)],
)
def test_mcnemar_has_known_values_whoever_is_first(only_first, only_second, expected):
    assert mcnemar_exact(only_first, only_second) == expected
    assert mcnemar_exact(only_second, only_first) == expected


def test_mcnemar_of_thousands_does_not_overflow():
    assert mcnemar_exact(2500, 2500) == 1.0
    assert 0 < mcnemar_exact(2400, 2600) < 0.006
    with pytest.raises(ValueError):
        mcnemar_exact(-1, 2)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 2), (6, 3, 2), (6, 0, 3), (6, 6, 1), (6, 5, 6)])
def test_pass_at_k_equals_counting_all_draws(n, c, k):
    draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_refuses_nonsense():
    for arguments in ((4, 5, 1), (4, 1, 5), (4, 1, 0), (0, 0, 1)):
        with pytest.raises(ValueError):
            pass_at_k(*arguments)


def test_the_majority_wins_in_its_first_spelling():
    assert majority(["7", "$36.00", "36", "36 dollars"], answers_equal) == "$36.00"
    assert majority(["a", "b"], lambda first, second: first == second) == "a"
    assert majority(["a", "b", "b"], lambda first, second: first == second) == "b"


def test_a_vote_of_many_alike_asks_once_for_each_spelling():
    asked = []

    def equal(first, second):
        asked.append((first, second))
        return float(first) == float(second)

    assert majority(["7", "36", "36.0", "8"] * 500 + ["36"], equal) == "36"
    assert len(asked) == len(set(asked)) == 5
    with pytest.raises(ValueError):
        majority([], answers_equal)


def test_examples_in_docstrings():
    assert doctest.testmod(stats).failed == 0


@pytest.mark.parametrize("least", [0, 1, 300, 4_900, 5_001])
def test_mcnemar_of_many_questions_equals_exact_integers(least):
    most = 10_003 - least
    tail = binomial = 1
    for count in range(1, min(least, most) + 1):
        binomial = binomial * (10_004 - count) // count
        tail += binomial
    assert binomial == math.comb(10_003, min(least, most))
    exact = min(1.0, 2 * tail / 2**10_003)
    assert mcnemar_exact(least, most) == pytest.approx(exact, rel=1e-8)


@pytest.mark.timeout(60)  # at once; with integers it takes minutes
def test_mcnemar_of_a_million_questions():
    assert mcnemar_exact(500_000, 500_000) == 1.0
    assert mcnemar_exact(499_000, 501_000) == pytest.approx(0.0456, abs=1e-3)


@pytest.mark.parametrize(
    ("shares", "successes", "trials"),
    [
        ([1, 1, 1], 3, 3),  # all right: the samples do not tell how alike they are
        ([0, 0, 0], 0, 3),
        ([0.5], 0.5, 1),
        ([0, 1], 1, 2),
        ([0.5, 1], 4.5, 6),  # 0.75 * 0.25 / (2 * 0.25**2 / 4)
        ([0.5, 0.5], 4, 8),  # never more than there are samples
    ],
)
def test_samples_of_one_question_count_for_as_much_as_they_differ(shares, successes, trials):
    expected = wilson_interval(successes, trials)
    assert clustered_interval(shares, num_samples=8) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("interval", "is_one"),
    [((1.1, 1.9), True), ((0.4, 0.9), True), ((0.9, 1.1), False), ((1.0, 1.2), False)],
)
def test_a_ratio_is_a_difference_where_its_interval_leaves_out_one(interval, is_one):
    assert Ratio(1.0, interval).is_a_difference is is_one
    assert not Ratio(1.0).is_a_difference


def seconds_of(draw, ratio, count, per_block=1):
    """Two models' seconds, the second so many times as fast, on a machine that others slow down."""
    above, below, busy = [], [], 1.0
    for number in range(count):
        if number % per_block == 0:
            busy = draw.choice([1.0, 1.0, 1.5, 3.0])
        above.append(0.01 * busy * draw.lognormvariate(0, 0.1))
        below.append(0.01 / ratio * busy * draw.lognormvariate(0, 0.1))
    return above, below


@pytest.mark.parametrize("ratio", [1.0, 1.3])
def test_the_interval_of_a_ratio_of_medians_holds_the_true_one(ratio):
    """Of 95 % intervals about as many; of equal models, so many are not told apart."""
    draw = random.Random(1)
    found = [ratio_of_medians(*seconds_of(draw, ratio, 40)) for _ in range(60)]
    holds = sum(low <= ratio <= high for low, high in (one.interval for one in found))
    assert holds >= 54
    told = sum(one.is_a_difference for one in found)
    assert told <= 6 if ratio == 1 else told == 60


def test_blocks_are_drawn_as_a_whole():
    """What slowed down a turn of one model is no proof of many questions."""
    above = [0.01] * 30 + [0.02] * 30
    below = [0.01] * 60
    alone = ratio_of_medians(above, below)
    turns = ratio_of_medians(above, below, blocks=[10] * 6)
    assert alone.value == turns.value == pytest.approx(1.5)
    assert turns.interval[0] == pytest.approx(1.0)
    few = ratio_of_medians(above, below, blocks=[15] * 4)
    assert few.interval is None and not few.is_a_difference


def test_a_ratio_of_medians_is_the_same_each_time():
    above, below = seconds_of(random.Random(2), 1.5, 20)
    assert ratio_of_medians(above, below) == ratio_of_medians(above, below)
