"""What `import unspoken` gives: the verbs as functions, with typed results.

They take lists of dicts, files or `datasets.Dataset`, and a model by name or as an object, and go
the way of the verbs: a recipe, a run folder, a report.
"""

from __future__ import annotations

from unspoken.run.api.asking import evaluate, generate, vet
from unspoken.run.api.inputs import FromScratch, from_scratch
from unspoken.run.api.outcomes import (
    EvaluationOutcome,
    KeptLevel,
    RunOutcome,
    TracesOutcome,
    VettingOutcome,
)
from unspoken.run.api.training import distil, internalize, run

__all__ = [
    "EvaluationOutcome",
    "FromScratch",
    "KeptLevel",
    "RunOutcome",
    "TracesOutcome",
    "VettingOutcome",
    "distil",
    "evaluate",
    "from_scratch",
    "generate",
    "internalize",
    "run",
    "vet",
]
