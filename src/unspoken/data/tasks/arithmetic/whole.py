"""Arithmetic with two numbers, place by place, and with several, operation by operation."""

from __future__ import annotations

import re
from fractions import Fraction
from random import Random

from unspoken.data.tasks.arithmetic.calculation import (
    MOST_PLACES,
    add_up,
    calculate,
    result_of,
    split_places,
)
from unspoken.data.tasks.arithmetic.form import (
    Solution,
    Values,
    ask_for,
    exact,
    form,
    number,
    pick,
)

# --- two numbers --------------------------------------------------------------------------------


def _draw_terms(rng: Random, level: int) -> Values:
    if level == 2 and rng.random() < 0.5:  # dollars-and-cents numbers
        terms = [Fraction(rng.randint(1000, 99999), 100) for _ in "ab"]
    else:
        terms = [pick(rng, level, (10, 99), (100, 999), (1000, 99999)) for _ in "ab"]
    return dict(zip("ab", map(exact, terms), strict=True))


def _by_places(how: str, sign: str, values: Values) -> Solution:
    """Adds the places of the second number to the first one, or takes them away."""
    have, steps = values["a"], []
    for part in split_places(values["b"]):
        result = result_of(have, sign, part)
        steps.append(
            f"{how} {number(part)}: {number(have)} {sign} {number(part)} = {number(result)}"
        )
        have = result
    return steps, number(have)


def _draw_difference(rng: Random, level: int) -> Values:
    values = _draw_terms(rng, level)
    while values["a"] == values["b"]:
        values = _draw_terms(rng, level)
    return {"a": max(values.values()), "b": min(values.values())}


def _draw_factors(rng: Random, level: int) -> Values:
    first = pick(rng, level, (11, 99), (12, 999), (101, 9999))
    second = pick(rng, level, (3, 12), (11, 99), (101, 999))
    return {"a": first, "b": second} if rng.random() < 0.5 else {"a": second, "b": first}


def _multiply(values: Values) -> Solution:
    keep, split = values["a"], split_places(values["b"])
    if len(split) == 1:  # 47 × 6 is easier as 40 × 6 and 7 × 6
        keep, split = values["b"], split_places(values["a"])
    products = [part * keep for part in split]
    steps = [
        f"{number(part)} × {number(keep)} = {number(result)}"
        for part, result in zip(split, products, strict=True)
    ]
    if len(products) > 1:
        steps.append(f"Add the products: {add_up(products)}")
    return steps, number(values["a"] * values["b"])


def _draw_quotient(rng: Random, level: int) -> Values:
    divisor = pick(rng, level, (2, 12), (3, 40), (12, 99))
    return {"a": divisor * pick(rng, level, (3, 60), (11, 400), (101, 9999)), "b": divisor}


def _divide(values: Values) -> Solution:
    left, divisor = values["a"], values["b"]
    result = result_of(left, "÷", divisor)
    quotient = [] if result.denominator > 1 else split_places(result)
    if len(quotient) <= MOST_PLACES:
        return [calculate(left, "÷", divisor)], number(result)
    steps = []
    for part in quotient:
        taken = divisor * part
        steps.append(f"{divisor} × {part} = {taken} and {left} - {taken} = {left - taken}")
        left -= taken
    steps.append(f"Nothing is left. Add the parts: {add_up(quotient)}")
    return steps, number(sum(quotient))


# --- several operations -------------------------------------------------------------------------


