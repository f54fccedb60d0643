"""Decide whether two answers say the same: the rules, in the order in which they are asked.

Stands on `clean` and `quantity`; `symbolic` is asked last.
"""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

from unspoken.measure.answers.clean import as_text, clean, without_lead_in
from unspoken.measure.answers.quantity import (
    MAX_QUANTITY_CHARACTERS,
    NUMERAL,
    numeral,
    read_quantity,
    units_agree,
)
from unspoken.measure.answers.symbolic import equal_by_math_verify

MAX_ANSWER_CHARACTERS = 2000
DIGIT_ROW = re.compile(r"-? ?[0-9](?: [0-9])+")
_INTEGER = re.compile(r"-?[0-9]+")
_RATIO = re.compile(
    rf"(?:the )?(?:ratio (?:is |of )?)?({NUMERAL}(?:(?: ?: ?| to |-to-){NUMERAL})+)",
    re.IGNORECASE,
)
_EQUALS_SIGN = re.compile(r"(?<![<>!=:~])=(?!=)")
_CHOICE = re.compile(
    r"(?:option |choice )?(?:([a-z])|[(\[]([a-z])[)\]]|([a-z])[.:)])"
    r"|(?:option |choice )?(?:[(\[]([a-j])[)\]][.:]?|([a-j])[.:)]) (\S.*)",
    re.IGNORECASE,
)
_MAX_CHOICE_CHARACTERS = 200
_ARITHMETIC = re.compile(r"[0-9\s+\-*/^().,{}]+")
_OPERATION = re.compile(r"[0-9)}]\s*(?:[+*/-]\s*)+[({.0-9]")


def answers_equal(predicted: str, gold: str) -> bool:
    r"""Returns whether two answers say the same.

    The first rule that reads both answers decides; nothing is rounded and nothing is raised.

    1. The same text, apart from case, markup, LaTeX spacing and a full stop.
    2. Equations: two are equal if both sides agree; of an equation beside a plain answer the
       value counts (`x = 5` and `7 * 8 = 56` are 5 and 56).
    3. Spaced digits (`1 3 9 4`) are a row of digits: equal to the same digits only, so zeros in
       front and at the end count.
    4. Choice letters: `(B)`, `B.`, `b`, `(B) Paris`.
    5. Ratios `3:2`, `3 to 2`, proportional to each other; beside a ratio only a fraction `3/2`
       can be equal, not `1.5`.
    6. Numbers with currency, thousands separators, units, fractions, mixed numbers, percent,
       powers of ten. A missing unit agrees with any, so `50%` equals `50` (gold answers of
       percentage questions are often written so) but never `0.5`. Units are not converted.
    7. Arithmetic that was not carried out (`7 * 8`) is not its value: a model that repeats the
       question has not answered it. It equals the same numbers in another order, if these give
       the same value.
    8. math-verify, for short expressions of other kinds.

    An empty answer equals nothing.

    Args:
        predicted: what `extract_answer` found, or any short answer.
        gold: the reference answer.

    Example:
        >>> answers_equal("$1,234.50", "1234.5"), answers_equal("3:2", "6:4")
        (True, True)
        >>> answers_equal("0.33", "1/3"), answers_equal("1 3 9 4", "1 3 9 4 0")
        (False, False)
    """
    if max(len(predicted), len(gold)) > MAX_ANSWER_CHARACTERS:
        return predicted.strip().casefold() == gold.strip().casefold()
    first, second = clean(predicted), clean(gold)
    if not first or not second:
        return False
    if as_text(first) == as_text(second):
        return True
    first, second = without_lead_in(first), without_lead_in(second)
    rules = (
        _equal_equations,
        _equal_digit_rows,
        _equal_choices,
        _equal_ratios,
        _equal_quantities,
        _equal_arithmetic,
    )
    for rule in rules:
        verdict = rule(first, second)
        if verdict is not None:
            return verdict
    return as_text(first) == as_text(second) or equal_by_math_verify(first, second)


