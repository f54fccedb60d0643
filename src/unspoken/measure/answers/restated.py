"""An amount that is said twice, or worked out: 1/4 or 25%, 72 inches (6 feet), 12 times 7 is 84.

Where the two do not say the same, nothing is taken away. Words are no matter here.
"""

from __future__ import annotations

import re

from unspoken.measure.answers.expression import read_expression, same_value
from unspoken.measure.answers.number_words import with_digits
from unspoken.measure.answers.quantity import Quantity, read_quantity, units_agree
from unspoken.measure.answers.times import (
    equal_compounds,
    is_compound,
    read_clock,
    read_date,
    same_amount,
)

_NEAR = 0.02
_CALCULATION = re.compile(r"[0-9.,()+*/ -]+")
_MAX_CALCULATION = 40
_WHICH_IS = re.compile(r"^(?:since|because|i\.e\.,?|(?:which|that|this) is|or|=),? ?")
#: 12 times 7 is 84, 3 * 28 -> 84
_WORKED_OUT = re.compile(r"([^=]{3,40}?) (?:is|equals|makes|->|=>|→) ([^=]+)")


def read_ways(text: str) -> list[str]:
    """Returns the parts of `1/4 or 25%`, `3/4 = 0.75`, `1/4 (25%)`, `1/3 ≈ 0.33`, if they agree.

    Of times and dates, too: `6:00 PM (18:00)`.
    """
    is_near = "\\approx" in text
    separator = (
        r"\s*\\approx\s*"
        if is_near
        else r"\s*(?:,? ?\bor\b|,? i\.e\.,?|=)\s*|\s*\((?:or )?(?=[^()]+\)$)"
    )
    parts = [with_digits(part.rstrip(") ")) for part in re.split(separator, text)]
    if len(parts) == 1:
        return []
    if (agree := _are_same_time(parts)) is not None:
        return parts if agree else []
    quantities = [each for each in map(read_quantity, parts) if each]
    is_same = len(quantities) == len(parts) and _are_same_amount(quantities, is_near=is_near)
    return parts if is_same else []


def _are_same_amount(quantities: list[Quantity], *, is_near: bool) -> bool:
    if all(same_amount(quantities[0], each) for each in quantities[1:]):  # 72 inches (6 feet)
        return True
    plain = [
        Quantity(each.value / 100, (), each.is_fraction) if each.unit[:1] == ("%",) else each
        for each in quantities
    ]
    values = [each.value for each in plain]
    if is_near:
        return abs(values[0] - values[-1]) <= _NEAR * abs(values[0])
    # not 84 minutes or 84 hours
    agree = all(units_agree(plain[0].unit, each.unit) for each in plain[1:])
    return agree and len(set(values)) == 1


def _are_same_time(parts: list[str]) -> bool | None:
    """Whether times, or dates, are all the same; None where not all are such.

    Of times also 2 hours 30 minutes and 150 minutes.
    """
    if any(map(is_compound, parts)):
        return all(equal_compounds(parts[0], part) for part in parts[1:])
    clocks = [each for each in map(read_clock, parts) if each]
    if len(clocks) == len(parts):
        return all(each.agrees(clocks[0]) for each in clocks)
    dates = [date for date in map(read_date, parts) if date]
    return len(set(dates)) == 1 if len(dates) == len(parts) else None


def without_calculation(text: str) -> str:
    """Returns "84" for "12 times 7 is 84"."""
    worked_out = _WORKED_OUT.fullmatch(text)
    return worked_out[2] if worked_out and amounts_to(*worked_out.groups()) else text


def amounts_to(calculation: str, value: str) -> bool:
    """Whether a calculation has a number for its value: 12 + 72 is 84, and 7 times 12, too."""
    signs = {" times ": "*", " plus ": "+", " minus ": "-", " divided by ": "/", " x ": "*"}
    value = value.lstrip("$€£").partition(" ")[0]
    calculation, sign, result = _WHICH_IS.sub("", calculation).rpartition("=")
    if not sign or result.strip(" $€£") != value:
        calculation += sign + result
    for word, sign in signs.items():
        calculation = calculation.replace(word, sign)
    if len(calculation) > _MAX_CALCULATION or not _CALCULATION.fullmatch(calculation):
        return False
    one, other = read_expression(calculation), read_expression(value)
    return one is not None and other is not None and same_value(one, other)
