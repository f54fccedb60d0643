"""Tell whether a writer takes an answer back: "12. But wait, it is 13.", "Wait, that's wrong."

`extract` asks it of what follows an answer. What is taken back is no answer, and what stands in its
place is not looked for: it may be a step on the way.
"""

from __future__ import annotations

import re

_SAYS = r"(?:th(?:is|at)|it|which)(?: answer)?"
_WRONG = (
    rf"{_SAYS}(?:'s| is| was|)(?:n't| not) ?(?:quite )?(?:right|correct|true)\b"
    rf"|{_SAYS}(?:'s| is| was) (?:clearly )?(?:wrong|incorrect|false|a mistake)\b"
)
_TURN = (
    r"(?:no|nope|wait|actually|sorry|oops|but|however|hmm+|rather|instead|hold on"
    r"|on (?:second|further) thoughts?|i (?:made|was)\b.{0,20} (?:mistake|error|wrong)"
    r"|let me (?:re\w+|double|think|check|correct))\b"
)
_SENTENCE = re.compile(rf"correction\b|scratch that\b|{_TURN}|{_WRONG}", re.IGNORECASE)
# Behind the line of an answer only what plainly says so: a new thought may begin there.
_LATER = re.compile(
    r"[\s*_$.!]{0,20}(?:(?:oh|no|wait|actually|sorry|oops|but|however|hmm+)\b[,.! ]{1,4}){0,4}"
    rf"(?:correction\b|scratch that\b|(?:it|that|the (?:final )?answer) should be\b|{_WRONG})",
    re.IGNORECASE,
)


def takes_back(sentence: str) -> bool:
    """Whether a sentence directly after an answer turns away from it."""
    return _SENTENCE.match(sentence) is not None


def is_taken_back(text: str, end: int) -> bool:
    """Whether what follows the line or the box of an answer, which ends at `end`, takes it back."""
    return _LATER.match(text, end) is not None
