"""Whether a text gives the right answer: the one grader, of students, teachers and files.

What is gold: the text of the reference answer as it stands. A whole solution is a gold answer, too,
where it states its answer with a marker, such as GSM8K's `#### 18`, `Final Answer: 18` or
`\\boxed{18}`; then that answer is as right as the text. Without a marker the last line of a text is
not taken for its answer: of the solutions "1\\n2" neither is enough. A text of blanks is no gold
answer, and what has none is not graded.
"""

from __future__ import annotations

from typing import NamedTuple

from unspoken.measure.answers import answers_equal, extract_answer, split_answer


class Grade(NamedTuple):
    """What a text answers, and whether that is right.

    Attributes:
        pred: the answer in the text; empty where there is none.
        gold: the reference answer; None without one.
        correct: whether `pred` is right; None without a gold answer.
    """

    pred: str
    gold: str | None
    correct: bool | None


def grade(text: str, gold: str | None) -> Grade:
    """The answer in a text, compared with the gold answer, if there is one.

    Args:
        text: everything that was written, without the end token.
        gold: the reference answer, or a solution that states it.

    Example:
        >>> grade("9 * 2 = 18\\nFinal Answer: $18", "18")
        Grade(pred='$18', gold='18', correct=True)
        >>> grade("#### 18", " ")
        Grade(pred='18', gold=None, correct=None)
    """
    pred = extract_answer(text)
    if gold is None or not gold.strip():
        return Grade(pred, None, None)
    return Grade(pred, gold, is_right(pred, gold))


def is_right(pred: str, gold: str) -> bool:
    """Whether an answer is the gold one, or the one that a gold solution states."""
    if answers_equal(pred, gold):
        return True
    stated = split_answer(gold)
    return stated is not None and answers_equal(pred, stated[1])
