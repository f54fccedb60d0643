"""What a run amounts to, as one page: `write_report(run folder)`."""

from __future__ import annotations

from pathlib import Path


def write_report(folder: Path) -> Path:
    """PLACEHOLDER while the report is written."""
    return folder / "report.html"
