"""Find the final answer in what a model wrote, or in a reference solution.

The first step after decoding: what is found here goes to `equal` and `digits` as the prediction.
Every step takes time in proportion to the text, whatever the text is. `spoken` says which part of
the text counts, `markers`, `boxes` and `json_answers` what announces the answer in it, `lines` how
far it goes, and `retraction` whether it is taken back; here they are asked in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from unspoken.measure.answers.boxes import (
    Box,
    expression_of_box,
    find_boxes,
    last_boxes,
    with_braces,
)
from unspoken.measure.answers.clean import tidy
from unspoken.measure.answers.json_answers import answer_in_json
from unspoken.measure.answers.lines import (
    MAX_LINE,
    first_line_with_content,
    last_line,
    read_lines,
)
from unspoken.measure.answers.markers import (
    HASHES,
    SENTENCE_MARKERS,
    SINGLE_HASH,
    TAG,
    TAG_END,
    last_occurrences,
    possible_markers,
    without_lead_to_marker,
    without_markers,
)
from unspoken.measure.answers.retraction import (
    corrected,
    retraction,
    split_correction,
    takes_back,
)
from unspoken.measure.answers.spoken import Spoken, read_spoken

_CALCULATION = re.compile(r"<<[^<>]*>>")  # GSM8K's notes for a calculator: 9*2=$<<9*2=18>>18
_VISIBLE = re.compile(r"\S")
_GERMAN_MONTH = r"(?:Jan|Jän|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)\w*\b"  # 5. März
_ONLY_QUOTED = re.compile(r"[\s>*_#`$]*")
_RULE = re.compile(r"\s*(?:-{3,}|\*{3,}|_{3,}|#+)\s*")
_DISPLAY = re.compile(r"\s*(?:\$\$?|\\[\[(])\s*")
_HEADING = re.compile(r"step\s*[0-9]|[0-9]+[.)]\s+[A-Za-z]", re.IGNORECASE)
#: A longer text is not read at all; half a second of work.
MAX_CHARACTERS = 1_200_000


class _Statement(NamedTuple):
    """An answer that a marker introduces, which begins at `start`; `kind` is None for a box."""

    start: int
    answer: str
    kind: re.Pattern[str] | None


class _Text(NamedTuple):
    """A text and its boxes."""

    text: str
    boxes: list[Box]


def extract_answer(text: str) -> str:
    r"""Returns the final answer that a text states, or "" where it states none.

    The most specific kind of marker in the text decides, in this order: `<answer>`, `Final
    Answer:`, `\boxed{}`, `####`, "the final answer is", `Answer:`, "the answer is", the same in
    some other languages, `A:` at the start of a line, and, with none of these, a single `#`
    directly before the end. `Answer:` and "the answer is 7" are of one kind. Markers are
    case-insensitive and may stand in Markdown bold or headings. The answer is the first line with
    content after the marker, or all lines that are items of one list or an equation each; a
    `\boxed{}` in that line is the answer, and several boxes with only commas, "and" or "or"
    between them are a list. What is a first and a second step is no answer.
    Without any marker it is the last line with content. Of a text that is an object in JSON, or
    ends with one, it is what its key `answer` or `final_answer` has.

    Of several markers of that kind the last one with content counts, since a writer who corrects
    himself does so later. Before that the text is cut where the model starts a next question
    by itself (a line such as `Q:` or `### Question:` after an answer), so what it recites there
    does not count. Text up to `</think>` does not count where something follows it, nor do
    channels of a Harmony text other than the final one, nor what follows a token that ends a turn.

    A marker with nothing after it (a text cut short) gives "", not the line before it.

    Args:
        text: what a model wrote, or a reference solution.

    Examples:
        >>> extract_answer("**Final Answer:** 36\n\nQ: What is 3 + 4?\nA: Final Answer: 7")
        '36'
        >>> extract_answer(r"so x = \boxed{\frac{3}{4}} and we are done.")
        '\\frac{3}{4}'
        >>> extract_answer("<<16-3-4=9>> <<9*2=18>> #### 18")
        '18'
    """
    return read_answer(text)[0]


def read_answer(text: str) -> tuple[str, bool]:
    """Returns what `extract_answer` does, and whether it is stated, as `split_answer` has it."""
    found = _find_answer(text)
    return found.answer, found.is_stated


def split_answer(text: str) -> tuple[str, str] | None:
    r"""Returns the reasoning and the final answer of a text that states one, else None.

    The answer is what `extract_answer` returns, but only where a marker introduces it or a
    `<think>` block precedes it: the last line of a text is no answer by itself. The reasoning is
    what stands before the marker, without what leads to it ("Therefore, the"), or what stands in
    the `<think>` block or the other channels, if there is anything. A block that never ends, or
    with nothing after it, states no answer.

    Args:
        text: what a teacher wrote.

    Examples:
        >>> split_answer("Step 1: 0.15 * 240 = 36\nFinal Answer: 36")
        ('Step 1: 0.15 * 240 = 36', '36')
        >>> split_answer("<think>\nStep 1\n</think>\n\n36")
        ('Step 1', '36')
        >>> split_answer("Step 1: 0.15 * 240 = 36") is None
        True
    """
    found = _find_answer(text)
    if not found.is_stated:
        return None
    if found.spoken.thought or found.statement is None:
        return found.spoken.thought, found.answer
    return _before(found.spoken.text, found.statement), found.answer


class _Found(NamedTuple):
    """The answer of a text, what states it, and in which part of the text."""

    spoken: Spoken
    statement: _Statement | None
    answer: str
    is_stated: bool


def _find_answer(text: str) -> _Found:
    spoken = read_spoken(with_braces(text) if len(text) <= MAX_CHARACTERS else "")
    in_json = _answer_in_json(spoken.text)
    statement = None if in_json else _find_statement(spoken.text)
    stated = _CALCULATION.sub("", statement.answer) if statement else in_json
    said = stated if statement or in_json else last_line(spoken.text)
    answer = _answer_in_json(said) or said
    is_stated = answer != "" and (spoken.has_thought or statement is not None)
    return _Found(spoken, statement, answer, is_stated)


def _answer_in_json(text: str) -> str:
    written = answer_in_json(text)
    return extract_answer(written) if written else ""


def _find_statement(text: str) -> _Statement | None:
    """Returns what the deciding marker states, "" after markers without content, or None."""
    whole = _Text(text, find_boxes(text))
    empty = None
    for marker in possible_markers(text):
        if marker is None:
            found = _find_box(whole)
        else:
            starts = last_occurrences(marker, text)
            stated = (
                _Statement(start.start(), _answer_after(whole, marker, start), marker)
                for start in starts
            )
            found = _first_filled(stated)
        if found is not None and found.answer:
            return found
        empty = empty or found
    if empty is not None:
        return empty
    end = text.rstrip()
    hash_sign = SINGLE_HASH.search(end, max(0, len(end) - MAX_LINE))
    return _Statement(hash_sign.start(), tidy(hash_sign[1]), SINGLE_HASH) if hash_sign else None


def _first_filled(statements: Iterator[_Statement]) -> _Statement | None:
    """Returns the first statement with an answer, or else the first one."""
    first = None
    for statement in statements:
        if statement.answer:
            return statement
        first = first or statement
    return first


def _find_box(whole: _Text) -> _Statement | None:
    if not whole.boxes:
        return None
    box = last_boxes(whole.text, whole.boxes)
    if box is None:
        return _Statement(whole.boxes[-1].start, "", None)
    # Nothing of a box around it is thought.
    around = [each.start for each in whole.boxes if each.start <= box.start <= box.end <= each.end]
    start = min(around, default=box.start)
    return _Statement(start, _stated_by_box(whole, whole.boxes, box), None)


def _stated_by_box(whole: _Text, boxes: list[Box], box: Box) -> str:
    answer = tidy(expression_of_box(whole.text, boxes, box))
    return _instead_of(answer, retraction(whole.text, box.end))


def _before(text: str, stated: _Statement) -> str:
    """Returns the text before a statement, without what only leads to it."""
    text = text[: stated.start]
    head, line_end, line = text.rpartition("\n")
    line = without_lead_to_marker(line)
    text = head + line_end + ("" if _ONLY_QUOTED.fullmatch(line) else line)
    lines = text.rstrip().splitlines()
    while lines and (
        _RULE.fullmatch(lines[-1]) or (stated.kind is None and _DISPLAY.fullmatch(lines[-1]))
    ):
        lines.pop()
    return "\n".join(lines).strip()


def _answer_after(whole: _Text, marker: re.Pattern[str], found: re.Match[str]) -> str:
    """Returns the answer that one occurrence of a marker introduces, or ""."""
    text, position = whole.text, found.end()
    if marker is TAG:
        end = TAG_END.search(text, position)
        content = text[position : end.start() if end else len(text)].strip()
        return extract_answer(TAG.split(content, maxsplit=1)[0])
    start, end = first_line_with_content(text, position)
    in_line = [box for box in whole.boxes if start <= box.start < end]
    if in_line:
        box = last_boxes(text, in_line)
        return _stated_by_box(whole, in_line, box) if box else ""
    line, end = read_lines(text, start, end)
    if marker is HASHES and _is_heading(line, whole.text, end):
        return ""
    line = _without_frame(line, text[max(0, found.start() - 1) : start])
    first, *others = _split_sentence(without_markers(line), marker)
    taken_back = next(filter(takes_back, others), "") or retraction(text, end)
    return _instead_of(tidy(first), taken_back)


def _without_frame(line: str, marker: str) -> str:
    """Returns 84 of "(Answer: 84)", "final_answer(84)" and of "> 84" on a line of its own."""
    if marker.startswith("(") or marker.endswith("("):
        return line.rstrip(" .;").removesuffix(")")
    return line.removeprefix("> ") if "\n" in marker else line


def _split_sentence(line: str, marker: re.Pattern[str]) -> list[str]:
    """Returns a line up to the end of the sentence, or the correction, in it, and the rest."""
    # "36. I hope it is correct." A decimal point has no space after it.
    sentence_end = rf"[.!]\s+(?!{_GERMAN_MONTH})(?=[A-Z])"
    if marker not in SENTENCE_MARKERS:
        sentence_end = rf"(?<=[\d%)}}$]){sentence_end}|[.!]\s+(?=I hope\b)"
    sentences = re.split(sentence_end, line, maxsplit=1)
    return sentences if len(sentences) > 1 else split_correction(line)


def _instead_of(answer: str, taken_back: str) -> str:
    """Returns an answer, or what the sentence that takes it back says instead."""
    return (tidy(corrected(taken_back)) or f"not {answer}") if answer and taken_back else answer


def _is_heading(line: str, text: str, end: int) -> bool:
    """Returns whether what follows `####` is a Markdown heading, not a GSM8K answer."""
    if _HEADING.match(line.strip(" \t*_")):
        return True
    has_digits = any(character.isdigit() for character in line)
    return not has_digits and _VISIBLE.search(text, end) is not None
