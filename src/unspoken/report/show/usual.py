"""Questions and answers as people write them, beside those whose task writes them otherwise."""

from __future__ import annotations

import re
from dataclasses import dataclass

from unspoken.common.errors import UnspokenError
from unspoken.data.notation import notation_of

#: Longer texts are no question that somebody reads a number in.
_LONG = 200
_OPERATOR = re.compile(r"\s*\*\s*")


@dataclass(frozen=True)
class UsualForm:
    """One question as people write it.

    Attributes:
        question: `454 × 27`.
        answer: `12,258`.
        remark: what people need to know to read the other form.
    """

    question: str
    answer: str
    remark: str


def find_usual_form(task: str | None, question: str, gold: str) -> UsualForm | None:
    """The usual form, or None where the task writes as people do or the two do not agree.

    Args:
        task: as the recipe names it; None: not known.
        question, gold: of the task. That the gold answer is the worked-out one shows that they are
            read as they were meant.
    """
    if max(len(question), len(gold)) > _LONG:
        return None
    notation = notation_of(task, example=question)
    try:
        answer = notation.to_person(gold)
        if not notation.remark or answer is None or answer != notation.solve(question):
            return None
        usual = notation.question_to_person(question)
    except UnspokenError:
        return None
    remark = (
        "Numbers are written here as the model has them, least significant digit first: "
        f"{question} is {_spaced(usual)}, and {gold} is {group_digits(answer)}."
    )
    return UsualForm(_spaced(usual), group_digits(answer), remark)


def usual_answer(task: str | None, question: str, answer: str) -> str:
    """An answer to such a question as people write it; empty where it is no number."""
    if not answer or max(len(question), len(answer)) > _LONG:
        return ""
    found = notation_of(task, example=question).to_person(answer)
    return group_digits(found) if found else ""


def _spaced(question: str) -> str:
    return " × ".join(map(group_digits, _OPERATOR.split(question)))


def group_digits(number: str) -> str:
    """Thousands apart.

    Example:
        >>> group_digits("12258"), group_digits("454")
        ('12,258', '454')
    """
    return re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", number)
