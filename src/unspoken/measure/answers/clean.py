"""Take the markup off an answer and write it in plain signs, so that equal ones look alike.

Comes first on the way: `extract` tidies with it what it finds, `equal` and `digits` clean with it
what they compare. Nothing here knows what a number is worth.
"""

from __future__ import annotations

import re
import unicodedata

BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BOLD = re.compile(r"(?<![\w)])\*\*(.{1,200}?)\*\*(?![\w(])")
_WRAPPED = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.*)\\\)|\\\[(.*)\\\]|\"([^\"]*)\"", re.DOTALL)
_MAX_BOXED_CHARACTERS = 2000

_CHARACTERS = str.maketrans(
    dict.fromkeys("−‐‑‒–—－", "-")
    | dict.fromkeys("×✕·⋅∙", "*")
    | dict.fromkeys("÷∕⁄", "/")
    | dict.fromkeys("：∶", ":")
    | dict.fromkeys("‘’′", "'")
    | dict.fromkeys("\u00a0\u2007\u2009\u202f\u3000", " ")
    | dict.fromkeys("\u200b\u200e\u200f\ufeff", "")
    | dict(zip("０１２３４５６７８９，。％＄＝＋μ", "0123456789,.%$=+µ", strict=True))
    | {"π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "∪": r"\cup "}
)


def _superscript(run: re.Match[str]) -> str:
    return "^{" + unicodedata.normalize("NFKC", run[0]).replace("−", "-") + "}"


def _vulgar_fraction(sign: re.Match[str]) -> str:
    return f" {unicodedata.normalize('NFKC', sign[0])} ".replace("⁄", "/")


_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}",
            r" \1 ",
        ),
        (r"\\(?:left|right|displaystyle)(?![a-zA-Z])", ""),
        (r"\\!", ""),
        (r"\\[,;: ]|\\quad(?![a-zA-Z])|~", " "),
        (r"\{,\}", ","),
        (r"\\([%$#&])", r"\1"),
        (r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))|\\degree(?![a-zA-Z])", "°"),
        (r"\\(?:times|cdot)(?![a-zA-Z])|(?<=[0-9)])\s+[xX]\s+(?=[0-9(])", "*"),
        (r"\\div(?![a-zA-Z])", "/"),
        (r"\*\*", "^"),
        (r"<=", r"\\le "),
        (r">=", r"\\ge "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\frac\s*([0-9])\s*([0-9])", r" \1/\2 "),
        (r"\\frac\s*\{\s*(-?[0-9.,]+)\s*\}\s*\{\s*(-?[0-9.,]+)\s*\}", r" \1/\2 "),
        (r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", _superscript),
        (r"[¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]", _vulgar_fraction),
        (r"√\s*([0-9]+|\([^()]*\))", r"\\sqrt{\1}"),
        (r"\s+", " "),
    )
)
_NUMBER_AHEAD = r"(?=[-+]?\s*[$€£¥₹]?\s*[-+]?\s*\.?[0-9]|\\(?:sqrt|pi))"
_LEAD_IN = re.compile(
    rf"([^0-9=]{{0,100}}?\b(?:is|are|was|were|equals|has|have)(?: equal to)?\b:?"
    rf"|[A-Za-z][A-Za-z ]{{2,40}}:)\s*{_NUMBER_AHEAD}",
    re.IGNORECASE,
)
_NEGATION = re.compile(r"\b(?:not|never|no)\b|n't\b", re.IGNORECASE)


def braced(text: str, start: int) -> str:
    """Returns what stands between an opening brace just before `start` and its partner, or ""."""
    depth = 1
    for position in range(start, min(len(text), start + _MAX_BOXED_CHARACTERS)):
        character = text[position]
        if character in "{}" and text[position - 1] != "\\":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return text[start:position]
    return ""


def tidy(text: str) -> str:
    """Returns an answer without Markdown, math delimiters, quotation marks and a full stop."""
    previous = None
    while text != previous:
        previous = text
        text = _BOLD.sub(r"\1", text).strip().strip("*`_").strip()
        if wrapped := _WRAPPED.fullmatch(text):
            text = next(group for group in wrapped.groups() if group is not None)
        text = text.rstrip(". \t")
    return text


def clean(answer: str) -> str:
    """Returns an answer in plain signs: no markup, LaTeX spacing, typographic variants."""
    if box := BOXED.search(answer):
        answer = braced(answer, box.end()) or answer
    answer = tidy(answer).translate(_CHARACTERS)
    for pattern, replacement in _REWRITES:
        answer = pattern.sub(replacement, answer)
    answer = tidy(answer).rstrip(",;: ")
    answer = re.sub(r"(?<=[A-Za-z])!+$", "", answer)
    return answer.removeprefix("=").strip()


def as_text(answer: str) -> str:
    """Returns the form in which equal strings are equal: case and spaces around signs gone."""
    return re.sub(r"\s*([+*/^()\[\]{}=<>|:-])\s*", r"\1", answer.casefold())


def without_lead_in(answer: str) -> str:
    """Returns what follows "the total is" or "Total:" where a number does, else the answer."""
    match = _LEAD_IN.match(answer)
    if match is None or _NEGATION.search(match[1]):
        return answer
    return answer[match.end() :]
