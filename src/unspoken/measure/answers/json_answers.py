"""The answer in an object of JSON that a text is or ends with: 42 of {"answer": 42}.

What stands behind the last key `answer` or `final_answer` counts. Objects with errors, and of
Python, are read as well, so nothing is parsed.
"""

from __future__ import annotations

import re

from unspoken.measure.answers.lines import MAX_LINE

_START = re.compile(r"^[ \t]*\{", re.MULTILINE)
_KEY = re.compile(r"[\"'](?:final[_ ]?)?answer[\"']\s*:\s*", re.IGNORECASE)
_VALUE = re.compile(
    r"(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|(\[[^{}]*?\]|[^\s,{}\[\]\"']+(?:,[0-9]{3})*))"
    r"(?=\s*[,}])"
)
_ESCAPED = re.compile(r"\\(?:([\"'/\\])|u([0-9A-Fa-f]{4}))")


def answer_in_json(text: str) -> str:
    """Returns 42 of the object {"answer": 42} that a text is or ends with, else ""."""
    text = text.rstrip("` \t\r\n")
    starts = list(_START.finditer(text)) if text.endswith("}") and "nswer" in text else []
    keys = list(_KEY.finditer(text, starts[-1].end())) if starts else []
    value = _VALUE.match(text, keys[-1].end()) if keys else None
    if value is None or value[3] in ("null", "None"):
        return ""
    return _ESCAPED.sub(_unescaped, value[3] or (value[1] or value[2] or "")[:MAX_LINE])


def _unescaped(sign: re.Match[str]) -> str:
    """Returns the character that an escape of JSON stands for; halves of one stay as they are."""
    if sign[1]:
        return sign[1]
    is_half = sign[2][0] in "dD" and sign[2][1] in "89abcdefABCDEF"
    return sign[0] if is_half else chr(int(sign[2], 16))
