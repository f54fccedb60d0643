"""Percentages: of a number, of which number, how many percent, more and less."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from random import Random

from unspoken.data.tasks.arithmetic.calculation import worked
from unspoken.data.tasks.arithmetic.form import (
    Number,
    Solution,
    Values,
    exact,
    form,
    money,
    number,
    pick,
)

_PLAIN = (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90)


def _percent(rng: Random, level: int, below: int = 100) -> Number:
    """Returns a percentage: a plain one, any whole one, or one with halves, never 100."""
    if level == 0:
        return rng.choice(_PLAIN)
    if level == 1:
        return rng.randint(1, min(below, 100) - 1)
    halves = rng.randint(3, 2 * below - 1)
    return exact(Fraction(halves, 2)) if halves != 200 else 101


def _draw_any(rng: Random, level: int, below: int = 100) -> Values:
    percent = _percent(rng, level, below)
    if level == 0:
        return {"p": percent, "n": 20 * rng.randint(2, 40)}
    return {"p": percent, "n": pick(rng, level, (2, 2), (20, 999), (100, 9999))}


def _draw_of(rng: Random, level: int) -> Values:
    return _draw_any(rng, level, 250)


def _draw_off(rng: Random, level: int) -> Values:
    values = _draw_any(rng, level)
    return {"p": int(values["p"]) or 1, "n": pick(rng, level, (20, 200), (20, 400), (200, 2500))}


def _draw_whole(rng: Random, level: int, below: int = 200) -> Values:
    """Draws a whole number and a percentage such that the part is whole, too."""
    percent = _percent(rng, level, below)
    step = Fraction(percent, 100).denominator
    whole = step * rng.randint(max(1, 20 // step), max(2, (400, 900, 4000)[level] // step))
    return {"p": percent, "n": whole, "part": exact(whole * Fraction(percent, 100))}


def _draw_part_of_whole(rng: Random, level: int) -> Values:
    values = _draw_whole(rng, level, 100)
    return {"a": values["part"], "b": values["n"]}


def _draw_part_and_percent(rng: Random, level: int) -> Values:
    values = _draw_whole(rng, level)
    return {"a": values["part"], "p": values["p"]}


def _draw_rise(rng: Random, level: int) -> Values:
    values = _draw_whole(rng, level)
    return {"a": values["n"], "b": values["n"] + values["part"]}


def _draw_fall(rng: Random, level: int) -> Values:
    values = _draw_whole(rng, level, 100)
    return {"a": values["n"], "b": values["n"] - values["part"]}


def _draw_twice(rng: Random, level: int) -> Values:
    return {
        "n": 4 * pick(rng, level, (10, 50), (10, 250), (50, 2000)),
        "p": 5 * rng.randint(1, 12),
        "q": 5 * rng.randint(1, 12),
    }


def _part(percent: Number, whole: Number) -> tuple[list[str], Number]:
    """Returns the steps to a percentage of a number, and what it is."""
    first, product = worked(percent, "×", whole)
    second, part = worked(product, "÷", 100)
    lead = f"{number(percent)}% of {number(whole)} is {number(percent)} × {number(whole)} ÷ 100"
    return [lead, first, second], part


def _part_of(values: Values) -> Solution:
    steps, part = _part(values["p"], values["n"])
    return steps, number(part)


def _moved(percent: Number, whole: Number, up: bool) -> tuple[list[str], Number]:
    steps, part = _part(percent, whole)
    how, sign = ("Add", "+") if up else ("Subtract", "-")
    text, result = worked(whole, sign, part)
    return [*steps, f"{how} this: {text}"], result


def _changed_by(
    values: Values, *, up: bool = False, write: Callable[[Number], str] = number
) -> Solution:
    steps, result = _moved(values["p"], values["n"], up)
    return steps, write(result)


def _more_then_less(values: Values) -> Solution:
    steps, between = _moved(values["p"], values["n"], up=True)
    more, result = _moved(values["q"], between, up=False)
    return steps + more, number(result)


def _hundredfold(what: str, dividend: Number, divisor: Number) -> tuple[list[str], Number]:
    """Returns the steps to a hundred times a number divided by another one, and the result."""
    first, product = worked(dividend, "×", 100)
    second, result = worked(product, "÷", divisor)
    return [f"The {what} is {number(dividend)} × 100 ÷ {number(divisor)}", first, second], result


def _how_many_percent(values: Values) -> Solution:
    steps, percent = _hundredfold("percentage", values["a"], values["b"])
    return steps, f"{number(percent)}%"


def _whole_of(values: Values) -> Solution:
    steps, whole = _hundredfold("number", values["a"], values["p"])
    return steps, number(whole)


def _change(values: Values) -> Solution:
    old, new = values["a"], values["b"]
    text, difference = worked(max(old, new), "-", min(old, new))
    steps, answer = _how_many_percent({"a": difference, "b": old})
    return [f"The change is {text}", *steps], answer


FORMS = (
    form(
        "percent_of",
        [
            "How much is {p}% of {n}?",
            "Find {p}% of {n}.",
            "Calculate {p}% of {n}.",
            "What number is {p}% of {n}?",
            "If you take {p}% of {n}, what do you get?",
        ],
        _draw_of,
        _part_of,
        understood=["What is {p}% of {n}?"],
    ),
    form(
        "what_percent",
        [
            "{a} is what percentage of {b}?",
            "What percentage of {b} is {a}?",
            "Write {a} as a percentage of {b}.",
            "A test has {b} points and {who:person} scores {a} of them. "
            "What percentage does {who} score?",
        ],
        _draw_part_of_whole,
        _how_many_percent,
    ),
    form(
        "whole_from_percent",
        [
            "{a} is {p}% of which number?",
            "{p}% of a number is {a}. What is the number?",
            "Of which number is {a} exactly {p}%?",
            "If {p}% of a number equals {a}, find the number.",
        ],
        _draw_part_and_percent,
        _whole_of,
    ),
    form(
        "percent_more",
        [
            "Increase {n} by {p}%.",
            "What do you get when {n} grows by {p}%?",
            "What number is {p}% more than {n}?",
            "Add {p}% to {n}.",
        ],
        _draw_any,
        partial(_changed_by, up=True),
    ),
    form(
        "percent_less",
        [
            "Decrease {n} by {p}%.",
            "What is left of {n} after a loss of {p}%?",
            "What number is {p}% less than {n}?",
            "Reduce {n} by {p}%.",
        ],
        _draw_any,
        _changed_by,
    ),
    form(
        "discount",
        [
            "{who:person} buys a {item:item} whose price of {n:money} is reduced by {p}%. "
            "How much does {who} pay?",
            "The regular price of a {item:item} is {n:money}. What does it cost at {p}% off?",
            "A shop sells a {item:item} for {n:money} and gives a discount of {p}%. "
            "What is the new price?",
            "What is the sale price of a {item:item} that costs {n:money} before a discount "
            "of {p}%?",
        ],
        _draw_off,
        partial(_changed_by, write=money),
    ),
    form(
        "percent_rise",
        [
            "A {group:group} grows from {a} to {b} members. By what percentage does it grow?",
            "A value rises from {a} to {b}. What is the increase in percent?",
            "By what percentage must {a} be raised to reach {b}?",
        ],
        _draw_rise,
        _change,
        (1, 2),
    ),
    form(
        "percent_fall",
        [
            "A {group:group} shrinks from {a} to {b} members. By what percentage does it shrink?",
            "A value falls from {a} to {b}. What is the decrease in percent?",
            "By what percentage must {a} be lowered to reach {b}?",
        ],
        _draw_fall,
        _change,
        (1, 2),
    ),
    form(
        "up_and_down",
        [
            "A value of {n} first rises by {p}% and then falls by {q}%. What is it in the end?",
            "Increase {n} by {p}%, then decrease the result by {q}%. What do you get?",
            "Start with {n}. Add {p}% to it, and then take {q}% off what you have. "
            "How much remains?",
        ],
        _draw_twice,
        _more_then_less,
        (2,),
    ),
)
