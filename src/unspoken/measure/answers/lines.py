"""Lines of a text: the first and the last one with content, and several lines that are one list.

`extract` asks for the line behind a marker, or the last one. Lines are never searched without a
bound: one may be all of a megabyte.
"""

from __future__ import annotations

import re

from unspoken.measure.answers.clean import tidy

#: Of a line so much is read, and of lines without content or with items so many.
MAX_LINE = 4000
_MAX_LINES = 50
_DECORATING = "*_#`$- \t\n\r\v\f\u00a0\u2028\u2029"
_ONLY_DECORATION = re.compile(r"[\s*_#`$-]*|\\[\[(]|\s*```[a-z]{2,12}\s*")
_HEADING_SIGNS = re.compile(r"^\s*#{2,6}\s+")
_CONTENT = re.compile(r"[^\s*_#`$-]")
_STEPS = re.compile(
    r"[ \t*_#]*(?:step\s*1\b|1[.)]\s)[^\n]*\n+[ \t*_#]*(?:step\s*2\b|2[.)]\s)", re.IGNORECASE
)
# The lines of a sum that go on: + 6, = 90.
_SUM = re.compile(
    r"(?:\n[ \t]*[-+*/×÷] ?[$(]?[0-9][^\n=]{0,40}){1,20}\n[ \t]*= ?[$(]?[0-9][^\n]{0,40}"
)
_ITEM = re.compile(
    r"[ \t]*(?P<bullet>(?:[-*+•]|[0-9]{1,2}[.)]|\([a-d]\)|[a-d]\))[ \t]+)?"
    r"(?P<value>\$?[A-Za-z](?:_\{?\w\}?)? ?= ?[^\s=]{1,40}"
    r"|[^\W\d_]{3,20}(?: [^\W\d_]{1,20}){0,2}: ?[$€£]?[0-9]\S{0,20}(?: [a-z]{1,20})?"
    r"|(?(bullet)\S{1,40}|(?!)))[ \t]*(?:\n|\Z)"
)


def last_line(text: str) -> str:
    """Returns the last line with content."""
    end = len(text)
    for _ in range(_MAX_LINES):
        end = len(text[:end].rstrip(_DECORATING))
        start, stop = text.rfind("\n", 0, end) + 1, text.find("\n", end)
        lines = text[start : stop if stop >= 0 else len(text)].splitlines()
        lines = [line for line in lines if not _ONLY_DECORATION.fullmatch(line)]
        if lines:
            return tidy(_HEADING_SIGNS.sub("", lines[-1][:MAX_LINE]))
        end = start
    return ""


def first_line_with_content(text: str, start: int) -> tuple[int, int]:
    """Returns where the first line with content from `start` on begins and ends."""
    for _ in range(_MAX_LINES):
        content = _CONTENT.search(text, start)
        if content is None:
            break
        start = max(start, text.rfind("\n", 0, content.start()) + 1)
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if not _ONLY_DECORATION.fullmatch(text, start, end):
            return start, end
        start = end
    return len(text), len(text)


def read_lines(text: str, start: int, end: int) -> tuple[str, int]:
    """Returns the answer that a line, or a list that begins with it, has, and where that ends.

    Of a line that is the first step of a solution it is "".
    """
    if items := _read_items(text, start):
        return items
    if total := _SUM.match(text, end):
        return f"{text[start : min(end, start + MAX_LINE)]} {total[0]}", total.end()
    end = _end_of_matrix(text, start, end)
    is_step = _STEPS.match(text, start, start + MAX_LINE)
    return "" if is_step else text[start : min(end, start + MAX_LINE)], end


def _read_items(text: str, start: int) -> tuple[str, int] | None:
    """Returns "3, 5" for the lines "- 3" and "- 5", and where they end; None for other lines.

    Each may be an equation or have a label instead, without a bullet, too: x = 3, and y = 5 below
    it, Tom: 3.
    """
    values: list[str] = []
    bullets: set[bool] = set()
    while len(values) < _MAX_LINES and (item := _ITEM.match(text, start)):
        bullets.add(item["bullet"] is not None)
        values.append(item["value"].rstrip(",;."))
        start = item.end()
    return (", ".join(values), start) if len(values) > 1 and len(bullets) == 1 else None


def _end_of_matrix(text: str, start: int, end: int) -> int:
    r"""Returns the end of a line, or of the later one that has the \end of its \begin."""
    if "\\begin" not in text[start:end]:
        return end
    close = text.find("\\end", start, end + MAX_LINE)
    if close < end:
        return end
    stop = text.find("\n", close)
    return stop if stop >= 0 else len(text)
