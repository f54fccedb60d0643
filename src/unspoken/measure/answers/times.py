"""Times of the day, dates, and quantities in several units, at once or in one of each answer.

`equal` compares them before ratios and numbers: 6:00 is no ratio beside another time.
"""

from __future__ import annotations

import datetime
import itertools
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from unspoken.measure.answers.number_words import SMALL
from unspoken.measure.answers.quantity import Quantity, read_quantity

_CLOCK = re.compile(
    r"([0-9]{1,2})(?:[:.]([0-5][0-9]))?(?::([0-5][0-9]))? ?(?:o'clock )?"
    r"(?:([ap])\.? ?m\.?|in the (morning|afternoon|evening))"
    r"|([0-9]{1,2})(?::| ?h ?|\.(?=.. ?uhr))([0-5][0-9])(?::([0-5][0-9]))?"
    r"(?: ?(?:h|hrs|uhr|o'clock))?"
    r"|([0-9]{1,2}) ?(?:o'clock|uhr)",
    re.IGNORECASE,
)
#: 下午3点, 9時30分, 오후 3시 and 9点半; but 42点 alone are points.
_EASTERN_TIME = re.compile(
    r"(?:(?P<am>上午|早上|午前|오전)|(?P<pm>下午|午後|오후))? ?(?P<hour>[0-9]{1,2}) ?[点點時时시] ?"
    r"(?:(?P<minute>[0-9]{1,2}) ?[分분]|(?P<half>[半반]))?"
)
_NAMED_HOURS = {"noon": 12, "midday": 12, "midnight": 0}
_WORDY_TIME = re.compile(
    r"(?:a )?(half|quarter|[0-9]{1,2}(?= past | minutes? ))(?: minutes?)? (past|to) "
    r"([0-9]{1,2}|[a-z]{3,6})(?: ?o'clock)?"
    r"(?: ?([ap]\.? ?m\.?|in the (?:morning|afternoon|evening)))?",
    re.IGNORECASE,
)
_MILITARY_TIME = re.compile(r"^((?:[01][0-9]|2[0-3]))([0-5][0-9]) (?:hours|hrs)$")
_NOON = 12
_DAY_HOURS = 24
_HOUR_MINUTES = 60

#: English first; of other languages those that mean the same month in each that has them.
_MONTH_NAMES = """
january jan januar januari janvier enero janeiro gennaio;
february feb februar februari février febrero fevereiro febbraio;
march mar märz mars marzo março maart; april apr abril avril aprile;
may mai mayo maio maggio mei maj; june jun juni juin junio junho giugno;
july jul juli juillet julio julho luglio; august aug août agosto augusti augustus;
september sep sept septiembre setembro settembre septembre;
october oct oktober octubre outubro ottobre octobre;
november nov noviembre novembro novembre;
december dec dezember desember diciembre dezembro dicembre décembre
"""
_MONTHS = {
    name: number
    for number, row in enumerate(_MONTH_NAMES.split(";"), start=1)
    for name in row.split()
}
_WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAY = re.compile(rf"(?:on )?(?:({'|'.join(_WEEKDAYS)}),? )?(.+)", re.DOTALL)
_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_MONTH = r"(?P<month>[^\W\d_]{3,10})\.?"
_YEAR = r"(?P<year>[0-9]{4})"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        # 5th of March, 2024; 5. März 2024; 5 de marzo de 2024
        rf"(?:the |le |el |am )?{_DAY}\.? (?:day )?(?:of |de )?{_MONTH}(?:,? (?:of |de )?{_YEAR})?",
        rf"{_MONTH} (?:the )?{_DAY}(?:(?:, ?| ){_YEAR})?",  # March 5, 2024
        rf"{_YEAR},? {_MONTH} {_DAY}",  # 2024 March 5
        rf"{_DAY}-{_MONTH}-{_YEAR}",  # 5-Mar-2024
        r"(?P<year>[0-9]{4})(?P<sign>[-/.])(?P<month>[0-9]{1,2})(?P=sign)(?P<day>[0-9]{1,2})",
        r"(?:(?P<year>[0-9]{4}) ?[年년] ?)?(?P<month>[0-9]{1,2}) ?[月월] ?(?P<day>[0-9]{1,2}) ?"
        r"[日号號일]",
        r"(?P<day>[0-9]{1,2})\.(?P<month>[0-9]{1,2})\.(?P<year>[0-9]{4})",  # 5.3.2024
        rf"{_MONTH},? (?:of |de )?{_YEAR}",  # March 2024
        r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])",
        r"(?P<month>0?[1-9]|1[0-2])/(?P<year>[0-9]{4})",
        # 3/25/2024 and 25/3/2024; of 3/5/2024 nobody knows which is the month
        r"(?P<month>[0-9]{1,2})[-/](?P<day>1[3-9]|2[0-9]|3[01])[-/](?P<year>[0-9]{4})",
        r"(?P<day>1[3-9]|2[0-9]|3[01])[-/](?P<month>[0-9]{1,2})[-/](?P<year>[0-9]{4})",
    )
)
_NAMED_DAY = re.compile(r"(?:on |in )?(?:an? )?([a-z]{3,9})\.?")
_LEAP_YEAR = 2000
_MAX_CHARACTERS = 60

