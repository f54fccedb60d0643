"""How often a progress bar is drawn: twice a second in a terminal, rarely into a log file."""

from __future__ import annotations

import sys
from typing import Any


def bar_intervals() -> dict[str, Any]:
    """How often tqdm draws a bar; a file, such as a job's log, keeps every drawing."""
    seconds = 0.5 if sys.stderr.isatty() else 30.0
    return {"mininterval": seconds, "maxinterval": max(10.0, seconds)}
