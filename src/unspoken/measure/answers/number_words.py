"""English words for numbers that begin an answer: "seventy-two clips" is 72 clips.

Of parts only what is plainly a number: "two thirds", "five and a half hours", "two point five"; a
half of something else, as in "half of them", is none.
"""

from __future__ import annotations

import re

from unspoken.measure.answers.quantity import is_measure

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TIES = "twenty thirty forty fifty sixty seventy eighty ninety"
#: The numbers below twenty in words.
SMALL = {word: number for number, word in enumerate(_ONES.split())}
_TENS = {word: 10 * number for number, word in enumerate(_TIES.split(), start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
NUMBER_WORD = "|".join((*SMALL, *_TENS, "hundred", *_SCALES))
_DIGIT = "|".join(_ONES.split()[:10])
_PART_WORDS = {
    word: number
    for number, words in {
        2: "half halves", 3: "third thirds", 4: "quarter quarters fourth fourths",
        5: "fifth fifths", 6: "sixth sixths", 7: "seventh sevenths", 8: "eighth eighths",
        9: "ninth ninths", 10: "tenth tenths", 12: "twelfth twelfths", 100: "hundredth hundredths",
    }.items()
    for word in words.split()
}  # fmt: skip
_PART = rf"(?P<count>{'|'.join(SMALL)}|an?)[ -](?P<part>{'|'.join(_PART_WORDS)})(?![\w-])"
_NO_NAMES = re.compile(r"\?P<[a-z]+>")
_AND_A_PART = rf"and {_PART}(?! of\b)"
#: Not "one of them", which is no number, nor "four fifths", "five point two".
_NUMBER = re.compile(
    rf"(?P<sign>(?:negative|minus) )?"
    rf"(?P<words>(?:{NUMBER_WORD})(?:(?:(?<=sand|lion), | |-| and )(?:{NUMBER_WORD}))*)(?![\w-])"
    rf"(?! (?:(?!{_NO_NAMES.sub('?:', _AND_A_PART)})and\b|of\b|or\b|to\b|point\b|over\b|by\b"
    r"|times\b|plus\b|minus\b|hal(?:f|ves)\b|thirds?\b|quarters?\b|(?!months?\b)\w+ths?\b))",
    re.IGNORECASE,
)
_MAX_WORDS = 20
_FIRST_PLACES = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
)
_PLACES = _FIRST_PLACES.split()
_TENTH_PLACES = {f"{word[:-1]}ieth": number for word, number in _TENS.items()}
#: First, thirtieth, twenty-first, and hundredth; "twenty first" may be said of the first twenty.
_PLACE_OF = {
    **{word: number for number, word in enumerate(_PLACES, start=1)},
    **_TENTH_PLACES,
    **{
        f"{ten}-{word}": number + one
        for ten, number in _TENS.items()
        for one, word in enumerate(_PLACES[:9], start=1)
    },
    "hundredth": 100,
}
_ORDINAL_ENDS = {1: "st", 2: "nd", 3: "rd"}
_ORDINALS = {
    word: f"{number}{_ORDINAL_ENDS.get(number if number < 20 else number % 10, 'th')}"
    for word, number in _PLACE_OF.items()
}
#: The third, third day; not "third of May" nor "third from last".
_ORDINAL = re.compile(
    rf"(?:the )?(?P<place>{'|'.join(sorted(_ORDINALS, key=len, reverse=True))})"
    r"(?P<noun> (?!(?:of|from|to|and|or|half|last|one)\b)[a-z]{2,})?",
    re.IGNORECASE,
)
#: Two thirds, one-half, minus three quarters of a mile.
_FRACTION = re.compile(
    rf"(?P<sign>(?:negative|minus) )?(?:{_PART}|(?P<half>half))"
    r"(?:(?: of)?(?: an?)? (?P<unit>[a-z]+))?",
    re.IGNORECASE,
)
#: 5 and a half hours, 5 and three quarters, 5 hours and a half.
_MIXED = re.compile(
    rf"(?P<whole>-?[0-9]+) (?:(?P<unit>[a-z]+) )?{_AND_A_PART}(?P<rest>.*)", re.IGNORECASE
)
_POINT = re.compile(
    rf"(?P<whole>(?:negative |minus )?(?:(?:{'|'.join((*SMALL, *_TENS))})[ -]?)+) ?point"
    rf"(?P<digits>(?: (?:{_DIGIT}))+)(?![\w-])",
    re.IGNORECASE,
)
#: A hundred, half a dozen, an hour and a half.
_ONE = re.compile(r"(?P<half>half )?an? (?=(?P<word>[a-z]+)\b)", re.IGNORECASE)
_IS_SCALE = re.compile(rf"hundred|dozen|{'|'.join(_SCALES)}", re.IGNORECASE)

#: What begins otherwise is no number in words, which is found out at once.
_BEGINNING = re.compile(
    rf"(?:negative|minus|the) |an?[ -]|half|{NUMBER_WORD}|{'|'.join(_ORDINALS)}"
    r"|-?[0-9]+ (?:[a-z]+ )?and ",
    re.IGNORECASE,
)


def with_digits(text: str) -> str:
    """Returns "-17" for "negative seventeen"; a text that begins otherwise as it is."""
    if not _BEGINNING.match(text):
        return text
    if ordinal := _ORDINAL.fullmatch(text):
        return f"{_ORDINALS[ordinal['place'].casefold()]}{ordinal['noun'] or ''}"
    if fraction := _fraction(text) or _decimal(text):
        return fraction
    if (one := _ONE.match(text)) and (_IS_SCALE.fullmatch(one["word"]) or is_measure(one["word"])):
        text = f"{'1/2' if one['half'] else 'one'} {text[one.end() :]}"
    text = _whole(text)
    mixed = _MIXED.fullmatch(text)
    if mixed is None or (mixed["unit"] and not is_measure(mixed["unit"])):
        return text
    unit = f" {mixed['unit']}" if mixed["unit"] else ""
    return f"{mixed['whole']} {_value_of_part(mixed)}{unit}{mixed['rest']}"


def _fraction(text: str) -> str:
    """Returns "2/3 mile" of "two thirds of a mile", "" for other texts, such as "half of 36"."""
    match = _FRACTION.fullmatch(text)
    if match is None or (match["unit"] and not is_measure(match["unit"])):
        return ""
    value = "1/2" if match["half"] else _value_of_part(match)
    return f"{'-' if match['sign'] else ''}{value} {match['unit'] or ''}".strip()


def _value_of_part(match: re.Match[str]) -> str:
    top = SMALL.get(match["count"].casefold(), 1)
    return f"{top}/{_PART_WORDS[match['part'].casefold()]}"


def _decimal(text: str) -> str:
    """Returns "2.5" of "two point five", "" for other texts."""
    match = _POINT.match(text)
    whole = _whole(match["whole"].strip()) if match else ""
    if match is None or not whole.lstrip("-").isdecimal():
        return ""
    digits = "".join(str(SMALL[word]) for word in match["digits"].casefold().split())
    return f"{whole}.{digits}{text[match.end() :]}"


def _whole(text: str) -> str:
    """Returns a text with the whole number that it begins with in digits."""
    match = _NUMBER.match(text)
    if match is None:
        return text
    words = re.split(r" and |,? |-", match["words"].casefold())
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
        elif word == "hundred" and 0 < part < 20 and part != 10 and room == 1:
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
    number = SMALL.get(word, room)
    return number if number < room and (number or is_alone) else None
