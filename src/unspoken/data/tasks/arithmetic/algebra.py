"""Algebra: linear equations with one unknown."""

from __future__ import annotations

from functools import partial
from random import Random

from unspoken.data.tasks.arithmetic.calculation import calculate, worked
from unspoken.data.tasks.arithmetic.form import Number, Solution, Values, form, number, pick

_FRAMES = (
    "Solve for {v:letter}: EQUATION",
    "Find {v:letter} if EQUATION.",
    "Solve the equation EQUATION for {v:letter}.",
    "Given that EQUATION, what is {v:letter}?",
    "Which value of {v:letter} satisfies EQUATION?",
    "What must {v:letter} be so that EQUATION?",
)


def _equation(*equations: str) -> list[str]:
    return [frame.replace("EQUATION", equation) for equation in equations for frame in _FRAMES]


def draw_unknown(rng: Random, level: int) -> int:
    """Returns a solution, not 0: positive at first, of either sign later."""
    value = pick(rng, level, (2, 15), (2, 40), (2, 120))
    return -value if level and rng.random() < 0.3 else value


def draw_constant(rng: Random, level: int) -> int:
    """A number that is added or taken away, the larger the higher the level (0 to 2)."""
    return pick(rng, level, (1, 20), (2, 60), (2, 250))


def draw_factor(rng: Random, level: int) -> int:
    """A number to multiply an unknown with, at least 2."""
    return pick(rng, level, (2, 9), (2, 15), (3, 40))


def _signed(sign: str, value: Number) -> Number:
    return value if sign == "+" else -value


def _times(factor: Number, letter: str) -> str:
    return f"{number(factor)}{letter}"


# --- steps --------------------------------------------------------------------------------------


def _moved(sign: str, constant: Number, right: Number, left: str) -> tuple[str, Number]:
    """Returns the step that takes `sign constant` from both sides, and the new right side."""
    how, back, way = ("Subtract", "-", "from") if sign == "+" else ("Add", "+", "to")
    text, result = worked(right, back, constant)
    step = f"{how} {number(constant)} {way} both sides: {text}, so {left} = {number(result)}"
    return step, result


def _divided(right: Number, factor: Number, left: str) -> tuple[str, Number]:
    """Returns the step that divides both sides, and the new right side."""
    text, result = worked(right, "÷", factor)
    return f"Divide both sides by {number(factor)}: {text}, so {left} = {number(result)}", result


def two_steps(
    factor: Number, sign: str, constant: Number, right: Number, letter: str
) -> tuple[list[str], str]:
    """Returns the steps and the answer of `factor x ± constant = right`."""
    first, moved = _moved(sign, constant, right, _times(factor, letter))
    second, answer = _divided(moved, factor, letter)
    return [first, second], number(answer)


# --- forms --------------------------------------------------------------------------------------


def _draw_sum(rng: Random, level: int) -> Values:
    sign, constant = rng.choice("+-"), pick(rng, level, (2, 60))
    unknown = rng.randint(2, 60) + (constant if sign == "-" else 0)
    return {"s": sign, "b": constant, "c": unknown + _signed(sign, constant)}


def _sum(values: Values) -> Solution:
    step, answer = _moved(values["s"], values["b"], values["c"], values["v"])
    return [step], number(answer)


def _draw_product(rng: Random, level: int) -> Values:
    factor = pick(rng, level, (2, 12))
    return {"a": factor, "c": factor * rng.randint(2, 40)}


def _product(values: Values) -> Solution:
    step, answer = _divided(values["c"], values["a"], values["v"])
    return [step], number(answer)


def _draw_line(rng: Random, level: int) -> Values:
    factor, sign, constant = draw_factor(rng, level), rng.choice("+-"), draw_constant(rng, level)
    product = factor * draw_unknown(rng, level)
    if level == 2 and rng.random() < 0.4:  # a solution that need not be whole
        product += rng.randint(1, factor - 1)
    return {"a": factor, "s": sign, "b": constant, "c": product + _signed(sign, constant)}


def _line(values: Values) -> Solution:
    return two_steps(values["a"], values["s"], values["b"], values["c"], values["v"])


def _draw_brackets(rng: Random, level: int) -> Values:
    factor, sign, constant = draw_factor(rng, level), rng.choice("+-"), draw_constant(rng, level)
    return {
        "a": factor,
        "s": sign,
        "b": constant,
        "c": factor * (draw_unknown(rng, level) + _signed(sign, constant)),
    }


def _brackets(values: Values) -> Solution:
    sign, constant, letter = values["s"], values["b"], values["v"]
    first, inside = _divided(values["c"], values["a"], f"{letter} {sign} {constant}")
    second, answer = _moved(sign, constant, inside, letter)
    return [first, second], number(answer)


