"""The one number of a sentence, with its unit: 72 clips of "Natalia sold 72 clips in April."

Nothing is read out of a sentence with another number that is not plainly given, or with a word that
makes another number of it, see `qualifiers`.
"""

from __future__ import annotations

import re

from unspoken.measure.answers.number_words import NUMBER_WORD, with_digits
from unspoken.measure.answers.qualifiers import refuses
from unspoken.measure.answers.quantity import is_measure, read_quantity
from unspoken.measure.answers.times import is_compound

_MAX_WORDS = 30
#: "Hay 42 manzanas": there are, they are, in one word.
_THERE_ARE = frozenset(("hay", "son", "sono", "há", "são", "sont", "sind"))
_THERE_IS = re.compile(r"there (?:are|is|were|will be) ", re.I)
#: What stands before a number that is only a name: Step 3.
_LABEL = re.compile(
    r"\b(?:steps?|parts?|cases?|rooms?|pages?|chapters?|figures?|tables?|sections?|options?|choices?"
    r"|questions?|problems?|exercises?|examples?|lines?|rows?|columns?|items?|equations?|methods?"
    r"|rules?|versions?|rounds?|levels?|stages?|groups?|phase|route|class|grade|bus|gate|war|type"
    r"|no\.?|player|team|house|box|number|(?:sum|difference|product|quotient) of)[\s(]*$",
    re.IGNORECASE,
)
#: What makes another number of the one that follows it: fifty percent of 72, next to 72.
_TAKES_FROM = re.compile(
    r"\b(?:percent(?:age)?|share|rest|all|any|each|many|few|ratio|integral|derivative|value) of"
    r"(?: (?:the|these|those|his|her|its|their|all))?\s*$"
    r"|\b(?:from|near(?:est)?|(?:next|close(?:st|r)?|nearest|nearer|prior) to|beside|past|against"
    r"|like|by means of)\s*$",
    re.IGNORECASE,
)
_NUMERAL = r"[$€£]?(?:[0-9][0-9.,]*[0-9]|[0-9])"
_NUMBER = re.compile(
    r"(?:(?:US|A|R|C)?[$€£¥₹] ?)?-?(?:[0-9][0-9.,']*[0-9]|[0-9])"
    r"(?:\s*/\s*[0-9]+|:[0-5][0-9](?: ?[ap]\.?m)?| [0-9]+/[0-9]+)?(?:%|°|(?:st|nd|rd|th)\b)?",
    re.IGNORECASE,
)
_NUMBER_IN_WORDS = re.compile(rf"\b(?!one\b)(?:{NUMBER_WORD})\b", re.IGNORECASE)
_COMPOUND = re.compile(
    r"[0-9][0-9.]* ?[a-z]+(?:,? (?:and )?[0-9][0-9.]* ?[a-z]+)+(?![\w.])", re.IGNORECASE
)
_DIRECTION = (
    r"(loss|losses|decrease|decline|drop|reduction|deficit|debt|fall|increase|gain|profit|rise|growth"
    r"|surplus|raise|discount)\b(?: of| by)?\s*"
)
_DIRECTIONS = re.compile(
    rf"{_DIRECTION}$|\b(?:(?P<down>decreased|fell|dropped|declined|shrank|reduced)"
    r"|(?P<up>increased|rose|grew|went up|raised))(?: by)?\s*$",
    re.IGNORECASE,
)
_CHANGE = re.compile(rf"(?:an? )?{_DIRECTION}([-$€£¥₹\d].*)|an? ([$€£¥₹\d].*)", re.IGNORECASE)
_NO_PROSE = re.compile(r"\w\(|[=<>^\\{}\[\]|?*+_]|[.!:;] ")
_SAID_OF_NUMBER = re.compile(r"^ (?:are|were)\b|[a-z] (?:was|were|are|is|have|has|had|will)\b")
_OTHER_SCRIPT = re.compile(r"[^\x00-\u024f€£¥₹°’]")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_UNIT_END = re.compile(
    r"[,;.!()]|\b(?:and|so|because|which|that|who|in|at|for|from|by|to|with|on|of|when|during|as|is"
    r"|are|was|were|each|every|altogether|total|left)\b",
    re.IGNORECASE,
)
#: "In 5 days she reads 60 pages": what is given, before what is asked for.
_SETTING = re.compile(
    r"(?:in|on|after|for|at|by|with|over|during|within|given)\b"
    r"[^,]{0,60}(?:, |(?<=[a-z\d]) (?=(?:he|she|they|it|we|you|there|the|each)\b))"
    r"(?=[^\d\s])(?!(?:in|on|after|for|at|by|with|and|but|then)\b|.*\b(?:would|could|might)\b)",
    re.IGNORECASE,
)
#: What a number is given of, or for: each of the 4 friends, $24 to buy 3 shirts.
_GIVEN = re.compile(
    rf"\beach of (?:the|his|her|their|these|those) {_NUMERAL}(?= [a-z])"
    rf"|^the {_NUMERAL}(?= [a-z]+ each\b)"
    r"|(?<=[a-z]) to (?:buy|bake|build|cover|feed|fill|finish|get|make|paint|reach|read|rent|serve)"
    rf" [^.]{{0,30}}?{_NUMERAL}\b[^.\d]*$",
    re.IGNORECASE,
)
#: 48 clips in April and 24 in May, 72 altogether: the total counts.
_TOTAL = re.compile(
    rf".*\d.*?(?:,(?: (?:so|or|making|which is))? (?P<total>{_NUMERAL}(?: [a-z]+)?)"
    r" (?:altogether|in total|in all|total)|\b(?:for|making|giving|which (?:is|makes))"
    rf" (?:an? |her |his )?(?:grand )?total of (?P<sum>{_NUMERAL}(?: [a-z]+)?))",
    re.IGNORECASE,
)
#: She has no apples left, there are none left.
_NOTHING_LEFT = re.compile(
    r"(?:[a-z][a-z ,']{0,60}? (?:has|have|had|is|are|be|will be) )?(?:no(?! one)|none)"
    r"(?: [a-z]+){0,2}(?: (?:is|are))? (?:left|remaining|remain)(?: over)?",
    re.IGNORECASE,
)