def _draw_expression(rng: Random, level: int) -> Values:
    # All shapes keep every intermediate result whole and above zero.
    a, b, c, d, e = (pick(rng, level, (2, 20), (3, 25), (6, 60)) for _ in range(5))
    low = min(a, d)
    shapes = (
        (
            f"{a} + {b} × {c}",
            f"({a} + {b}) × {c}",
            f"{a} × {b} + {c}",
            f"{a * b} ÷ {b} + {c}",
            f"{a * b + c} - {a} × {b}",
            f"({a * c} + {b * c}) ÷ {c}",
            f"{a + b + c} - {a} + {d}",
        ),
        (
            f"{a} × {b} + {c} × {d}",
            f"({a} + {b}) × {c} - {low}",
            f"{a * b} ÷ {b} + {c} × {d}",
            f"({a * c} + {b * c}) ÷ {c} + {d}",
            f"{a} × ({b + c} - {b}) + {d}",
            f"{a * b * c} ÷ ({b} × {c}) + {d}",
            f"({a} + {b}) × ({c} + {d})",
        ),
        (
            f"(({a} + {b}) × {c} - {low}) × {d}",
            f"{a} × ({b + c} - {b}) + {d * e} ÷ {e}",
            f"({a} + {b}) × ({c} + {d}) - {low}",
            f"({a * e} ÷ {e} + {b}) × {c} + {d}",
            f"{a} × {b} + {c} × {d} + {e}",
            f"{a + d * e} - {d} × {e} + {b} × {c}",
            f"(({a * c} + {b * c}) ÷ {c} + {d}) × {e}",
        ),
    )[level]
    return {"expression": rng.choice(shapes)}


def _step_of(tokens: list[str]) -> int:
    """Returns where the operation stands that comes first: inner brackets, then × ÷, then + -."""
    end = tokens.index(")") if ")" in tokens else len(tokens)
    start = max((place for place in range(end) if tokens[place] == "("), default=-1) + 1
    for signs in ("×÷", "+-"):
        for place in range(start, end):
            if tokens[place] in signs:
                return place
    raise ValueError(f"no operation in {' '.join(tokens)}")


def _joined(tokens: list[str]) -> str:
    return " ".join(tokens).replace("( ", "(").replace(" )", ")")


def _evaluate(values: Values) -> Solution:
    tokens: list[str] = re.findall(r"[\d.]+|\S", values["expression"])
    steps = []
    while len(tokens) > 1:
        place = _step_of(tokens)
        left, sign, right = Fraction(tokens[place - 1]), tokens[place], Fraction(tokens[place + 1])
        done = calculate(left, sign, right)
        start, end = place - 1, place + 2
        if start and end < len(tokens) and tokens[start - 1] == "(" and tokens[end] == ")":
            start, end = start - 1, end + 1
        tokens[start:end] = [number(result_of(left, sign, right))]
        rest = f", which leaves {_joined(tokens)}" if len(tokens) > 1 else ""
        steps.append(f"{done}{rest}")
    return steps, tokens[0]


FORMS = (
    form(
        "addition",
        [
            *ask_for("{a} + {b}"),
            "Add {a} and {b}.",
            "What is the sum of {a} and {b}?",
            "What do you get when you add {b} to {a}?",
        ],
        _draw_terms,
        lambda values: _by_places("Add", "+", values),
    ),
    form(
        "subtraction",
        [
            *ask_for("{a} - {b}"),
            "Subtract {b} from {a}.",
            "How much is left when {b} is taken away from {a}?",
            "By how much is {a} greater than {b}?",
        ],
        _draw_difference,
        lambda values: _by_places("Take away", "-", values),
    ),
    form(
        "multiplication",
        [
            *ask_for("{a} × {b}"),
            "Multiply {a} by {b}.",
            "What is the product of {a} and {b}?",
            "How much is {a} times {b}?",
        ],
        _draw_factors,
        _multiply,
    ),
    form(
        "division",
        [
            *ask_for("{a} ÷ {b}"),
            "Divide {a} by {b}.",
            "How many times does {b} go into {a}?",
            "What is the result when {a} is divided by {b}?",
        ],
        _draw_quotient,
        _divide,
    ),
    form(
        "mixed_operations",
        [
            *ask_for("{expression:expression}"),
            "What does {expression:expression} come to?",
            "Mind the order of operations: what is {expression:expression}?",
            "Simplify {expression:expression} to a single number.",
        ],
        _draw_expression,
        _evaluate,
    ),
)
