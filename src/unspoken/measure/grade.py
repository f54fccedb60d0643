"""Whether a text gives the right answer: the one grader, of students, teachers and files.

What is gold: the text of the reference answer as it stands. A whole solution is a gold answer, too,
where it states its answer with a marker, such as GSM8K's `#### 18`, `Final Answer: 18` or
`\\boxed{18}`, of which the last one counts. Where that is all in one line, the line is right, too.
Without a marker the last line of a text is not taken for its answer: of the solutions "1\\n2"
neither is enough. A text of blanks is no gold answer, and what has none is not graded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from unspoken.measure.answers import MAX_CHARACTERS, Words, compare_answers, read_answer
from unspoken.measure.choices import read_choice
from unspoken.recipe.choices import require_choice

_SHORT = 12  # words of an answer that is given at once


class Grade(NamedTuple):
    """What a text answers, and whether that is right.

    Attributes:
        pred: the answer in the text; empty where there is none.
        gold: the reference answer; None without one.
        correct: whether `pred` is right; None without a gold answer.
        undecided: whether it is only not right because nobody can tell within bounds.
    """

    pred: str
    gold: str | None
    correct: bool | None
    undecided: bool = False


def grade(text: str, gold: str | None, choices: Sequence[str] | None = None) -> Grade:
    """The answer in a text, compared with the gold answer, if there is one.

    A number is read out of a sentence ("Natalia sold 72 clips") only where a marker says that this
    is the answer, and words around an answer are taken away only there and in a text of one short
    line: the last line of a longer text may be a step on the way.

    Args:
        text: everything that was written, without the end token.
        gold: the reference answer, or a solution that states it.
        choices: the only answers that there are; see `unspoken.measure.choices`.

    Raises:
        DataError: the gold answer is none of the choices.

    Examples:
        >>> grade("9 * 2 = 18\\nFinal Answer: $18", "18")
        Grade(pred='$18', gold='18', correct=True, undecided=False)
        >>> grade("#### 18", " ").correct is None
        True
    """
    if choices:
        return _grade_choice(text, gold, choices)
    pred, is_stated = read_answer(text)
    if gold is None or not gold.strip():
        return Grade(pred, None, None)
    if len(text) + len(gold) > MAX_CHARACTERS:
        return Grade(pred, gold, correct=False, undecided=True)
    is_short = "\n" not in text.strip() and len(text.split()) <= _SHORT
    words: Words = "sentence" if is_stated else "around" if is_short else "lead_in"
    verdict = compare_with_gold(pred, gold, words)
    return Grade(pred, gold, verdict is True, verdict is None)


def _grade_choice(text: str, gold: str | None, choices: Sequence[str]) -> Grade:
    """The same where an answer is one of several classes."""
    found = read_choice(text, choices)
    if gold is None or not gold.strip():
        return Grade(found.pred, None, None)
    label = gold_choice(gold, choices, "answer")
    return Grade(found.pred, label, found.label == label, found.is_open)


def gold_choice(gold: str, choices: Sequence[str], where: str) -> str:
    """The one of the choices that a gold answer is as it stands, such as `#1`, or that it states.

    Raises:
        DataError: it is none of them; `where` is the place and field that the message names.
    """
    is_whole = any(label.casefold() == " ".join(gold.split()).casefold() for label in choices)
    return require_choice(gold if is_whole else stated_gold(gold), choices, where)


def is_right(pred: str, gold: str) -> bool:
    """Whether an answer is the gold one, or the one that a gold solution states."""
    return compare_with_gold(pred, gold) is True


def compare_with_gold(pred: str, gold: str, words: Words = "sentence") -> bool | None:
    """Whether an answer is the gold one or the one that a gold solution states; None if unknown.

    Args:
        pred: an answer, as `extract_answer` finds it.
        gold: the reference answer, or a solution that states it.
        words: which words of `pred` may be taken away.
    """
    stated = stated_gold(gold)
    verdicts = [compare_answers(pred, stated, words=words)]
    if stated != gold and "\n" not in gold.strip() and verdicts[0] is not True:
        verdicts.append(compare_answers(pred, gold, words=words))
    return True if True in verdicts else None if None in verdicts else False


def stated_gold(gold: str) -> str:
    """The answer that a gold answer states, if it is a whole solution, or else all of it."""
    stated, is_stated = read_answer(gold)
    return stated if is_stated else gold
