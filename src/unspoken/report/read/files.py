"""Files of a run folder, as plain values; whatever is not there is None or empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError


def read_text(path: Path) -> str | None:
    """The text of a file, or None where there is none.

    Raises:
        DataError: it cannot be read as UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is none.

    Raises:
        DataError: it is not a JSON object.
    """
    text = read_text(path)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}); remove the file") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: not a JSON object; remove the file and run again")
    return values


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Records of a JSONL file, and how many lines were cut off: a run may be writing it now."""
    records, unreadable = [], 0
    for line in (read_text(path) or "").split("\n"):  # splitlines would also split at U+2028
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
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
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record


def count_lines(path: Path) -> int:
    """Whole lines of a file."""
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)
