"""Inequalities, what joins them, and the intervals that they say."""

from __future__ import annotations

import re
from collections.abc import Sequence

from unspoken.measure.answers.expression import constant_ratio, difference
from unspoken.measure.answers.quantity import read_quantity
from unspoken.measure.answers.structure import has_or, is_name, split_list

_RELATION = re.compile(r"\\(?:le|ge|ne)(?![a-z])|<|>")
_AND = re.compile(r"(?<![A-Za-z\\])and(?![A-Za-z])")
_TURNED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "\\ne": "\\ne"}
_ONE_SIDED, _TWO_SIDED = 3, 5  # parts of x < 7 and of 2 < x < 7


def read_relation(text: str) -> list[str] | None:
    r"""Returns ["2", "<", "x", "\\le", "7"] for 2 < x \le 7, None for other answers.

    So are x > 2 and x \le 7 read, which say the same.
    """
    if not _RELATION.search(text) or "=" in text:
        return None
    if parts := split_list(text):
        return None if has_or(text) or "\\cup" in text else _read_both(parts)
    parts = re.split(rf"({_RELATION.pattern})", text)
    stripped = [part.strip() for part in parts]
    return stripped if all(stripped) and len(stripped) in (_ONE_SIDED, _TWO_SIDED) else None


def _read_both(parts: Sequence[str]) -> list[str] | None:
    """Returns ["2", "<", "x", "<", "7"] for ["x > 2", "x < 7"], None where they leave no room."""
    relations = [read_relation(part) or [] for part in parts]
    if [len(each) for each in relations] != [_ONE_SIDED, _ONE_SIDED]:
        return None
    one, other = (each if is_name(each[0]) else turn(each) for each in relations)
    low, high = (one, other) if one[1] in (">", "\\ge") else (other, one)
    is_between = low[1] in (">", "\\ge") and high[1] in ("<", "\\le") and low[0] == high[0]
    start, end = read_quantity(low[2]), read_quantity(high[2])
    if not is_between or start is None or end is None or start.value >= end.value:
        return None
    return [*turn(low), *high[1:]]


def turn(relation: Sequence[str]) -> list[str]:
    """Returns a relation read from the right: ["7", ">", "x"] for ["x", "<", "7"]."""
    return [_TURNED.get(part, part) for part in reversed(relation)]


def one_is_an_intersection(first: str, second: str) -> bool:
    r"""Whether only one of two answers joins its inequalities by "and": x < 2 and x > 3."""
    are_both = [_AND.search(answer) and _RELATION.search(answer) for answer in (first, second)]
    is_union = [has_or(answer) or "\\cup" in answer for answer in (first, second)]
    return bool((are_both[0] and is_union[1]) or (are_both[1] and is_union[0]))


def same_up_to_sign(first: Sequence[str], second: Sequence[str]) -> bool:
    """Returns whether two inequalities are one, as x < 1 and -x > -1 are."""
    if not len(first) == len(second) == 3:
        return False
    one, other = difference(first[0], first[2]), difference(second[0], second[2])
    if one is None or other is None:
        return False
    ratio = constant_ratio(one, other)
    sign = _TURNED.get(second[1]) if ratio == -1 else second[1]
    return ratio in (1, -1) and first[1] == sign


def as_interval(relation: Sequence[str]) -> str:
    r"""Returns (2, 7] for 2 < x \le 7, and "" for what is no interval of one variable."""
    if len(relation) == _ONE_SIDED:
        if not is_name(relation[0]):
            relation = turn(relation)
        name, sign, end = relation
        ends = {">": f"({end}, \\infty)", "\\ge": f"[{end}, \\infty)"}
        ends |= {"<": f"(-\\infty, {end})", "\\le": f"(-\\infty, {end}]"}
        ends |= {"\\ne": f"(-\\infty, {end}) \\cup ({end}, \\infty)"}
        return ends.get(sign, "") if _is_variable(name) else ""
    if len(relation) == _TWO_SIDED and set(relation[1::2]) <= {">", "\\ge"}:  # 5 > x > 2
        relation = turn(relation)
    if len(relation) != _TWO_SIDED or not set(relation[1::2]) <= {"<", "\\le"}:
        return ""
    low, sign, name, other_sign, high = relation
    opened, closed = "(" if sign == "<" else "[", ")" if other_sign == "<" else "]"
    return f"{opened}{low}, {high}{closed}" if _is_variable(name) else ""


def _is_variable(text: str) -> bool:
    """Whether a text is the name of what lies in an interval: not the |x| of 2 < |x| < 7."""
    return is_name(text) and "|" not in text
