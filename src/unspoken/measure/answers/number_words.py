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
    total, part, lowest = 0, 0, 10**12
    room = 1000  # below which the next word of this part has to be
    for word in words:
        if word in _SCALES:
            if not part > 0 or _SCALES[word] >= lowest:
                return None
            lowest = _SCALES[word]
            total, part, room = total + part * lowest, 0, 1000
        elif word == "hundred":
            if not 0 < part < 10 or room != 1:
                return None
            part, room = part * 100, 100
        elif word in _TENS and room >= 100:
            part, room = part + _TENS[word], 10
        elif word in _SMALL and (_SMALL[word] < room and (_SMALL[word] or len(words) == 1)):
            part, room = part + _SMALL[word], 1
        else:
            return None
    return total + part
