"""Some questions with what the models wrote: right ones and wrong ones, always the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unspoken.report.read.results import LABELS, PhaseResult

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
    """

    name: str
    label: str
    verdict: str
    pred: str
    generated: str
    num_tokens: int | None
    opening: str


@dataclass(frozen=True)
class Sample:
    """One question, its gold answer, and the models' texts side by side."""

    question: str
    gold: str
    written: list[Written]


def choose_samples(phase: PhaseResult) -> list[Sample]:
    """The first questions of every combination of right and wrong, in the order of the file."""
    shown = ["teacher"] if phase.staged and "teacher" in phase.variants else []
    shown += [phase.writer.name, "internalized"]
    records = {name: phase.variants[name].predictions for name in shown}
    known = [name for name in shown if records[name]]
    if not known:
        return []
    asked = {name: {r.get("question"): r for r in records[name]} for name in known}
    most = {1: 2 * _PER_KIND, 2: _PER_KIND}.get(len(known), 1)
    kinds: dict[tuple[Any, ...], list[Sample]] = {}
    for record in records[known[-1]]:
        question = record.get("question")
        if any(question not in asked[name] for name in known):
            continue
        found = [asked[name][question] for name in known]
        same = kinds.setdefault(tuple(one.get("correct") for one in reversed(found)), [])
        if len(same) < most:
            written = [_written(name, one) for name, one in zip(known, found, strict=True)]
            same.append(Sample(str(question), str(record.get("gold") or ""), written))
    order = sorted(kinds, key=lambda kind: [str(value) for value in kind], reverse=True)
    return [sample for kind in order for sample in kinds[kind]]


def _written(name: str, record: dict[str, Any]) -> Written:
    verdict = {True: "right", False: "wrong"}.get(record.get("correct"), "not graded")  # pyright: ignore
    generated = str(record.get("generated", ""))
    lines = generated.strip().splitlines()
    long = len(generated) > _LONG or len(lines) > 8
    return Written(
        name=name,
        label=LABELS[name],
        verdict=verdict,
        pred=str(record.get("pred") or ""),
        generated=generated,
        num_tokens=record.get("num_tokens"),
        opening=lines[0][:100] if long else "",
    )
