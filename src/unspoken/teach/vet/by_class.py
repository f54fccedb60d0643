"""How many solutions of each class were kept, and which classes a student can hardly learn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from unspoken.teach.vet.jury import Verdict
from unspoken.teach.vet.reading import TornLine, Trace

logger = logging.getLogger(__name__)

#: The same solution, or enough of them, was kept for the question: nothing is lost.
_SPARE = ("duplicate", "surplus")


class KeptOfClass(TypedDict):
    """Solutions of one class.

    Attributes:
        num_kept, num_dropped: together all of it.
        num_spare: of those dropped, duplicates and what was more than wanted of a question.
    """

    num_kept: int
    num_dropped: int
    num_spare: int


def no_counts(choices: Sequence[str]) -> dict[str, KeptOfClass]:
    """Each class with nothing counted yet."""
    return {label: KeptOfClass(num_kept=0, num_dropped=0, num_spare=0) for label in choices}


def count(
    classes: dict[str, KeptOfClass], trace: Trace | TornLine, verdict: Verdict | None
) -> None:
    """Counts a trace in its class: that of the gold answer, or else the one that it answers."""
    label = None
    if isinstance(trace, Trace):
        label = trace.gold if trace.gold is not None else trace.choice
    own = classes.get(label) if label is not None else None
    if own is None:
        return
    own["num_kept"] += verdict is None
    own["num_dropped"] += verdict is not None
    own["num_spare"] += verdict is not None and verdict.reason in _SPARE


def class_lines(classes: dict[str, KeptOfClass]) -> list[str]:
    """A line for each class."""
    lines = []
    for label, own in classes.items():
        spare = f", {own['num_spare']:,} of them spare ones" if own["num_spare"] else ""
        lines.append(f"  {label}: {own['num_kept']:,} kept, {own['num_dropped']:,} dropped{spare}")
    return lines


def warn_of_lost_classes(classes: dict[str, KeptOfClass], rejected: Path) -> None:
    """Warns of classes that lost more than half of their solutions, or have none left.

    Args:
        classes: as counted.
        rejected: the file with the reasons.
    """
    lost = [
        f"{label} ({own['num_kept']:,} of {_wanted(own):,} kept)"
        for label, own in classes.items()
        if 2 * own["num_kept"] < _wanted(own) or not own["num_kept"]
    ]
    if lost:
        logger.warning(
            "warning: few solutions are left of some classes, or none: %s; a student will hardly "
            "answer with them; the reasons are in %s; mend wrong labels there, or have these "
            "questions answered again or by a better teacher",
            ", ".join(lost), rejected,
        )  # fmt: skip


def _wanted(own: KeptOfClass) -> int:
    return own["num_kept"] + own["num_dropped"] - own["num_spare"]
