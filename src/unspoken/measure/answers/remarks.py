"""What is said behind an answer and may be left out: a reason, a remark, an aside in brackets.

"84, which is the total", "84 (total)", "C because ...", "Yes, it is true". What may change the
answer is left where it is: "84 (thousand)", "84, or 85".
"""

from __future__ import annotations

import re

from unspoken.measure.answers.number_words import NUMBER_WORD
from unspoken.measure.answers.qualifiers import refuses
from unspoken.measure.answers.quantity import is_measure, read_quantity
from unspoken.measure.answers.restated import amounts_to
from unspoken.measure.answers.structure import is_name, split_equation, split_list
from unspoken.measure.answers.times import read_clock

_REASON = re.compile(
    r"[,;]? (?:because|since)\b.*|[,;]? as (?:the|it|there|we|he|she|they|this)\b.*"
    r"|,? as (?:calculated|computed|found|shown|stated)(?: above| before)?$"
)
_REMARK = re.compile(
    r"(?:[,;] ?|(?:(?<![0-9]):|:(?![0-9])) ?| -{1,3} | (?=(?:and not|rather than)\b))(.+)"
    r"|(?<=[\w%)}.]) ?(?<![A-Z])\(([^()]+)\)"
)
_ASIDE_AT_END = re.compile(r"(.*[\w%)}]) \(([^()]+)\)")
_TUPLE_AND_REMARK = re.compile(r"([(\[][^()\[\]]{1,60}[)\]]),? ((?:which|that|is the) [^\d]*)")
_UNIT_LEAD_IN = re.compile(r"^(?:all )?(?:(?:measured )?in|the unit is)\s+")
_MAX_UNIT_WORDS = 3
_CLAUSE = re.compile(
    r"(?:approximately|approx|which|so|in|as|that|after|when|for|the|this|it|making|giving|meaning|thus|hence|given|where"
    r"|and (?:that|this|it|so)|therefore|with|by|assuming|total|altogether|overall"
    r"|thanks|thank you|hooray|done|finished|end|ok|correct|checked|see|rounded|including"
    r"|final(?:ly)?|obviously|clearly|of course"
    r"|i|he|she|we|they|there|you|these|those)\b",
    re.IGNORECASE,
)
_CHOICE = r"\(?[A-Ja-j]\)?"
_NOT_THE_OTHER = re.compile(
    rf"(?:(?:and )?not|rather than) (?:option )?(?:{_CHOICE}(?:(?:,|,? (?:or|and|nor)) {_CHOICE})*"
    rf"|[$€£-]{{0,2}}\d[\w.,%-]{{0,20}}|(?i:yes|no|true|false)|{NUMBER_WORD})"
)
#: Words after a letter of a choice, or after yes and no, that leave it open.
_DOUBT = re.compile(
    r"\b(?:or|either|neither|nor|maybe|perhaps|possibly|wrong|incorrect|false|not|but|instead"
    r"|and [A-J]|if|unless|except|cannot|\w+n't)\b"
)
#: Words that make another time of the one before them: 4:45 (in the morning).
_OTHER_TIME = re.compile(
    r"\b(?:[ap]\.? ?m\b|(?:mid)?night|noon|tonight|tomorrow|yesterday|next|later|earlier|ago"
    r"|morning|afternoon|evening|\w*days?)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|false|incorrect|wrong|cannot|\w+n't)\b", re.IGNORECASE
)
_CONDITION = re.compile(r"^(?:but|if|unless|except|only|when|provided|assuming|sometimes|partly)\b")
_TURN = re.compile(r"\b(?:no|wait|actually|rather|sorry|instead)\b(?:,|\.\.)", re.IGNORECASE)
_CONSENT = re.compile(r"\b(?:true|correct|right|yes)\b", re.IGNORECASE)
LETTER = re.compile(r"[(\[]?[A-J][)\]]?|[(\[][a-j][)\]]")
TRUTH = re.compile(r"yes|no|true|false", re.IGNORECASE)


