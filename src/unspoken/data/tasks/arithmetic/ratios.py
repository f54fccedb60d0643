"""Ratios: lowest terms, shares, a partner's part, proportions."""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from random import Random

from unspoken.data.tasks.arithmetic.calculation import calculate, worked
from unspoken.data.tasks.arithmetic.form import Number, Solution, Values, form, money, number, pick


def _pair(rng: Random, level: int) -> tuple[int, int]:
    """Returns two different numbers without a common divisor."""
    while True:
        first, second = (pick(rng, level, (1, 6), (1, 12), (2, 25)) for _ in "ab")
        if first != second and gcd(first, second) == 1:
            return first, second


def _many(rng: Random, level: int) -> int:
    return pick(rng, level, (2, 12), (2, 30), (3, 60))


def _lowest(first: int, second: int) -> Solution:
    common = gcd(first, second)
    ratio = f"{first // common}:{second // common}"
    if common == 1:
        return [f"{first} and {second} have no common divisor above 1: it is {ratio}"], ratio
    steps = [
        f"The greatest common divisor of {first} and {second} is {common}",
        f"Divide both: {calculate(first, '÷', common)} and {calculate(second, '÷', common)}",
    ]
    return steps, ratio


def _draw_rest(rng: Random, level: int) -> Values:
    (first, second), times = _pair(rng, level), _many(rng, level)
    return {"n": (first + second) * times, "a": first * times}


def _rest_ratio(values: Values) -> Solution:
    text, others = worked(values["n"], "-", values["a"])
    steps, answer = _lowest(values["a"], int(others))
    return [f"The others: {text}", *steps], answer


def _draw_share(rng: Random, level: int) -> Values:
    first, second = _pair(rng, level)
    return {"n": (first + second) * _many(rng, level), "a": first, "b": second}


def _parts(values: Values, names: str) -> tuple[list[str], Number]:
    """Returns the steps to what one part is worth, and that worth."""
    counts = [values[name] for name in names]
    total = sum(counts)
    text, one = worked(values["n"], "÷", total)
    return [f"Parts in all: {' + '.join(map(str, counts))} = {total}", f"One part: {text}"], one


def _share(names: str, own: str, values: Values) -> Solution:
    steps, one = _parts(values, names)
    text, share = worked(one, "×", values[own])
    return [*steps, f"The share: {text}"], money(share)


def _draw_which(rng: Random, level: int) -> Values:
    return {**_draw_share(rng, level), "w": rng.choice(("larger", "smaller"))}


def _chosen_share(values: Values) -> Solution:
    steps, one = _parts(values, "ab")
    choose = max if values["w"] == "larger" else min
    text, share = worked(one, "×", choose(values["a"], values["b"]))
    return [*steps, f"The {values['w']} share: {text}"], number(share)


def _draw_three(rng: Random, level: int) -> Values:
    while True:
        a, b, c = (pick(rng, level, (1, 5), (1, 8), (2, 15)) for _ in "abc")
        if gcd(a, b, c) == 1:
            return {"n": (a + b + c) * _many(rng, level), "a": a, "b": b, "c": c}


def _draw_partner(rng: Random, level: int) -> Values:
    first, second = _pair(rng, level)
    return {"a": first, "b": second, "n": first * _many(rng, level)}


def _partner(values: Values) -> Solution:
    first, one = worked(values["n"], "÷", values["a"])
    second, other = worked(one, "×", values["b"])
    return [f"One part: {first}", f"The others: {second}"], number(other)


def _draw_proportion(rng: Random, level: int) -> Values:
    values = _draw_partner(rng, level)
    right = rng.randint(2, 300)
    if level == 2 and 20 % Fraction(right * values["b"], values["a"]).denominator == 0:
        return {"a": values["a"], "b": values["b"], "c": right}  # the answer may be a decimal
    return {"a": values["a"], "b": values["b"], "c": values["n"]}


def _proportion(values: Values) -> Solution:
    first, product = worked(values["b"], "×", values["c"])
    second, answer = worked(product, "÷", values["a"])
    steps = [
        f"Multiply across: {values['a']} × {values['v']} = {first}",
        f"Divide by {values['a']}: {second}",
    ]
    return steps, number(answer)