# Of each family its units in the smallest one. Months have no length in days; a unit of several
# families, such as the pound, is of the one in which the other answer is.
_FAMILIES = tuple(
    {name: int(size) for name, size in (each.split(":") for each in row.split())}
    for row in (
        "week:604800000 day:86400000 hour:3600000 minute:60000 second:1000 ms:1",
        "decade:120 year:12 month:1",
        "mile:63360 yard:36 foot:12 inch:1",
        "km:1000000 m:1000 cm:10 mm:1",
        "kg:1000000 g:1000 mg:1",
        "l:1000 ml:1",
        "gallon:16 quart:4 pint:2 cup:1",
        "pound:16 lb:16 ounce:1",
        "dollar:100 cent:1",
        "euro:100 cent:1",
        "£:100 pound:100 pence:1 penny:1",
    )
)
_MONEY_FAMILIES = frozenset(n for n, family in enumerate(_FAMILIES) if "cent" in family)
#: A number of the smallest unit, for each family that it may be of.
_Amount: TypeAlias = frozenset[tuple[int, Fraction]]
_PART = re.compile(
    r"(?:(\$? ?[0-9][0-9.,]*(?: [0-9]+/[0-9]+)?) ?((?!(?:and|und|et|y)\b)[^\W\d_]+|[¢€])\.?"
    r"|(\$ ?[0-9,]+))"
    r"(?:,? (?:and|&|und|et|y) |, ?| |$|(?=[0-9]))",
    re.IGNORECASE,
)
_FEET_AND_INCHES = re.compile(r"^([0-9]+)' ?([0-9]+(?:\.[0-9]+)?)\"$")  # 5'6"
_MINUTES_AFTER_HOURS = re.compile(
    r"([0-9]+ ?(?:h|hrs?|hours?)\.?,? ?(?:and )?[0-9]+) ?m\b(?!/)", re.IGNORECASE
)


@dataclass(frozen=True)
class Clock:
    """A time of the day, from 0:00:00; `has_half` says whether a.m. or p.m. stands there."""

    hour: int
    minute: int
    second: int
    has_half: bool

    def agrees(self, other: Clock) -> bool:
        """Whether both can be the same time: 3:00 is 3:00 PM, but neither 15:00 nor 3:05."""
        if (self.minute, self.second) != (other.minute, other.second):
            return False
        if self.hour == other.hour:
            return True
        if self.has_half == other.has_half:
            return False
        plain = other if self.has_half else self
        return 1 <= plain.hour <= _NOON and self.hour % _NOON == other.hour % _NOON


def read_clock(text: str) -> Clock | None:
    """Returns the time of the day that a text is, or None where it is anything else."""
    text = text.casefold().removeprefix("at ")
    if (hour := _NAMED_HOURS.get(text.removeprefix("12 "))) is not None:
        return Clock(hour, 0, 0, has_half=True)
    text = _in_digits(_of_eastern(text))
    match = _CLOCK.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        return None
    hour, minute, second, half, part, *plain, full_hour = match.groups()
    if hour:
        if not 1 <= int(hour) <= _NOON:
            return None
        full = int(hour) % _NOON + (_NOON if (half or part) in ("p", "afternoon", "evening") else 0)
        return Clock(full, int(minute or 0), int(second or 0), has_half=True)
    number = int(full_hour or plain[0])
    if number >= _DAY_HOURS:
        return None
    return Clock(number, int(plain[1] or 0), int(plain[2] or 0), has_half=False)


def _in_digits(time: str) -> str:
    """Returns "3:30 pm" for "half past three pm", and 15:00 for 1500 hours."""
    match = _WORDY_TIME.fullmatch(time) if len(time) <= _MAX_CHARACTERS else None
    if match is None:
        return _MILITARY_TIME.sub(r"\1:\2", time)
    count, side, hour, half = match.groups()
    minutes = {"half": 30, "quarter": 15}.get(count) or int(count)
    number = int(hour) if hour.isdecimal() else SMALL.get(hour, 0)
    if not 1 <= number <= _NOON or (side == "to" and count == "half"):
        return time
    if side == "to":
        number, minutes = (number - 2) % _NOON + 1, _HOUR_MINUTES - minutes
        if half and number == _NOON - 1:  # quarter to 12 am is p.m.
            return time
    return f"{number}:{minutes:02} {half or ''}".strip()


def _of_eastern(time: str) -> str:
    """Returns "3:30 pm" for 下午3点半; another text as it is."""
    match = _EASTERN_TIME.fullmatch(time)
    am, pm, hour, minute, half = match.groups() if match else [None] * 5
    if not (am or pm or minute or half):
        return time
    return (
        f"{hour}:{30 if half else int(minute or 0):02} {'am' if am else 'pm' if pm else ''}".strip()
    )


