"""Files of a run folder, as plain values; whatever is not there is None or empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from unspoken.common.files import read_text


def read_lines(path: Path, kind: Any = dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Records of a JSONL file, and how many lines were cut off: a run may be writing it now.

    Args:
        path: the file.
        kind: of the records, such as a TypedDict; lines of another one count as cut off.
    """
    records, unreadable, known = [], 0, TypeAdapter(kind)
    for line in (read_text(path) or "").split("\n"):  # splitlines would also split at U+2028
        if not line.strip():
            continue
        try:
            records.append(known.validate_python(json.loads(line)))
        except (ValueError, RecursionError):
            unreadable += 1
    return records, unreadable


def iterate_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole records of a JSONL file one by one: traces may not fit into memory."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield record
