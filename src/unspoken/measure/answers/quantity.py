"""Read a number with its currency, multiplier and unit from a text that is nothing else.

`equal` compares what is read here, `digits` counts its digits. Values are fractions, so nothing is
rounded, and units are brought to one spelling but never converted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

NUMERAL = (
    r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9])|[0-9]+)"
    r"(?:\.[0-9]*)?|\.[0-9]+)"
)
_TEN_TO = r"10\s*\^\s*[{(]?\s*([+-]?[0-9]{1,3})\s*[})]?"
_CURRENCY = r"US\$|USD|EUR|GBP|[$€£¥₹]"
_UNIT = r"[A-Za-z°µΩ%$€£¥₹¢/][A-Za-z°µΩ%$€£¥₹¢'*/^{}0-9. -]*"
_QUANTITY = re.compile(
    rf"([+-]?)\s*({_CURRENCY})?\s*([+-]?)\s*"
    rf"(?:([0-9]+)\s+(?:and\s+)?([0-9]+)\s*/\s*([0-9]+)"
    rf"|({NUMERAL})\s*/\s*([+-]?{NUMERAL})"
    rf"|{_TEN_TO}"
    rf"|({NUMERAL})(?:[eE]([+-]?[0-9]{{1,3}})|\s*[*xX]\s*{_TEN_TO})?)"
    rf"(\s*)({_UNIT})?"
)
MAX_QUANTITY_CHARACTERS = 1000
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
class Quantity:
    """A number as read from an answer: 3/4 cup is Fraction(3, 4) with unit ("cup",)."""

    value: Fraction
    unit: tuple[str, ...]
    is_fraction: bool


def read_quantity(text: str) -> Quantity | None:
    """Returns the number that the whole text is, or None where it is anything else."""
    if len(text) > MAX_QUANTITY_CHARACTERS:
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
            value = numeral(numerator) / numeral(denominator)
        elif power:
            value = Fraction(10) ** int(power)
        else:
            value = numeral(decimal) * Fraction(10) ** int(exponent or scale or 0)
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
    return Quantity(value * 10**magnitude, words, bool(whole or numerator))


def numeral(text: str) -> Fraction:
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


def units_agree(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Returns whether two units may name the same thing; a missing unit agrees with any.

    Measures must be the same. Nouns need not be given in full: "red apples" agrees with "apples".
    """
    if not first or not second:
        return True
    if all(word in _MEASURES for word in (*first, *second)):
        return first == second
    return set(first) <= set(second) or set(second) <= set(first)
