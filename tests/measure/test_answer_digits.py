"""How many digits of a wrong answer are right."""

import pytest

from unspoken.measure.answers import digit_accuracy

DIGITS = [
    ("1394", "1394", 1.0),
    ("1294", "1394", 0.75),
    ("394", "1394", 0.75),
    ("139", "1394", 0.0),
    ("11394", "1394", 0.8),
    ("1,394", "$1394", 1.0),
    ("x = 1394", "1394", 1.0),
    ("The total is 1294", "1394", 0.75),
    ("18.0", "18", 1.0),
    ("018", "18", 1.0),
    ("18.5", "18", 2 / 3),
    ("0.25", "0.75", 2 / 3),
    ("3/4", "0.75", 1.0),
    ("1/3", "0.75", 0.0),
    ("-36", "36", 2 / 3),
    ("-36", "-36", 1.0),
    ("no idea", "36", 0.0),
    ("", "36", 0.0),
    ("1500", "1.5e3", 1.0),
    # Rows of digits: aligned at the first one, zeros count.
    ("1 3 9 4", "1 3 9 4", 1.0),
    ("1394", "1 3 9 4", 1.0),
    ("1 3 9", "1 3 9 4", 0.75),
    ("3 9 4", "1 3 9 4", 0.0),
    ("1 3 9 4 0", "1 3 9 4", 0.8),
    ("1 3 0 4", "1 3 9 4", 0.75),
    ("1 2 9 4", "1394", 0.75),
    ("words", "1 3 9 4", 0.0),
    # Gold answers that are no number.
    ("yes", "yes", None),
    ("36", "", None),
    ("3/4", "3/4", None),
    ("3:2", "3:2", None),
]


@pytest.mark.parametrize(("predicted", "gold", "expected"), DIGITS)
def test_digits_are_compared_place_by_place(predicted, gold, expected):
    assert digit_accuracy(predicted, gold) == expected
