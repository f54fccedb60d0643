"""Find the final answer in what a model wrote, or in a reference solution.

The first step after decoding: what is found here goes to `equal` and `digits` as the prediction.
"""

from __future__ import annotations

import re

from unspoken.measure.answers.clean import BOXED, braced, tidy

_DECORATION = r"[ \t*_`]*"
_LINE_START = r"^[ \t>*_#`]*"
# A marker in quotation marks is talked about ("end with a line that starts with 'Final Answer:'").
_UNQUOTED = r"""(?<!['"“‘\w])"""
_NOT_FINAL = r"(?<!final\s)"
_FLAGS = re.IGNORECASE | re.MULTILINE

_FINAL_ANSWER = re.compile(
    rf"{_UNQUOTED}final\s+answer{_DECORATION}(?:is\b{_DECORATION})?[:：]"
    rf"|{_LINE_START}final\s+answer{_DECORATION}$",
    _FLAGS,
)
_FINAL_ANSWER_SENTENCE = re.compile(rf"{_UNQUOTED}final\s+answer{_DECORATION}is\b", _FLAGS)
_HASHES = re.compile(r"(?<!#)####(?!#)")
_ANSWER = re.compile(
    rf"{_NOT_FINAL}{_UNQUOTED}answer{_DECORATION}(?:is\b{_DECORATION})?[:：]"
    rf"|^[ \t]*#+[ \t]*answer{_DECORATION}$",
    _FLAGS,
)
_ANSWER_SENTENCE = re.compile(rf"{_NOT_FINAL}{_UNQUOTED}answer{_DECORATION}is\b", _FLAGS)
_A = re.compile(rf"{_LINE_START}A{_DECORATION}[:：]", _FLAGS)

_MARKERS = (
    _FINAL_ANSWER,
    BOXED,
    _HASHES,
    _FINAL_ANSWER_SENTENCE,
    _ANSWER,
    _ANSWER_SENTENCE,
    _A,
)
_SENTENCE_MARKERS = (_FINAL_ANSWER_SENTENCE, _ANSWER_SENTENCE)

_SINGLE_HASH = re.compile(r"(?<!#)#([ \t]*[+\-$]?[0-9][0-9 \t.,/:%+-]*|[^\s#]+)\Z")
_LEADING_MARKER = re.compile(
    rf"[ \t>*_#`]*(?:(?:so|thus|therefore|hence),?\s+)?(?:(?:the|my)\s+)?(?:(?:final|correct)\s+)?"
    rf"answer{_DECORATION}(?:is\b{_DECORATION}[:：]?|[:：]){_DECORATION}|#{{1,4}}\s+|A\s*[:：]\s*",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    rf"{_LINE_START}(?:(?:next|new)\s+)?(?:(?:Q|question|problem|human|user|instruction)"
    rf"[ \t]*[0-9]*{_DECORATION}[:：])|^[ \t]*#+[ \t]*(?:question|problem)\b",
    _FLAGS,
)
_END_TOKEN = re.compile(r"<\|(?:im_end|endoftext|eot_id|end)\|>|</s>")
_THINK_END = "</think>"
_ONLY_DECORATION = re.compile(r"[\s*_#`$-]*|\\[\[(]")
# What leads to a marker in its own line: "**", "Thus, the", and before a box "The answer is $".
_LEAD_IN = re.compile(
    rf"(?:\b(?:so|thus|therefore|hence),?\s+)?(?:\b(?:the|my)\s+)?(?:\b(?:final|correct)\s+)?"
    rf"(?:\banswer{_DECORATION}(?:is\b)?{_DECORATION}[:：]?)?\s*(?:\\[\[(]|[*_`$>#]*|{BOXED.pattern})\Z",
    re.IGNORECASE,
)
_MAX_LEAD_IN = 200
_ONLY_QUOTED = re.compile(r"[\s>*_#`$]*")
_RULE = re.compile(r"\s*(?:-{3,}|\*{3,}|_{3,}|#+)\s*")
_DISPLAY = re.compile(r"\s*(?:\$\$?|\\[\[(])\s*")
_HEADING = re.compile(r"step\s*[0-9]|[0-9]+[.)]\s+[A-Za-z]", re.IGNORECASE)


def extract_answer(text: str) -> str:
    r"""Returns the final answer that a text states, or "" where it states none.

    The most specific kind of marker in the text decides, in this order: `Final Answer:`,
    `\boxed{}`, `####`, "the final answer is", `Answer:`, "the answer is", `A:` at the start of a
    line, and, with none of these, a single `#` directly before the end. Markers are
    case-insensitive and may stand in Markdown bold or headings. The answer is the first line with
    content after the marker; a `\boxed{}` in that line is the answer. Without any marker it is
    the last line with content.

    Of several markers of that kind the last one with content counts, since a writer who corrects
    himself does so later. Before that the text is cut where the model starts a next question
    by itself (a line such as `Q:` or `### Question:` after an answer), so what it recites there
    does not count. Text up to `</think>` does not count where something follows it.

    A marker with nothing after it (a text cut short) gives "", not the line before it.

    Args:
        text: what a model wrote, or a reference solution.

    Example:
        >>> extract_answer("**Final Answer:** 36\n\nQ: What is 3 + 4?\nA: Final Answer: 7")
        '36'
        >>> extract_answer(r"so x = \boxed{\frac{3}{4}} and we are done.")
        '\\frac{3}{4}'
        >>> extract_answer("<<16-3-4=9>> <<9*2=18>> #### 18")
        '18'
    """
    text = _without_recitation(_spoken_part(text))
    stated = _stated_answer(text)
    if stated is not None:
        return stated[1]
    lines = [line for line in text.splitlines() if not _ONLY_DECORATION.fullmatch(line)]
    return tidy(lines[-1]) if lines else ""


