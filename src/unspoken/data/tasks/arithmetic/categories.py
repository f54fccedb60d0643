"""The six categories with their forms, and the solution of any question of theirs."""

from __future__ import annotations

import contextlib

from unspoken.common.errors import DataError
from unspoken.data.example import FINAL_ANSWER, Example
from unspoken.data.tasks.arithmetic import (
    ages,
    algebra,
    areas,
    journeys,
    parts,
    percent,
    prices,
    rates,
    ratios,
    riddles,
    whole,
)
from unspoken.data.tasks.arithmetic.form import Form

# Category -> its share (as many of 500 as in the default data set), and groups of forms. Each
# group of a category is as likely as the others, and so is each form of a group.
CATEGORIES: dict[str, tuple[int, tuple[tuple[Form, ...], ...]]] = {
    "arithmetic": (100, (whole.FORMS,)),
    "percentages": (80, (percent.FORMS,)),
    "algebra": (80, (algebra.FORMS + riddles.FORMS,)),
    "word_problems": (120, (journeys.FORMS, areas.FORMS, prices.FORMS, ages.FORMS)),
    "fractions": (60, (parts.FORMS,)),
    "ratios": (60, (ratios.FORMS + rates.FORMS,)),
}


_FORMS = [form for _, groups in CATEGORIES.values() for group in groups for form in group]


def solve_question(question: str) -> Example:
    """Returns the worked example of a question that `generate` can ask.

    Only the text is needed, so any file with these questions can be solved, also with
    numbers that are never drawn.

    Examples:
        >>> solve_question("What is 34 + 25?").thought
        'Step 1: Add 20: 34 + 20 = 54\\nStep 2: Add 5: 54 + 5 = 59'

    Raises:
        DataError: for a question of another form, and for one whose numbers have no solution.
    """
    text = question.strip()
    for form in _FORMS:
        for phrasing in (*form.phrasings, *form.understood):
            # numbers that are never drawn: a division by 0, parts of a cent, halves in a ratio
            with contextlib.suppress(ArithmeticError, TypeError, ValueError):
                values = phrasing.read(text)
                if values is not None and (example := form.solve(question, values)).thought:
                    return example
    raise DataError(
        f"question: found {question[:80]!r}; needed: a question as `unspoken data arithmetic` "
        "writes it; another question needs a teacher model"
    )


def write_cot(example: Example) -> str:
    """Returns the solution as a teacher would write it, with the answer in its last line.

    Examples:
        >>> write_cot(Example("What is 3 + 4?", "Step 1: Add 4: 3 + 4 = 7", "7"))
        'Step 1: Add 4: 3 + 4 = 7\\nFinal Answer: 7'
    """
    return f"{example.thought}\n{FINAL_ANSWER} {example.answer}"
