"""Some questions with what the models wrote: right ones and wrong ones, always the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from unspoken.recipe.layout import INTERNALIZED, TEACHER
from unspoken.report.read.results import PhaseResult
from unspoken.report.show.usual import UsualForm, find_usual_form, usual_answer

#: A line of predictions.jsonl.
_Answer = dict[str, Any]
#: Whether each model was right: True, False, or None where it was not graded.
_Kind = tuple[Any, ...]
#: Shown per combination of right and wrong.
_PER_KIND = 2
#: Longer texts fold away.
_LONG = 360


@dataclass(frozen=True)
class Written:
    """What one model wrote for a question.

    Attributes:
        verdict: `right`, `wrong` or `not graded`.
        opening: the beginning of a text too long to show at once, else empty.
        usual: the answer as people write it, where the task writes it otherwise, else empty.
    """

    name: str
    label: str
    verdict: str
    pred: str
    generated: str
    num_tokens: int | None
    opening: str
    usual: str


@dataclass(frozen=True)
class AnswersShown:
    """One question, its gold answer, and the models' texts side by side.

    Attributes:
        opening: the beginning of a question too long to show at once, else empty.
        usual: both as people write them, where the task writes them otherwise.
    """

    question: str
    gold: str
    written: list[Written]
    usual: UsualForm | None = None
    opening: str = ""


def choose_samples(phase: PhaseResult) -> list[AnswersShown]:
    """The first questions of every combination of right and wrong, in the order of the file."""
    answers = {name: phase.variants[name].predictions for name in _shown(phase)}
    answers = {name: records for name, records in answers.items() if records}
    most = {1: 2 * _PER_KIND, 2: _PER_KIND}.get(len(answers), 1)
    kinds: dict[_Kind, list[AnswersShown]] = {}
    for found in _by_question(answers):
        verdicts = tuple(record.get("correct") for record in reversed(found.values()))
        same = kinds.setdefault(verdicts, [])
        if len(same) < most:
            same.append(_side_by_side(phase, found))
    order = sorted(kinds, key=lambda kind: [str(value) for value in kind], reverse=True)
    return [sample for kind in order for sample in kinds[kind]]


def _side_by_side(phase: PhaseResult, found: dict[str, _Answer]) -> AnswersShown:
    task, record = phase.task, list(found.values())[-1]
    question, gold = str(record.get("question")), str(record.get("gold") or "")
    usual = find_usual_form(task, question, gold)
    written = [_written(name, phase.labels[name], one) for name, one in found.items()]
    if usual is not None:
        written = [replace(one, usual=usual_answer(task, question, one.pred)) for one in written]
    return AnswersShown(question, gold, written, usual, _opening(question))


def _shown(phase: PhaseResult) -> list[str]:
    """The models side by side; the last one's file gives the order."""
    teacher = [TEACHER] if phase.staged and TEACHER in phase.variants else []
    return [*teacher, phase.writer.name, INTERNALIZED]


def _by_question(answers: dict[str, list[_Answer]]) -> Iterator[dict[str, _Answer]]:
    """What each model wrote for a question, of those that all of them were asked."""
    if not answers:
        return
    asked = {name: {r.get("question"): r for r in records} for name, records in answers.items()}
    for record in list(answers.values())[-1]:
        question = record.get("question")
        if all(question in found for found in asked.values()):
            yield {name: found[question] for name, found in asked.items()}


def _written(name: str, label: str, record: dict[str, Any]) -> Written:
    verdict = {True: "right", False: "wrong"}.get(record.get("correct"), "not graded")  # pyright: ignore
    generated = str(record.get("generated", ""))
    return Written(
        name=name,
        label=label,
        verdict=verdict,
        pred=str(record.get("pred") or ""),
        generated=generated,
        num_tokens=record.get("num_tokens"),
        opening=_opening(generated),
        usual="",
    )


def _opening(text: str) -> str:
    """The beginning of a text that is too long to show at once; empty of another."""
    lines = text.strip().splitlines()
    if len(text) <= _LONG and len(lines) <= 8:
        return ""
    return lines[0][:100] if lines else "(blank)"
