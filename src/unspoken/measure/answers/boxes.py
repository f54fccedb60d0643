"""Find boxes in a text, and what they state: their content, a list, or what they are a part of.

Below `extract`, which takes the last one for the answer, and `clean`.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from unspoken.measure.answers.quantity import is_measure

_BRACE = re.compile(
    r"\\\\(?!boxed|fbox)|\\[{}]|(?P<box>\\(?:boxed|fbox)\s*\{)|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
# \boxed 5 is \boxed{5}, and GLM has tokens for it.
_BARE_BOX = re.compile(
    r"\\(?:boxed|fbox)(?: {1,3}|(?=[0-9]))(-?[0-9](?:[0-9.,/]*[0-9])?|[A-Za-z](?![A-Za-z]))"
)
_BOX_TOKENS = re.compile(r"<\|(?:(begin)|end)_of_box\|>")
_MAX_BOXES, _MAX_BRACES, _MAX_GROUP = 200, 100_000, 50
#: What makes an expression of a box before or after it: -\boxed{3}, \boxed{3}^2, not \boxed{3}.
_JOINED_BEFORE = re.compile(
    r"(?:(?<![\w-])-|[=(,$]\s*-\s*|[\d^]|(?<=[\w})])\s*[/+]\s*"
    r"|\\(?:ne|neq|cdot|times|pm|mp|div)\s*"
    r"|\\(?:[dt]?frac|sqrt|ln|log|sin|cos|tan)(?:\[[^\[\]]*\])?\s*\{\s*"
    r"|\\[dt]?frac\s*\{(?:[^{}]|\{[^{}]*\})*\}\s*\{\s*|\^\s*\{\s*)\Z"
)
_DENIED = re.compile(r"\bnot \$?\Z")
_DENIED_AFTER = re.compile(
    r"[\s$*\\)\]]{0,8}(?:(?:is|was|would be)(?:n't)? (?:clearly )?(?:not|wrong|incorrect|false)\b"
    r"|(?:isn't|wasn't|can't|cannot) )"
)
_JOINED_AFTER = re.compile(
    r"\s*(?:[+^/]|_(?=[{0-9])|\\(?:cdot|times|pm|mp|div|pi|sqrt|[dt]?frac)(?![a-z])"
    r"|!\s*[$\\*/+^-]|(?:hundred|thousand|million|billion|trillion|dozen)\b)|[a-zA-Z](?![A-Za-z])(?<![mgslh])"
    r"|\.[0-9]"
)
_NUMBER = re.compile("[0-9.]+")
_DIGIT_BESIDE = (re.compile(r"[0-9]\Z"), re.compile(r"[0-9]"))
# A part of a tuple: (\boxed{4}, 5), (4, \boxed{5}).
_FIRST_OF_TUPLE = (re.compile(r"(?<!\\)\(\s*\Z"), re.compile(r"\s*, ?[^()\s]{1,20}\)"))
_LAST_OF_TUPLE = (re.compile(r"(?<!\\)\([^()\s]{1,20},\s*\Z"), re.compile(r"\s*\)"))
_SEGMENT_END = re.compile(r"\$|\\[()\[\]]|\n|[.?](?=\s|\Z)")
_MAX_SEGMENT = 200
_NAME_AHEAD = re.compile(r"([A-Za-z](?:_\{?\w\}?)?)\s*=\s*\$?\s*\Z")
_BETWEEN = re.compile(
    r"\\q?quad(?![a-z])|\\text(?![a-z])|\\[()\[\],; ]|[\s${}]|\*\*"
    r"|\b[A-Za-z](?:_\{?\w\}?)?\s*=(?!=)"
)
_MAX_BETWEEN = 60
_RATIO = re.compile(r"[\s$]*(:|to)[\s$]*")
#: What may stand between a box and its unit: \boxed{4}$ hours, \boxed{4}\text{ m}^2.
_NO_UNIT_YET = re.compile(r"[^A-Za-z$%]*(?:\\[a-z]+[^A-Za-z$%]*)*[0-9}]\s*")
_MARKUP = re.compile(r"\\(?:text|textrm|mathrm|mbox)(?![a-z])|\\[,;! )\]]|(?<=\\)%|[{}$*~\\]")
_PHRASE_END = re.compile(r"[.,;:!?()\n]")
_MAX_UNIT_WORDS = 4


class Box(NamedTuple):
    r"""A `\boxed{}` in a text, from `start` to `end`; an unclosed one has no content."""

    start: int
    end: int
    content: str


def with_braces(text: str) -> str:
    """Returns a text in which each box is in braces."""
    if "_of_box|>" in text:
        text = _BOX_TOKENS.sub(lambda token: "\\boxed{" if token[1] else "}", text)
    return _BARE_BOX.sub(r"\\boxed{\1}", text)


def find_boxes(text: str) -> list[Box]:
    """Returns the boxes of a text in the order in which they begin; of very many the last ones."""
    starts = [box.start() for box in BOX.finditer(text)]
    if not starts:
        return []
    boxes: list[Box] = []
    opened: list[re.Match[str]] = []
    braces = _BRACE.finditer(text, starts[-_MAX_BOXES:][0])
    for brace in islice(braces, _MAX_BRACES):
        if brace.lastgroup in ("box", "open"):
            opened.append(brace)
        elif brace.lastgroup == "close" and opened:
            start = opened.pop()
            if start.lastgroup == "box":
                boxes.append(Box(start.start(), brace.end(), text[start.end() : brace.start()]))
    boxes += [Box(each.start(), each.end(), "") for each in opened if each.lastgroup == "box"]
    return sorted(boxes)


def last_boxes(text: str, boxes: list[Box]) -> Box | None:
    r"""Returns the last box that has content, or the list of which it is the last part.

    Boxes between which only commas, "and" or "or" stand are one list, whose content is theirs
    with commas: `\boxed{3} or \boxed{5}` is `3, 5`. Where each has a name before it, `x =`, the
    names are kept. `\boxed{3}:\boxed{2}` is a ratio.
    """
    filled = [box for box in boxes if box.content.strip()]
    if not filled:
        return None
    group = [filled.pop()]
    if filled and (sign := _RATIO.fullmatch(text, filled[-1].end, group[0].start)):
        first = filled[-1]
        return Box(first.start, group[0].end, f"{first.content} {sign[1]} {group[0].content}")
    while filled and len(group) < _MAX_GROUP and _joins(text, filled[-1].end, group[0].start):
        group.insert(0, filled.pop())
    if len({box.content.strip() for box in group}) == 1:
        return group[-1]
    heads = (text[max(0, box.start - 20) : box.start] for box in group)
    names = [_NAME_AHEAD.search(head) for head in heads]
    parts = [
        f"{name[1]} = {box.content}" if name and all(names) else box.content
        for name, box in zip(names, group, strict=True)
    ]
    return Box(group[0].start, group[-1].end, ", ".join(parts))


def _joins(text: str, start: int, end: int) -> bool:
    """Returns whether the text between two boxes says that they are one list, or is none."""
    gap = text[start:end]
    if len(gap) > _MAX_BETWEEN or start == end:
        return start == end
    return (
        re.fullmatch(r"\s*(?:(?:[,;，、&]|and|or|as well as)\s*)+", _BETWEEN.sub(" ", gap))
        is not None
    )


def expression_of_box(text: str, boxes: list[Box], box: Box) -> str:
    r"""Returns what a box states: its content, or the expression of which it is only a part.

    That is `-3` for `-\boxed{3}` and `\frac{3}{5}` for `\frac{\boxed{3}}{\boxed{5}}`, where the
    content alone is another number.
    """
    before, after = text[max(0, box.start - 40) : box.start], text[box.end : box.end + 40]
    if _DENIED.search(before) or _DENIED_AFTER.match(after) or _breaks_off(box, before, after):
        return f"not {box.content}"
    if not _is_joined(before, after):
        return box.content + _unit_after(box.content, after)
    left = max(0, box.start - _MAX_SEGMENT)
    starts = [end.end() for end in _SEGMENT_END.finditer(text, left, box.start)]
    start = starts[-1] if starts else left
    end = _SEGMENT_END.search(text, box.end, box.end + _MAX_SEGMENT)
    stop = end.start() if end else min(len(text), box.end + _MAX_SEGMENT)
    found, position = "", start
    for each in boxes:
        if position <= each.start and each.end <= stop:
            is_plain = _NUMBER.fullmatch(each.content)
            follows_sign = not text[max(0, each.start - 1) : each.start].isalnum()
            content = each.content if is_plain and follows_sign else f"({each.content})"
            found, position = found + text[position : each.start] + content, each.end
    return (found + text[position:stop]).strip()


def _breaks_off(box: Box, before: str, after: str) -> bool:
    r"""Whether a number goes on beside its box, and nobody knows how: 1\boxed{4}, \boxed{4}2."""
    left, right = _DIGIT_BESIDE
    return bool(_NUMBER.fullmatch(box.content) and (left.search(before) or right.match(after)))


def _is_joined(before: str, after: str) -> bool:
    """Whether a box is a part of an expression that goes on before or after it."""
    if _JOINED_BEFORE.search(before) or _JOINED_AFTER.match(after):
        return True
    # an exclamation mark after words ends their sentence
    has_words = re.search("[A-Za-z]{2}", before.rpartition("\n")[2]) is not None
    return (after.startswith("!") and not has_words) or any(
        opens.search(before) and goes_on.match(after)
        for opens, goes_on in (_FIRST_OF_TUPLE, _LAST_OF_TUPLE)
    )


def _unit_after(content: str, after: str) -> str:
    r"""Returns " hours" for `\boxed{4}$ hours`, "" where no measure follows a bare number."""
    if len(content) > _MAX_SEGMENT or not _NO_UNIT_YET.fullmatch(content):
        return ""
    words = _PHRASE_END.split(_MARKUP.sub(" ", after))[0].split()
    for length in range(min(_MAX_UNIT_WORDS, len(words)), 0, -1):
        if is_measure(unit := " ".join(words[:length])):
            return f" {unit}"
    return ""
