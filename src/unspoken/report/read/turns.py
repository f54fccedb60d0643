"""Figures of single questions that models took turns with, in an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unspoken.measure.stats import percentile
from unspoken.recipe.evaluation_records import Evaluation


def with_turns(evaluation: Evaluation, seconds: Sequence[float]) -> Evaluation:
    """The evaluation with what its turns took, in place of what it had by itself.

    Args:
        evaluation: of a model or a level.
        seconds: of each question, at least one.
    """
    median = percentile(seconds, 50)
    return replace(
        evaluation,
        latency_p50_s=median,
        latency_p95_s=percentile(seconds, 95),
        examples_per_s_single=1 / median,
    )
