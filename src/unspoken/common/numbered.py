"""What is numbered within a folder: 1, 2, ... or checkpoint-100, checkpoint-200, ..."""

from __future__ import annotations

from pathlib import Path


def numbered(folder: Path, prefix: str = "") -> dict[int, Path]:
    """What is in a folder under a prefix and a number, by number, the lowest first."""
    found = ((path.name.removeprefix(prefix), path) for path in folder.glob(f"{prefix}*"))
    return dict(sorted((int(number), path) for number, path in found if number.isdecimal()))


def next_numbered(folder: Path, prefix: str = "") -> Path:
    """The path after the last of them; nothing is made."""
    return folder / f"{prefix}{max(numbered(folder, prefix), default=0) + 1}"
