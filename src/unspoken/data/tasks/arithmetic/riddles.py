"""Algebra in words: a number that someone thinks of, two numbers by sum and difference."""

from __future__ import annotations

from random import Random

from unspoken.data.tasks.arithmetic.algebra import (
    draw_constant,
    draw_factor,
    draw_unknown,
    two_steps,
)
from unspoken.data.tasks.arithmetic.calculation import worked
from unspoken.data.tasks.arithmetic.form import Solution, Values, form, number, pick


def _draw_puzzle(rng: Random, level: int) -> Values:
    factor, constant = draw_factor(rng, level), draw_constant(rng, level) + 1
    unknown = abs(draw_unknown(rng, level)) + constant
    return {"a": factor, "b": constant, "c": unknown * factor}


def _draw_puzzle_more(rng: Random, level: int) -> Values:
    values = _draw_puzzle(rng, level)
    return {**values, "c": values["c"] + values["b"]}


def _draw_puzzle_less(rng: Random, level: int) -> Values:
    values = _draw_puzzle(rng, level)
    return {**values, "c": values["c"] - values["b"]}


def _puzzle(sign: str, values: Values) -> Solution:
    factor, constant = values["a"], values["b"]
    steps, answer = two_steps(factor, sign, constant, values["c"], "x")
    lead = f"Call the number x: {factor}x {sign} {constant} = {values['c']}"
    return [lead, *steps], answer


def _draw_pair(rng: Random, level: int) -> Values:
    large = pick(rng, level, (5, 60), (10, 300), (100, 3000))
    small = rng.randint(2, large - 1)
    return {"c": large + small, "d": large - small, "w": rng.choice(("larger", "smaller"))}


def _pair(values: Values) -> Solution:
    sign = "+" if values["w"] == "larger" else "-"
    first, twice = worked(values["c"], sign, values["d"])
    second, own = worked(twice, "÷", 2)
    why = "Sum plus difference" if sign == "+" else "Sum minus difference"
    return [f"{why} is twice the {values['w']} number: {first}", f"Halve it: {second}"], number(own)


_MORE = (
    "A number is multiplied by {a}, and then {b} is added. The result is {c}. What is the number?",
    "If you add {b} to {a} times a number, you get {c}. Find the number.",
    "{who:person} thinks of a number, multiplies it by {a} and adds {b}. This gives {c}. "
    "Which number is it?",
)
_LESS = (
    "A number is multiplied by {a}, and then {b} is subtracted. The result is {c}. "
    "What is the number?",
    "If you take {b} away from {a} times a number, you get {c}. Find the number.",
    "{who:person} thinks of a number, multiplies it by {a} and subtracts {b}. This gives {c}. "
    "Which number is it?",
)
_PAIR = (
    "The sum of two numbers is {c} and their difference is {d}. What is the {w:which} number?",
    "Two numbers add up to {c} and differ by {d}. Find the {w:which} one.",
    "{who:person} writes down two numbers. Together they make {c}, and they are {d} apart. "
    "What is the {w:which} of the two?",
)

FORMS = (
    form("number_plus", _MORE, _draw_puzzle_more, lambda values: _puzzle("+", values)),
    form("number_minus", _LESS, _draw_puzzle_less, lambda values: _puzzle("-", values)),
    form("sum_and_difference", _PAIR, _draw_pair, _pair, (1, 2)),
)
