"""Whole texts are judged as the tables of helpers/answer_texts say, kind by kind."""

from __future__ import annotations

import pytest

from helpers.answer_texts import numbers, parts, places, times, words
from helpers.answers import rows_of
from unspoken.measure.grade import grade

TABLES = (numbers, words, parts, times, places)
RIGHT = [row for table in TABLES for row in rows_of(table.RIGHT)]
WRONG = [row for table in TABLES for row in rows_of(table.WRONG)]


@pytest.mark.parametrize(("kind", "text", "gold"), RIGHT)
def test_a_text_that_says_the_same_is_right(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is True


@pytest.mark.parametrize(("kind", "text", "gold"), WRONG)
def test_a_text_that_says_something_else_is_not(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is not True
