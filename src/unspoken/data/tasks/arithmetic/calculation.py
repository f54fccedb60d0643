"""One calculation, written in steps that need no paper: `28 × 3 = 20 × 3 + 8 × 3 = 60 + 24 = 84`.

A small language model learns `20 × 3` from a few thousand examples, but not `28 × 3`: one that had
learned from results that stood alone gave 60 wrong answers of 200, 55 of them for a wrong result of
a right calculation. So a number of several places is taken apart, the same way wherever it occurs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction

from unspoken.data.tasks.arithmetic.form import Number, exact, number

#: Places of a number up to which it is taken apart; with more the line would be too long.
MOST_PLACES = 3
#: Sums and differences of numbers up to this are one step.
_KNOWN_BY_HEART = 20

_OPERATIONS = {"+": operator.add, "-": operator.sub, "×": operator.mul, "÷": operator.truediv}
_Write = Callable[[Number], str]


def split_places(value: Number) -> list[Number]:
    """Returns what the digits of a positive number stand for, without zeros.

    Examples:
        >>> split_places(507)
        [500, 7]
    """
    whole, _, decimals = number(value).partition(".")
    places = [int(digit) * 10**place for place, digit in enumerate(reversed(whole))][::-1]
    behind = [Fraction(int(digit), 10**place) for place, digit in enumerate(decimals, start=1)]
    return [part for part in (*places, *behind) if part]


def result_of(left: Number, sign: str, right: Number) -> Number:
    """Returns the exact result of an operation, one of + - × ÷."""
    return exact(Fraction(_OPERATIONS[sign](Fraction(left), Fraction(right))))


def calculate(
    left: Number, sign: str, right: Number, *, left_as: _Write = number, right_as: _Write = number
) -> str:
    """Returns a calculation with its steps between, and its result at the end.

    Args:
        sign: one of + - × ÷.
        left_as, right_as: how either number is written, such as `money`; the result is written
            as the left one of a sum and a division, and as the one that is not plain of a product.

    Examples:
        >>> calculate(43, "+", 38), calculate(8, "+", 5)
        ('43 + 38 = 43 + 30 + 8 = 73 + 8 = 81', '8 + 5 = 13')
        >>> calculate(116, "÷", 4)
        '116 ÷ 4 = 80 ÷ 4 + 36 ÷ 4 = 20 + 9 = 29'
    """
    result = result_of(left, sign, right)
    as_result = right_as if sign == "×" and right_as is not number else left_as
    whole = [f"{left_as(left)} {sign} {right_as(right)}"]
    if left > 0 and right > 0 and result > 0:
        if sign in "+-":
            parts = _parts(right) if max(left, right) > _KNOWN_BY_HEART else []
            whole += _added(left, sign, parts, left_as)
        elif sign == "×":
            whole += _products(left, right, left_as, right_as, as_result)
        else:
            whole += _quotients(right, result, left_as, right_as)
    return " = ".join([*whole, as_result(result)])


def _parts(value: Number) -> list[Number]:
    """The places of a number that is taken apart; none of one that is not."""
    ends = 10**9 % Fraction(value).denominator == 0
    parts = split_places(value) if ends else []
    return parts if 1 < len(parts) <= MOST_PLACES else []


def _added(left: Number, sign: str, parts: list[Number], write: _Write) -> list[str]:
    """`43 + 30 + 8`, `73 + 8`: one part after the other; nothing without parts."""
    lines, have = [], left
    for place, part in enumerate(parts):
        lines.append(f" {sign} ".join(map(write, [have, *parts[place:]])))
        have = result_of(have, sign, part)
    return lines


def _products(
    left: Number, right: Number, left_as: _Write, right_as: _Write, as_result: _Write
) -> list[str]:
    """`28 × 20 + 28 × 3`, `560 + 84`: the left one is taken apart where the right one is not."""
    pairs = [(left, part) for part in _parts(right)] or [(part, right) for part in _parts(left)]
    if not pairs or any(_is_power_of_ten(factor) for factor in (left, right)):
        return []
    first, *others = [result_of(a, "×", b) for a, b in pairs]
    return [
        " + ".join(f"{left_as(a)} × {right_as(b)}" for a, b in pairs),
        *_added(first, "+", others, as_result),
    ]


def _quotients(right: Number, result: Number, left_as: _Write, right_as: _Write) -> list[str]:
    """`80 ÷ 4 + 36 ÷ 4`, `20 + 9`: of whole results, where more than the decimal point moves."""
    parts = _parts(result) if isinstance(result, int) and not _is_power_of_ten(right) else []
    if not parts:
        return []
    return [
        " + ".join(f"{left_as(result_of(part, '×', right))} ÷ {right_as(right)}" for part in parts),
        " + ".join(map(left_as, parts)),
    ]


def _is_power_of_ten(value: Number) -> bool:
    """Whether it only moves the decimal point: 1, 10, 100."""
    return value >= 1 and number(value).rstrip("0") == "1"
