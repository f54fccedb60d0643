"""A JSONL file that records are added to one by one, and that survives kill -9.

Every line goes to the operating system at once and to the disk every few seconds. A line that a
crash cut off is removed when the file is opened again; a lock keeps a second process away.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from unspoken.common.errors import DataError, setting
from unspoken.common.files import atomic_output
from unspoken.common.places import writing
from unspoken.data.jsonl import json_line, require_text
from unspoken.teach.engines import Usage
from unspoken.teach.traces.earlier import TAKEN_OVER

_SYNC_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Line:
    """Where a record stands, and what is needed of it without reading it again.

    `key` tells whether the question is still the same; it holds within one process.
    """

    index: int
    sample: int
    offset: int
    length: int
    key: int

    @property
    def rank(self) -> tuple[int, int]:
        """Records are sorted by question, then by sample."""
        return self.index, self.sample


class TraceFile:
    """A context in which records are added to a file of traces.

    Attributes:
        path: the file.
        lines: id -> line, for all records.
        used: tokens of all records, as far as they tell.
        num_taken_over: records whose replies were an earlier file's.
        num_torn_bytes: of a last line that was cut off and is removed now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, Line] = {}
        self.used = Usage()
        self.num_taken_over = 0
        self._untold: set[str] = set()
        self.num_torn_bytes = 0
        self._file: BinaryIO | None = None
        self._end = 0
        self._synced = time.monotonic()

    def __enter__(self) -> TraceFile:
        """Reads what is there, removes a torn last line, and gets ready to add records.

        Raises:
            DataError: for a line that is no trace, and for a place that cannot be written.
        """
        with writing(self.path):
            # this process has the lock, so nobody is writing what a kill -9 left of a sort
            for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.tmp"):
                left.unlink(missing_ok=True)
            if self.path.exists():
                self._repair()
                offset = 0
                with self.path.open("rb") as file:
                    for number, raw in enumerate(file, start=1):
                        self._take(number, offset, raw)
                        offset += len(raw)
            self._file = self.path.open("ab")
        self._end = self._file.tell()
        return self

    def __exit__(self, *_: object) -> None:
        """Forces everything to the disk."""
        if self._file is not None:
            file, self._file = self._file, None
            with writing(self.path), file:
                os.fsync(file.fileno())

    def _repair(self) -> None:
        """Cuts off a last line without its end, unless it is whole."""
        with self.path.open("rb+") as file:
            start = _last_line_start(file)
            file.seek(start)
            tail = file.read()
            if not tail:
                return
            if _is_whole(tail):
                file.write(b"\n")
                return
            file.truncate(start)
            self.num_torn_bytes = len(tail)

    def _take(self, number: int, offset: int, raw: bytes) -> None:
        where = f"{self.path}:{number}"
        try:
            record = json.loads(raw)
            if not isinstance(record, dict):
                raise ValueError("not an object")
            name, sample = str(record["id"]).rpartition("#")[::2]
            line = Line(
                int(record["index"]), int(sample), offset, len(raw), hash(record["question"])
            )
            for count in ("num_prompt_tokens", "num_tokens"):
                if type(record.get(count)) not in (int, type(None)):
                    raise ValueError(f"{count} is no number")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise DataError(
                f"{where}: found a line that unspoken generate did not write ({error}); needed: "
                "one trace a line, with id and index; delete the line, or begin anew with "
                f"{setting('overwrite', True)}"
            ) from None
        require_text(record, "question", where)
        self._count(record)
        self.lines.setdefault(f"{name}#{sample}", line)

    def _count(self, record: Mapping[str, Any]) -> None:
        self.num_taken_over += record.get(TAKEN_OVER) is True
        counts = [record.get(name) for name in Usage._fields]
        self._untold |= {n for n, count in zip(Usage._fields, counts, strict=True) if count is None}
        self.used = self.used.plus(*counts)

    @property
    def num_prompt_tokens(self) -> int | None:
        """Read for all records; None where one does not tell."""
        return None if "num_prompt_tokens" in self._untold else self.used.num_prompt_tokens

    @property
    def num_tokens(self) -> int | None:
        """Written in all records; None where one does not tell."""
        return None if "num_tokens" in self._untold else self.used.num_tokens

    def add(self, record: Mapping[str, Any], index: int, sample: int) -> None:
        """Adds one record at the end; it is safe from kill -9 when this returns."""
        if self._file is None:
            raise ValueError("the file is not open")
        raw = json_line(record)
        with writing(self.path):
            self._file.write(raw)
            self._file.flush()
        line = Line(index, sample, self._end, len(raw), hash(record["question"]))
        self.lines[record["id"]] = line
        self._end += len(raw)
        self._count(record)
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            with writing(self.path):
                os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def sort(self) -> None:
        """Brings the closed file into the order of questions and samples, whole or not at all."""
        ordered = sorted(self.lines.values(), key=lambda line: line.rank)
        size = sum(line.length for line in ordered)
        in_place = all(a.offset < b.offset for a, b in itertools.pairwise(ordered))
        if in_place and size == self.path.stat().st_size:
            return
        with self.path.open("rb") as old, atomic_output(self.path, overwrite=True) as new:
            for line in ordered:
                old.seek(line.offset)
                new.write(old.read(line.length))


def _last_line_start(file: BinaryIO) -> int:
    """Where the text after the last line end begins; read from the back, in blocks."""
    place = file.seek(0, os.SEEK_END)
    while place > 0:
        start = max(0, place - 65_536)
        file.seek(start)
        found = file.read(place - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        place = start
    return 0


def _is_whole(tail: bytes) -> bool:
    """Whether a line without its end is a record: no part of an object is an object."""
    try:
        return isinstance(json.loads(tail), dict)
    except ValueError:
        return False