def equal_clocks(first: str, second: str) -> bool | None:
    """Returns whether two times of the day can be the same; None where not both are times."""
    clocks = read_clock(first), read_clock(second)
    if clocks[0] and clocks[1]:
        return clocks[0].agrees(clocks[1])
    if clocks[0] is None and clocks[1] is None:
        return None
    clock, other = (clocks[0], second) if clocks[0] else (clocks[1], first)
    if clock is None or not clock.has_half or ":" in other:
        return None
    # 4 PM beside a plain 4
    hour = (clock.hour - 1) % _NOON + 1
    return other == str(hour) and (clock.minute, clock.second) == (0, 0)


def read_date(text: str) -> tuple[int, int, int] | None:
    """Returns (year, month, day), with 0 for a year or day not given; None for what is no date.

    A weekday before it must be the right one.
    """
    if len(text) > _MAX_CHARACTERS:
        return None
    named = _WEEKDAY.fullmatch(text.casefold())
    if named is None:
        return None
    weekday, rest = named.groups()
    match = next((found for each in _DATES if (found := each.fullmatch(rest))), None)
    if match is None:
        return None
    parts = {"day": "0", **match.groupdict()}
    month = _MONTHS.get(parts["month"], 0) if parts["month"].isalpha() else int(parts["month"])
    year, day = int(parts["year"] or 0), int(parts["day"])
    try:
        date = datetime.date(year or _LEAP_YEAR, month, day or 1)
    except ValueError:
        return None
    if weekday and year and _WEEKDAYS[date.weekday()] != weekday:
        return None
    return year, month, day


def equal_dates(first: str, second: str) -> bool | None:
    """Returns whether two dates are the same, on one weekday; None where not both are dates."""
    dates = read_date(first), read_date(second)
    if dates[0] is None or dates[1] is None or ("/" in first and "/" in second and not dates[0][2]):
        return None  # 1/2000 and 2/4000 are fractions
    named = [_WEEKDAY.fullmatch(text.casefold()) for text in (first, second)]
    weekdays = {match[1] for match in named if match and match[1]}
    return dates[0] == dates[1] and len(weekdays) < len(named)


def equal_names(first: str, second: str) -> bool | None:
    """Returns whether "Jan" is the other month, "Tue" the other day; None where not both are."""
    named = _read_name(first), _read_name(second)
    return named[0] == named[1] if all(named) else None


def _read_name(text: str) -> str:
    """Returns "month 1" for Jan and January, "day 2" for Tue and "on Tuesday", "" for others."""
    match = _NAMED_DAY.fullmatch(text.casefold()) if len(text) <= _MAX_CHARACTERS else None
    name = match[1] if match else ""
    if name in _MONTHS:
        return f"month {_MONTHS[name]}"
    days = [number for number, day in enumerate(_WEEKDAYS, start=1) if name in (day, day[:3])]
    return f"day {days[0]}" if days else ""


def equal_compounds(first: str, second: str) -> bool | None:
    """Returns whether "2 hours 30 minutes" is the other answer; None where neither is such.

    The units of one of them are converted to each other, so that it is 150 minutes, too, but no
    number without a unit; only dollars and cents are also a number of dollars.
    """
    compounds = _read_compound(first), _read_compound(second)
    if not any(compounds):
        return None
    singles = read_quantity(first), read_quantity(second)
    if money := [each for each in singles if each and not each.unit]:
        compound = compounds[0] or compounds[1]
        return bool(compound & {(n, 100 * money[0].value) for n in _MONEY_FAMILIES})
    one, other = (
        compound or (_in_smallest(single) if single else frozenset())
        for compound, single in zip(compounds, singles, strict=True)
    )
    return bool(one & other)


def same_amount(first: Quantity, second: Quantity) -> bool:
    """Returns whether two quantities are one in two units: 1 hour and 60 minutes."""
    return bool(_in_smallest(first) & _in_smallest(second))


def _in_smallest(*parts: Quantity) -> _Amount:
    """Returns the sum of quantities, each in a smaller unit, in the families that have these."""
    if any(len(part.unit) != 1 for part in parts):
        return frozenset()
    sums = []
    for number, family in enumerate(_FAMILIES):
        sizes = [family.get(part.unit[0], 0) for part in parts]
        if all(sizes) and all(one > other for one, other in itertools.pairwise(sizes)):
            values = (part.value * size for part, size in zip(parts, sizes, strict=True))
            sums.append((number, sum(values, Fraction(0))))
    return frozenset(sums)


def is_compound(text: str) -> bool:
    """Whether a text is a quantity in several units, such as 1 hour and 30 minutes."""
    return bool(_read_compound(text))


def _read_compound(text: str) -> _Amount:
    """Returns the total of two or more quantities, each in a smaller unit than the last."""
    if len(text) > _MAX_CHARACTERS:
        return frozenset()
    text = _MINUTES_AFTER_HOURS.sub(r"\1 minutes", text)  # 1h 30m
    text = _FEET_AND_INCHES.sub(r"\1 feet \2 inches", text)
    parts: list[Quantity] = []
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        quantity = read_quantity(part[3] or f"{part[1]} {part[2]}".strip()) if part else None
        if part is None or quantity is None:
            return frozenset()
        parts.append(quantity)
        position = part.end()
    return _in_smallest(*parts) if len(parts) > 1 else frozenset()
