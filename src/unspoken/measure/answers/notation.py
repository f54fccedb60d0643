"""Numbers in notations of their own: with a base, as a row of spaced digits, as a ratio."""

from __future__ import annotations

import re
from fractions import Fraction

from unspoken.measure.answers.number_words import SMALL
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
_BASE = r"[0-9]{1,2}|[a-z]{3,11}"
_DIGITS = r"-?[0-9A-Z](?: ?[0-9A-Z])*(?:\.[0-9A-Z]+)?"  # 3A, and 3 A of 3\mathrm{A}
_BASED = re.compile(
    rf"(?:({_DIGITS})|\( ?({_DIGITS}) ?\)) ?_ ?\{{? ?\(?({_BASE})\)? ?\}}?(?: \(?base[ -](\3)\)?)?"
    rf"|({_DIGITS}),? \(?(?:in )?(?:base[ -]({_BASE})|(binary|octal|hexadecimal|hex))\)?"
)
#: As programs write them: 0b1010, 0o17, 0xFF.
_PREFIXED = re.compile(r"0(?:b(?P<_2>[01]+)|o(?P<_8>[0-7]+)|x(?P<_16>[0-9a-f]+))", re.IGNORECASE)
_NAMED_BASES = {"binary": "2", "octal": "8", "hexadecimal": "16", "hex": "16"}


def equal_based(first: str, second: str) -> bool | None:
    """Returns whether two numbers have the same digits and base, None where neither has a base.

    A number without a base has base 10 beside one of which base 10 is said.
    """
    numbers = _read_based(first), _read_based(second)
    if not any(numbers):
        return None
    one, other = (
        number or ((text.lstrip("0"), "10") if _INTEGER.fullmatch(text) else None)
        for number, text in zip(numbers, (first, second), strict=True)
    )
    return one == other


def _read_based(text: str) -> tuple[str, str] | None:
    """Returns the digits of a number and its base, None where it has none."""
    if prefixed := _PREFIXED.fullmatch(text):
        digits = prefixed[prefixed.lastgroup or 0].upper()
        return digits.lstrip("0"), (prefixed.lastgroup or "").removeprefix("_")
    number = _BASED.fullmatch(text)
    if number is None:
        return None
    digits = (number[1] or number[2] or number[5]).replace(" ", "").lstrip("0")
    base = number[3] or number[6] or _NAMED_BASES[number[7]]
    return digits, str(SMALL.get(base, base))


def equal_digit_rows(first: str, second: str) -> bool | None:
    """Returns whether two answers are the same digits, None where neither has them spaced."""
    if not (DIGIT_ROW.fullmatch(first) or DIGIT_ROW.fullmatch(second)):
        return None
    return first.replace(" ", "") == second.replace(" ", "")


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
