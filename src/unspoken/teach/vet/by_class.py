"""How many solutions of each class were kept, and which classes a student can hardly learn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from unspoken.teach.vet.jury import Verdict
from unspoken.teach.vet.ledger import Ledger
from unspoken.teach.vet.reading import TornLine, Trace

logger = logging.getLogger(__name__)


class KeptOfClass(TypedDict):
    """Solutions of one class.

    Attributes:
        num_kept, num_dropped: together all of it.
        num_questions, num_questions_kept: of the class, and of them, with a solution that was kept.
    """

    num_kept: int
    num_dropped: int
    num_questions: int
    num_questions_kept: int


class ByClass:
    """Counts what was kept and dropped, where the answers are choices.

    Attributes:
        classes: of each class, up to now.
    """

    def __init__(self, choices: Sequence[str]) -> None:
        zero = KeptOfClass(num_kept=0, num_dropped=0, num_questions=0, num_questions_kept=0)
        self.classes: dict[str, KeptOfClass] = {label: zero.copy() for label in choices}

    def add(self, trace: Trace | TornLine, verdict: Verdict | None) -> None:
        """Counts a trace that was judged in its class."""
        own = self.classes.get(trace.label or "") if isinstance(trace, Trace) else None
        if own is not None:
            own["num_kept" if verdict is None else "num_dropped"] += 1

    def add_questions(self, ledger: Ledger) -> None:
        """Counts the questions, once all traces were judged."""
        for label, num_questions, num_kept in ledger.count_labels():
            if label in self.classes:
                self.classes[label]["num_questions"] = num_questions
                self.classes[label]["num_questions_kept"] = num_kept


def class_lines(classes: dict[str, KeptOfClass]) -> list[str]:
    """A line for each class."""
    return [
        f"  {label}: {own['num_kept']:,} kept, {own['num_dropped']:,} dropped, for "
        f"{own['num_questions_kept']:,} of {own['num_questions']:,} questions"
        for label, own in classes.items()
    ]


def warn_of_lost_classes(classes: dict[str, KeptOfClass], rejected: Path) -> None:
    """Warns of classes of which more than half of the questions, or all, have no solution left."""
    lost = [
        f"{label} ({own['num_questions_kept']:,} of {own['num_questions']:,})"
        for label, own in classes.items()
        if 2 * own["num_questions_kept"] < own["num_questions"] or not own["num_kept"]
    ]
    if lost:
        logger.warning(
            "warning: of some classes few questions have a solution left, or none: %s; a student "
            "will hardly answer with them; the reasons are in %s: mend wrong labels, tell the "
            "teacher what belongs in these classes, or have their questions answered again",
            ", ".join(lost), rejected,
        )  # fmt: skip
