"""What has to be installed on the machine for a recipe; the first part of `unspoken check`."""

from __future__ import annotations

from collections.abc import Iterator

from unspoken.check.finding import Finding
from unspoken.models.quantization import has_bitsandbytes
from unspoken.parallel.precision import require_precision
from unspoken.recipe import Recipe
from unspoken.recipe.plan import Plan
from unspoken.train.log import require_trackers


def check_machine(recipe: Recipe, planned: Plan) -> Iterator[Finding]:
    """Yields whether 4-bit weights and 8-bit optimizers can be used here.

    Raises:
        RecipeError: a precision or tracker that cannot be used here.
    """
    for training in planned.trainings:
        require_precision(training.recipe.train, training.section_of("precision"))
        require_trackers(training.recipe.train, training.section_of("trackers"))
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
