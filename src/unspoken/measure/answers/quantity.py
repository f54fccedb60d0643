"""Read a number with its currency, multiplier and unit from a text that is nothing else.

`equal` compares what is read here, `digits` counts its digits. Values are fractions, so nothing is
rounded, and units are brought to one spelling; `times` converts them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from unspoken.measure.answers.qualifiers import ANOTHER, qualifies

NUMERAL = (
    r"(?:(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9])|[0-9]+)"
    r"(?:\.[0-9]*)?|\.[0-9]+)"
)
# As other countries write numbers, where that can be read in one way only: 1.234.567,89,
# 1'250'000, 12,34,567, 12 345,6. And 3,75, which is a number only with a unit: see read_quantity.
_DECIMAL_COMMA = (
    r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]+|[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}(?![0-9.])"
    r"|[1-9][0-9]{0,2}(?: [0-9]{3})+,[0-9]+|0,[0-9]{3,}(?![0-9,.])"
)
_OTHER_GROUPS = (
    r"[1-9][0-9]{0,2}(?:'[0-9]{3})+(?:[.,][0-9]+)?(?![0-9])"
    r"|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?(?![0-9,])"
)
_COMMA_WITH_UNIT = r"[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})(?![0-9,.])|[0-9]{4,},[0-9]{3}(?![0-9,.])"
_TEN_TO = r"10\s*\^\s*[{{(]?\s*(?P<{}>[+-]?[0-9]{{1,3}})(?:\s*[}})])?"
_CODES = (
    r"USD|EUR|GBP|JPY|CNY|RMB|INR|CHF|AUD|CAD|NZD|HKD|SGD|BRL|MXN|SEK|NOK|DKK|PLN|TRY|KRW|ZAR|AED"
    r"|CZK|HUF|KES|PKR|SAR|THB|IDR|MYR|PHP|VND|NGN|EGP|ILS|RUB|UAH|RON|TWD|COP|CLP|ARS|BDT|LKR|NPR|GHS"
    r"|Ksh|KSh|Rp|RM|TL"
)
_CURRENCY = (
    rf"(?:US ?|AU?|CA?|NZ|HK|SG?|R|MX|NT)\$|(?:{_CODES})(?![A-Za-z])|[Rr]s\.?(?![a-z])"
    r"|kr\.?(?![a-z])|Fr\. ?|[$€£¥₹₩₽₺₪₫₱฿₴₦₨]"
)
# Units are words of any language; letters of the Latin alphabet have no accent-free stand-in here.
_MARK = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u109f\u1780-\u17ff"  # of a letter before it
_UNIT_START = r"[^\W\d_]|[°%/¢$€£¥₹₩₽₺₪₫₱฿₴₦₨]"
_UNIT = rf"(?:{_UNIT_START})(?:[^\W_]|[°%/¢$€£¥₹₩₽₺₪₫₱฿₴₦₨'*^{{}}. -]|[{_MARK}])*"
_UNIT_TOKEN = re.compile(rf"(?:[^\W\d_]|[{_MARK}])+|°[cf]?|[%/¢$€£¥₹₩₽₺₪₫₱฿₴₦₨]|\^-?[0-9]")
_QUANTITY = re.compile(
    rf"(?P<sign>[+-]?)\s*(?P<currency>{_CURRENCY})?\s*(?P<inner_sign>[+-]?)\s*"
    rf"(?:(?P<whole>[0-9]+)\s+(?:and\s+)?(?P<top>[0-9]+)\s*/\s*(?P<bottom>[0-9]+)"
    rf"|(?P<numerator>{NUMERAL})\s*/\s*(?P<denominator>[+-]?{NUMERAL})"
    rf"|{_TEN_TO.format('power')}"
    rf"|(?P<decimal>{_DECIMAL_COMMA}|{_OTHER_GROUPS}|{_COMMA_WITH_UNIT}|{NUMERAL})"
    rf"(?:[eE](?P<exponent>[+-]?[0-9]{{1,3}})|\s*[*xX]\s*{_TEN_TO.format('scale')})?)"
    rf"(?P<gap>\s*)(?P<unit>{_UNIT})?"
)
_EXPRESSION_WITH_UNIT = re.compile(
    r"(.*(?:[0-9)}!]|\\pi)) ((?=[a-z])([A-Za-z]{2,})[/^{}0-9A-Za-z .]*)"
)
_IS_DECIMAL_COMMA = re.compile(
    rf"{_DECIMAL_COMMA}|{_COMMA_WITH_UNIT}|[0-9]+(?:'[0-9]{{3}})+,[0-9]+"
)
_NEEDS_UNIT = re.compile(_COMMA_WITH_UNIT)
_DECADE = re.compile("(?:1[0-9]|20)[0-9]0")  # the 1990s
_THOUSANDS = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")
_COMMA_MONEY = re.compile(r"(?:€|eur(?:os?)?|kr\.?|zł|r\$|₺|₫|đồng|₽|kč)", re.IGNORECASE)
MAX_QUANTITY_CHARACTERS = 1000
_MAX_UNIT_CHARACTERS = 60

# Words that multiply a number, in the languages in which they are most often met.
_MULTIPLIERS = {
    word: factor
    for factor, words in {
        10: "десятков десятка десяток",
        12: "dozen dozens dutzend docena docenas douzaine douzaines dúzia dúzias dozzina dozzine "
        "дюжина дюжины дюжин",
        10**2: "hundred hundreds",
        10**3: "thousand thousands tausend mille mil mila thsd tsd тыс тысяч тысяча тысячи",
        10**5: "lakh lakhs lac",
        10**6: "million millions mio mln millionen millones millón milhões milhão milioni milione "
        "миллион миллиона миллионов млн",
        10**7: "crore crores",
        10**9: "billion billions bn mrd milliard milliards milliarde milliarden miliardi миллиард "
        "миллиарда миллиардов млрд",
        10**12: "trillion trillions",
    }.items()
    for word in words.split()
}
_MONEY_SUFFIXES = {"k": 10**3, "m": 10**6, "b": 10**9, "bn": 10**9}
_COUNT_SUFFIXES = {"k", "K", "M", "B"}
_ORDINAL_SUFFIXES = {"st", "nd", "rd", "th"}
# Of each unit its name here, then its other spellings: lower case, singular.
_UNIT_TABLE = """
% percent pct percentage percento perciento prozent procent procento процент процента процентов
yüzde प्रतिशत パーセント 퍼센트;
dollar $ us$ usd buck; euro € eur; pound; £ gbp quid; lb lbs; yen ¥ jpy 円; yuan cny rmb 元; cent ¢;
rupee ₹ inr rs rs. ₨; franc chf fr. fr; kes ksh; lira ₺ try tl; idr rp; myr rm; ruble rub ₽;
real r$ brl; a$ au$ aud; c$ ca$ cad; nz$ nzd; hk$ hkd; s$ sg$ sgd;
mx$ mxn; nt$; won ₩ krw; shekel ₪; dong ₫; peso ₱; baht ฿; hryvnia ₴; naira ₦;
kr kr.; sek; nok; dkk; zloty pln zł; koruna czk kč; zar;
mm millimeter millimetre; µm μm micrometer micrometre micron;
cm centimeter centimetre 厘米; m meter metre 米; km kms kilometer kilometre 千米 公里;
inch; foot ft feet; yard yd; mile mi; mg milligram; g gram 克; kg kgs kilogram kilo 千克 公斤;
ton tonne; ounce oz; ml milliliter millilitre; l liter litre; gallon gal; ms millisecond;
second s sec 秒 초 sekunde sekunden seconde segundo; minute min 分钟 分鐘 minuten minuto;
hour h hr hrs 小时 小時 時間 시간 stunde stunden std heure hora; day 天 tag tage jour día;
week woche wochen semaine semana; month; year yr yrs; mile/hour mph; km/hour kph kmh;
mile/gallon mpg;
° degree deg; °c celsius; °f fahrenheit; radian rad; kelvin k; joule j; newton n; watt w;
kw kilowatt; kwh; volt v; ohm ω; hz hertz; bit; byte;
kb kilobyte; mb megabyte; gb gigabyte; tb terabyte
"""
_UNIT_OF_WORD = {word: row.split()[0] for row in _UNIT_TABLE.split(";") for word in row.split()}
# One name of several units that are not the same.
_NAMES_OF_SEVERAL = {
    "pound": frozenset({"£", "lb"}),
    "kr": frozenset({"sek", "nok", "dkk"}),
}
_SAME_DIRECTION = dict.fromkeys(["drop", "decline", "reduction", "fall"], "decrease")
_SAME_DIRECTION |= dict.fromkeys(["rise", "growth", "raise"], "increase")
_COLLECTIVE = {"score", "gross", "pair", "couple"}
_MEASURES = {*_UNIT_OF_WORD, "/", "^2", "^3", "^-1", "^-2"}
_OPEN_LETTERS = frozenset("kjnwv")  # variables, while K, J, N, W, V are units
_ATTACHABLE_LETTERS = frozenset("mgslh")
_FIRST_OTHER_SCRIPT = "\u0400"  # behind Latin and Greek, whose single letters are variables
_SHORT_WORDS = frozenset(["a", "an", "at", "by", "in", "of", "on", "sq"])
# Words after a number that make it another number, or no number at all.
_NOT_UNITS = re.compile(
    rf"{ANOTHER}|and|to|is|are|was|were|o|y|e|initially|originally|previously|minimum|maximum"
    r"|ones|twos?|threes?|fours?|fives?|six(?:es)?|sevens?|eights?|nines?|tens?"
    r"|pi|sqrt|sin|cos|tan|ln|exp|infinity|(?:fif|six|seven|eigh|nin|ten|eleven|twelf|\w+teen|\w+tie"
    r"|hundred|thousand|[mb]illion)ths?"
)


@dataclass(frozen=True)
class Quantity:
    """A number as read from an answer: 3/4 cup is Fraction(3, 4) with unit ("cup",)."""

    value: Fraction
    unit: tuple[str, ...]
    is_fraction: bool


# kept: each rule of a comparison reads the same two texts again
@lru_cache(maxsize=256)
def read_quantity(text: str) -> Quantity | None:
    """Returns the number that the whole text is, or None where it is anything else."""
    if len(text) > MAX_QUANTITY_CHARACTERS:
        return None
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    currency, unit, has_gap = match["currency"], (match["unit"] or "").strip(), match["gap"] != ""
    try:
        value = _read_value(match, unit or currency or "")
    except ZeroDivisionError:
        return None
    if value is None or _may_be_another(match["decimal"] or "", unit, has_gap):
        return None
    if (match["sign"] == "-") != (match["inner_sign"] == "-"):
        value = -value
    factor, unit = _split_multiplier(unit, bool(currency), has_gap)
    has_power = any(match.group("power", "exponent", "scale"))
    words = _read_unit(unit, has_gap or factor > 1, has_power=has_power)
    if words is None:
        return None
    if currency:
        symbol = currency.casefold().replace(" ", "")
        name = _UNIT_OF_WORD.get(symbol, symbol)
        words = (name, *(word for word in words if word != name))
    return Quantity(value * factor, words, bool(match["whole"] or match["numerator"]))


def _may_be_another(decimal: str, unit: str, has_gap: bool) -> bool:
    """Whether it is open what a number is: 5 k, 84 n, 84/n, the 1990s."""
    if has_gap or unit.startswith("/"):
        unit = unit.lstrip("/ ")
        return unit in _OPEN_LETTERS
    return unit == "s" and _DECADE.fullmatch(decimal) is not None


def _read_value(number: re.Match[str], unit: str) -> Fraction | None:
    """Returns the value of a number; None of 3,75 without a unit, which may be a list."""
    if number["whole"]:
        return int(number["whole"]) + Fraction(int(number["top"]), int(number["bottom"]))
    if number["numerator"]:
        return numeral(number["numerator"]) / numeral(number["denominator"])
    if number["power"]:
        return Fraction(10) ** int(number["power"])
    decimal = number["decimal"]
    if _NEEDS_UNIT.fullmatch(decimal) and not unit:
        return None
    if _THOUSANDS.fullmatch(decimal) and _COMMA_MONEY.fullmatch(unit):
        decimal = decimal.replace(".", "")  # 1.250 €
    return numeral(decimal) * Fraction(10) ** int(number["exponent"] or number["scale"] or 0)


def numeral(text: str) -> Fraction:
    """Returns the value of a number, with whatever it groups its digits and marks its decimals."""
    if _IS_DECIMAL_COMMA.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    return Fraction(re.sub("[, ']", "", text).rstrip("."))


def _split_multiplier(unit: str, is_money: bool, has_gap: bool) -> tuple[int, str]:
    """Returns what a unit multiplies by ("million dollars", "dozen eggs"), and the rest of it."""
    first, _, rest = unit.partition(" ")
    factor = 1
    while (times := _MULTIPLIERS.get(first.casefold().rstrip("."), 1)) > 1:  # hundred thousand
        factor, unit = factor * times, rest
        first, _, rest = unit.partition(" ")
    if factor > 1:
        return factor, unit
    if not has_gap and is_money and first.casefold() in _MONEY_SUFFIXES:
        return _MONEY_SUFFIXES[first.casefold()], rest
    if not has_gap and first in _COUNT_SUFFIXES and len(rest) != 1:  # not 3k m
        return _MONEY_SUFFIXES[first.casefold()], rest
    return 1, unit


def _read_unit(text: str, has_gap: bool, *, has_power: bool = False) -> tuple[str, ...] | None:
    """Returns the words of a unit in one canonical form, or None where the text is no unit.

    A letter or two directly after a number are a unit only where they are a known one: `5x` and
    `2xy` are algebra. After a power of ten a capital is one: 1.6 * 10^{-19} C.
    """
    if has_power and len(text) == 1 and text.isupper():
        return (text.casefold(),)
    text = re.sub(r"\b(?:per|pour|por) ?(?=cento?\b|ciento\b)", "per", text.casefold().strip())
    text = re.sub(r"^(sq |square |cubic )?in\b(?=$|\^)|^\"$", r"\g<1>inch", text)
    text = re.sub(r"\bus dollars?\b", "dollar", text)
    text = text.replace("phần trăm", "percent")
    text = re.sub(r"\bper\b", "/", text)
    text = re.sub(r"(?:°|\bdegrees?) ?([cf])(?:elsius|ahrenheit)?\b", r"°\1", text)
    text = re.sub(r"\^\{?(-?[0-9])\}?", r"^\1", text)
    if not text:
        return ()
    if len(text) > _MAX_UNIT_CHARACTERS or re.search(r"(?<!\^)(?<!\^-)[0-9]|[{}]", text):
        return None
    tokens = _UNIT_TOKEN.findall(text)
    words = [token for token in tokens if token[0].isalpha()]
    if qualifies(text, words) or any(_NOT_UNITS.fullmatch(word) for word in words):
        return None
    if not all(_may_be_unit(word, has_gap or word is not tokens[0]) for word in words):
        return None
    is_unit = tokens not in ([], ["a"]) and not text.endswith("/")
    return _canonical_unit(tokens) if is_unit else None


def _may_be_unit(word: str, has_gap: bool) -> bool:
    known = _singular(word) in _UNIT_OF_WORD or word in _ORDINAL_SUFFIXES
    if min(word) >= _FIRST_OTHER_SCRIPT:
        return True
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
    first, second = _as_meant(first, second), _as_meant(second, first)
    if all(word in _MEASURES for word in (*first, *second)):
        return first == second
    less, more = sorted((first, second), key=lambda unit: len(set(unit)))
    return set(less) <= set(more) and not _counts_other_things(less, more)


def _as_meant(unit: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Returns a unit in which a name of several units is the one that stands in the other."""
    found = []
    for word in unit:
        named = _NAMES_OF_SEVERAL.get(word, frozenset()).intersection(other)
        found.append(next(iter(named), _SAME_DIRECTION.get(word, word)))
    return tuple(found)


def _counts_other_things(less: tuple[str, ...], more: tuple[str, ...]) -> bool:
    """Whether a longer unit counts something else: dozen eggs for eggs, boxes of apples."""
    if _COLLECTIVE & (set(more) - set(less)):
        return True
    head = more[: more.index("of")] if "of" in more else ()
    return bool(head) and not set(head) & set(less)


def split_unit(text: str) -> tuple[str, tuple[str, ...]] | None:
    r"""Returns an expression that is no plain number, and its unit: 36\pi and ("cm", "^3").

    Letters alone may be variables, so a unit of one has to be a longer measure or word.
    """
    if len(text) > MAX_QUANTITY_CHARACTERS:
        return None
    match = _EXPRESSION_WITH_UNIT.fullmatch(text)
    if match is None or not (len(match[3]) > 3 or is_measure(match[3])):
        return None
    is_number = match[3].casefold() in _MULTIPLIERS
    unit = None if is_number else _read_unit(match[2], has_gap=True)
    return (match[1], unit) if unit else None


def is_measure(text: str) -> bool:
    """Whether a text is a unit of measurement or money, such as `km/h`, and no other word."""
    unit = _read_unit(text, has_gap=True)
    return bool(unit) and all(word in _MEASURES for word in unit or ())
