"""Traces as `unspoken generate` writes them, or as little as question and cot, read one by one.

The first step of vetting. Unlike `teach.traces.file`, which continues a file, this changes
nothing in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from unspoken.common.disk_tables import text_key
from unspoken.common.files import AnyPath
from unspoken.data.example import extract_gold
from unspoken.data.jsonl import open_data, read_answer, read_jsonl, require_text
from unspoken.measure.answers import split_answer
from unspoken.measure.choices import read_choice
from unspoken.measure.grade import stated_gold
from unspoken.recipe.choices import require_choice
from unspoken.teach.engines import REFUSED
from unspoken.teach.traces.earlier import TAKEN_OVER

#: What `unspoken generate` writes about a trace, and not about its question.
_ABOUT_TRACE = {
    "index", "num_prompt_tokens", "num_tokens", "stopped", "finish_reason", "engine", "model",
    TAKEN_OVER,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TornLine:
    """A last line that was cut off.

    Attributes:
        where: file:line.
        record: `raw` with its text; bytes that are no UTF-8 as `\\xe4`.
        num_bytes: its length.
    """

    where: str
    record: dict[str, Any]
    num_bytes: int


@dataclass(frozen=True)
class Trace:
    """One answer of a teacher.

    Attributes:
        record: the line as it stands in the file.
        question: what was asked.
        cot: what the teacher wrote, perhaps nothing.
        gold: the gold answer, where it is known.
        choices: the only answers that there are, if there are such.
    """

    record: dict[str, Any]
    question: str
    cot: str
    gold: str | None
    choices: Sequence[str] | None = None

    @cached_property
    def _parts(self) -> tuple[str, str] | None:
        return split_answer(self.cot)

    @property
    def has_answer(self) -> bool:
        """Whether the trace states its final answer."""
        return self._parts is not None

    @property
    def thought(self) -> str:
        """What stands before the final answer."""
        return self._parts[0] if self._parts else ""

    @property
    def answer(self) -> str:
        """The final answer as the trace states it, or the choice in it; empty without one."""
        return self.choice or (self._parts[1] if self._parts else "")

    @cached_property
    def choice(self) -> str | None:
        """The one of the choices that it answers; None without choices, too."""
        return read_choice(self.cot, self.choices).label if self.choices else None

    @property
    def label(self) -> str | None:
        """The class that it belongs to: that of the gold answer, or else the one that it names."""
        return self.choice if self.gold is None else self.gold

    @property
    def refusal(self) -> str | None:
        """What a server said that would not answer; None where there is an answer."""
        reason = str(self.record.get("finish_reason"))
        is_refused = reason.startswith(REFUSED)
        return reason.removeprefix(REFUSED).removeprefix(": ") if is_refused else None

    @property
    def is_truncated(self) -> bool:
        """Whether the teacher was stopped, at its limit or otherwise."""
        return self.record.get("stopped") is False or self.record.get("finish_reason") == "length"

    @property
    def num_tokens(self) -> int | None:
        """Tokens that the teacher wrote, where it is known."""
        number = self.record.get("num_tokens")
        return number if isinstance(number, int) and not isinstance(number, bool) else None

    @cached_property
    def key(self) -> bytes:
        """Of the question: equal for equal ones, whatever their blanks."""
        return compact_key(self.question)

    @cached_property
    def whole_key(self) -> bytes:
        """Of question, thought and answer: equal for equal ones, whatever their blanks."""
        return compact_key(self.question, self.thought, self.answer)

    def to_example(self) -> dict[str, Any]:
        """The record that a student is trained on."""
        example = {"question": self.question, "thought": self.thought}
        example |= {"answer": self.answer if self.gold is None else self.gold, "cot": self.cot}
        if "id" in self.record:
            example = {"id": str(self.record["id"]), **example}
        return example | self._other_fields(example)

    def to_question(self) -> dict[str, Any]:
        """The record that `unspoken generate` can ask again: the id without the sample's number."""
        question = {"question": self.question}
        if self.gold is not None:
            question["answer"] = self.gold
        if "id" in self.record:
            question = {"id": re.sub(r"#\d+\Z", "", str(self.record["id"])), **question}
        return question | self._other_fields({*question, "cot", "thought"})

    def _other_fields(self, known: Iterable[str]) -> dict[str, Any]:
        leave = _ABOUT_TRACE.union(known)
        return {key: value for key, value in self.record.items() if key not in leave}


def compact_key(*texts: str) -> bytes:
    """Returns 16 bytes that are the same for the same texts, whatever their blanks."""
    return text_key(*(" ".join(text.split()) for text in texts))


def read_traces(
    paths: Iterable[AnyPath], choices: Sequence[str] | None = None
) -> Iterator[Trace | TornLine]:
    """Yields the traces of JSONL files, in their order.

    A last line without its end that is no JSON comes as a `TornLine`: a crash cut it off.

    Raises:
        DataError: for a file that cannot be read, any other line that is no JSON object, and a
            field question, cot or answer that is missing or not text, naming file:line; and for an
            answer that is none of the choices, where there are some.
    """
    for path in map(Path, paths):
        num_lines, tail = _find_torn_tail(path) if path.is_file() else (0, b"")
        if tail:
            # Lines are read one by one, so the torn one is never looked at.
            records = islice(read_jsonl(path, allow_empty=True), num_lines)
        else:
            records = read_jsonl(path)
        for line, record in records:
            yield _make_trace(record, f"{path}:{line}", choices)
        if tail:
            text = tail.decode("utf-8", errors="backslashreplace")
            yield TornLine(f"{path}:{num_lines + 1}", {"raw": text}, len(tail))


def _find_torn_tail(path: Path) -> tuple[int, bytes]:
    """Returns how many whole lines a file has, and the bytes of a torn one after them."""
    num_lines, last = 0, b""
    try:
        with open_data(path, "a file with one JSON object a line") as file:
            for num_lines, last in enumerate(file, start=1):  # noqa: B007
                pass
    except OSError:  # read_jsonl says what is wrong
        return 0, b""
    if last.endswith(b"\n") or not last.strip():
        return num_lines, b""
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        return num_lines - 1, last
    return num_lines, b""


def _make_trace(record: dict[str, Any], where: str, choices: Sequence[str] | None) -> Trace:
    question = require_text(record, "question", where)
    cot = require_text(record, "cot", where, allow_empty=True)
    answer = read_answer(record, where)
    gold = _read_gold(answer) if answer else None
    if gold is not None and choices:
        gold = require_choice(gold, choices, f"{where}: answer")
    return Trace(record, question, cot, gold, choices)


def _read_gold(answer: str) -> str:
    """The gold answer: what follows ####, what a whole solution states, or all of it."""
    if "####" not in answer and "\n" in answer.strip():
        return stated_gold(answer)
    return extract_gold(answer)
