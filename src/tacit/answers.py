r"""Extract a final answer from a text, and decide whether two answers are equal.

Stands between decoding and the statistics: evaluation, vetting and `tacit score` call
`extract_answer` on what a model wrote and `answers_equal` on the result and the gold answer.

The rules are exact. Numbers are compared as fractions without any tolerance, and a rule that
reads an answer decides it; math-verify is asked last, only about short mathematical expressions
(roots, polynomials, sets, intervals) that no rule here reads.

    >>> extract_answer("Step 1: 0.15 * 240 = 36\nFinal Answer: $36.00.")
    '$36.00'
    >>> answers_equal("$36.00", "36 dollars")
    True
"""

from __future__ import annotations

import logging
import math
import re
import signal
import threading
import unicodedata
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

# --------------------------------------------------------------------------------------------
# Extraction
# --------------------------------------------------------------------------------------------

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
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
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
    _BOXED,
    _HASHES,
    _FINAL_ANSWER_SENTENCE,
    _ANSWER,
    _ANSWER_SENTENCE,
    _A,
)
_SENTENCE_MARKERS = (_FINAL_ANSWER_SENTENCE, _ANSWER_SENTENCE)

_SINGLE_HASH = re.compile(r"(?<!#)#(?:[ \t]*([+\-$]?[0-9][0-9 \t.,/:%+-]*)|([^\s#]+))\Z")
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
_BOLD = re.compile(r"(?<![\w)])\*\*(.{1,200}?)\*\*(?![\w(])")
_WRAPPED = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.*)\\\)|\\\[(.*)\\\]|\"([^\"]*)\"", re.DOTALL)
_MAX_BOXED_CHARACTERS = 2000


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
    any_marker = False
    for marker in _MARKERS:
        for match in reversed(list(marker.finditer(text))):
            any_marker = True
            answer = _answer_after(text, match, marker)
            if answer:
                return answer
    if any_marker:
        return ""
    if match := _SINGLE_HASH.search(text.rstrip()):
        return _tidy(match[1] or match[2])
    lines = [line for line in text.splitlines() if not _ONLY_DECORATION.fullmatch(line)]
    return _tidy(lines[-1]) if lines else ""


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
    words = head.split()
    if "\n" in head:
        return False
    has_letters = any(character.isalpha() for character in head)
    has_digits = any(character.isdigit() for character in head)
    return not has_letters or len(words) <= (5 if has_digits else 2)


def _answer_after(text: str, match: re.Match[str], marker: re.Pattern[str]) -> str:
    """Returns the answer that one occurrence of a marker introduces, or ""."""
    if marker is _BOXED:
        return _tidy(_braced(text, match.end()))
    start, end = _first_line_with_content(text, match.end())
    line = text[start:end]
    if box := _BOXED.search(text, start, end):
        return _tidy(_braced(text, box.end()))
    if marker is _HASHES and _is_heading(line, text[end:]):
        return ""
    while leading := _LEADING_MARKER.match(line):
        line = line[leading.end() :]
    # "36. I hope it is correct." A decimal point has no space after it.
    sentence_end = r"[.!]\s+(?=[A-Z])"
    if marker not in _SENTENCE_MARKERS:
        sentence_end = rf"(?<=[\d%)}}$]){sentence_end}"
    return _tidy(re.split(sentence_end, line, maxsplit=1)[0])


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


def _braced(text: str, start: int) -> str:
    """Returns what stands between an opening brace just before `start` and its partner, or ""."""
    depth = 1
    for position in range(start, min(len(text), start + _MAX_BOXED_CHARACTERS)):
        character = text[position]
        if character in "{}" and text[position - 1] != "\\":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return text[start:position]
    return ""


def _tidy(text: str) -> str:
    """Returns an answer without Markdown, math delimiters, quotation marks and a full stop."""
    previous = None
    while text != previous:
        previous = text
        text = _BOLD.sub(r"\1", text).strip().strip("*`_").strip()
        if wrapped := _WRAPPED.fullmatch(text):
            text = next(group for group in wrapped.groups() if group is not None)
        text = text.rstrip(". \t")
    return text


