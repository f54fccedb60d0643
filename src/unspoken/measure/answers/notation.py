"""Numbers in notations of their own: with a base, as a row of spaced digits, as a ratio."""

from __future__ import annotations

import re
from fractions import Fraction

from unspoken.measure.answers.quantity import (
    MAX_QUANTITY_CHARACTERS,
    NUMERAL,
    numeral,
    read_quantity,
)

DIGIT_ROW = re.compile(r"-? ?[0-9](?: [0-9])+")
_INTEGER = re.compile(r"-?[0-9]+")
_RATIO = re.compile(
    rf"(?:the )?(?:ratio (?:is |of )?)?({NUMERAL}(?:(?: ?: ?| to |-to-){NUMERAL})+)",
    re.IGNORECASE,
)
_BASED = re.compile(
    r"(?:([0-9A-Z]+)|\( ?([0-9A-Z]+) ?\)) ?_ ?\{? ?([0-9]{1,2}|[a-z]{3,11}) ?\}?"
    r"|([0-9A-Z]+),? \(?(?:in )?base[ -]([0-9]{1,2}|[a-z]{3,11})\)?"
)
_BASES = "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905


def equal_based(first: str, second: str) -> bool | None:
    """Returns whether two numbers have the same digits and base, None where neither has a base."""
    numbers = [_BASED.fullmatch(answer) for answer in (first, second)]
    if not any(numbers):
        return None
    found = [_digits_and_base(number) for number in numbers if number]
    return len(found) == len(numbers) and found[0] == found[1]


def _digits_and_base(number: re.Match[str]) -> tuple[str, str]:
    digits, base = number[1] or number[2] or number[4], number[3] or number[5]
    return digits.lstrip("0"), str(_BASES.index(base)) if base in _BASES else base


def equal_digit_rows(first: str, second: str) -> bool | None:
    """Returns whether two answers are the same digits, None where neither has them spaced."""
    if not (DIGIT_ROW.fullmatch(first) or DIGIT_ROW.fullmatch(second)):
        return None
    are_digits = all(DIGIT_ROW.fullmatch(a) or _INTEGER.fullmatch(a) for a in (first, second))
    return are_digits and first.replace(" ", "") == second.replace(" ", "")


def equal_ratios(first: str, second: str) -> bool | None:
    """Returns whether two ratios are proportional to each other, None where neither is a ratio.

    Beside a ratio a fraction is one, too.
    """
    ratios = _read_ratio(first), _read_ratio(second)
    if not any(ratios):
        return None
    first_ratio = ratios[0] or _fraction_as_ratio(first)
    second_ratio = ratios[1] or _fraction_as_ratio(second)
    if len(first_ratio) != len(second_ratio):
        return False
    pairs = list(zip(first_ratio, second_ratio, strict=True))
    same_zeros = all((left == 0) == (right == 0) for left, right in pairs)
    return same_zeros and len({left / right for left, right in pairs if right}) <= 1


def _read_ratio(text: str) -> tuple[Fraction, ...]:
    """Returns (3, 2) for "3:2" and "3 to 2", () for other answers."""
    match = _RATIO.fullmatch(text) if len(text) <= MAX_QUANTITY_CHARACTERS else None
    if match is None or re.search(r":0[0-9]", text):  # 3:05 is a time
        return ()
    return tuple(numeral(part.strip()) for part in re.split(r":|-?to-?", match[1].casefold()))


def _fraction_as_ratio(text: str) -> tuple[Fraction, ...]:
    """Returns (3, 2) for "3/2", () for other answers."""
    quantity = read_quantity(text)
    if quantity is None or not quantity.is_fraction or quantity.unit:
        return ()
    return Fraction(quantity.value.numerator), Fraction(quantity.value.denominator)