def _draw_quotient(rng: Random, level: int) -> Values:
    sign, constant = rng.choice("+-"), draw_constant(rng, level)
    right = draw_unknown(rng, level) + _signed(sign, constant)
    return {"a": draw_factor(rng, level), "s": sign, "b": constant, "c": right}


def _quotient(values: Values) -> Solution:
    factor, letter = values["a"], values["v"]
    first, moved = _moved(values["s"], values["b"], values["c"], f"{letter}/{factor}")
    text, answer = worked(moved, "×", factor)
    second = f"Multiply both sides by {factor}: {text}, so {letter} = {number(answer)}"
    return [first, second], number(answer)


def _draw_both_sides(rng: Random, level: int, *, in_brackets: bool = False) -> Values:
    while True:
        small, more = draw_factor(rng, level), draw_factor(rng, level)
        sign, constant = rng.choice("+-"), draw_constant(rng, level)
        large = small + more
        added = _signed(sign, constant) * (large if in_brackets else 1)
        right = more * draw_unknown(rng, level) + added
        if right:
            return {
                "a": large,
                "s": sign,
                "b": constant,
                "c": small,
                "t": "+" if right > 0 else "-",
                "d": abs(right),
            }


def _both_sides(values: Values) -> Solution:
    large, small, letter = values["a"], values["c"], values["v"]
    right = _signed(values["t"], values["d"])
    left = _times(large - small, letter)
    step = (
        f"Subtract {small}{letter} from both sides: {calculate(large, '-', small)}, "
        f"so {left} {values['s']} {values['b']} = {right}"
    )
    steps, answer = two_steps(large - small, values["s"], values["b"], right, letter)
    return [step, *steps], answer


def _brackets_and_unknown(values: Values) -> Solution:
    factor, constant, letter = values["a"], values["b"], values["v"]
    product = factor * constant
    step = (
        f"Open the brackets: {calculate(factor, '×', constant)}, so {factor}{letter} "
        f"{values['s']} {product} = {values['c']}{letter} {values['t']} {values['d']}"
    )
    steps, answer = _both_sides({**values, "b": product})
    return [step, *steps], answer


def _draw_two_brackets(rng: Random, level: int) -> Values:
    while True:
        values = {
            "a": draw_factor(rng, level),
            "b": draw_constant(rng, 1),
            "c": draw_factor(rng, level),
            "s": rng.choice("+-"),
            "d": draw_constant(rng, 1),
        }
        constant = values["a"] * values["b"] + _signed(values["s"], values["c"] * values["d"])
        if constant:
            factor = values["a"] + values["c"]
            return {**values, "e": factor * draw_unknown(rng, level) + constant}


def _two_brackets(values: Values) -> Solution:
    a, b, c, d = (values[name] for name in "abcd")
    sign, letter, right = values["s"], values["v"], values["e"]
    constant = a * b + _signed(sign, c * d)
    outer = "+" if constant > 0 else "-"
    step = (
        f"Open the brackets: {calculate(a, '×', b)} and {calculate(c, '×', d)}, "
        f"so {a}{letter} + {a * b} + {c}{letter} {sign} {c * d} = {right}"
    )
    joined = (
        f"Collect: {calculate(a, '+', c)} and {calculate(a * b, sign, c * d)}, "
        f"so {a + c}{letter} {outer} {abs(constant)} = {right}"
    )
    steps, answer = two_steps(a + c, outer, abs(constant), right, letter)
    return [step, joined, *steps], answer


FORMS = (
    form("one_step_sum", _equation("{v:letter} {s:sign} {b} = {c}"), _draw_sum, _sum, (0,)),
    form("one_step_product", _equation("{a}{v:letter} = {c}"), _draw_product, _product, (0,)),
    form("two_steps", _equation("{a}{v:letter} {s:sign} {b} = {c}"), _draw_line, _line),
    form(
        "brackets",
        _equation("{a}({v:letter} {s:sign} {b}) = {c}"),
        _draw_brackets,
        _brackets,
        (1, 2),
    ),
    form("quotient", _equation("{v:letter}/{a} {s:sign} {b} = {c}"), _draw_quotient, _quotient),
    form(
        "both_sides",
        _equation("{a}{v:letter} {s:sign} {b} = {c}{v:letter} {t:sign} {d}"),
        _draw_both_sides,
        _both_sides,
        (1, 2),
    ),
    form(
        "brackets_and_unknown",
        _equation("{a}({v:letter} {s:sign} {b}) = {c}{v:letter} {t:sign} {d}"),
        partial(_draw_both_sides, in_brackets=True),
        _brackets_and_unknown,
        (2,),
    ),
    form(
        "two_brackets",
        _equation("{a}({v:letter} + {b}) + {c}({v:letter} {s:sign} {d}) = {e}"),
        _draw_two_brackets,
        _two_brackets,
        (2,),
    ),
)
