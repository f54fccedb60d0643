"""Word problems about ages, from a sum to an equation over two points in time."""

from __future__ import annotations

from random import Random

from unspoken.data.tasks.arithmetic.calculation import worked
from unspoken.data.tasks.arithmetic.form import Solution, Values, form, number, pick


def _draw_later(rng: Random, level: int) -> Values:
    return {
        "a": pick(rng, level, (5, 30), (6, 50)),
        "k": rng.randint(2, 20),
        "m": rng.randint(2, (10, 30, 30)[level]),
    }


def _older_later(values: Values) -> Solution:
    first, now = worked(values["a"], "+", values["k"])
    second, then = worked(now, "+", values["m"])
    return [f"The other's age today: {first}", f"In {values['m']} years: {second}"], number(then)


def _draw_back(rng: Random, level: int) -> Values:
    young = pick(rng, level, (5, 25), (5, 45))
    later = rng.randint(2, (10, 25, 25)[level])
    return {"n": young + later, "m": later, "k": rng.randint(2, 25)}


def _older_now(values: Values) -> Solution:
    first, young = worked(values["n"], "-", values["m"])
    second, old = worked(young, "+", values["k"])
    steps = [f"The younger one's age today: {first}", f"The older one's age today: {second}"]
    return steps, number(old)


def _draw_sum(rng: Random, level: int) -> Values:
    young = pick(rng, level, (4, 20), (4, 45))
    apart = rng.randint(2, (12, 30, 30)[level])
    return {"s": 2 * young + apart, "k": apart}


def _younger_of_sum(values: Values) -> Solution:
    first, twice = worked(values["s"], "-", values["k"])
    second, young = worked(twice, "÷", 2)
    steps = [
        f"Twice the younger one's age is the sum less the difference: {first}",
        f"Halve it: {second}",
    ]
    return steps, number(young)


def _draw_multiple(rng: Random, level: int) -> Values:
    times = rng.randint(2, 6)
    young = rng.randint(3, min(80 // times, (12, 30, 30)[level]))
    return {"k": times, "s": young * (times + 1)}


def _younger_of_multiple(values: Values) -> Solution:
    shares = values["k"] + 1
    second, young = worked(values["s"], "÷", shares)
    steps = [
        f"Together they have {values['k']} + 1 = {shares} times the younger one's age",
        f"The younger one's age: {second}",
    ]
    return steps, number(young)


def _draw_multiples(rng: Random, level: int) -> Values:
    while True:
        times, later = rng.randint(3, 9), rng.randint(2, 40)
        then = rng.randint(2, times - 1)
        young, rest = divmod(later * (then - 1), times - then)
        if not rest and young >= 2 and young * times + later <= 99:
            return {"k": times, "m": later, "j": then}


def _younger_of_multiples(values: Values) -> Solution:
    now, later, then = values["k"], values["m"], values["j"]
    second, added = worked(then, "×", later)
    third, left = worked(added, "-", later)
    factor = now - then
    steps = [
        f"Call the younger one's age x: {now}x + {later} = {then}(x + {later})",
        f"Open the brackets: {second}, so {now}x + {later} = {then}x + {added}",
        f"Subtract {then}x and {later}: {now} - {then} = {factor} and {third}, "
        f"so {'' if factor == 1 else factor}x = {left}",
    ]
    last, young = worked(left, "÷", factor)
    return [*steps, *([f"Divide: {last}"] if factor > 1 else [])], number(young)


def _draw_ago(rng: Random, level: int) -> Values:
    while True:
        times, ago, young = rng.randint(2, 6), rng.randint(2, 25), rng.randint(3, 40)
        if young * times + ago <= 95:
            return {"m": ago, "k": times, "s": young * (times + 1) + 2 * ago}


def _younger_from_past(values: Values) -> Solution:
    ago, times, today = values["m"], values["k"], values["s"]
    second, past = worked(today, "-", 2 * ago)
    third, young = worked(past, "÷", times + 1)
    fourth, now = worked(young, "+", ago)
    steps = [
        f"{ago} years ago both together were younger by 2 × {ago} = {2 * ago} years",
        f"Their sum at that time: {second}",
        f"It was {times} + 1 = {times + 1} times the younger one's age: {third}",
        f"The younger one's age today: {fourth}",
    ]
    return steps, number(now)


FORMS = (
    form(
        "age_later",
        [
            "{who:person} is {a} years old, and {other:person} is {k} years older. "
            "How old will {other} be in {m} years?",
            "{other:person} was born {k} years before {who:person}, who is {a} today. "
            "What will be the age of {other} in {m} years?",
        ],
        _draw_later,
        _older_later,
    ),
    form(
        "age_now",
        [
            "In {m} years {who:person} will be {n} years old. {other:person} is {k} years older "
            "than {who}. How old is {other} today?",
            "{other:person} is {k} years older than {who:person}, who will turn {n} in {m} years. "
            "What is the age of {other} now?",
        ],
        _draw_back,
        _older_now,
    ),
    form(
        "age_sum",
        [
            "{who:person} and {other:person} are {s} years old together, and {who} is {k} years "
            "older than {other}. How old is {other}?",
            "The ages of {who:person} and {other:person} add up to {s}. {other} is {k} years "
            "younger than {who}. Find the age of {other}.",
        ],
        _draw_sum,
        _younger_of_sum,
    ),
    form(
        "age_multiple",
        [
            "{who:person} is {k} times as old as {other:person}. Their ages add up to {s}. "
            "How old is {other}?",
            "Together {who:person} and {other:person} are {s} years old. How old is {other}, "
            "if {who} is {k} times as old?",
        ],
        _draw_multiple,
        _younger_of_multiple,
    ),
    form(
        "age_multiples",
        [
            "{who:person} is {k} times as old as {other:person}. In {m} years, {who} will be only "
            "{j} times as old as {other}. How old is {other} now?",
            "Today {who:person} has {k} times the age of {other:person}, and {m} years from now "
            "it will be {j} times. What is the age of {other} today?",
        ],
        _draw_multiples,
        _younger_of_multiples,
        (2,),
    ),
    form(
        "age_past",
        [
            "{m} years ago {who:person} was {k} times as old as {other:person}. Today they are "
            "{s} years old together. How old is {other} today?",
            "The ages of {who:person} and {other:person} add up to {s} now. {m} years ago {who} "
            "was {k} times as old as {other}. What is the age of {other} now?",
        ],
        _draw_ago,
        _younger_from_past,
        (1, 2),
    ),
)
