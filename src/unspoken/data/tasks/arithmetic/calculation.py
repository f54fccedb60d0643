"""One calculation, written in steps that need no paper: `43 + 38 = 43 + 30 + 8 = 73 + 8 = 81`.

A small language model learns `20 × 3` from a few thousand examples, but not `28 × 3`: one that had
learned from results that stood alone gave 60 wrong answers of 200, 55 of them for a wrong result of
a right calculation. So a number of several places is taken apart, the same way wherever it occurs.
Nothing is written that had to be known before it was worked out: `116 ÷ 4 = 80 ÷ 4 + 36 ÷ 4` needs
the quotient to find 80 and 36, and of 55 wrong answers after that 31 had gone wrong in a division.
So a division is long division: a place of the quotient, what is left, the next place.
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
#: Of a divisor of several places so many times are found at once; 7 times are 5 and 2 times.
_MOST_TIMES = 5

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
        '116 ÷ 4 = 20 + (116 - 80) ÷ 4 = 20 + 36 ÷ 4 = 20 + 9 = 29'
    """
    result = result_of(left, sign, right)
    as_result = right_as if sign == "×" and right_as is not number else left_as
    whole = [f"{left_as(left)} {sign} {right_as(right)}"]
    if left > 0 and right > 0 and result > 0:
        if sign in "+-":
            whole += _added(left, sign, [right], left_as)[1:]
        elif sign == "×":
            whole += _products(left, right, left_as, right_as, as_result)
        else:
            whole += _quotients(left, right, result, left_as, right_as)
    return " = ".join([*whole, as_result(result)])


def worked(
    left: Number, sign: str, right: Number, *, left_as: _Write = number, right_as: _Write = number
) -> tuple[str, Number]:
    """Returns what `calculate` writes, and the result to go on with.

    Examples:
        >>> worked(8, "+", 5)
        ('8 + 5 = 13', 13)
    """
    text = calculate(left, sign, right, left_as=left_as, right_as=right_as)
    return text, result_of(left, sign, right)


def add_up(terms: list[Number]) -> str:
    """Returns a sum of positive numbers with its steps between, and its result at the end.

    Examples:
        >>> add_up([560, 84])
        '560 + 84 = 560 + 80 + 4 = 640 + 4 = 644'
    """
    steps = _added(terms[0], "+", terms[1:], number)
    return " = ".join([*steps, number(exact(Fraction(sum(terms))))])


def _parts(value: Number) -> list[Number]:
    """The places of a number that is taken apart; none of one that is not."""
    parts = split_places(value) if _ends(value) else []
    return parts if 1 < len(parts) <= MOST_PLACES else []


def _added(left: Number, sign: str, terms: list[Number], write: _Write) -> list[str]:
    """`43 + 38`, `43 + 30 + 8`, `73 + 8`: one term after the other, each in its places."""
    lines, have, rest = [], left, list(terms)
    while rest:
        lines.append(f" {sign} ".join(map(write, [have, *rest])))
        parts = _parts(rest[0]) if max(have, rest[0]) > _KNOWN_BY_HEART else []
        if parts:
            rest[:1] = parts
        else:
            have = result_of(have, sign, rest.pop(0))
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


def _quotients(
    left: Number, right: Number, result: Number, left_as: _Write, right_as: _Write
) -> list[str]:
    """`20 + (116 - 80) ÷ 4`, `20 + 36 ÷ 4`, `20 + 9`: long division, one place after the other.

    Nothing where the quotient is known by heart, has no end, or only the decimal point moves.
    """
    if _is_power_of_ten(right) or not (_ends(result) and _ends(right)):
        return []
    places = split_places(result)
    if len(places) > MOST_PLACES:
        return []
    if len(split_places(right)) > 1:
        places = [times for place in places for times in _times(place)]
    lines, have, found = [], left, ""
    for place in places[:-1]:
        taken = result_of(place, "×", right)
        found += f"{left_as(place)} + "
        lines.append(f"{found}({left_as(have)} - {left_as(taken)}) ÷ {right_as(right)}")
        have = result_of(have, "-", taken)
        lines.append(f"{found}{left_as(have)} ÷ {right_as(right)}")
    return [*lines, " + ".join(map(left_as, places))] if lines else []


def _times(place: Number) -> list[Number]:
    """A place of a quotient as what is found at once of it: 70 as 50 and 20, 40 as it is."""
    unit = Fraction(place) / int(number(place).replace(".", "").strip("0"))
    most = exact(_MOST_TIMES * unit)
    return [most, exact(place - most)] if place > most else [place]


def _ends(value: Number) -> bool:
    """Whether its decimals have an end, and there are few enough of them."""
    return 10**9 % Fraction(value).denominator == 0


def _is_power_of_ten(value: Number) -> bool:
    """Whether it only moves the decimal point: 1, 10, 100."""
    return value >= 1 and number(value).rstrip("0") == "1"
