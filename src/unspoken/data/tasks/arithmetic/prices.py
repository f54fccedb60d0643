"""Word problems about prices: what some goods cost, what one costs, what is left."""

from __future__ import annotations

from fractions import Fraction
from random import Random

from unspoken.data.tasks.arithmetic.calculation import worked
from unspoken.data.tasks.arithmetic.form import Number, Solution, Values, exact, form, money, pick


def draw_price(rng: Random, level: int) -> Number:
    """Returns dollars: whole, in quarters, or in steps of five cents."""
    if level == 0:
        return rng.randint(2, 20)
    if level == 1:
        return exact(Fraction(rng.randint(8, 100), 4))
    return exact(Fraction(rng.randint(40, 900), 20))


def _count(rng: Random, level: int) -> int:
    return pick(rng, level, (2, 9), (2, 15), (3, 40))


def _dollars(left: Number, sign: str, right: Number) -> tuple[str, Number]:
    return worked(left, sign, right, left_as=money, right_as=money)


def _draw_cost(rng: Random, level: int) -> Values:
    return {"n": _count(rng, level), "p": draw_price(rng, level)}


def _cost(values: Values) -> Solution:
    text, cost = worked(values["n"], "×", values["p"], right_as=money)
    return [f"Number times price: {text}"], money(cost)


def _draw_unit_price(rng: Random, level: int) -> Values:
    values = _draw_cost(rng, level)
    return {"n": values["n"], "p": exact(values["n"] * values["p"])}


def _unit_price(values: Values) -> Solution:
    text, one = worked(values["p"], "÷", values["n"], left_as=money)
    return [f"Divide the total by the number: {text}"], money(one)


def _draw_change(rng: Random, level: int) -> Values:
    values = _draw_cost(rng, level)
    cost = values["n"] * values["p"]
    step = (10, 20, 50)[level]
    paid = step * (int(cost) // step + 1)
    return {**values, "b": paid}


def _change(values: Values) -> Solution:
    steps, _ = _cost(values)
    text, left = _dollars(values["b"], "-", values["n"] * values["p"])
    return [*steps, f"Subtract it from the money paid: {text}"], money(left)


def _draw_two_goods(rng: Random, level: int) -> Values:
    first, second = _draw_cost(rng, level), _draw_cost(rng, level)
    return {"n": first["n"], "p": first["p"], "m": second["n"], "q": second["p"]}


def _two_goods(values: Values) -> Solution:
    one, first = worked(values["n"], "×", values["p"], right_as=money)
    other, second = worked(values["m"], "×", values["q"], right_as=money)
    both, cost = _dollars(first, "+", second)
    return [f"The first kind: {one}", f"The second kind: {other}", f"Together: {both}"], money(cost)


def _draw_two_goods_change(rng: Random, level: int) -> Values:
    values = _draw_two_goods(rng, level)
    cost = values["n"] * values["p"] + values["m"] * values["q"]
    return {**values, "b": 50 * (int(cost) // 50 + 1)}


def _two_goods_change(values: Values) -> Solution:
    steps, _ = _two_goods(values)
    cost = values["n"] * values["p"] + values["m"] * values["q"]
    text, left = _dollars(values["b"], "-", cost)
    return [*steps, f"The change: {text}"], money(left)


FORMS = (
    form(
        "total_price",
        [
            "{who:person} buys {n} {x:goods} at {p:money} each. How much is that in all?",
            "What do {n} {x:goods} cost at {p:money} apiece?",
            "A shop charges {p:money} for each of its {x:goods}. What is the price of {n}?",
        ],
        _draw_cost,
        _cost,
    ),
    form(
        "unit_price",
        [
            "{who:person} pays {p:money} for {n} {x:goods}. What does a single one cost?",
            "If {n} {x:goods} cost {p:money} altogether, what is the price of each?",
            "A pack of {n} {x:goods} is sold for {p:money}. How much is that apiece?",
        ],
        _draw_unit_price,
        _unit_price,
    ),
    form(
        "change",
        [
            "{who:person} buys {n} {x:goods} for {p:money} each and pays with {b:money}. "
            "How much change is due?",
            "{who:person} has {b:money} and buys {n} {x:goods} that cost {p:money} each. "
            "How much money is left?",
        ],
        _draw_change,
        _change,
    ),
    form(
        "two_goods",
        [
            "{who:person} buys {n} {x:goods} at {p:money} each and {m} {y:goods} at {q:money} "
            "each. What does everything cost?",
            "At a market, {x:goods} are {p:money} apiece and {y:goods} are {q:money} apiece. "
            "How much do {n} {x} and {m} {y} cost together?",
        ],
        _draw_two_goods,
        _two_goods,
        (1, 2),
    ),
    form(
        "two_goods_change",
        [
            "{who:person} pays with {b:money} for {n} {x:goods} at {p:money} each and "
            "{m} {y:goods} at {q:money} each. How much change is due?",
            "From a budget of {b:money}, {who:person} buys {n} {x:goods} for {p:money} each and "
            "{m} {y:goods} for {q:money} each. How much of the budget remains?",
        ],
        _draw_two_goods_change,
        _two_goods_change,
        (2,),
    ),
)
