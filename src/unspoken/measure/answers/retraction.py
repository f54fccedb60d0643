"""Tell whether a writer takes an answer back: "12. But wait, it is 13.", "Wait, that's wrong."

`extract` asks it of what follows an answer. What is taken back is no answer; what stands in its
place is one where the same line, or the next one, ends with it: "12. No wait, it is 13."
"""

from __future__ import annotations

import re

from unspoken.measure.answers.markers import THEREFORE

_SAYS = r"(?:th(?:is|at)|it|which)(?: answer)?"
_WRONG = (
    rf"{_SAYS}(?:'s| is| was|)(?:n't| not) ?(?:quite )?(?:right|correct|true)\b"
    rf"|{_SAYS}(?:'s| is| was) (?:clearly )?(?:wrong|incorrect|false|a mistake)\b"
)
_TURN = (
    r"(?:no|nope|wait|actually|sorry|oops|hmm+|rather|instead|hold on|correction|scratch that"
    r"|on (?:second|further) thoughts?|i (?:made|was)\b.{0,20} (?:mistake|error|wrong)"
    r"|(?:make that|i mean)(?=,? [$*]{0,3}-?\d)"
    r"|let me (?:correct|re(?:do|calculate|compute|consider|think|count|try)))\b"
)
# "However, note that ..." takes nothing back; "However, it is 13." does, and "But ..., so 24."
_OTHER = (
    r"(?:it|that|this|the (?:final |correct )?answer)(?:'s| is| should be| must be| would be)"
    r"[\s$*]{0,4}-?[\d\\]|.{0,100}\b(?:so|hence|therefore),? (?:it is )?[$*]{0,3}-?\d"
)
#: "The answer is 13", said after another one.
_AGAIN = (
    r"(?:it(?:'s| is)|that's|the (?:(?:final|correct|right) )?(?:answer|result) (?:is|should be))"
    r"(?: (?:actually|really|thus|therefore))?:?[\s$*]{1,4}-?[\d\\]"
)
_SENTENCE = re.compile(
    rf"{_TURN}|{_WRONG}|{THEREFORE},? (?=the ){_AGAIN}|or,? (?:maybe |perhaps )?[$*]{{0,3}}-?\d"
    rf"|(?:but|however)\b,? (?:{_TURN}|{_WRONG}|{_OTHER}|.{{0,20}} should be\b)",
    re.IGNORECASE,
)
# Behind the line of an answer only what plainly says so: a new thought may begin there.
_LATER_TURN = (
    r"(?:oh|no|wait|actually|sorry|oops|but|however|hmm+|i mean|on (?:second|further) thoughts?"
    r"|let me (?:fix|correct)(?: that| this| it)?)\b[,.:! ]{1,4}"
)
_LATER = re.compile(
    rf"[\s*_$.!]{{0,20}}(?:(?:{_LATER_TURN}){{0,4}}"
    rf"(?:correction\b|scratch that\b|(?:it|that|the (?:final )?answer) should be\b|{_WRONG}"
    r"|i (?:made an?|was) (?:[a-z]+ )?(?:mistake|error|wrong)\b)"
    rf"|(?:{_LATER_TURN}){{1,4}}(?:.{{0,100}}\b{_AGAIN}|[$*]{{0,3}}-?\d[\d.,]*[.*$]{{0,4}}$))",
    re.IGNORECASE | re.MULTILINE,
)
# "12, no wait, 13": what takes back stands in the sentence itself.
_INSIDE = re.compile(
    r"(?:[,;?.!]|\s[-–—]+)\s+(?=(?:oh,? )?(?:(?:no|rather)(?=,)|no wait|wait|actually|sorry|oops"
    r"|hmm+|make that|correction|i mean)\b)",
    re.IGNORECASE,
)
_VALUE = r"[$*]{0,3}(?:[-−]?[$€£]?\s?\.?\d|\\|(?-i:[A-H])\b|\((?-i:[A-J])\))"
_INSTEAD = re.compile(
    r"(?:.*[\s,:;])?(?:it's|that's|is|be|so|answer|no|wait|actually|sorry|oops|rather|correction"
    rf"|hmm+|make that|i mean|thoughts?),?:?\s+(?P<answer>{_VALUE}(?:(?![.!?]\s).){{0,60}})",
    re.IGNORECASE | re.DOTALL,
)
_MAX_LINE = 400


def corrected(sentence: str) -> str:
    """Returns "13" of "No wait, it is 13.", what a sentence says instead of an answer; or ""."""
    instead = _INSTEAD.fullmatch(sentence.strip())
    return instead["answer"] if instead else ""


def split_correction(line: str) -> list[str]:
    """Returns the two parts of "12, no wait, 13", which says another answer; else the line."""
    turn = _INSIDE.search(line)
    is_corrected = turn is not None and corrected(line[turn.end() :]) != ""
    return [line[: turn.start()], line[turn.end() :]] if turn and is_corrected else [line]


def takes_back(sentence: str) -> bool:
    """Whether a sentence directly after an answer turns away from it."""
    return _SENTENCE.match(sentence) is not None


def retraction(text: str, end: int) -> str:
    """Returns what takes back an answer whose line, or box, ends at `end`: that line; else ""."""
    later = _LATER.match(text, end)
    return text[end : end + _MAX_LINE].strip().partition("\n")[0] if later else ""
