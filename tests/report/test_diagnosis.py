"""What a diagnosis says in words."""

from __future__ import annotations

from unspoken.recipe.diagnosis_record import Diagnosis, DigitsAtLevel
from unspoken.report.read.results import LABELS
from unspoken.report.show.diagnosis import diagnosis_lines


def said(**places: float) -> str:
    found = Diagnosis(digits=[DigitsAtLevel("all", 9, None, places)])
    return diagnosis_lines(found, LABELS)[0].replace("\u00a0", " ")


def test_the_best_and_the_worst_digit_are_named() -> None:
    assert "digit 1 of 2 of the answer is right in 90.0 %, digit 2 of 2 in 40.0 %" in said(
        **{"0": 0.9, "1": 0.4}
    )


def test_digits_that_are_all_as_often_right_are_told_once() -> None:
    assert said(**{"0": 1.0, "1": 1.0}) == (
        "At the last level each digit of the answer is right in 100.0 %."
    )
