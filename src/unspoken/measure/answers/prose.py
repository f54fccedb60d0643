"""What an answer in words amounts to: "Natalia sold 72 clips.", "84 (total)", "C because ...".

Stands between `clean` and the rules of `equal`: `lead_ins` takes off what stands before an answer
and `remarks` what stands behind it, `restated` reads what is said twice, `sentence` finds the one
number of a sentence; here they are asked in order. What is not plainly one value is left as it is,
so that nothing is read out of "more than 72" or "72 or 73": to miss a right answer costs less than
to take a wrong one for right.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from unspoken.measure.answers.lead_ins import (
    TO_NUMBER_WORD,
    TO_STRUCTURE,
    TO_WORD,
    without,
    without_hedge,
    without_lead_in,
    without_lead_in_of_date,
)
from unspoken.measure.answers.markers import THEREFORE
from unspoken.measure.answers.number_words import NUMBER_WORD, with_digits
from unspoken.measure.answers.qualifiers import refuses
from unspoken.measure.answers.quantity import is_measure, read_quantity
from unspoken.measure.answers.remarks import (
    is_plain,
    parts_alone,
    without_reason,
    without_remark,
)
from unspoken.measure.answers.restated import read_ways, without_calculation
from unspoken.measure.answers.sentence import (
    amount_of_change,
    number_of_sentence,
    number_of_what_there_is,
)
from unspoken.measure.answers.structure import has_or, is_name, split_list
from unspoken.measure.answers.times import is_compound, read_date

#: Words that may be taken away: "The total is" alone, also what stands around an answer, or all
#: of a sentence in which it is the one number.
Words: TypeAlias = Literal["lead_in", "around", "sentence"]
_MAX_CHARACTERS = 300
_CONNECTORS = re.compile(rf"^(?:(?:{THEREFORE}|then),? )+", re.IGNORECASE)
_CHOICE_LEAD_IN = re.compile(
    r"^(?:(?:i|we) (?:think|believe|choose|pick|would (?:say|choose|pick))(?: that)? |i'd say "
    r"|i(?:'m| am) going with |(?:i(?:'ll|'d| will| would)|let's) go with |choose |select |pick "
    r"|(?:definitely|clearly|certainly) )?"
    r"(?:(?:it|that)(?:'s| is| should be| must be) |(?:the |my )?(?:correct |right |best |final )?"
    r"(?:answer|option|choice|letter|one)(?: (?:is|would be|must be|should be))?:? ?"
    r"(?:option |choice |letter )?)?",
    re.IGNORECASE,
)
_SAID_OF_CHOICE = re.compile(
    r"^(?:(?i:the )?(?i:option|choice|answer) )?"
    r"(\(?[A-J]\)?) is (?:the )?(?:correct|right|best)(?: answer| option| choice| one)?"
    r"(?=$|,? (?:because|since)\b)",
)
#: 3k, where k is an integer: no thousands.
_INTEGER_K = re.compile(
    r"^(.*[0-9])k\b(.{0,40}?),? (?=[^,]*(?:integer|\\mathbb))(?:where |for |with |and )?"
    r"[^,0-9]*\bk\b[^,0-9]*$"
)
_SAID_OF_ANSWER = re.compile(
    r"(?P<value>.+) (?:is (?:the|our|your) (?:final |correct |right |only |unique )?"
    r"(?:answer|total|result|sum|solution)|as (?:required|desired|expected|needed))",
    re.IGNORECASE,
)
_SAID_OF_CLAIM = re.compile(
    r"^(?:it|that|this|the (?:statement|claim)) is (true|false)$", re.IGNORECASE
)
_CLAUSE_AFTER_TRUTH = re.compile(
    r"^(yes|no|true|false)(?:\. ?| )(?=(?:it|they|he|she|that|this|the|there|we|you|i)\b)",
    re.IGNORECASE,
)
#: Words that change nothing: both 2 and 7, in 1969, the 5th, 79 AD, I and III only.
_EMPTY_WORDS = re.compile(
    r"^(?i:both) (?=[^ ]+ and [^ ]+$)|^(?i:either) (?=[^ ]+ or [^ ]+$)|^(?i:at) (?=\()"
    r"|^(?i:the year )(?=[12][0-9]{3}$)"
    r"|^(?i:options|choices|statements) (?=\(?[A-J]\)?(?:,| and) )"
    r"|^(?i:in|at|for|with|during) (?i:the year )?"
    r"(?=[$€£]?[0-9.]+(?:%|st|nd|rd|th)?(?: [a-z]+){0,2}$)"
    r"|^(?i:the) (?=[0-9]+(?:st|nd|rd|th)$)|(?<=[0-9]) (?:AD|CE|A\.D|C\.E)$"
    r"|(?<=[\w)\]}%]),? (?:only|in total)$"
    r"|(?<=[a-z]) (?:in|over) [0-9]+ (?:day|week|month|year|hour|minute)s?$"
)
#: BCE and B.C.: years that are none of the AD and CE that change nothing.
_BEFORE_CHRIST = re.compile(r"(?<=[0-9]) (?:BCE|B\.C(?:\.E)?)$")
#: What follows the greater unit in "2 hours and thirty minutes".
_SMALLER_UNIT = re.compile(r"(\b[a-z]{3,}(?:,? and |, | ))([a-z]+[ -].+)")
_ADJECTIVE = re.compile(r"(?<![\w.,/-])([0-9]+(?:\.[0-9]+)?)-([A-Za-z]{2,})(?![\w-])")
_OUT_OF = re.compile(r"([0-9]+) (?:out of|in(?: every)?) ([0-9]+|[a-z]+)", re.IGNORECASE)
_DATE_AND_DAY = re.compile(r"(.+?),? \((?:an? )?([A-Za-z]+day)\)")
#: Paris (C), 12 (option C), 12, option C, 12, which is option (C)
_TEXT_AND_LETTER = re.compile(
    r"(?!.*(?i:option|choice|answer).*,)(.{2,}[\w%)}]|[0-9]+)"
    r"(?: \((?:(?i:option|choice|answer) )?([A-J])\)"
    r"|, (?:(?:which|so (?:it|the (?:correct )?answer)) (?:is|corresponds to) )?"
    r"(?:(?i:option|choice|answer) )\(?([A-J])\)?)"
)
#: (10, 5) cm, A(10, 5)
_DRESSED_TUPLE = re.compile(r"(?:[A-Z]'? ?)?(\([^()]+,[^()]+\))(?: ([a-z]+))?")
_LABELLED = re.compile(r"([A-Za-z]|[^\W\d_]{3}(?:[^\W\d_]| (?=\w)){0,30}): ?([^=]+)")
# x is 2 and y is 5, the length is 5 and the width equals 3
_NAMED_VALUE = re.compile(
    r"(?:[Tt]he )?([A-Za-z](?:_\w)?|[^\W\d_]{3,30}) (?:is|equals)(?: equal to)? ([-$\d\\(][^=]*)"
)
_NAMED_APPROXIMATION = re.compile(r"([^=]{1,40}?) ?\\(?:approx|in) ?([^=]+)")


def readings(text: str, words: Words) -> list[str]:
    """Returns what an answer amounts to: one text, or several where it says the same in two ways.

    Args:
        text: an answer that `clean` has cleaned.
        words: which may be taken away.
    """
    if len(text) > _MAX_CHARACTERS:
        return [text]
    if words == "lead_in":
        return [without_lead_in(text)]
    text = written = _CONNECTORS.sub("", text)
    text = without_hedge(without_lead_in(without_hedge(text)))
    text = _with_digits_in_list(with_digits(without(TO_NUMBER_WORD, text)))
    text = _without_empty_words(text)
    text = _INTEGER_K.sub(r"\1 * k\2", text)
    text = without(TO_STRUCTURE, text)
    text = without(TO_WORD, text)
    text = _SAID_OF_CHOICE.sub(r"\1", _CLAUSE_AFTER_TRUTH.sub(r"\1, ", text))
    text = _SAID_OF_CLAIM.sub(r"\1", text)
    if (said := _SAID_OF_ANSWER.fullmatch(text)) and is_plain(said["value"].rpartition("= ")[2]):
        text = said["value"]
    if (named := _NAMED_APPROXIMATION.fullmatch(text)) and is_name(named[1]):
        text = f"{named[1]} = {named[2]}"
    text = amount_of_change(text)
    text = without_calculation(text)
    if ways := read_ways(text):
        return ways
    said = parts_alone(text)
    text = _without_choice_lead_in(without_remark(without_reason(said)))
    if words == "sentence" and read_quantity(text) is None and read_date(text) is None:
        text = number_of_sentence(text) or number_of_what_there_is(written) or text
    return [text, *(_undressed(text) or _named(said))] if words == "sentence" else [text]


def _named(text: str) -> list[str]:
    """Returns "Paris" and "C" for "Paris (C)"."""
    named = _TEXT_AND_LETTER.fullmatch(text)
    return [named[1], named[2] or named[3]] if named and not refuses(text) else []


def _undressed(text: str) -> list[str]:
    """Returns "(2, 3)" for "A(2, 3)" and "(2, 3) cm"."""
    dressed = _DRESSED_TUPLE.fullmatch(text)
    unit = dressed[2] if dressed else None
    return [dressed[1]] if dressed and (not unit or unit == "units" or is_measure(unit)) else []


def _without_empty_words(text: str) -> str:
    """Returns "1969" for "in 1969", "1/4" for "1 out of 4", "March 5" for "It was on March 5"."""
    text = re.sub(r"(?<=[0-9]) ?\(([ap]\.?m)\.?\)$", r" \1", text, flags=re.IGNORECASE)
    text = _BEFORE_CHRIST.sub(" BC", _EMPTY_WORDS.sub("", text))
    text = _ADJECTIVE.sub(_as_quantity, text)
    if (share := _OUT_OF.fullmatch(text)) and (whole := with_digits(share[2])).isdecimal():
        return f"{share[1]}/{whole}" if int(share[1]) <= int(whole) else text
    if dated := _DATE_AND_DAY.fullmatch(text):
        text = f"{dated[2]}, {dated[1]}"
    text = without_lead_in_of_date(text)
    compound = _SMALLER_UNIT.sub(lambda part: f"{part[1]}{with_digits(part[2])}", text)
    return compound if is_compound(compound) else text


def _with_digits_in_list(text: str) -> str:
    """Returns "2, 7" for "two and seven"."""
    parts = split_list(text) if re.search(NUMBER_WORD, text) and not has_or(text) else None
    numbers = [with_digits(part) for part in parts or ()]
    return ", ".join(numbers) if numbers and all(map(str.isdecimal, numbers)) else text


def _as_quantity(adjective: re.Match[str]) -> str:
    """Returns "53 yard" for "53-yard", if that is a measure."""
    return f"{adjective[1]} {adjective[2]}" if is_measure(adjective[2]) else adjective[0]


def labels_as_names(text: str) -> str:
    """Returns "Bob = 4, Alice = 3" for "Bob: 4, Alice: 3" and "Bob is 4 and Alice is 3"."""
    may_have = len(text) <= _MAX_CHARACTERS and re.search(":| is | equals ", text)
    inside = re.sub(r"[\"']", "", text[1:-1]) if re.fullmatch(r"\{.*\}", text) else text
    parts = (split_list(inside) if may_have else None) or []
    pattern = _LABELLED if ":" in text else _NAMED_VALUE
    labels = [pattern.fullmatch(part) for part in parts]
    found = [f"{label[1]} = {label[2]}" for label in labels if label]
    if len(found) < max(2, len(parts)):
        return text
    return (" or " if has_or(text) else ", ").join(found)


def _without_choice_lead_in(text: str) -> str:
    """Returns "C" for "I would choose option C"."""
    rest = without_remark(without_reason(_CHOICE_LEAD_IN.sub("", text)))
    return rest if re.fullmatch(r"[(\[]?[A-Ja-j][)\]]?|[A-J][:)] .+", rest) else text
