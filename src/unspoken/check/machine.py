"""What has to be installed on the machine for a recipe; the first part of `unspoken check`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from unspoken.check.finding import Finding
from unspoken.common.errors import RecipeError
from unspoken.models.quantization import has_bitsandbytes
from unspoken.recipe import Recipe, Train
from unspoken.recipe.plan import Plan


def check_machine(recipe: Recipe, planned: Plan) -> Iterator[Finding]:
    """Yields whether 4-bit weights and 8-bit optimizers can be used here.

    Raises:
        RecipeError: a precision or tracker that cannot be used here.
    """
    for training in planned.trainings:
        _require_precision(training.section_of("precision"), training.recipe.train)
        _require_trackers(training.section_of("trackers"), training.recipe.train)
    wanted = {one.key("optimizer"): one.recipe.train.optimizer for one in planned.trainings}
    wanted = {place: name for place, name in wanted.items() if name.endswith("_8bit")}
    if recipe.model.quantization is not None:
        wanted["model.quantization"] = recipe.model.quantization
    teacher = recipe.teacher.model if recipe.teacher is not None else None
    if teacher is not None and teacher.quantization is not None:
        wanted["teacher.model.quantization"] = teacher.quantization
    if wanted:
        what = ", ".join(f"{place}: {value}" for place, value in wanted.items())
        if has_bitsandbytes():
            said = "bitsandbytes is installed"
        else:
            said = (
                "needs bitsandbytes, which is not installed here; pip install bitsandbytes "
                "before the run"
            )
        yield Finding("machine", f"few bits ({what}): {said}")


def _require_precision(place: str, train: Train) -> None:
    import torch

    if train.precision == "fp16" and not torch.cuda.is_available():
        raise RecipeError(
            f"{place}.precision: found fp16 on a machine without a GPU; needed: bf16 or fp32; "
            f"set {place}.precision=bf16"
        )


def _require_trackers(place: str, train: Train) -> None:
    for tracker in train.trackers:
        if importlib.util.find_spec(tracker) is None:
            raise RecipeError(
                f"{place}.trackers: {tracker} is not installed; pip install 'unspoken[{tracker}]', "
                "or leave it out"
            )
