"""Answers that were judged wrongly once, their neighbours, and cases that strangers brought."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from helpers.answers import PLAIN, as_generated, rows_of, with_other_digits
from unspoken.measure.answers import answers_equal
from unspoken.measure.grade import grade
from unspoken.measure.score import score_file

THEMES = ("numbers", "words", "parts", "times", "places")
SHORT = [importlib.import_module(f"helpers.answer_kinds.{theme}") for theme in THEMES]
WHOLE = [importlib.import_module(f"helpers.answer_texts.{theme}") for theme in THEMES]
RIGHT = [row for table in SHORT for row in rows_of(table.RIGHT)]
WRONG = [row for table in SHORT for row in rows_of(table.WRONG)]
RIGHT_TEXTS = [row for table in WHOLE for row in rows_of(table.RIGHT)]
WRONG_TEXTS = [row for table in WHOLE for row in rows_of(table.WRONG)]


@pytest.mark.parametrize(("kind", "predicted", "gold"), RIGHT)
def test_what_says_the_same_is_right(kind: str, predicted: str, gold: str) -> None:
    assert grade(as_generated(predicted), gold).correct is True


@pytest.mark.parametrize(("kind", "predicted", "gold"), WRONG)
def test_what_does_not_say_the_same_is_wrong(kind: str, predicted: str, gold: str) -> None:
    assert grade(as_generated(predicted), gold).correct is False
    assert answers_equal(predicted, gold) is False or kind in ("boxes", "markers")


@pytest.mark.parametrize(("kind", "text", "gold"), RIGHT_TEXTS)
def test_a_text_that_says_the_same_is_right(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is True


@pytest.mark.parametrize(("kind", "text", "gold"), WRONG_TEXTS)
def test_a_text_that_says_something_else_is_not(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is not True


@pytest.mark.parametrize(
    ("kind", "predicted", "gold"), [row for row in RIGHT if PLAIN.fullmatch(row[1])]
)
def test_another_digit_in_a_plain_answer_is_another_answer(
    kind: str, predicted: str, gold: str
) -> None:
    for changed in with_other_digits(predicted):
        assert grade(as_generated(changed), gold).correct is False, (kind, changed)


@pytest.mark.parametrize(
    ("name", "count"), [("answer_cases.jsonl", 66), ("answer_neighbours.jsonl", 5380)]
)
def test_cases_that_strangers_brought_are_judged_as_they_should_be(
    tmp_path: Path, name: str, count: int
) -> None:
    cases = Path(__file__).with_name(name)
    score_file(cases, tmp_path / "scored.jsonl")
    lines = (tmp_path / "scored.jsonl").read_text(encoding="utf-8").splitlines()
    wrong = [record for record in map(json.loads, lines) if record["correct"] != record["right"]]
    assert wrong == []
    assert len(lines) == count
