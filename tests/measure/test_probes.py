"""Probes read what is in the states, and nothing that is not; digits are counted by place."""

from __future__ import annotations

import numpy as np
import pytest

from unspoken.measure.answers.digits import digit_accuracy, right_places
from unspoken.measure.probes import chance_shares, digit_targets, probe_shares

RANDOM = np.random.default_rng(0)


def test_a_probe_finds_a_digit_that_is_there_and_not_one_that_is_not() -> None:
    digits = RANDOM.integers(0, 10, size=(1_500, 2))
    one_hot = np.eye(10)[digits[:, 0]] @ RANDOM.normal(size=(10, 32))
    states = (one_hot + 0.1 * RANDOM.normal(size=one_hot.shape)).astype(np.float32)
    there, absent = probe_shares(states, digits, 1_000)
    assert there > 0.99
    assert absent < 0.25
    assert max(chance_shares(digits, 1_000)) < 0.25


def test_a_digit_that_a_thought_does_not_have_counts_nowhere() -> None:
    digits = np.array([[3, -1], [3, 4]] * 20)
    states = RANDOM.normal(size=(40, 4)).astype(np.float32)
    shares = probe_shares(states, digits, 20)
    assert shares == [1.0, 1.0]
    assert chance_shares(digits, 20) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("thoughts", "names", "values"),
    [
        (["4 2 + 0 7", "1 3 + 0 9"], ["1.1", "1.2", "2.1", "2.2"], [[4, 2, 0, 7], [1, 3, 0, 9]]),
        (["12 + 7 = 19"], ["1.1", "1.2", "2.1", "3.1", "3.2"], [[1, 2, 7, 1, 9]]),
        (["5 apples", "no number"], [], [[], []]),
        (["71"] * 19 + ["7"], ["1.1", "1.2"], [[7, 1]] * 19 + [[7, -1]]),
    ],
)
def test_targets_are_the_digits_of_a_thoughts_numbers(
    thoughts: list[str], names: list[str], values: list[list[int]]
) -> None:
    found, digits = digit_targets(thoughts)
    assert found == names
    assert digits.tolist() == values


@pytest.mark.parametrize(
    ("predicted", "gold", "places"),
    [
        ("1294", "1394", {0: True, 1: True, 2: False, 3: True}),
        ("94", "1394", {0: True, 1: True, 2: False, 3: False}),
        ("1 3 9", "1 3 9 4", {0: True, 1: True, 2: True, 3: False}),
        ("none", "12", {0: False, 1: False}),
        ("-12", "12", {0: True, 1: True, "sign": False}),
        ("yes", "no", None),
    ],
)
def test_the_places_of_right_digits_are_told(
    predicted: str, gold: str, places: dict[int | str, bool] | None
) -> None:
    found = right_places(predicted, gold)
    assert found == places
    share = digit_accuracy(predicted, gold)
    assert share == (None if places is None else sum(places.values()) / len(places))
