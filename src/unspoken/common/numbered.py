"""What is numbered within a folder: 1, 2, ... or checkpoint-100, checkpoint-200, ..."""

from __future__ import annotations

from pathlib import Path


def numbered(folder: Path, prefix: str = "") -> dict[int, Path]:
    """What is in a folder under a prefix and a number, by number, the lowest first."""
    found = ((number_in(path.name, prefix), path) for path in folder.glob(f"{prefix}*"))
    return dict(sorted((number, path) for number, path in found if number is not None))


def number_in(name: str, prefix: str) -> int | None:
    """The number of a name that is a prefix and a number, checkpoint-100; None for any other."""
    number = name.removeprefix(prefix)
    return int(number) if name.startswith(prefix) and number.isdecimal() else None


def next_numbered(folder: Path, prefix: str = "") -> Path:
    """The path after the last of them; nothing is made."""
    return folder / f"{prefix}{max(numbered(folder, prefix), default=0) + 1}"
