"""Forms of questions: how one kind of question is drawn, put into words, read back and solved.

A form has phrasings such as `Add {a} and {b}.`, a function that draws the numbers of their slots,
and one that works the solution out from these numbers alone. Since a phrasing can be read back
from the question's text, the solution of a question needs nothing but the question.

A slot is `{name}` for a number or `{name:type}` for the other types, listed in `_NUMBERS` (what
is asked depends on them) and `_WORDS` (names and things, which are only scenery).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from string import Formatter
from typing import Any, TypeAlias

from unspoken.data.example import Example

LEVELS = ("easy", "medium", "hard")

Number: TypeAlias = "int | Fraction"
Values: TypeAlias = "dict[str, Any]"
Solution: TypeAlias = "tuple[list[str], str]"  # its steps, and the answer
Draw: TypeAlias = "Callable[[Random, int], Values]"
Work: TypeAlias = "Callable[[Values], Solution]"

FRAMES = ("What is {}?", "Calculate {}.", "Work out {}.", "Find the value of {}.", "Evaluate {}.")

# Type -> the words it may be, as a pattern: no vowel begins one that may follow "a".
_WORDS = {
    "person": "Amara|Ben|Carla|Deniz|Emil|Farah|Grace|Hugo|Ines|Jonas|Keiko|Liam|Mira|Nadia|Omar"
    "|Priya|Quinn|Rosa|Samuel|Tara|Uri|Vera|Wanda|Yusuf",
    "letter": "x|y|z|n|m|k|t|w",
    "goods": "notebooks|mugs|candles|books|plants|posters|scarves|puzzles|lamps|toys",
    "item": "jacket|backpack|lamp|chair|desk|tent|blender|scooter|guitar|printer",
    "color": "red|blue|green|yellow|white|black|purple|pink",
    "vehicle": "car|bus|truck|camper|van|motorcycle",
    "place": "garden|courtyard|playground|field|meadow|park",
    "group": "club|choir|society|forum|course",
    "food": "flour|rice|sugar|pasta|oats|cheese",
}
_CHOICES = {kind: words.split("|") for kind, words in _WORDS.items()}


# --- numbers as text ----------------------------------------------------------------------------


def exact(value: Number) -> Number:
    """Returns a whole number as int, any other one as it is."""
    return int(value) if value.denominator == 1 else value


def number(value: Number) -> str:
    """Returns a number as a decimal where it has an end, else as a fraction in lowest terms.

    Examples:
        >>> number(Fraction(5, 2)), number(Fraction(-7, 3)), number(Fraction(4, 2))
        ('2.5', '-7/3', '2')
    """
    if value.denominator == 1:
        return str(value.numerator)
    rest, places = value.denominator, 0
    twos = (rest & -rest).bit_length() - 1
    rest >>= twos
    while rest % 5 == 0:
        rest //= 5
        places += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(places, twos)
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    return f"{'-' * (value < 0)}{digits[:-places]}.{digits[-places:]}"


def fraction(value: Number) -> str:
    """Returns a number as a fraction in lowest terms, or as a whole number where it is one."""
    return str(Fraction(value))


def money(value: Number) -> str:
    """Returns dollars, with two decimals where they are not whole: `$7`, `$7.50`."""
    cents = value * 100
    if cents.denominator != 1 or value < 0:
        raise ValueError(f"{value} dollars are no whole number of cents from 0 on")
    if value.denominator == 1:
        return f"${value.numerator}"
    return f"${int(cents) // 100}.{int(cents) % 100:02d}"


def _text(value: str) -> str:
    return value


# Type -> what it looks like, how it is written, how it is read.
_NUMBERS: dict[str, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    "number": (r"-?\d+(?:\.\d+)?", number, lambda text: exact(Fraction(text))),
    "fraction": (r"\d+/[1-9]\d*", fraction, Fraction),
    "money": (r"\$\d+(?:\.\d\d)?", money, lambda text: exact(Fraction(text[1:]))),
    "sign": (r"[+-]", _text, str),
    "which": (r"larger|smaller", _text, str),
    "expression": (r"[(\d][\d()+×÷ -]*[)\d]", _text, str),
}


# --- forms --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phrasing:
    """One way to ask.

    Attributes:
        text: the question with `{name}` for every slot.
        slots: (name, type) of every slot, once each.
        pattern: what every question of this phrasing matches, and no text of another shape.
    """

    text: str
    slots: tuple[tuple[str, str], ...]
    pattern: re.Pattern[str]

    @classmethod
    def build(cls, template: str) -> Phrasing:
        """Returns the phrasing of a template such as `{who:person} has {n} {things:goods}.`"""
        text, pattern, slots = "", "", {}
        for literal, name, given, _ in Formatter().parse(template):
            text += literal
            pattern += re.escape(literal)
            if name is None:
                continue
            text += f"{{{name}}}"
            if name in slots:
                pattern += f"(?P={name})"
                continue
            slots[name] = kind = given or "number"
            shape = _NUMBERS[kind][0] if kind in _NUMBERS else _WORDS[kind]
            pattern += f"(?P<{name}>{shape})"
        return cls(text, tuple(slots.items()), re.compile(pattern))

    def render(self, values: Values, rng: Random) -> str:
        """Returns the question; the names and things that it needs are drawn into `values`."""
        shown: dict[str, str] = {}
        for name, kind in self.slots:
            if kind in _NUMBERS:
                shown[name] = _NUMBERS[kind][1](values[name])
                continue
            word = rng.choice(_CHOICES[kind])
            while word in shown.values():
                word = rng.choice(_CHOICES[kind])
            shown[name] = values[name] = word
        return self.text.format_map(shown)

    def read(self, question: str) -> Values | None:
        """Returns the values of the slots, or None for a question of another shape."""
        match = self.pattern.fullmatch(question)
        if match is None:
            return None
        return {
            name: _NUMBERS[kind][2](match[name]) if kind in _NUMBERS else match[name]
            for name, kind in self.slots
        }


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of question.

    Attributes:
        kind: its name, such as `addition`.
        phrasings: the ways to ask; all have the same slots for numbers.
        draw: (source of chance, level) -> the values of these slots.
        work: values -> the steps of the solution, and the answer.
        levels: for which levels (places in `LEVELS`) it is drawn.
        understood: further ways to ask, which are read and never drawn: a seed's files stay as
            they are.
    """

    kind: str
    phrasings: tuple[Phrasing, ...]
    draw: Draw
    work: Work
    levels: tuple[int, ...]
    understood: tuple[Phrasing, ...] = ()

    def numbers(self, values: Values) -> str:
        """Returns a key that questions share if only their words, or the order of numbers, differ.

        Who buys what decides nothing: 3 mugs at $4 and 4 toys at $3 are one problem.
        """
        kept = [str(values[name]) for name, kind in self.phrasings[0].slots if kind in _NUMBERS]
        return " ".join([self.kind, *sorted(kept)])

    def solve(self, question: str, values: Values) -> Example:
        """Returns the example of a question with these values."""
        steps, answer = self.work(values)
        thought = "\n".join(f"Step {n}: {step}" for n, step in enumerate(steps, start=1))
        return Example(question, thought, answer)


def form(
    kind: str,
    phrasings: Sequence[str],
    draw: Draw,
    work: Work,
    levels: tuple[int, ...] = (0, 1, 2),
    *,
    understood: Sequence[str] = (),
) -> Form:
    """Returns a form from its phrasings as text."""
    drawn, read = (tuple(map(Phrasing.build, texts)) for texts in (phrasings, understood))
    return Form(kind, drawn, draw, work, levels, read)


def ask_for(*expressions: str) -> list[str]:
    """Returns the phrasings that ask for the value of an expression."""
    return [frame.format(expression) for expression in expressions for frame in FRAMES]


def pick(rng: Random, level: int, *ranges: tuple[int, int]) -> int:
    """Returns a number from the level's range, both ends included; the last one is for all above.

    Examples:
        >>> pick(Random(0), 2, (1, 9), (5, 5))
        5
    """
    return rng.randint(*ranges[min(level, len(ranges) - 1)])


def draw_half(rng: Random, level: int, low: int, high: int) -> Number:
    """Returns a number of at least 1.5; from the medium level on it may have a half."""
    if level == 0 or rng.random() < 0.5:
        return rng.randint(max(low, 2), high)
    return Fraction(2 * rng.randint(low, high - 1) + 1, 2)
