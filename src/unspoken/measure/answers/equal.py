"""Decide whether two answers say the same: the rules, in the order in which they are asked.

Stands on `clean`, which takes markup off, and `prose`, which takes words off; then each rule reads
both answers as one kind of value, with `structure`, `relation`, `times`, `notation` and `quantity`,
and compares them; `expression` is asked last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeVar

from unspoken.measure.answers.clean import as_text, clean
from unspoken.measure.answers.expression import (
    Undecided,
    constant_ratio,
    difference,
    read_expression,
    same_value,
)
from unspoken.measure.answers.lead_ins import names_other_things
from unspoken.measure.answers.notation import equal_based, equal_digit_rows, equal_ratios
from unspoken.measure.answers.prose import Words, labels_as_names, readings
from unspoken.measure.answers.quantity import (
    NUMERAL,
    read_quantity,
    split_unit,
    units_agree,
)
from unspoken.measure.answers.relation import (
    as_interval,
    one_is_an_intersection,
    read_relation,
    same_up_to_sign,
    turn,
)
from unspoken.measure.answers.structure import (
    System,
    has_or,
    is_supposed,
    read_list,
    read_matrix,
    read_parts,
    read_system,
    split_equation,
    split_list,
    told_value,
)
from unspoken.measure.answers.times import (
    equal_clocks,
    equal_compounds,
    equal_dates,
    equal_names,
    same_amount,
)

_T = TypeVar("_T")
MAX_ANSWER_CHARACTERS = 2000
_CHOICE = re.compile(
    r"(?:option |choice )?(?:([a-z])|[(\[]([a-z])[)\]]|([a-z])[.:)])"
    r"|(?:option |choice )?(?:[(\[]([a-j])[)\]][.:]?|([a-j])[.:)])"
    r" (?!(?:or|and|is|but|not)\b)(\S.*)"
    # C - Paris, but C - d is algebra
    r"|(?:option |choice )?(?-i:([A-J])) - (?=[^\W\d_]{3})(?!(?:and|but|not|[abcxyz]{3})\b)(.+)",
    re.IGNORECASE,
)
_MAX_CHOICE_CHARACTERS = 200
_ARITHMETIC = re.compile(r"[0-9\s+\-*/^().,{}]+")
_OPERATION = re.compile(r"[0-9)}]\s*(?:[+*/-]\s*)+[({.0-9]")
_PRODUCT = re.compile(r"[A-Za-z](?: ?[ *] ?[A-Za-z]){1,3}")  # x y, m * n
_FRACTION_OF_POWER = re.compile(r"-?[0-9]+ ?/ ?\(?[0-9]+ ?\^ ?(?:[0-9]+|\{ ?[0-9]+ ?\})\)?")
_VARIABLE = re.compile(r"(?<=[0-9])([A-Za-z])\b(?! ?/)")
#: Names that usually stand for what has this unit: t = 4s is a time, n = 3m no length.
_NAMES_OF_UNIT = {"s": "tT", "h": "tT", "g": "mMw", "m": "dDhHlLrRsSwW"}
_E_NOTATION = re.compile(r"([0-9.]+)[eE]([+-]?[0-9]{1,3})")
_NO_WORDS = re.compile(r"[^A-Za-z ,]|\b[a-z]\b")
_MAX_DEPTH = 8
_MAX_PAIRS = 400


def answers_equal(predicted: str, gold: str) -> bool:
    r"""Returns whether two answers say the same; what cannot be decided is not equal.

    Words around an answer are taken away, then the first rule that reads both answers as one
    kind of value decides. Nothing is rounded and nothing is raised, a part is never equal to the
    whole, and an empty answer equals nothing. docs/answers.md says what is equal, kind by kind.

    Args:
        predicted: what `extract_answer` found, or any short answer.
        gold: the reference answer.

    Examples:
        >>> answers_equal("$1,234.50", "1234.5"), answers_equal("3:2", "6:4")
        (True, True)
        >>> answers_equal("0.33", "1/3"), answers_equal("1 3 9 4", "1 3 9 4 0")
        (False, False)
    """
    return compare_answers(predicted, gold) is True


def compare_answers(predicted: str, gold: str, *, words: Words = "sentence") -> bool | None:
    """Returns whether two answers say the same, as `answers_equal`; None where nobody can tell.

    That is so for numbers beyond all bounds, such as 9^{9^{9^{9}}}, of which the value would
    be needed. The work for two answers is bounded, whatever they are.

    Args:
        predicted, gold: as in `answers_equal`.
        words: which words of the prediction may be taken away; of the gold answer those around it.
    """
    if max(len(predicted), len(gold)) > MAX_ANSWER_CHARACTERS:
        return predicted.strip().casefold() == gold.strip().casefold() != ""
    first, second = labels_as_names(clean(predicted)), labels_as_names(clean(gold))
    if not first or not second or names_other_things(first, second):
        return False
    if as_text(first) == as_text(second):
        return True
    if first.isdecimal() and second.isdecimal():
        return int(first) == int(second)
    try:
        pairs = product(readings(first, words), readings(second, "around"))
        return any(_Comparison().same(one, other) for one, other in pairs)
    except Undecided:
        return None


class _Comparison:
    """Compares two cleaned answers and, where they have parts, these; counts the pairs."""

    def __init__(self) -> None:
        self._num_pairs = 0
        self._depth = 0

    def same(self, first: str, second: str) -> bool:
        """Returns whether two answers say the same.

        Raises:
            Undecided: after too many pairs of parts, and as `same_value` does.
        """
        first, second = first.strip(), second.strip()
        if not first or not second:
            return False
        if as_text(first) == as_text(second):
            return True
        self._num_pairs += 1
        if self._num_pairs > _MAX_PAIRS or self._depth > _MAX_DEPTH:
            raise Undecided
        self._depth += 1
        try:
            verdicts = (rule(first, second) for rule in self._rules())
            verdict = next((each for each in verdicts if each is not None), False)
        finally:
            self._depth -= 1
        return verdict

    def _rules(self) -> tuple[Callable[[str, str], bool | None], ...]:
        return (
            equal_dates,
            equal_names,
            self._equal_choices,
            self._equal_equations,
            equal_compounds,
            equal_clocks,
            equal_based,
            self._equal_matrices,
            equal_digit_rows,
            self._equal_relations,
            self._equal_parts,
            self._equal_lists,
            equal_ratios,
            _equal_quantities,
            self._equal_measured,
            _equal_arithmetic,
            _equal_expressions,
        )

    def _equal_choices(self, first: str, second: str) -> bool | None:
        (letter, text), (other, other_text) = _read_choice(first), _read_choice(second)
        if letter and other:
            same_text = not text or not other_text or as_text(text) == as_text(other_text)
            return letter == other and same_text
        return self.same(text or first, other_text or second) if text or other_text else None

    def _equal_equations(self, first: str, second: str) -> bool | None:
        if len(split_equation(first)) == len(split_equation(second)) == 1:
            return None
        told = told_value(first), told_value(second)
        if any(told):
            return self.same(told[0] or first, told[1] or second)
        return self._equal_systems_or_sides(first, second)

    def _equal_systems_or_sides(self, first: str, second: str) -> bool:
        sides = split_equation(first), split_equation(second)
        system, other_system = read_system(first), read_system(second)
        if system and other_system:
            return self._equal_systems(system, other_system)
        if system and len(sides[1]) == 1:
            return self._is_solution(system, second)
        if other_system and len(sides[0]) == 1:
            return self._is_solution(other_system, first)
        if lists := [each for each in (split_list(first), split_list(second)) if each]:
            same_kind = has_or(first) == has_or(second)
            return same_kind and len(lists) > 1 and self._equal_in_any_order(*lists)
        return self._equal_sides(*sides) if min(map(len, sides)) > 1 else self._equal_value(*sides)

    def _equal_systems(self, first: System, second: System) -> bool:
        solutions, others = _as_roots(first, second), _as_roots(second, first)
        return _are_pairs(solutions, others, self._same_solution)

    def _same_solution(self, first: dict[str, str], second: dict[str, str]) -> bool:
        values, others = _as_algebra(first), _as_algebra(second)
        return values.keys() == others.keys() and all(
            self.same(value, others[name]) for name, value in values.items()
        )

    def _is_solution(self, system: System, other: str) -> bool:
        """Whether an answer without names gives the values of a system."""
        if not system[0].keys().isdisjoint("kKMB"):
            other = _VARIABLE.sub(r" * \1", other)
        values = _values_of(system)
        if len(values) > 1:
            others = read_list(other)
            return others is not None and self._equal_in_any_order(values, others)
        return self.same(values[0], other)

    def _equal_value(self, first: Sequence[str], second: Sequence[str]) -> bool:
        value, other = _value_of_equation(first, is_answer=True), _value_of_equation(second)
        return value is not None and other is not None and self.same(value, other)

    def _equal_sides(self, first: Sequence[str], second: Sequence[str]) -> bool:
        ends, others = (first[0], first[-1]), (second[0], second[-1])
        if self._equal_in_order(ends, others) or self._equal_in_order(ends, others[::-1]):
            return True
        if not len(first) == len(second) == 2:
            return False
        zero, other = difference(*ends), difference(*others)
        # of an equation in one unknown the solution is wanted, not another form
        if zero is None or other is None or len(zero.variables) < 2:
            return False
        return constant_ratio(zero, other) is not None

    def _equal_matrices(self, first: str, second: str) -> bool | None:
        matrix, other = read_matrix(first), read_matrix(second)
        if matrix is None or other is None:
            return None if matrix is other else False
        (kind, rows), (other_kind, other_rows) = matrix, other
        return (
            kind == other_kind
            and [len(row) for row in rows] == [len(row) for row in other_rows]
            and all(map(self._equal_in_order, rows, other_rows))
        )

    def _equal_relations(self, first: str, second: str) -> bool | None:
        relations = read_relation(first), read_relation(second)
        if not any(relations):
            return None
        if not all(relations):
            relation, other = (relations[0], second) if relations[0] else (relations[1], first)
            in_brackets = "(" in other or "[" in other  # 2, 7 is a list
            return in_brackets and self.same(as_interval(relation or []), other)
        one, two = (relation or [] for relation in relations)
        return (
            self._same_relation(one, two)
            or self._same_relation(one, turn(two))
            or same_up_to_sign(one, two)
        )

    def _same_relation(self, first: Sequence[str], second: Sequence[str]) -> bool:
        return first[1::2] == second[1::2] and self._equal_in_order(first[::2], second[::2])

    def _equal_parts(self, first: str, second: str) -> bool | None:
        parts, other_parts = read_parts(first), read_parts(second)
        if parts and other_parts:
            same_brackets = parts.brackets == other_parts.brackets
            return same_brackets and self._equal_in_order(parts.items, other_parts.items)
        if parts is None and other_parts is None:
            return None
        # (2, 3) beside 2, 3 without brackets
        tuple_, other = (parts, second) if parts else (other_parts, first)
        items = None if read_quantity(other) else split_list(other.strip("{}"))
        if tuple_ is None or items is None:
            return False
        may_be_interval = tuple_.brackets != "()" and len(tuple_.items) == 2  # [2, 7, 9] is a list
        return not may_be_interval and self._equal_in_order(tuple_.items, items)

    def _equal_lists(self, first: str, second: str) -> bool | None:
        lists = [None if read_quantity(answer) else read_list(answer) for answer in (first, second)]
        if lists[0] is None and lists[1] is None:
            return None
        # 12,34,567 is a number, but beside the list 12, 34, 567 it is that list
        one, other = (
            read_list(answer) if each is None and re.search(",(?!0[0-9])", answer) else each
            for each, answer in zip(lists, (first, second), strict=True)
        )
        if one is None or other is None:
            return False
        if one_is_an_intersection(first, second) or _one_is_open(first, second):
            return False
        if "\\dots" in first and "\\dots" in second:  # which goes on from its order
            return self._equal_in_order(one, other)
        return self._equal_in_any_order(one, other)

    def _equal_measured(self, first: str, second: str) -> bool | None:
        """Compares expressions of which at least one has a unit behind it."""
        split = [split_unit(answer) for answer in (first, second)]
        if not any(split):
            return None
        (one, unit), (other, other_unit) = (
            each or (answer, ()) for each, answer in zip(split, (first, second), strict=True)
        )
        return units_agree(unit, other_unit) and self.same(one, other)

    def _equal_in_order(self, first: Sequence[str], second: Sequence[str]) -> bool:
        return len(first) == len(second) and all(map(self.same, first, second))

    def _equal_in_any_order(self, first: Sequence[str], second: Sequence[str]) -> bool:
        # what has the same text comes first, so that few pairs have to be compared
        return _are_pairs(sorted(first, key=as_text), sorted(second, key=as_text), self.same)


def _are_pairs(first: Sequence[_T], second: Sequence[_T], same: Callable[[_T, _T], bool]) -> bool:
    """Whether each of one list has one of the other for itself that is the same."""
    if len(first) != len(second):
        return False
    rest = list(second)
    for each in first:
        found = next((n for n, other in enumerate(rest) if same(each, other)), None)
        if found is None:
            return False
        del rest[found]
    return True


def stated_value(answer: str) -> str:
    """Returns the last side of an equation, or the first where the last is a bare letter.

    An answer that is no equation is its own value.
    """
    sides = split_equation(answer)
    first, last = sides[0], sides[-1]
    return first if len(last) == 1 and last.isalpha() and not first.isalpha() else last


def _value_of_equation(sides: Sequence[str], *, is_answer: bool = False) -> str | None:
    r"""Returns 56 of 7 * 8 = 56, and None of an equation that is still to be solved.

    Of a prediction such as a + b = 7 the value counts, too: that is what was asked for, while a
    gold answer such as x + y = 7 may be a line.
    """
    if len(sides) == 1:
        return sides[0]
    if is_supposed(sides[0]):
        return None
    is_turned = read_quantity(sides[0]) is not None and _is_unevaluated(sides[-1])  # 15 = 3 * 5
    if is_turned:
        return sides[0]
    left, right = read_expression(sides[0]), read_expression(sides[-1])
    if left is None:
        return None if "\\" in sides[0] and right is None else sides[-1]
    if not left.variables:
        return sides[-1] if right is None or not right.variables else None
    is_asked = is_answer and len(left.variables) > 1 and read_quantity(sides[-1]) is not None
    return sides[-1] if is_asked else None


def _as_algebra(solution: dict[str, str]) -> dict[str, str]:
    """Returns values of variables, in which the k of 3k is one: no thousand; nor is m a meter."""
    if any(len(name) > 1 and not re.search(r"[_(]", name) for name in solution):
        return solution

    def apart(name: str, value: str) -> str:
        found = _VARIABLE.search(value)
        is_unit = found and name in _NAMES_OF_UNIT.get(found[1], "")
        return value if is_unit else _VARIABLE.sub(r" * \1", value)

    return {name: apart(name, value) for name, value in solution.items()}


def _values_of(system: System) -> list[str]:
    """Returns what the names of a system are: tuples where several names have different letters."""
    names = system[0].keys()
    system = [_as_algebra(solution) for solution in system]
    if len(names) == 1:
        return [solution[name] for solution in system for name in names]
    if len(system) == 1 and len({name.partition("_")[0] for name in names}) == 1:
        return list(system[0].values())  # x_1 = 2, x_2 = 3
    # (2, 3) for x = 2, y = 3: in the order of the alphabet, Latin letters first
    in_order = sorted(names, key=lambda name: (name.startswith("\\"), name))
    return [f"({', '.join(solution[name] for name in in_order)})" for solution in system]


def _as_roots(system: System, other: System) -> System:
    """Returns x = 3 or x = 5 for x_1 = 3, x_2 = 5, if x is what has several values beside it."""
    name = next(iter(other[0]))
    values = [value for solution in system for value in solution.values()]
    are_roots = len(other) > 1 and all(each.startswith(f"{name}_") for each in system[0])
    return [{name: value} for value in values] if are_roots else system


def _read_choice(text: str) -> tuple[str, str]:
    """Returns ("b", "paris") for "(B) Paris", ("b", "") for "B.", ("", "") for other answers."""
    match = _CHOICE.fullmatch(text) if len(text) <= _MAX_CHOICE_CHARACTERS else None
    if match is None:
        return "", ""
    *letters, label, letter, dashed = match.groups()
    letter = next(each for each in (*letters, letter) if each)
    return letter.casefold(), (label or dashed or "").casefold()


def _one_is_open(first: str, second: str) -> bool:
    """Whether only one of two lists leaves it open which of its words is meant: A or B."""
    return has_or(first) != has_or(second) and not _NO_WORDS.search(f"{first} {second}")


def _equal_quantities(first: str, second: str) -> bool | None:
    bare = [text[1:-1].strip() if text[0] + text[-1] == "()" else text for text in (first, second)]
    one, other = map(read_quantity, bare)
    if one is None or other is None:
        return None
    is_same = one.value == other.value and units_agree(one.unit, other.unit)
    return is_same or same_amount(one, other)


def _equal_arithmetic(first: str, second: str) -> bool | None:
    unevaluated = [_is_unevaluated(answer) for answer in (first, second)]
    if not any(unevaluated):
        return None
    if "\\sqrt" in first or "\\sqrt" in second:  # 2^{3/2} and 2\sqrt{2}: no question repeated
        return None
    if "^" in first and "^" in second:  # (1/2)^{55} and 2^{-55}
        return _numbers_in(first) == _numbers_in(second) and _equal_expressions(first, second)
    numbers = [Counter(re.findall(NUMERAL, answer)) for answer in (first, second)]
    return numbers[0] == numbers[1] and _equal_expressions(first, second)


def _numbers_in(text: str) -> set[str]:
    """Returns the numbers of a power, of which the one says nothing: 1 - 1/2^60 is 1 - 2^-60."""
    return set(re.findall("[0-9.]+", text)) - {"1"}


def _is_unevaluated(text: str) -> bool:
    return (
        not _FRACTION_OF_POWER.fullmatch(text)
        and _ARITHMETIC.fullmatch(text) is not None
        and _OPERATION.search(text) is not None
        and read_quantity(text) is None
    )


def _factors(product: str) -> str:
    """Returns "xy" for x y, y * x and xy; of capitals, which may be matrices, the order counts."""
    letters = re.sub("[ *]", "", product)
    return "".join(sorted(letters)) if letters.islower() else letters


def _equal_expressions(first: str, second: str) -> bool:
    if _PRODUCT.fullmatch(first) or _PRODUCT.fullmatch(second):
        return _factors(first) == _factors(second)
    expressions = []
    for answer in (first, second):
        # words are no products of letters
        if len(answer) > 1 and not re.search(r"[0-9\\+*/^(\[{<>|-]", answer):
            return False
        expressions.append(read_expression(_E_NOTATION.sub(r"\1*10^{\2}", answer)))
    one, other = expressions
    return one is not None and other is not None and same_value(one, other)