# --------------------------------------------------------------------------------------------
# Cleaning before a comparison
# --------------------------------------------------------------------------------------------

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


def _clean(answer: str) -> str:
    """Returns an answer in plain signs: no markup, LaTeX spacing, typographic variants."""
    if box := _BOXED.search(answer):
        answer = _braced(answer, box.end()) or answer
    answer = _tidy(answer).translate(_CHARACTERS)
    for pattern, replacement in _REWRITES:
        answer = pattern.sub(replacement, answer)
    answer = _tidy(answer).rstrip(",;: ")
    answer = re.sub(r"(?<=[A-Za-z])!+$", "", answer)
    return answer.removeprefix("=").strip()


def _as_text(answer: str) -> str:
    """Returns the form in which equal strings are equal: case and spaces around signs gone."""
    return re.sub(r"\s*([+*/^()\[\]{}=<>|:-])\s*", r"\1", answer.casefold())


def _without_lead_in(answer: str) -> str:
    """Returns what follows "the total is" or "Total:" where a number does, else the answer."""
    match = _LEAD_IN.match(answer)
    if match is None or _NEGATION.search(match[1]):
        return answer
    return answer[match.end() :]


# --------------------------------------------------------------------------------------------
# Numbers with units
# --------------------------------------------------------------------------------------------

_NUMERAL = (
    r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9])|[0-9]+)"
    r"(?:\.[0-9]*)?|\.[0-9]+)"
)
_TEN_TO = r"10\s*\^\s*[{(]?\s*([+-]?[0-9]{1,3})\s*[})]?"
_CURRENCY = r"US\$|USD|EUR|GBP|[$€£¥₹]"
_UNIT = r"[A-Za-z°µΩ%$€£¥₹¢/][A-Za-z°µΩ%$€£¥₹¢'*/^{}0-9. -]*"
_QUANTITY = re.compile(
    rf"([+-]?)\s*({_CURRENCY})?\s*([+-]?)\s*"
    rf"(?:([0-9]+)\s+(?:and\s+)?([0-9]+)\s*/\s*([0-9]+)"
    rf"|({_NUMERAL})\s*/\s*([+-]?{_NUMERAL})"
    rf"|{_TEN_TO}"
    rf"|({_NUMERAL})(?:[eE]([+-]?[0-9]{{1,3}})|\s*[*xX]\s*{_TEN_TO})?)"
    rf"(\s*)({_UNIT})?"
)
_MAX_QUANTITY_CHARACTERS = 1000
_MAX_UNIT_CHARACTERS = 60

_MULTIPLIERS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_MONEY_SUFFIXES = {"k": 3, "m": 6, "b": 9, "bn": 9}
_ORDINAL_SUFFIXES = {"st", "nd", "rd", "th"}
# Of each unit its name here, then its other spellings: lower case, singular.
_UNIT_TABLE = """
% percent pct; dollar $ us$ usd; euro € eur; pound £ gbp lb lbs; yen ¥ jpy; rupee ₹ inr; cent ¢;
mm millimeter millimetre; cm centimeter centimetre; m meter metre; km kms kilometer kilometre;
inch; foot ft feet; yard yd; mile mi; mg milligram; g gram; kg kgs kilogram kilo; ton tonne;
ounce oz; ml milliliter millilitre; l liter litre; gallon gal; ms millisecond; second s sec;
minute min; hour h hr hrs; day; week; month; year yr yrs; mile/hour mph; km/hour kph kmh;
° degree deg; °c celsius; °f fahrenheit; radian rad; kelvin k; joule j; newton n; watt w;
kw kilowatt; kwh; volt v; ohm ω; hz hertz; bit; byte; mb megabyte; gb gigabyte
"""
_UNIT_OF_WORD = {word: row.split()[0] for row in _UNIT_TABLE.split(";") for word in row.split()}
_MEASURES = {*_UNIT_OF_WORD, "/", "^2", "^3", "^-1", "^-2"}
_ATTACHABLE_LETTERS = frozenset("mgslh")
_SHORT_WORDS = frozenset(["a", "an", "at", "by", "in", "of", "on", "sq"])
# Words after a number that make it another number, or no number at all.
_NOT_UNITS = re.compile(
    r"or|and|to|than|not|plus|minus|least|most|remainder|mod|hal(?:f|ves)|thirds?"
    r"|(?:thousand|hundred|ten)ths?|squared|cubed|pi|sqrt|sin|cos|tan|log|ln|exp|infinity"
    r"|factorial|divided|multiplied"
)


