"""Compare two numbers digit by digit: how near a wrong answer came.

Stands beside `equal`, which only says right or wrong; a model that learns to multiply gets its
digits right long before its answers.
"""

from __future__ import annotations

import re

from unspoken.measure.answers.clean import clean
from unspoken.measure.answers.equal import MAX_ANSWER_CHARACTERS, stated_value
from unspoken.measure.answers.lead_ins import without_lead_in
from unspoken.measure.answers.notation import DIGIT_ROW
from unspoken.measure.answers.quantity import Quantity, read_quantity

_MAX_PLACES = 100


def digit_accuracy(predicted: str, gold: str) -> float | None:
    """Returns the share of digit positions that are right, or None where gold is no number.

    Plain numbers are aligned at the decimal point, so from the least significant digit; zeros
    that do not change the value do not count. Spaced digits are aligned from the first one as
    written (the least significant one in the paper's multiplication files) and every zero
    counts. The share is of the longer of the two, so missing and surplus digits are wrong, and a
    wrong sign counts as one more wrong position. A prediction that is no number scores 0.0.

    Args:
        predicted: the extracted answer.
        gold: the reference answer.

    Examples:
        >>> digit_accuracy("1294", "1394"), digit_accuracy("394", "1394")
        (0.75, 0.75)
        >>> digit_accuracy("1 3 9", "1 3 9 4"), digit_accuracy("yes", "no") is None
        (0.75, True)
    """
    right = right_places(predicted, gold)
    if right is None:
        return None
    return sum(right.values()) / len(right) if right else 0.0


def right_places(predicted: str, gold: str) -> dict[int | str, bool] | None:
    """Says of each digit position of the longer number whether it is right; None: gold is none.

    Positions are powers of ten; those of spaced digits are counted as they are written, from 0.
    See `digit_accuracy` for how the two are aligned. A prediction that is no number has every
    position of the gold one wrong.

    Example:
        >>> right_places("1294", "1394")
        {0: True, 1: True, 2: False, 3: True}
    """
    if max(len(predicted), len(gold)) > MAX_ANSWER_CHARACTERS:
        return None
    predicted, gold = (without_lead_in(stated_value(clean(answer))) for answer in (predicted, gold))
    if DIGIT_ROW.fullmatch(gold):
        wanted = _digits_as_written(gold)
        is_row = re.fullmatch(r"-? ?[0-9](?: ?[0-9])*", predicted) is not None
        found = _digits_as_written(predicted) if is_row else None
    else:
        quantity = read_quantity(gold)
        wanted = _digits_by_place(quantity) if quantity and not quantity.is_fraction else None
        found = _digits_of_prediction(predicted)
    if wanted is None:
        return None
    found = found or {}
    positions = [*wanted, *(position for position in found if position not in wanted)]
    return {position: found.get(position) == wanted.get(position) for position in positions}


def _digits_of_prediction(text: str) -> dict[int | str, str] | None:
    """The digits of a number by place, also where it is written as a row; None for no number."""
    quantity = read_quantity(text.replace(" ", "") if DIGIT_ROW.fullmatch(text) else text)
    return _digits_by_place(quantity) if quantity else None


def _digits_as_written(text: str) -> dict[int | str, str]:
    digits: dict[int | str, str] = dict(enumerate(re.findall("[0-9]", text)))
    return {**digits, "sign": "-"} if text.startswith("-") else digits


def _digits_by_place(quantity: Quantity) -> dict[int | str, str] | None:
    """Returns {0: "8", 1: "1"} for 18: digits by power of ten; None for 1/3."""
    value = quantity.value
    places = next((n for n in range(_MAX_PLACES) if 10**n % value.denominator == 0), None)
    if places is None:
        return None
    text = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    digits: dict[int | str, str] = {
        power - places: digit for power, digit in enumerate(reversed(text))
    }
    return {**digits, "sign": "-"} if value < 0 else digits