def amount_of_change(text: str) -> str:
    """Returns "$5 loss" for "a loss of $5", "20% decrease" for "a 20% decrease"."""
    change = _CHANGE.fullmatch(text)
    if change is None:
        return text
    return f"{change[2]} {change[1]}" if change[1] else change[3]


def number_of_sentence(text: str) -> str:
    """Returns the one number of a sentence with its unit, or "" where there is not just one.

    A number that is only given does not count: that of "in 5 days", "each of the 4 friends".
    """
    if _NOTHING_LEFT.fullmatch(text):
        return "0"
    text = _without_given(_in_digits(text))
    numbers = list(_NUMBER.finditer(text))
    if len(numbers) > 1 and (compound := _COMPOUND.search(text)) and is_compound(compound[0]):
        numbers = [compound] if len(_NUMBER.findall(compound[0])) == len(numbers) else numbers
    if len(numbers) != 1 or _NO_PROSE.search(text) or refuses(text):
        return ""
    number = numbers[0]
    before, after = text[: number.start()], text[number.end() :]
    if not _is_sentence(before, after):
        return ""
    direction = _DIRECTIONS.search(before)
    unit = _unit_after(after)
    noun = f" {_name_direction(direction)}" if direction else ""
    found = f"{number[0]}{unit}{noun}"
    is_value = read_quantity(found) is not None or is_compound(found)
    return found if is_value or not (unit or noun) else ""


def _in_digits(text: str) -> str:
    """Returns "Tom baked 45 cookies" for "Tom baked forty-five cookies"; "one" may be no number."""
    word = None if re.search(r"\d", text) else _NUMBER_IN_WORDS.search(text)
    return text[: word.start()] + with_digits(text[word.start() :]) if word else text


def _without_given(text: str) -> str:
    """Returns "she reads 60 pages" for "In 5 days she reads 60 pages"."""
    if len(_NUMBER.findall(text)) < 2 or _NO_PROSE.search(text):
        return text
    if total := _TOTAL.fullmatch(text):
        return text if refuses(text) else f"it makes {total['total'] or total['sum']}"
    if setting := _SETTING.match(text):
        text = text[setting.end() :]
    return _GIVEN.sub(" ", text) if len(_NUMBER.findall(text)) > 1 else text


def number_of_what_there_is(text: str) -> str:
    """Returns "10 ways" of "There are 10 ways to choose", "" of other sentences."""
    return number_of_sentence(text) if _THERE_IS.match(text) else ""


def _name_direction(direction: re.Match[str]) -> str:
    """Returns "decrease" for "fell by", "loss" for "a loss of"."""
    if direction[1]:
        return direction[1].casefold()
    return "decrease" if direction["down"] else "increase"


def _is_sentence(before: str, after: str) -> bool:
    """Whether these are the words of a sentence around a number that stands by itself."""
    if re.search(r"[\w.,'-]$", before) or re.match(r"[\w'/:-]|[.,]\d", after):
        return False
    # of other scripts the words for "not" and "half" are not known here
    is_another = _LABEL.search(before) or _TAKES_FROM.search(before)
    if is_another or _OTHER_SCRIPT.search(before + after):
        return False
    words = _WORD.findall(before)
    if len(words) + len(_WORD.findall(after)) > _MAX_WORDS:
        return False
    if not before:
        return _SAID_OF_NUMBER.search(after) is not None
    if len(words) == 1 and words[0].casefold() in _THERE_ARE:
        return True
    return len(words) > 1 and any(word.islower() for word in words)


def _unit_after(after: str) -> str:
    """Returns the unit that follows a number: the known one, or else all words up to a comma."""
    phrase = _UNIT_END.split(after, maxsplit=1)[0]
    words = phrase.split()
    for length in (4, 3, 2, 1):
        if len(words) >= length and is_measure(" ".join(words[:length])):
            return f" {' '.join(words[:length])}"
    return f" {' '.join(words[:5])}" if words else ""
