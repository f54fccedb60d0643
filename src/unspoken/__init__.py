"""unspoken: small language models that reason without writing it down.

    import unspoken

    result = unspoken.internalize(unspoken.from_scratch("tiny"), examples, test=others)
    result.accuracy, result.model.ask("1+2=").answer, result.report

Everything is imported when it is asked for: `import unspoken` alone needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unspoken.common.version import __version__ as __version__

if TYPE_CHECKING:
    from unspoken.common.errors import UnspokenError as UnspokenError
    from unspoken.data.example import Example as Example
    from unspoken.launch.sagemaker.submit import (
        setup_sagemaker_training as setup_sagemaker_training,
    )
    from unspoken.measure.answers import extract_answer as extract_final_answer
    from unspoken.measure.ask import LoadedModel as LoadedModel
    from unspoken.measure.ask import load as load
    from unspoken.recipe import Recipe as Recipe
    from unspoken.run.api import EvaluationOutcome as EvaluationOutcome
    from unspoken.run.api import RunOutcome as RunOutcome
    from unspoken.run.api import TracesOutcome as TracesOutcome
    from unspoken.run.api import VettingOutcome as VettingOutcome
    from unspoken.run.api import distil as distil
    from unspoken.run.api import evaluate as evaluate
    from unspoken.run.api import from_scratch as from_scratch
    from unspoken.run.api import generate as generate
    from unspoken.run.api import internalize as internalize
    from unspoken.run.api import run as run
    from unspoken.run.api import vet as vet
    from unspoken.train.collate import collate as collate
    from unspoken.train.dataset import CoTDataset as CoTDataset
    from unspoken.train.loop import StepwiseInternalization as StepwiseInternalization

__all__ = [
    "CoTDataset",
    "EvaluationOutcome",
    "Example",
    "LoadedModel",
    "Recipe",
    "RunOutcome",
    "StepwiseInternalization",
    "TracesOutcome",
    "UnspokenError",
    "VettingOutcome",
    "__version__",
    "collate",
    "distil",
    "evaluate",
    "extract_final_answer",
    "from_scratch",
    "generate",
    "internalize",
    "load",
    "run",
    "setup_sagemaker_training",
    "vet",
]

#: Name -> module that it is imported from. `run` is the package of this name, which can be called.
_PLACES = {
    "CoTDataset": "train.dataset",
    "EvaluationOutcome": "run.api",
    "Example": "data.example",
    "LoadedModel": "measure.ask",
    "Recipe": "recipe",
    "RunOutcome": "run.api",
    "StepwiseInternalization": "train.loop",
    "TracesOutcome": "run.api",
    "UnspokenError": "common.errors",
    "VettingOutcome": "run.api",
    "collate": "train.collate",
    "distil": "run.api",
    "evaluate": "run.api",
    "extract_final_answer": "measure.answers",
    "from_scratch": "run.api",
    "generate": "run.api",
    "internalize": "run.api",
    "load": "measure.ask",
    "run": "",
    "setup_sagemaker_training": "launch.sagemaker.submit",
    "vet": "run.api",
}
#: Where the names differ.
_NAMES = {"extract_final_answer": "extract_answer"}


def __getattr__(name: str) -> Any:
    """What needs more than the standard library, when it is asked for."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not place:
        return importlib.import_module(f"unspoken.{name}")
    found = getattr(importlib.import_module(f"unspoken.{place}"), _NAMES.get(name, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