def parts_alone(text: str) -> str:
    """Returns "(1, 2)" for "(1, 2), which is the vertex", "2, 7" for "2, 7 (both primes)"."""
    if (aside := _ASIDE_AT_END.fullmatch(text)) and split_list(aside[1]):
        return aside[1] if _is_aside_of_list(*aside.groups()) else text
    said = _TUPLE_AND_REMARK.fullmatch(text)
    return said[1] if said and not refuses(said[2]) else text


def without_reason(text: str) -> str:
    """Returns "C" for "C because it is the capital"."""
    reason = _REASON.search(text)
    head = text[: reason.start()].strip() if reason else ""
    return head if reason and head and not _TURN.search(reason[0]) else text


def without_remark(text: str) -> str:
    """Returns "84" for "84, which is the total", "84 (total)", "84; done"."""
    match = _REMARK.search(text)
    if match is None or (match[2] and match.end() != len(text)):
        return text
    head, remark = text[: match.start()].strip(), (match[1] or match[2]).strip()
    if not _are_plain(head):
        return text
    unit = _UNIT_LEAD_IN.sub("", remark)
    is_letter = len(unit) == 1 and unit == match[1]  # 2, m is a list
    if len(unit.split()) <= _MAX_UNIT_WORDS and is_measure(unit) and not is_letter:
        return f"{head} {unit}"
    if _NOT_THE_OTHER.fullmatch(remark):
        return head
    if TRUTH.fullmatch(head):
        return head if _agrees_with_truth(head, remark) else text
    is_aside = bool(match[2]) or _CLAUSE.match(remark) is not None
    return head if is_aside and not _changes(head, remark) else text


def _is_aside_of_list(head: str, remark: str) -> bool:
    """Whether a remark leaves a list as it is: 2, 7 (both primes)."""
    is_ordered = re.search(r"\bth(?:at|is) order|respectively", remark) is not None
    return _are_plain(head) and not is_ordered and not _changes(head, remark)


def _agrees_with_truth(head: str, remark: str) -> bool:
    """Whether a remark goes with the yes or no before it: not "No, it is true"."""
    if _CONDITION.search(remark):
        return False
    says_no = _NEGATION.search(remark) is not None
    if head.casefold() in ("yes", "true"):
        return not says_no
    return says_no or not _CONSENT.search(remark)


def _changes(head: str, remark: str) -> bool:
    """Whether a remark may change the value before it: "84 (thousand)", "84, or 85"."""
    if LETTER.fullmatch(head):
        return _DOUBT.search(remark) is not None
    if read_clock(head) and _OTHER_TIME.search(remark):
        return True
    if amounts_to(remark, head):
        return False
    # 18, so it costs 18 in all; 18, see step 3
    again = rf"(?<![\w.,/*^+-]){re.escape(head)}(?![\w/%]|[.,:]\d)|\bstep \d+"
    return bool(re.search(r"\d|\\|=", re.sub(again, "", remark)) or refuses(remark))


def _are_plain(head: str) -> bool:
    """Whether a text is one value, maybe of a name, or a list of such."""
    sides = split_equation(head)
    value = sides[1] if len(sides) == 2 and is_name(sides[0]) else head
    return all(map(is_plain, split_list(value) or [value]))


def is_plain(head: str) -> bool:
    """Whether a text is one value: a number, a time, a letter of a choice, yes or no."""
    return bool(
        LETTER.fullmatch(head)
        or TRUTH.fullmatch(head)
        or read_quantity(head)
        or read_clock(head)
        or re.fullmatch(r"[0-9]+ ?: ?[0-9]+|[-+]?\\frac\{[^{}]+\}\{[^{}]+\}", head)
        or re.fullmatch(r"[-+]?[0-9]*\\(?:sqrt\{[^{}]+\}|pi)", head)
    )
