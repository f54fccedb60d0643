"""Find the final answer in what a model wrote, or in a reference solution.

The first step after decoding: what is found here goes to `equal` and `digits` as the prediction.
"""

from __future__ import annotations

import re

from tacit.answers.clean import BOXED, braced, tidy

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
_ONLY_DECORATION = re.compile(r"[\s*_#`$-]*|\\[\[(]")
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
    found = [match for marker in _MARKERS for match in reversed(list(marker.finditer(text)))]
    for match in found:
        if answer := _answer_after(match):
            return answer
    if found:
        return ""
    if match := _SINGLE_HASH.search(text.rstrip()):
        return tidy(match[1])
    lines = [line for line in text.splitlines() if not _ONLY_DECORATION.fullmatch(line)]
    return tidy(lines[-1]) if lines else ""


def _spoken_part(text: str) -> str:
    """Returns the text after a closed `<think>` block and before an end token written as text."""
    after = text.rpartition("</think>")[2]
    if after.strip():
        text = after
    end = _END_TOKEN.search(text)
    return text[: end.start()] if end and text[: end.start()].strip() else text


def _without_recitation(text: str) -> str:
    """Returns the text up to the first question that follows an answer.

    An answer is any marker, or one short line alone at the start (a model that answers at once).
    A question before any answer is the asked one, repeated by the model.
    """
    found = [match.start() for marker in _MARKERS if (match := marker.search(text))]
    first_marker = min(found, default=len(text))
    for question in _QUESTION.finditer(text):
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
