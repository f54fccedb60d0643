"""Word problems about areas of rectangles and triangles."""

from __future__ import annotations

from random import Random

from unspoken.data.tasks.arithmetic.calculation import worked
from unspoken.data.tasks.arithmetic.form import (
    Number,
    Solution,
    Values,
    draw_half,
    exact,
    form,
    number,
    pick,
)


def _side(rng: Random, level: int) -> Number:
    whole = pick(rng, level, (3, 25), (5, 60), (12, 150))
    return whole if level < 2 else draw_half(rng, level, 12, 150)


def _draw_rectangle(rng: Random, level: int) -> Values:
    long, short = _side(rng, level), _side(rng, level)
    while long == short:
        short = _side(rng, level)
    return {"a": max(long, short), "b": min(long, short)}


def _area(values: Values) -> Solution:
    text, area = worked(values["a"], "×", values["b"])
    return [f"Area is length times width: {text}"], f"{number(area)} square meters"


def _draw_area_and_side(rng: Random, level: int) -> Values:
    sides = _draw_rectangle(rng, level)
    return {"s": exact(sides["a"] * sides["b"]), "a": sides["a"]}


def _other_side(values: Values) -> Solution:
    text, side = worked(values["s"], "÷", values["a"])
    return [f"Width is area divided by length: {text}"], f"{number(side)} meters"


def _draw_perimeter(rng: Random, level: int) -> Values:
    sides = _draw_rectangle(rng, level)
    return {"p": exact(2 * (sides["a"] + sides["b"])), "a": sides["a"]}


def _area_from_perimeter(values: Values) -> Solution:
    first, half = worked(values["p"], "÷", 2)
    second, width = worked(half, "-", values["a"])
    lead = [
        f"Length and width together are half the perimeter: {first}",
        f"The width: {second}",
    ]
    steps, answer = _area({"a": values["a"], "b": width})
    return lead + steps, answer


def _draw_triangle(rng: Random, level: int) -> Values:
    return {"a": pick(rng, level, (4, 20), (5, 60), (20, 200)), "b": _side(rng, level)}


def _triangle(values: Values) -> Solution:
    first, product = worked(values["a"], "×", values["b"])
    second, area = worked(product, "÷", 2)
    steps = [f"Base times height: {first}", f"The triangle is half of it: {second}"]
    return steps, f"{number(area)} square meters"


def _draw_pool(rng: Random, level: int) -> Values:
    outer = _draw_rectangle(rng, 1)
    while outer["b"] < 8:
        outer = _draw_rectangle(rng, 1)
    long = rng.randint(3, outer["a"] - 2)
    return {**outer, "c": long, "d": rng.randint(2, min(long - 1, outer["b"] - 2))}


def _around_pool(values: Values) -> Solution:
    first, outer = worked(values["a"], "×", values["b"])
    second, inner = worked(values["c"], "×", values["d"])
    third, left = worked(outer, "-", inner)
    steps = [f"The whole ground: {first}", f"The pool: {second}", f"What is left: {third}"]
    return steps, f"{number(left)} square meters"


FORMS = (
    form(
        "rectangle",
        [
            "A rectangular {x:place} is {a} meters long and {b} meters wide. What is its area in "
            "square meters?",
            "How many square meters does a {x:place} of {a} meters by {b} meters have?",
            "{who:person} sows grass on a {x:place}, {a} meters long and {b} meters wide. "
            "How many square meters is that?",
        ],
        _draw_rectangle,
        _area,
    ),
    form(
        "missing_side",
        [
            "A rectangular {x:place} has an area of {s} square meters and a length of {a} meters. "
            "How wide is it, in meters?",
            "A {x:place} of {s} square meters is a rectangle with one side of {a} meters. "
            "How many meters does the other side have?",
        ],
        _draw_area_and_side,
        _other_side,
    ),
    form(
        "area_from_perimeter",
        [
            "A fence of {p} meters runs around a rectangular {x:place} that is {a} meters long. "
            "What is the area of the {x} in square meters?",
            "The perimeter of a rectangular {x:place} is {p} meters, and its length is {a} meters. "
            "Find its area in square meters.",
        ],
        _draw_perimeter,
        _area_from_perimeter,
        (1, 2),
    ),
    form(
        "triangle",
        [
            "A triangular {x:place} has a base of {a} meters and a height of {b} meters. "
            "What is its area in square meters?",
            "Find the area, in square meters, of a triangle with base {a} meters and "
            "height {b} meters.",
        ],
        _draw_triangle,
        _triangle,
    ),
    form(
        "around_pool",
        [
            "A hotel has a rectangular ground of {a} meters by {b} meters. Its pool takes up "
            "{c} meters by {d} meters of it. How many square meters are left?",
            "{who:person} sows grass on a plot of {a} by {b} meters, around a pool of {c} by "
            "{d} meters. How many square meters of grass will there be?",
        ],
        _draw_pool,
        _around_pool,
        (2,),
    ),
)