def _equal_equations(first: str, second: str) -> bool | None:
    sides = [_EQUALS_SIGN.split(answer) for answer in (first, second)]
    if len(sides[0]) == len(sides[1]) == 1:
        return None
    if len(sides[0]) > 1 and len(sides[1]) > 1:
        (left, right), (other_left, other_right) = ((side[0], side[-1]) for side in sides)
        return (answers_equal(left, other_left) and answers_equal(right, other_right)) or (
            answers_equal(left, other_right) and answers_equal(right, other_left)
        )
    return answers_equal(stated_value(first), stated_value(second))


def stated_value(answer: str) -> str:
    """Returns the last side of an equation, or the first where the last is a bare letter.

    An answer that is no equation is its own value.
    """
    sides = _EQUALS_SIGN.split(answer)
    first, last = sides[0].strip(), sides[-1].strip()
    return first if len(last) == 1 and last.isalpha() and not first.isalpha() else last


def _equal_digit_rows(first: str, second: str) -> bool | None:
    if not (DIGIT_ROW.fullmatch(first) or DIGIT_ROW.fullmatch(second)):
        return None
    are_digits = all(DIGIT_ROW.fullmatch(a) or _INTEGER.fullmatch(a) for a in (first, second))
    return are_digits and first.replace(" ", "") == second.replace(" ", "")


def _equal_choices(first: str, second: str) -> bool | None:
    first_choice, second_choice = _read_choice(first), _read_choice(second)
    if first_choice and second_choice:
        texts = first_choice[1], second_choice[1]
        same_text = not all(texts) or as_text(texts[0]) == as_text(texts[1])
        return first_choice[0] == second_choice[0] and same_text
    if first_choice and first_choice[1]:
        return answers_equal(first_choice[1], second)
    if second_choice and second_choice[1]:
        return answers_equal(first, second_choice[1])
    return None


def _read_choice(text: str) -> tuple[str, str] | None:
    """Returns ("b", "paris") for "(B) Paris", ("b", "") for "B.", None for other answers."""
    match = _CHOICE.fullmatch(text) if len(text) <= _MAX_CHOICE_CHARACTERS else None
    if match is None:
        return None
    *letters, label = match.groups()
    return next(letter for letter in letters if letter).casefold(), (label or "").casefold()


def _equal_ratios(first: str, second: str) -> bool | None:
    ratios = _read_ratio(first), _read_ratio(second)
    if not any(ratios):
        return None
    first_ratio = ratios[0] or _fraction_as_ratio(first)
    second_ratio = ratios[1] or _fraction_as_ratio(second)
    if len(first_ratio) != len(second_ratio):
        return False
    pairs = list(zip(first_ratio, second_ratio, strict=True))
    same_zeros = all((left == 0) == (right == 0) for left, right in pairs)
    return same_zeros and len({left / right for left, right in pairs if right}) <= 1


def _read_ratio(text: str) -> tuple[Fraction, ...]:
    """Returns (3, 2) for "3:2" and "3 to 2", () for other answers."""
    match = _RATIO.fullmatch(text) if len(text) <= MAX_QUANTITY_CHARACTERS else None
    if match is None:
        return ()
    return tuple(numeral(part.strip()) for part in re.split(r":|-?to-?", match[1].casefold()))


def _fraction_as_ratio(text: str) -> tuple[Fraction, ...]:
    """Returns (3, 2) for "3/2", () for other answers."""
    quantity = read_quantity(text)
    if quantity is None or not quantity.is_fraction or quantity.unit:
        return ()
    return Fraction(quantity.value.numerator), Fraction(quantity.value.denominator)


def _equal_quantities(first: str, second: str) -> bool | None:
    first_quantity, second_quantity = read_quantity(first), read_quantity(second)
    if first_quantity is None or second_quantity is None:
        return None
    return first_quantity.value == second_quantity.value and units_agree(
        first_quantity.unit, second_quantity.unit
    )


def _equal_arithmetic(first: str, second: str) -> bool | None:
    unevaluated = [_is_unevaluated(answer) for answer in (first, second)]
    if not any(unevaluated):
        return None
    numbers = [Counter(re.findall(NUMERAL, answer)) for answer in (first, second)]
    return all(unevaluated) and numbers[0] == numbers[1] and equal_by_math_verify(first, second)


def _is_unevaluated(text: str) -> bool:
    return (
        _ARITHMETIC.fullmatch(text) is not None
        and _OPERATION.search(text) is not None
        and read_quantity(text) is None
    )
