"""English words for whole numbers that begin an answer: "seventy-two clips" is 72 clips."""

from __future__ import annotations

import re

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TIES = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: number for number, word in enumerate(_ONES.split())}
_TENS = {word: 10 * number for number, word in enumerate(_TIES.split(), start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_WORD = "|".join((*_SMALL, *_TENS, "hundred", *_SCALES))
#: Not "one of them", which is no number, nor "four fifths", "six and a half", "five point two".
_NUMBER = re.compile(
    rf"(?P<sign>(?:negative|minus) )?"
    rf"(?P<words>(?:{_WORD})(?:(?: |-| and )(?:{_WORD}))*)(?![\w-])"
    r"(?! (?:and\b|of\b|or\b|to\b|point\b|over\b|by\b|times\b|plus\b|minus\b"
    r"|hal(?:f|ves)\b|thirds?\b|quarters?\b|\w+ths?\b))",
    re.IGNORECASE,
)
_MAX_WORDS = 20


def with_digits(text: str) -> str:
    """Returns "-17" for "negative seventeen"; a text that begins otherwise as it is."""
    match = _NUMBER.match(text)
    if match is None:
        return text
    words = re.split(r" and |[ -]", match["words"].casefold())
    number = _value(words) if len(words) <= _MAX_WORDS else None
    if number is None:
        return text
    return f"{'-' if match['sign'] else ''}{number}{text[match.end() :]}"


def _value(words: list[str]) -> int | None:
    """The number of these words; None where they are not in the order of one: two three."""
    total, part = 0, 0
    scale, room = 10**12, 1000  # below these the next scale, and the next word of a part, has to be
    for word in words:
        if word in _SCALES and part and _SCALES[word] < scale:
            scale = _SCALES[word]
            total, part, room = total + part * scale, 0, 1000
        elif word == "hundred" and 0 < part < 10 and room == 1:
            part, room = part * 100, 100
        elif (number := _fitting(word, room, is_alone=len(words) == 1)) is not None:
            part, room = part + number, 10 if word in _TENS else 1
        else:
            return None
    return total + part


def _fitting(word: str, room: int, *, is_alone: bool) -> int | None:
    """The number below a hundred of this word, where one may stand there; zero only alone."""
    if word in _TENS:
        return _TENS[word] if room >= 100 else None
    number = _SMALL.get(word, room)
    return number if number < room and (number or is_alone) else None
