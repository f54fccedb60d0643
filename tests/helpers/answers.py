"""Answers as a model writes them, and tables of cases as parameters of a test."""

from __future__ import annotations

import re

#: An answer whose digits are all that it says.
PLAIN = re.compile(r"[-$€£¥₹ ]*[0-9][0-9.,' ]*[%A-Za-z€ ]*|[(\[{]?[0-9 ,./-]+[)\]}]?")


def rows_of(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    """(kind, predicted, gold) of each case in a table: kind -> (predicted, gold)."""
    return [(kind, *case) for kind, cases in table.items() for case in cases]


def as_generated(answer: str) -> str:
    """A text that a model may have written, whose answer this is."""
    has_marker = any(sign in answer for sign in ("boxed", "nswer", "答案", "<", "NSWER"))
    return answer if has_marker and "\\le" not in answer else f"Step 1.\nFinal Answer: {answer}"


def with_other_digits(answer: str) -> list[str]:
    """The answer with another digit at one place, for each place that has one."""
    found = []
    for place in [match.start() for match in re.finditer("[0-9]", answer)]:
        digit = str((int(answer[place]) + 3) % 10)
        found.append(answer[:place] + digit + answer[place + 1 :])
    return found