def split_answer(text: str) -> tuple[str, str] | None:
    r"""Returns the reasoning and the final answer of a text that states one, else None.

    The answer is what `extract_answer` returns, but only where a marker introduces it or a
    `<think>` block precedes it: the last line of a text is no answer by itself. The reasoning is
    what stands before the marker, without what leads to it ("Therefore, the"), or what stands in
    the `<think>` block, if there is anything. A block that never ends, or with nothing after it,
    states no answer.

    Args:
        text: what a teacher wrote.

    Example:
        >>> split_answer("Step 1: 0.15 * 240 = 36\nFinal Answer: 36")
        ('Step 1: 0.15 * 240 = 36', '36')
        >>> split_answer("<think>\nStep 1\n</think>\n\n36")
        ('Step 1', '36')
        >>> split_answer("Step 1: 0.15 * 240 = 36") is None
        True
    """
    inside, closed, after = text.rpartition(_THINK_END)
    inside = inside.strip().removeprefix("<think>").strip()
    says_nothing = closed and not _END_TOKEN.sub("", after).strip()
    if says_nothing or after.lstrip().startswith("<think>"):
        return None
    spoken = _without_recitation(_spoken_part(text))
    stated = _stated_answer(spoken)
    if stated is None:
        answer = extract_answer(text)
        return (inside, answer) if closed and answer else None
    match, answer = stated
    thought = inside or _before(match)
    return (thought, answer) if answer else None


def _stated_answer(text: str) -> tuple[re.Match[str], str] | None:
    """Returns the marker that decides and its answer, "" after markers without one, or None."""
    empty = None
    for marker in _MARKERS:
        for match in reversed(list(marker.finditer(text))):
            if answer := _answer_after(match):
                return match, answer
            empty = empty or match
    if empty is not None:
        return empty, ""
    match = _SINGLE_HASH.search(text.rstrip())
    return (match, tidy(match[1])) if match else None


def _before(match: re.Match[str]) -> str:
    """Returns the text before a marker, without what only leads to it."""
    text = match.string[: match.start()]
    if match.re is _SINGLE_HASH:
        return text.strip()
    head, line_end, line = text.rpartition("\n")
    # What leads to a marker is short; a search through all of a degenerate line takes for ever.
    cut = max(0, len(line) - _MAX_LEAD_IN)
    line = line[:cut] + _LEAD_IN.sub("", line[cut:], count=1)
    text = head + line_end + ("" if _ONLY_QUOTED.fullmatch(line) else line)
    lines = text.rstrip().splitlines()
    while lines and (
        _RULE.fullmatch(lines[-1]) or (match.re is BOXED and _DISPLAY.fullmatch(lines[-1]))
    ):
        lines.pop()
    return "\n".join(lines).strip()


def _spoken_part(text: str) -> str:
    """Returns the text after a closed `<think>` block and before an end token written as text."""
    after = text.rpartition(_THINK_END)[2]
    if after.strip():
        text = after
    end = _END_TOKEN.search(text)
    return text[: end.start()] if end and text[: end.start()].strip() else text


def _without_recitation(text: str) -> str:
    """Returns the text up to the first question that follows an answer.

    An answer is any marker, or one short line alone at the start (a model that answers at once).
    A question before any answer is the asked one, repeated by the model.
    """
    questions = list(_QUESTION.finditer(text))
    if not questions:
        return text
    found = [match.start() for marker in _MARKERS if (match := marker.search(text))]
    first_marker = min(found, default=len(text))
    for question in questions:
        head = text[: question.start()].strip()
        if head and (question.start() > first_marker or _is_short_answer(head)):
            return text[: question.start()]
    return text


def _is_short_answer(head: str) -> bool:
    if "\n" in head:
        return False
    has_letters = any(character.isalpha() for character in head)
    has_digits = any(character.isdigit() for character in head)
    return not has_letters or len(head.split()) <= (5 if has_digits else 2)


def _answer_after(match: re.Match[str]) -> str:
    """Returns the answer that one occurrence of a marker introduces, or ""."""
    text, marker = match.string, match.re
    if marker is BOXED:
        return tidy(braced(text, match.end()))
    start, end = _first_line_with_content(text, match.end())
    line = text[start:end]
    if box := BOXED.search(text, start, end):
        return tidy(braced(text, box.end()))
    if marker is _HASHES and _is_heading(line, text[end:]):
        return ""
    while leading := _LEADING_MARKER.match(line):
        line = line[leading.end() :]
    # "36. I hope it is correct." A decimal point has no space after it.
    sentence_end = r"[.!]\s+(?=[A-Z])"
    if marker not in _SENTENCE_MARKERS:
        sentence_end = rf"(?<=[\d%)}}$]){sentence_end}"
    return tidy(re.split(sentence_end, line, maxsplit=1)[0])


def _is_heading(line: str, rest: str) -> bool:
    """Returns whether what follows `####` is a Markdown heading, not a GSM8K answer."""
    if _HEADING.match(line.strip(" \t*_")):
        return True
    return not any(character.isdigit() for character in line) and bool(rest.strip())


def _first_line_with_content(text: str, start: int) -> tuple[int, int]:
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if not _ONLY_DECORATION.fullmatch(text, start, end):
            return start, end
        start = end + 1
    return len(text), len(text)
