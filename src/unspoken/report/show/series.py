"""Points of metrics.jsonl as curves: few enough to draw and to store, and honest about it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from unspoken.report.read.results import PhaseResult, TrainPoint

#: Points of a curve at the most; a long run logs tens of thousands.
MOST_POINTS = 400


def thinned(points: Sequence[TrainPoint]) -> list[TrainPoint]:
    """At most `MOST_POINTS` points: each the mean loss of a stretch, at the stretch's end."""
    stride = -(-len(points) // MOST_POINTS) or 1
    found = []
    for start in range(0, len(points), stride):
        part = points[start : start + stride]
        loss = sum(point.loss for point in part) / len(part)
        found.append(TrainPoint(part[-1].step, loss, part[-1].removed))
    return found


def smoothed(points: Sequence[TrainPoint]) -> tuple[list[int], list[float]]:
    """Steps and the running mean of the loss, over about a hundredth of the curve."""
    few = thinned(points)
    half = len(few) // 200
    losses = [point.loss for point in few]
    means = []
    for index in range(len(few)):
        part = losses[max(0, index - half) : index + half + 1]
        means.append(sum(part) / len(part))
    return [point.step for point in few], means


def level_changes(points: Sequence[TrainPoint]) -> list[int]:
    """The logged steps at which more tokens were gone than at the one before."""
    pairs = itertools.pairwise(points)
    return [after.step for before, after in pairs if after.removed > before.removed]


def plotted_series(phase: PhaseResult) -> dict[str, Any]:
    """The numbers behind the plots of a phase, as plain values."""
    own = phase.variants["internalized"]
    return {
        "train": {
            name: [
                {"step": point.step, "loss": point.loss, "removed": point.removed}
                for point in thinned(variant.train)
            ]
            for name, variant in phase.variants.items()
        },
        "valid": {
            name: [vars(point) for point in variant.valid]
            for name, variant in phase.variants.items()
        },
        "best_per_level": [vars(point) for point in own.best_per_level()],
        "level_changes": level_changes(own.train),
    }