@dataclass(frozen=True)
class _Quantity:
    """A number as read from an answer: 3/4 cup is Fraction(3, 4) with unit ("cup",)."""

    value: Fraction
    unit: tuple[str, ...]
    is_fraction: bool


def _read_quantity(text: str) -> _Quantity | None:
    """Returns the number that the whole text is, or None where it is anything else."""
    if len(text) > _MAX_QUANTITY_CHARACTERS:
        return None
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    sign, currency, inner_sign, *number, gap, unit = match.groups()
    whole, top, bottom, numerator, denominator, power, decimal, exponent, scale = number
    try:
        if whole:
            value = int(whole) + Fraction(int(top), int(bottom))
        elif numerator:
            value = _numeral(numerator) / _numeral(denominator)
        elif power:
            value = Fraction(10) ** int(power)
        else:
            value = _numeral(decimal) * Fraction(10) ** int(exponent or scale or 0)
    except ZeroDivisionError:
        return None
    if (sign == "-") != (inner_sign == "-"):
        value = -value
    magnitude, unit = _split_multiplier(unit or "", bool(currency), bool(gap))
    words = _read_unit(unit, bool(gap) or magnitude > 0)
    if words is None:
        return None
    if currency:
        name = _UNIT_OF_WORD[currency.casefold()]
        words = (name, *(word for word in words if word != name))
    return _Quantity(value * 10**magnitude, words, bool(whole or numerator))


def _numeral(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip("."))


def _split_multiplier(unit: str, is_money: bool, has_gap: bool) -> tuple[int, str]:
    """Returns the power of ten that a unit begins with ("million dollars"), and the rest."""
    first, _, rest = unit.strip().partition(" ")
    if first.casefold() in _MULTIPLIERS:
        return _MULTIPLIERS[first.casefold()], rest
    if not has_gap and is_money and first.casefold() in _MONEY_SUFFIXES:
        return _MONEY_SUFFIXES[first.casefold()], rest
    if not has_gap and unit.strip() == "k":
        return 3, ""
    return 0, unit


def _read_unit(text: str, has_gap: bool) -> tuple[str, ...] | None:
    """Returns the words of a unit in one canonical form, or None where the text is no unit.

    A letter or two directly after a number are a unit only where they are a known one: `5x` and
    `2xy` are algebra.
    """
    text = re.sub(r"\bper\b", "/", text.casefold().strip())
    text = re.sub(r"(?:°|\bdegrees?) ?([cf])(?:elsius|ahrenheit)?\b", r"°\1", text)
    text = re.sub(r"\^\{?(-?[0-9])\}?", r"^\1", text)
    if not text:
        return ()
    if len(text) > _MAX_UNIT_CHARACTERS or re.search(r"(?<!\^)(?<!\^-)[0-9]|[{}]", text):
        return None
    tokens = re.findall(r"[^\W\d_]+|°[cf]?|[%$€£¥₹¢/]|\^-?[0-9]", text)
    words = [token for token in tokens if token[0].isalpha()]
    if any(_NOT_UNITS.fullmatch(word) for word in words):
        return None
    if not all(_may_be_unit(word, has_gap or word is not tokens[0]) for word in words):
        return None
    return _canonical_unit(tokens) if tokens and tokens != ["a"] else None


def _may_be_unit(word: str, has_gap: bool) -> bool:
    known = _singular(word) in _UNIT_OF_WORD or word in _ORDINAL_SUFFIXES
    if has_gap:
        return known or len(word) >= 3 or word in _SHORT_WORDS
    return known and (len(word) > 1 or word in _ATTACHABLE_LETTERS)


