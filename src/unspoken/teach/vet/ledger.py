"""What vetting remembers of traces and questions, on disk: two million take no more memory.

Stands under `jury`. Questions and traces are known here by their keys only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unspoken.common.disk_tables import disk_tables

_QUESTIONS = (
    "CREATE TABLE questions (key BLOB PRIMARY KEY, leak TEXT, label TEXT, num_kept INTEGER) "
    "WITHOUT ROWID"
)
_KEPT = "CREATE TABLE kept (key BLOB PRIMARY KEY) WITHOUT ROWID"
_SAMPLES = "CREATE TABLE samples (number INTEGER PRIMARY KEY, key BLOB, answer TEXT)"
_VOTES = "CREATE TABLE votes (key BLOB PRIMARY KEY, winner TEXT, problem TEXT) WITHOUT ROWID"
_ASKED = "CREATE TABLE asked (key BLOB PRIMARY KEY) WITHOUT ROWID"


@contextmanager
def open_ledger() -> Iterator[Ledger]:
    """Opens an empty ledger.

    Raises:
        DataError: where the folder for temporary files cannot take it.
    """
    with disk_tables(_QUESTIONS, _KEPT, _SAMPLES, _VOTES, _ASKED) as tables:
        yield Ledger(tables)


class Ledger:
    """Questions that were met, what was kept of them, and how their samples vote."""

    def __init__(self, tables: sqlite3.Connection) -> None:
        self._tables = tables

    def _find(self, query: str, *values: bytes) -> tuple[Any, ...] | None:
        return self._tables.execute(query, values).fetchone()

    def has_met(self, question: bytes) -> bool:
        """Whether a question was met before."""
        return self._find("SELECT 1 FROM questions WHERE key = ?", question) is not None

    def meet(self, question: bytes, leak: str, label: str | None = None) -> None:
        """Notes a question.

        Args:
            question: its key.
            leak: the place of the test question that it is, if it is one.
            label: the class of its answer, where answers are classes.
        """
        row = (question, leak, label)
        self._tables.execute("INSERT INTO questions VALUES (?, ?, ?, 0)", row)

    def leak(self, question: bytes) -> str:
        """The place of the test question that a question is; empty for all others."""
        found = self._find("SELECT leak FROM questions WHERE key = ?", question)
        return found[0] if found else ""

    def num_kept_of(self, question: bytes) -> int:
        """How many traces of a question were kept."""
        found = self._find("SELECT num_kept FROM questions WHERE key = ?", question)
        return found[0] if found else 0

    def has_kept(self, trace: bytes) -> bool:
        """Whether the same trace was kept before."""
        return self._find("SELECT 1 FROM kept WHERE key = ?", trace) is not None

    def keep(self, question: bytes, trace: bytes) -> None:
        """Notes that a trace of a question is kept."""
        self._tables.execute("INSERT INTO kept VALUES (?)", (trace,))
        self._tables.execute(
            "UPDATE questions SET num_kept = num_kept + 1 WHERE key = ?", (question,)
        )

    def count_questions(self) -> tuple[int, int, int]:
        """How many questions were met, how many of them have a kept trace, how many leak."""
        counts = self._find(
            "SELECT COUNT(*), COALESCE(SUM(num_kept > 0), 0), COALESCE(SUM(leak != ''), 0) "
            "FROM questions"
        )
        met, kept, leaking = counts or (0, 0, 0)
        return met, kept, leaking

    def count_labels(self) -> Iterator[tuple[str, int, int]]:
        """Yields each class, how many questions of it were met, and how many have a kept trace."""
        return self._tables.execute(
            "SELECT label, COUNT(*), SUM(num_kept > 0) FROM questions WHERE label IS NOT NULL "
            "GROUP BY label"
        )

    def ask_once(self, name: bytes) -> bool:
        """Whether a name was not noted yet; notes it."""
        before = self._tables.total_changes
        self._tables.execute("INSERT OR IGNORE INTO asked VALUES (?)", (name,))
        return self._tables.total_changes > before

    def add_sample(self, question: bytes, answer: str) -> None:
        """Notes the answer of one complete sample of a question."""
        self._tables.execute("INSERT INTO samples (key, answer) VALUES (?, ?)", (question, answer))

    def samples(self) -> Iterator[tuple[bytes, str]]:
        """Yields (question, answer) of all samples, question by question, each in its order."""
        return self._tables.execute("SELECT key, answer FROM samples ORDER BY key, number")

    def set_vote(self, question: bytes, winner: str, problem: str) -> None:
        """Notes what most samples of a question answer, or the problem why there is no such."""
        self._tables.execute("INSERT INTO votes VALUES (?, ?, ?)", (question, winner, problem))

    def vote(self, question: bytes) -> tuple[str, str]:
        """The winner and the problem of the vote on a question that has complete samples."""
        found = self._find("SELECT winner, problem FROM votes WHERE key = ?", question)
        winner, problem = found or ("", "")
        return winner, problem
