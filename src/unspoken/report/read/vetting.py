"""What the teacher wrote and how much of it was kept: the traces/ and vetted/ of a run folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unspoken.common.files import count_lines
from unspoken.recipe import layout
from unspoken.recipe.records import TracesRecord, VettedRecord
from unspoken.report.read.costs import charged
from unspoken.report.read.files import iterate_lines

#: Reasons of `unspoken.teach.vet` in words; any other is shown as it is, without underscores.
_WORDS = {
    "torn_line": "line cut off",
    "refused": "refused by the server",
    "truncated": "stopped at the limit",
    "no_final_answer": "no final answer",
    "no_thought": "answer without a thought",
    "leak": "test question",
    "too_long": "too long",
    "wrong_answer": "wrong answer",
    "undecided": "answer that nobody can judge",
    "no_majority": "no majority among answers",
    "minority": "answer of a minority",
    "off_pattern": "not in the wanted form",
    "duplicate": "duplicate",
    "surplus": "more than needed",
}
#: Rejected traces that are shown, and how much of each.
_MOST_EXAMPLES, _LONG = 3, 400


@dataclass(frozen=True)
class Rejected:
    """One rejected trace; long texts are cut."""

    question: str
    reason: str
    detail: str
    text: str
    gold: str


@dataclass(frozen=True)
class Vetted:
    """vetted/stage.json and a few lines of rejected.jsonl.

    Attributes:
        num_traces: those of questions that were asked again included.
        num_asked_again: traces that were asked for because none of the question's was kept.
        retry_cost: of these, in the currency of the traces; None without prices.
        rejected: reason in words -> number of traces, most frequent first.
        examples: one trace for each of the most frequent reasons.
    """

    done: bool
    num_traces: int | None
    num_kept: int | None
    num_questions: int | None
    num_questions_kept: int | None
    num_unverified: int | None
    num_asked_again: int | None
    retry_cost: float | None
    rejected: dict[str, int]
    examples: list[Rejected]

    @property
    def num_rejected(self) -> int | None:
        """Traces that were not kept."""
        if self.num_traces is None or self.num_kept is None:
            return sum(self.rejected.values()) if self.rejected else None
        return self.num_traces - self.num_kept

    @property
    def num_questions_lost(self) -> int | None:
        """Questions without any trace that was kept."""
        if self.num_questions is None or self.num_questions_kept is None:
            return None
        return self.num_questions - self.num_questions_kept


def read_traces(folder: Path, recipe: dict[str, Any]) -> TracesRecord | None:
    """What is in traces/, or None where the teacher has not begun.

    While traces are written, they are as many as the file holds now; their cost is in the recipe's
    prices where none was charged.
    """
    record = TracesRecord.read(folder / layout.STAGE_FILE)
    written = folder / layout.TRACES_FILE
    if record is None and not written.is_file():
        return None
    record = record or TracesRecord()
    num_traces = record.num_traces
    if num_traces is None and written.is_file():
        num_traces = count_lines(written)
    cost, currency = charged(record, recipe)
    return replace(record, num_traces=num_traces, cost=cost, currency=currency)


def read_vetted(folder: Path, recipe: dict[str, Any]) -> Vetted | None:
    """What is in vetted/, or None where nothing was vetted."""
    record = VettedRecord.read(folder / layout.STAGE_FILE)
    if record is None:
        return None
    counts = record.rejected
    order = sorted(counts, key=lambda reason: (-counts[reason], reason))
    return Vetted(
        done=record.is_done,
        num_traces=record.num_traces,
        num_kept=record.num_kept,
        num_questions=record.num_questions,
        num_questions_kept=record.num_questions_kept,
        num_unverified=record.num_unverified,
        num_asked_again=record.num_asked_again,
        retry_cost=charged(record, recipe)[0],
        rejected={in_words(reason): counts[reason] for reason in order},
        examples=_examples(folder / layout.REJECTED_FILE, order),
    )


def in_words(reason: str) -> str:
    """A reason for people.

    Examples:
        >>> in_words("too_many_words")
        'too many words'
    """
    return _WORDS.get(reason, reason.replace("_", " "))


def _examples(path: Path, order: list[str]) -> list[Rejected]:
    """The first trace of each of the most frequent reasons; reads no further than it must."""
    wanted = order[:_MOST_EXAMPLES]
    found: dict[str, Rejected] = {}
    for record in iterate_lines(path):
        reason = str(record.get("reason") or "")
        if reason not in found and (reason in wanted or not wanted):
            found[reason] = _rejected(record, reason)
        if len(found) == (len(wanted) or _MOST_EXAMPLES):
            break
    return [found[reason] for reason in wanted or found if reason in found]


def _rejected(record: dict[str, Any], reason: str) -> Rejected:
    text = str(record.get("cot") or record.get("thought") or "").strip()
    if len(text) > _LONG:
        text = f"{text[: _LONG // 2]} … {text[-_LONG // 2 :]}"
    question = _cut(str(record.get("question") or ""))
    detail = _cut(str(record.get("detail") or ""))
    return Rejected(question, in_words(reason), detail, text, str(record.get("answer") or ""))


def _cut(text: str) -> str:
    return f"{text[:_LONG]} …" if len(text) > _LONG else text