def _canonical_unit(tokens: list[str]) -> tuple[str, ...]:
    """Returns ("m", "^2") for ["square", "meters"], ("km", "/", "hour") for ["kph"]."""
    words: list[str] = []
    raised = ""
    for token in tokens:
        if token in ("square", "sq", "cubic"):
            raised = "^3" if token == "cubic" else "^2"
        elif token not in _ORDINAL_SUFFIXES:
            singular = _singular(token)
            words += re.findall("[^/]+|/", _UNIT_OF_WORD.get(singular, singular))
            words += [raised] if raised else []
            raised = ""
    return tuple(words)


def _singular(word: str) -> str:
    if word in _UNIT_OF_WORD or len(word) <= 3 or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    return word.removesuffix("s")


def _units_agree(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Returns whether two units may name the same thing; a missing unit agrees with any.

    Measures must be the same. Nouns need not be given in full: "red apples" agrees with "apples".
    """
    if not first or not second or first == second:
        return True
    if all(word in _MEASURES for word in (*first, *second)):
        return first == second
    return set(first) <= set(second) or set(second) <= set(first)


# --------------------------------------------------------------------------------------------
# Equality
# --------------------------------------------------------------------------------------------

_MAX_ANSWER_CHARACTERS = 2000
_DIGIT_ROW = re.compile(r"-? ?[0-9](?: [0-9])+")
_RATIO = re.compile(
    rf"(?:the )?(?:ratio (?:is |of )?)?({_NUMERAL}(?:(?: ?: ?| to |-to-){_NUMERAL})+)",
    re.IGNORECASE,
)
_EQUALS_SIGN = re.compile(r"(?<![<>!=:~])=(?!=)")
_CHOICE = re.compile(
    r"(?:option |choice )?(?:([a-zA-Z])|[(\[]([a-zA-Z])[)\]]|([a-zA-Z])[.:)])"
    r"|(?:option |choice )?(?:[(\[]([a-jA-J])[)\]][.:]?|([a-jA-J])[.:)]) (\S.*)",
    re.IGNORECASE,
)
_MAX_CHOICE_CHARACTERS = 200
_ARITHMETIC = re.compile(r"[0-9\s+\-*/^().,{}]+")
_OPERATION = re.compile(r"[0-9)}]\s*(?:[+*/-]\s*)+[({.0-9]")


def answers_equal(predicted: str, gold: str) -> bool:
    r"""Returns whether two answers say the same.

    The first rule that reads both answers decides; nothing is rounded and nothing is raised.

    1. The same text, apart from case, markup, LaTeX spacing and a full stop.
    2. Equations: two are equal if both sides agree; of an equation beside a plain answer the
       value counts (`x = 5` and `7 * 8 = 56` are 5 and 56).
    3. Spaced digits (`1 3 9 4`) are a row of digits: equal to the same digits only, so zeros in
       front and at the end count.
    4. Choice letters: `(B)`, `B.`, `b`, `(B) Paris`.
    5. Ratios `3:2`, `3 to 2`, proportional to each other; beside a ratio only a fraction `3/2`
       can be equal, not `1.5`.
    6. Numbers with currency, thousands separators, units, fractions, mixed numbers, percent,
       powers of ten. A missing unit agrees with any, so `50%` equals `50` (gold answers of
       percentage questions are often written so) but never `0.5`. Units are not converted.
    7. Arithmetic that was not carried out (`7 * 8`) is not its value: a model that repeats the
       question has not answered it. It equals the same numbers in another order, if these give
       the same value.
    8. math-verify, for short expressions of other kinds.

    An empty answer equals nothing.

    Args:
        predicted: what `extract_answer` found, or any short answer.
        gold: the reference answer.

    Example:
        >>> answers_equal("$1,234.50", "1234.5"), answers_equal("3:2", "6:4")
        (True, True)
        >>> answers_equal("0.33", "1/3"), answers_equal("1 3 9 4", "1 3 9 4 0")
        (False, False)
    """
    if max(len(predicted), len(gold)) > _MAX_ANSWER_CHARACTERS:
        return predicted.strip().casefold() == gold.strip().casefold()
    first, second = _clean(predicted), _clean(gold)
    if not first or not second:
        return False
    if _as_text(first) == _as_text(second):
        return True
    first, second = _without_lead_in(first), _without_lead_in(second)
    rules = (
        _equal_equations,
        _equal_digit_rows,
        _equal_choices,
        _equal_ratios,
        _equal_quantities,
        _equal_arithmetic,
    )
    for rule in rules:
        verdict = rule(first, second)
        if verdict is not None:
            return verdict
    return _as_text(first) == _as_text(second) or _equal_by_math_verify(first, second)


def _equal_equations(first: str, second: str) -> bool | None:
    sides = [_EQUALS_SIGN.split(answer) for answer in (first, second)]
    if len(sides[0]) == len(sides[1]) == 1:
        return None
    if len(sides[0]) > 1 and len(sides[1]) > 1:
        (left, right), (other_left, other_right) = ((side[0], side[-1]) for side in sides)
        return (answers_equal(left, other_left) and answers_equal(right, other_right)) or (
            answers_equal(left, other_right) and answers_equal(right, other_left)
        )
    return answers_equal(*(_stated_value(side) for side in sides))


def _stated_value(sides: list[str]) -> str:
    """Returns the last side of an equation, or the first where the last is a bare letter."""
    first, last = sides[0].strip(), sides[-1].strip()
    return first if len(last) == 1 and last.isalpha() and not first.isalpha() else last


def _equal_digit_rows(first: str, second: str) -> bool | None:
    is_row = [_DIGIT_ROW.fullmatch(answer) is not None for answer in (first, second)]
    if not any(is_row):
        return None
    return first.replace(" ", "") == second.replace(" ", "") and (
        all(is_row) or re.fullmatch(r"-?[0-9]+", second if is_row[0] else first) is not None
    )


def _equal_choices(first: str, second: str) -> bool | None:
    first_choice, second_choice = _read_choice(first), _read_choice(second)
    if first_choice and second_choice:
        texts = first_choice[1], second_choice[1]
        same_text = not all(texts) or _as_text(texts[0]) == _as_text(texts[1])
        return first_choice[0] == second_choice[0] and same_text
    if first_choice and first_choice[1]:
        return answers_equal(first_choice[1], second)
    if second_choice and second_choice[1]:
        return answers_equal(first, second_choice[1])
    return None


def _read_choice(text: str) -> tuple[str, str] | None:
    """Returns ("b", "paris") for "(B) Paris", ("b", "") for "B.", None for other answers."""
    match = _CHOICE.fullmatch(text) if len(text) <= _MAX_CHOICE_CHARACTERS else None
    if match is None:
        return None
    *letters, label = match.groups()
    return next(letter for letter in letters if letter).casefold(), (label or "").casefold()


def _equal_ratios(first: str, second: str) -> bool | None:
    first_ratio, second_ratio = _read_ratio(first), _read_ratio(second)
    if first_ratio is None and second_ratio is None:
        return None
    if first_ratio is None or second_ratio is None:
        quantity = _read_quantity(first if first_ratio is None else second)
        if quantity is None or not quantity.is_fraction or quantity.unit:
            return False
        fraction = (Fraction(quantity.value.numerator), Fraction(quantity.value.denominator))
        first_ratio, second_ratio = first_ratio or fraction, second_ratio or fraction
    if len(first_ratio) != len(second_ratio):
        return False
    pairs = list(zip(first_ratio, second_ratio, strict=True))
    same_zeros = all((left == 0) == (right == 0) for left, right in pairs)
    return same_zeros and len({left / right for left, right in pairs if right}) <= 1


def _read_ratio(text: str) -> tuple[Fraction, ...] | None:
    match = _RATIO.fullmatch(text) if len(text) <= _MAX_QUANTITY_CHARACTERS else None
    if match is None:
        return None
    return tuple(_numeral(part.strip()) for part in re.split(r":|-?to-?", match[1].casefold()))


def _equal_quantities(first: str, second: str) -> bool | None:
    first_quantity, second_quantity = _read_quantity(first), _read_quantity(second)
    if first_quantity is None or second_quantity is None:
        return None
    return first_quantity.value == second_quantity.value and _units_agree(
        first_quantity.unit, second_quantity.unit
    )


def _equal_arithmetic(first: str, second: str) -> bool | None:
    unevaluated = [_is_unevaluated(answer) for answer in (first, second)]
    if not any(unevaluated):
        return None
    numbers = [Counter(re.findall(_NUMERAL, answer)) for answer in (first, second)]
    return all(unevaluated) and numbers[0] == numbers[1] and _equal_by_math_verify(first, second)


def _is_unevaluated(text: str) -> bool:
    return (
        _ARITHMETIC.fullmatch(text) is not None
        and _OPERATION.search(text) is not None
        and _read_quantity(text) is None
    )


# --------------------------------------------------------------------------------------------
# math-verify, fenced in
# --------------------------------------------------------------------------------------------

_MAX_MATH_CHARACTERS = 200
_MAX_MATH_DIGITS = 30
_MAX_EXPONENT = 1000
_MATH_TIMEOUT_S = 5
_MATH_COMMANDS = re.compile(
    r"frac|sqrt|pi|pm|mp|infty|cup|cap|le|leq|ge|geq|lt|gt|in|sin|cos|tan|log|ln|exp|"
    r"theta|alpha|beta|emptyset|mathbb|lfloor|rfloor|lceil|rceil|begin|end|pmatrix|"
    r"bmatrix"
)
_MATH_WORDS = re.compile(r"sqrt|pi|sin|cos|tan|log|ln|exp|pmatrix|bmatrix")
_PLAIN_EXPONENT = re.compile(r"\^\s*(?:\(([^()]*)\)|(-?[0-9]+))")
_EXPONENT = re.compile(r"\^\s*(\{[^{}^]{1,8}\}|[A-Za-z])(?!\s*\^)")
_NOT_MATHEMATICS = re.compile(r"[:=%!$#\"']|[0-9](?:\s+|[eE][+-]?)[0-9]|[^\x00-\x7f]")
_LETTER_RUN = re.compile(r"(?<![A-Za-z\\])([A-Za-z]{2,})")


def _equal_by_math_verify(first: str, second: str) -> bool:
    """Returns math-verify's verdict on two expressions that it can be trusted with, else False."""
    expressions = [_math_expression(answer) for answer in (first, second)]
    if not all(expressions):
        return False
    math_verify = _load_math_verify()
    timeout_s = _MATH_TIMEOUT_S if _alarm_is_free() else None
    config = [math_verify.LatexExtractionConfig()]
    try:
        predicted, gold = (
            math_verify.parse(
                f"${expression}$",
                extraction_config=config,
                fallback_mode="no_fallback",
                parsing_timeout=timeout_s,
            )
            for expression in expressions
        )
        # 12 places: a decimal is not the root that it approximates.
        return bool(
            predicted
            and gold
            and math_verify.verify(gold, predicted, float_rounding=12, timeout_seconds=timeout_s)
        )
    except (Exception, math_verify.errors.TimeoutException):
        # The timeout derives from BaseException. What can't be judged is not equal.
        return False


@lru_cache(maxsize=1)
def _load_math_verify() -> Any:
    """Returns math_verify, imported at the first need: that takes most of a second."""
    import math_verify
    import math_verify.errors

    # It warns that it runs without its alarm; _math_expression bounds the work instead.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return math_verify


def _alarm_is_free() -> bool:
    """Returns whether math-verify may use signal.alarm here.

    It works on the main thread only, and would silently cancel an alarm that the program has set.
    """
    return (
        threading.current_thread() is threading.main_thread()
        and hasattr(signal, "getitimer")
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )


def _math_expression(text: str) -> str:
    """Returns the LaTeX to hand to math-verify, or "" for what it should not see.

    Refused: words, ratios, spaced digits, equations, percent (it judges those wrongly), and what
    can take for ever, such as 9^9^9^9, which no alarm interrupts.
    """
    if len(text) > _MAX_MATH_CHARACTERS or _NOT_MATHEMATICS.search(text):
        return ""
    text = re.sub(r"(?<![\\A-Za-z])sqrt ?\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = _PLAIN_EXPONENT.sub(lambda match: f"^{{{match[1] or match[2]}}}", text)
    words = [word for word in _LETTER_RUN.findall(text) if not _MATH_WORDS.fullmatch(word)]
    commands = re.findall(r"\\([A-Za-z]+)", text)
    # Products of single letters: xy, abc. Other words are words.
    if any(len(word) > 3 or not set(word) <= set("abcxyz") for word in words):
        return ""
    if not all(_MATH_COMMANDS.fullmatch(command) for command in commands):
        return ""
    is_expression = re.search(r"[0-9\\+*/^(\[{<>|-]", text) is not None
    if not is_expression or not _is_bounded(text):
        return ""
    return _LETTER_RUN.sub(
        lambda run: f"\\{run[1]}" if _MATH_WORDS.fullmatch(run[1]) else run[1], text
    )


def _is_bounded(text: str) -> bool:
    """Returns whether no number in an expression can grow beyond 30,000 digits."""
    if any(len(digits) > _MAX_MATH_DIGITS for digits in re.findall(r"[0-9]+", text)):
        return False
    exponents = _EXPONENT.findall(text)
    if len(exponents) != text.count("^") or text.count("exp") > 1:
        return False
    factors = [int(digits) for exponent in exponents for digits in re.findall("[0-9]+", exponent)]
    return math.prod(factor for factor in factors if factor) <= _MAX_EXPONENT


# --------------------------------------------------------------------------------------------
# Digits
# --------------------------------------------------------------------------------------------

_MAX_PLACES = 100


def digit_accuracy(predicted: str, gold: str) -> float | None:
    """Returns the share of digit positions that are right, or None where gold is no number.

    Plain numbers are aligned at the decimal point, so from the least significant digit; zeros
    that do not change the value do not count. Spaced digits are aligned from the first one as
    written (the least significant one in the paper's multiplication files) and every zero
    counts. The share is of the longer of the two, so missing and surplus digits are wrong, and a
    wrong sign counts as one more wrong position. A prediction that is no number scores 0.0.

    Args:
        predicted: the extracted answer.
        gold: the reference answer.

    Example:
        >>> digit_accuracy("1294", "1394"), digit_accuracy("394", "1394")
        (0.75, 0.75)
        >>> digit_accuracy("1 3 9", "1 3 9 4"), digit_accuracy("yes", "no") is None
        (0.75, True)
    """
    if max(len(predicted), len(gold)) > _MAX_ANSWER_CHARACTERS:
        return None
    predicted, gold = (
        _without_lead_in(_stated_value(_EQUALS_SIGN.split(_clean(answer))))
        for answer in (predicted, gold)
    )
    if _DIGIT_ROW.fullmatch(gold):
        wanted = _digits_as_written(gold)
        is_row = re.fullmatch(r"-? ?[0-9](?: ?[0-9])*", predicted) is not None
        found = _digits_as_written(predicted) if is_row else None
    else:
        quantity = _read_quantity(gold)
        wanted = _digits_by_place(quantity) if quantity and not quantity.is_fraction else None
        joined = predicted.replace(" ", "") if _DIGIT_ROW.fullmatch(predicted) else predicted
        quantity = _read_quantity(joined)
        found = _digits_by_place(quantity) if quantity else None
    if wanted is None:
        return None
    if found is None:
        return 0.0
    positions = found.keys() | wanted.keys()
    right = sum(found.get(position) == wanted.get(position) for position in positions)
    return right / len(positions)


def _digits_as_written(text: str) -> dict[int | str, str]:
    digits: dict[int | str, str] = dict(enumerate(re.findall("[0-9]", text)))
    return {**digits, "sign": "-"} if text.startswith("-") else digits


def _digits_by_place(quantity: _Quantity) -> dict[int | str, str] | None:
    """Returns {0: "8", 1: "1"} for 18: digits by power of ten; None for 1/3."""
    value = quantity.value
    places = next((n for n in range(_MAX_PLACES) if 10**n % value.denominator == 0), None)
    if places is None:
        return None
    text = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    digits: dict[int | str, str] = {
        power - places: digit for power, digit in enumerate(reversed(text))
    }
    return {**digits, "sign": "-"} if value < 0 else digits
