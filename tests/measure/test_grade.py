from __future__ import annotations

import doctest

import pytest

from unspoken.measure import grade as module
from unspoken.measure.grade import Grade, grade


@pytest.mark.parametrize(
    ("text", "gold", "correct"),
    [
        ("so\nFinal Answer: 36", "36", True),
        ("so\nFinal Answer: 37", "36", False),
        ("", "36", False),
        # a solution that states its answer
        ("#### 18", "She makes <<9*2=18>>18.\n#### 18", True),
        ("18", "9 * 2 = 18\nFinal Answer: 18", True),
        ("18", r"so x = \boxed{18} and we are done.", True),
        ("19", "9 * 2 = 18\nFinal Answer: 18", False),
        # without a marker the text is the answer, not its last line
        ("2", "1\n2", False),
        # a line without a marker may be a step on the way
        ("She sold 72 clips", "72", False),
        ("9 * 2 = $<<9*2=18>>18", "18", False),
        ("The answer is <<9*2=18>>18.", "18", True),
        ("Final Answer: She sold 72 clips", "72", True),
        # a thought that is set apart is a marker, too
        ("<think>a</think>She sold 72 clips", "72", True),
        # no gold answer
        ("36", None, None),
        ("36", "", None),
        ("36", " \n", None),
    ],
)
def test_what_is_right(text: str, gold: str | None, correct: bool | None) -> None:
    found = grade(text, gold)
    assert found.correct is correct
    assert found.gold == (gold if correct is not None else None)


def test_the_answer_is_read_without_gold_too() -> None:
    assert grade("**Final Answer:** 36", None) == Grade("36", None, None)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(module).failed == 0