def _draw_chain(rng: Random, level: int) -> Values:
    (a, b), (c, d) = _pair(rng, 1), _pair(rng, 1)
    while a * c == b * d:
        c, d = _pair(rng, 1)
    return {"a": a, "b": b, "c": c, "d": d}


def _chain(values: Values) -> Solution:
    a, b, c, d = (values[name] for name in "abcd")
    steps, answer = _lowest(a * c, b * d)
    lead = [
        f"Count the middle color as {calculate(b, '×', c)}",
        f"The first then counts {calculate(a, '×', c)} and the last {calculate(d, '×', b)}",
    ]
    return lead + steps, answer


FORMS = (
    form(
        "ratio_of_rest",
        [
            "A bag holds {n} beads. Of these, {a} are {x:color} and all others are {y:color}. "
            "What is the ratio of {x} to {y} beads in lowest terms?",
            "{who:person} has {n} {z:goods}: {a} {x:color} ones, and the rest {y:color}. "
            "Give the ratio of {x} to {y} in lowest terms.",
        ],
        _draw_rest,
        _rest_ratio,
    ),
    form(
        "first_share",
        [
            "{who:person} and {other:person} share {n:money} in the ratio {a}:{b}. "
            "How much does {who} get?",
            "A prize of {n:money} is split {a}:{b} between {who:person} and {other:person}. "
            "How much is it for {who}?",
            "Divide {n:money} between {who:person} and {other:person}, {a} to {b}. "
            "What is {who}'s share?",
        ],
        _draw_share,
        lambda values: _share("ab", "a", values),
    ),
    form(
        "chosen_share",
        [
            "Split {n} into two parts in the ratio {a}:{b}. What is the {w:which} part?",
            "{n} {x:goods} are divided between two schools in the ratio {a}:{b}. "
            "How many are in the {w:which} share?",
            "Two numbers are in the ratio {a}:{b} and add up to {n}. Find the {w:which} one.",
        ],
        _draw_which,
        _chosen_share,
    ),
    form(
        "three_shares",
        [
            "{x:person}, {y:person} and {z:person} share {n:money} in the ratio {a}:{b}:{c}. "
            "How much does {z} get?",
            "A bonus of {n:money} goes to {x:person}, {y:person} and {z:person} in the ratio "
            "{a}:{b}:{c}. What is {z}'s share?",
        ],
        _draw_three,
        lambda values: _share("abc", "c", values),
        (1, 2),
    ),
    form(
        "partner",
        [
            "In a bag, the ratio of {x:color} to {y:color} beads is {a}:{b}. It has {n} {x} "
            "beads. How many {y} beads does it have?",
            "{who:person} mixes {x:color} and {y:color} paint in the ratio {a}:{b} and takes {n} "
            "cans of {x}. How many cans of {y} are needed?",
            "The {x:color} and {y:color} tiles on a wall are in the ratio {a}:{b}. "
            "There are {n} {x} tiles. How many {y} tiles are there?",
        ],
        _draw_partner,
        _partner,
    ),
    form(
        "proportion",
        [
            "Find {v:letter} in the proportion {a}:{b} = {c}:{v}.",
            "If {a}/{b} = {c}/{v:letter}, what is {v}?",
            "{a} is to {b} as {c} is to {v:letter}. What is {v}?",
            "For which {v:letter} are the ratios {a}:{b} and {c}:{v} equal?",
        ],
        _draw_proportion,
        _proportion,
    ),
    form(
        "chained_ratio",
        [
            "The ratio of {x:color} to {y:color} beads is {a}:{b}, and that of {y} to {z:color} "
            "beads is {c}:{d}. What is the ratio of {x} to {z} beads in lowest terms?",
            "In a mosaic, {x:color} and {y:color} tiles are in the ratio {a}:{b}, while {y} and "
            "{z:color} ones are in the ratio {c}:{d}. Find the ratio of {x} to {z} in lowest "
            "terms.",
        ],
        _draw_chain,
        _chain,
        (2,),
    ),
)
