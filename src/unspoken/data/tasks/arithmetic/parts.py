"""Fractions: the four operations, parts of amounts, and what is missing to a whole."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import lcm, prod
from random import Random

from unspoken.data.tasks.arithmetic.calculation import worked
from unspoken.data.tasks.arithmetic.form import (
    Draw,
    Number,
    Solution,
    Values,
    ask_for,
    form,
    fraction,
    number,
    pick,
)


def draw_proper_fraction(rng: Random, level: int) -> Fraction:
    """Returns a fraction between 0 and 1."""
    bottom = pick(rng, level, (2, 9), (3, 15), (3, 30))
    return Fraction(rng.randint(1, bottom - 1), bottom)


def _any(rng: Random, level: int) -> Fraction:
    """Returns a fraction that may be above 1 at the hard level, never a whole number."""
    value = draw_proper_fraction(rng, level)
    return value + rng.randint(1, 4) if level == 2 and rng.random() < 0.4 else value


# --- steps --------------------------------------------------------------------------------------


def _lowest(top: int, bottom: int) -> list[str]:
    """Returns the step to lowest terms, if one is needed."""
    value = Fraction(top, bottom)
    if value.denominator == bottom:
        return []
    return [f"In lowest terms: {top}/{bottom} = {fraction(value)}"]


def combine(values: Sequence[Fraction], signs: Sequence[str]) -> tuple[list[str], Fraction]:
    """Returns the steps and the result of fractions with + and - between them."""
    common = lcm(*(value.denominator for value in values))
    tops = [value.numerator * (common // value.denominator) for value in values]
    steps = []
    if any(value.denominator != common for value in values):
        bottoms = " and ".join(str(value.denominator) for value in values)
        steps.append(f"The least common denominator of {bottoms} is {common}")
        steps.append(
            " and ".join(
                f"{fraction(value)} = {top}/{common}"
                for value, top in zip(values, tops, strict=True)
                if value.denominator != common
            )
        )
    terms = str(tops[0])
    result = tops[0]
    for sign, top in zip(signs, tops[1:], strict=True):
        terms += f" {sign} {top}"
        result += top if sign == "+" else -top
    steps.append(f"Work out the numerators: {terms} = {result}, which makes {result}/{common}")
    return steps + _lowest(result, common), Fraction(result, common)


def _product(tops: Sequence[int], bottoms: Sequence[int]) -> tuple[list[str], str]:
    top, bottom = prod(tops), prod(bottoms)
    steps = [
        f"Multiply the numerators: {' × '.join(map(str, tops))} = {top}",
        f"Multiply the denominators: {' × '.join(map(str, bottoms))} = {bottom}",
    ]
    return steps + _lowest(top, bottom), fraction(Fraction(top, bottom))


def _share(value: Fraction, amount: int) -> tuple[list[str], Number]:
    """Returns the steps to a fraction of an amount that it divides."""
    text, one = worked(amount, "÷", value.denominator)
    if value.numerator == 1:
        return [f"One part: {text}"], one
    product, share = worked(one, "×", value.numerator)
    return [f"One part: {text}", f"{value.numerator} parts: {product}"], share


# --- forms --------------------------------------------------------------------------------------


def _draw_two(rng: Random, level: int) -> Values:
    return {"f": _any(rng, level), "g": _any(rng, level)}


def _draw_until(
    draw: Callable[[Random, int], Fraction], fits: Callable[[Fraction, Fraction], bool]
) -> Draw:
    """Returns what draws two fractions until they fit."""

    def draw_fitting(rng: Random, level: int) -> Values:
        while True:
            f, g = draw(rng, level), draw(rng, level)
            if fits(f, g):
                return {"f": f, "g": g}

    return draw_fitting


def _draw_three(rng: Random, level: int) -> Values:
    while True:
        f, g, h = (draw_proper_fraction(rng, 1) for _ in range(3))
        if f + g > h:
            return {"f": f, "g": g, "h": h}


def _draw_amount(rng: Random, level: int) -> Values:
    value = draw_proper_fraction(rng, level)
    count = pick(rng, level, (2, 12), (2, 30), (10, 90))
    return {"f": value, "n": value.denominator * count}


def _draw_known_part(rng: Random, level: int) -> Values:
    values = _draw_amount(rng, level)
    return {"f": values["f"], "n": int(values["n"] * values["f"])}


def _combined(names: str, signs: str, values: Values) -> Solution:
    steps, result = combine([values[name] for name in names], signs)
    return steps, fraction(result)


def _multiply(values: Values) -> Solution:
    f, g = values["f"], values["g"]
    return _product([f.numerator, g.numerator], [f.denominator, g.denominator])


def _divide(values: Values) -> Solution:
    f, g = values["f"], values["g"]
    turned = f"{g.denominator}/{g.numerator}"
    lead = f"Multiply by the reciprocal: {fraction(f)} ÷ {fraction(g)} = {fraction(f)} × {turned}"
    steps, answer = _product([f.numerator, g.denominator], [f.denominator, g.numerator])
    return [lead, *steps], answer


def _part_of(values: Values) -> Solution:
    steps, part = _share(values["f"], values["n"])
    return steps, number(part)


def _left_over(values: Values) -> Solution:
    steps, part = _share(values["f"], values["n"])
    text, left = worked(values["n"], "-", part)
    return [*steps, f"What is left: {text}"], number(left)


def _whole_of(values: Values) -> Solution:
    value = values["f"]
    text, one = worked(values["n"], "÷", value.numerator)
    product, whole = worked(one, "×", value.denominator)
    steps = [f"One part: {text}"] if value.numerator > 1 else []
    return [*steps, f"The whole has {value.denominator} parts: {product}"], number(whole)


def _missing(values: Values) -> Solution:
    lead = f"Subtract what is there from what is wanted: {values['g']} - {values['f']}"
    steps, result = combine([values["g"], values["f"]], "-")
    return [lead, *steps], fraction(result)


def _rest_of_whole(values: Values) -> Solution:
    steps, done = combine([values["f"], values["g"]], "+")
    top, bottom = done.numerator, done.denominator
    left = fraction(1 - done)
    return [
        *steps,
        f"Subtract it from the whole: {bottom}/{bottom} - {top}/{bottom} = {left}",
    ], left


_F, _G, _H = "{f:fraction}", "{g:fraction}", "{h:fraction}"

FORMS = (
    form(
        "fraction_addition",
        [*ask_for(f"{_F} + {_G}"), f"Add {_F} and {_G}.", f"What is the sum of {_F} and {_G}?"],
        _draw_two,
        lambda values: _combined("fg", "+", values),
    ),
    form(
        "fraction_subtraction",
        [
            *ask_for(f"{_F} - {_G}"),
            f"Subtract {_G} from {_F}.",
            f"By how much does {_F} exceed {_G}?",
        ],
        _draw_until(_any, operator.gt),
        lambda values: _combined("fg", "-", values),
    ),
    form(
        "fraction_multiplication",
        [
            *ask_for(f"{_F} × {_G}"),
            f"Multiply {_F} by {_G}.",
            f"What is the product of {_F} and {_G}?",
        ],
        _draw_two,
        _multiply,
    ),
    form(
        "fraction_division",
        [
            *ask_for(f"{_F} ÷ {_G}"),
            f"Divide {_F} by {_G}.",
            f"What is the result when {_F} is divided by {_G}?",
        ],
        _draw_two,
        _divide,
    ),
    form(
        "fraction_of_number",
        [f"How much is {_F} of {{n}}?", f"Find {_F} of {{n}}.", f"What number is {_F} of {{n}}?"],
        _draw_amount,
        _part_of,
    ),
    form(
        "left_over",
        [
            f"{{who:person}} has {{n}} {{things:goods}} and gives away {_F} of them. "
            "How many are left?",
            f"A shop has {{n}} {{things:goods}} and sells {_F} of them. "
            "How many {things} remain?",
            f"Of {{n}} {{things:goods}}, {{who:person}} packs {_F} into boxes. "
            "How many are not packed?",
        ],
        _draw_amount,
        _left_over,
    ),
    form(
        "whole_from_fraction",
        [
            f"{_F} of a number is {{n}}. What is the number?",
            f"If {_F} of a number equals {{n}}, find the number.",
            f"Of which number is {{n}} exactly {_F}?",
        ],
        _draw_known_part,
        _whole_of,
    ),
    form(
        "missing_fraction",
        [
            f"Which fraction must be added to {_F} to make {_G}?",
            f"What is missing from {_F} to reach {_G}?",
            f"A jug holds {_F} of a liter. How many liters more make {_G} of a liter?",
        ],
        _draw_until(draw_proper_fraction, operator.lt),
        _missing,
        (1, 2),
    ),
    form(
        "rest_of_whole",
        [
            f"{{who:person}} reads {_F} of a book on Monday and {_G} of it on Tuesday. "
            "Which fraction of the book is left?",
            f"{{who:person}} paints {_F} of a fence, and {{other:person}} paints {_G} of it. "
            "What fraction of the fence is still bare?",
            f"{{who:person}} mows {_F} of a lawn before lunch and {_G} of it after lunch. "
            "What fraction of the lawn is not mown yet?",
        ],
        _draw_until(draw_proper_fraction, lambda f, g: f + g < 1),
        _rest_of_whole,
    ),
    form(
        "three_fractions",
        ask_for(f"{_F} + {_G} - {_H}"),
        _draw_three,
        lambda values: _combined("fgh", "+-", values),
        (2,),
    ),
)
