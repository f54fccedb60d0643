"""Proportions in words: prices, recipes and maps at one rate; more hands, less time."""

from __future__ import annotations

from random import Random

from unspoken.data.tasks.arithmetic.calculation import worked
from unspoken.data.tasks.arithmetic.form import Solution, Values, exact, form, money, number, pick
from unspoken.data.tasks.arithmetic.prices import draw_price


def _draw_same_rate(rng: Random, level: int) -> Values:
    first = pick(rng, level, (2, 9), (2, 12), (3, 25))
    second = _other_than(first, pick(rng, level, (2, 12), (2, 30), (3, 60)))
    return {"a": first, "p": exact(first * draw_price(rng, level)), "b": second}


def _other_than(first: int, second: int) -> int:
    """Returns the second number, or the next one where it is the first."""
    return second + 1 if second == first else second


def _same_rate(values: Values) -> Solution:
    first, one = worked(values["p"], "÷", values["a"], left_as=money)
    second, cost = worked(values["b"], "×", one, right_as=money)
    return [f"The price of one: {first}", f"The price of {values['b']}: {second}"], money(cost)


def _draw_recipe(rng: Random, level: int) -> Values:
    people = pick(rng, level, (2, 6), (2, 9), (3, 16))
    more = _other_than(people, pick(rng, level, (2, 12), (2, 20), (3, 50)))
    return {"a": people, "n": people * 5 * pick(rng, level, (4, 30), (3, 40)), "b": more}


def _scaled(unit: str, values: Values) -> Solution:
    first, one = worked(values["n"], "÷", values["a"])
    second, all_of_them = worked(one, "×", values["b"])
    return [f"For one: {first}", f"For {values['b']}: {second}"], f"{number(all_of_them)} {unit}"


def _draw_map(rng: Random, level: int) -> Values:
    first = pick(rng, level, (2, 5), (2, 8), (3, 12))
    second = _other_than(first, pick(rng, level, (2, 20), (2, 40), (3, 60)))
    return {"a": first, "n": first * rng.randint(2, (10, 15, 25)[level]), "b": second}


def _draw_workers(rng: Random, level: int) -> Values:
    while True:
        workers, days = pick(rng, level, (2, 15), (2, 15), (4, 40)), rng.randint(2, 45)
        others = pick(rng, level, (2, 20), (2, 20), (4, 60))
        if others != workers and not workers * days % others and workers * days > others:
            return {"a": workers, "n": days, "b": others}


def _workers(values: Values) -> Solution:
    first, work = worked(values["a"], "×", values["n"])
    second, days = worked(work, "÷", values["b"])
    steps = [
        f"The job takes {first} days of one person's work",
        f"Shared by {values['b']}: {second}",
    ]
    return steps, f"{number(days)} days"


FORMS = (
    form(
        "same_rate",
        [
            "{a} {x:goods} cost {p:money}. What do {b} {x} cost at the same price?",
            "{who:person} pays {p:money} for {a} {x:goods}. How much would {b} of them cost?",
            "If you get {a} {x:goods} for {p:money}, how much must you pay for {b}?",
        ],
        _draw_same_rate,
        _same_rate,
    ),
    form(
        "recipe",
        [
            "A recipe for {a} people takes {n} grams of {x:food}. How many grams are needed "
            "for {b} people?",
            "{who:person} cooks for {b} people with a recipe for {a} that uses {n} grams of "
            "{x:food}. How many grams does it take?",
        ],
        _draw_recipe,
        lambda values: _scaled("grams", values),
    ),
    form(
        "map_scale",
        [
            "On a map, {a} cm stand for {n} km. Two towns are {b} cm apart on it. "
            "How many kilometers is that?",
            "A map shows {n} km as {a} cm. How many kilometers long is a road that "
            "measures {b} cm on it?",
        ],
        _draw_map,
        lambda values: _scaled("km", values),
    ),
    form(
        "workers",
        [
            "{a} workers need {n} days for a job. How many days would {b} workers need?",
            "A crew of {a} finishes a wall in {n} days. How many days does a crew of {b} take, "
            "working at the same pace?",
        ],
        _draw_workers,
        _workers,
        (1, 2),
    ),
)
