"""Which models a recipe trains, and whether the processes of a launch can train them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unspoken.recipe import Recipe, Schedule, Teacher


@dataclass(frozen=True)
class Variant:
    """One of the models that a recipe trains.

    Attributes:
        name: of its folder.
        stage: that it belongs to, as `--from` names it.
        schedule: what is removed.
    """

    name: str
    stage: str
    schedule: Schedule


def trainings(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """All trainings of a run: their place in the recipe, and a recipe of each alone."""
    teacher = recipe.teacher
    if teacher is not None and teacher.train is not None:
        yield "teacher.train", teaching(recipe, teacher)
    if recipe.distil is not None:
        yield "distil", recipe.distilling()
    if any(variants(recipe)):
        for number, phase in enumerate(recipe.resolved_phases()):
            yield f"phases[{number}].train" if recipe.phases else "train", phase


def variants(recipe: Recipe) -> Iterator[Variant]:
    """The models that the recipe trains after distilling, the internalized one first."""
    if recipe.internalize:
        yield Variant("internalized", "internalize", recipe.schedule)
    if recipe.baselines.explicit == "train":
        yield Variant("explicit", "baselines", Schedule(removal="none"))
    if recipe.baselines.no_cot:
        yield Variant("no_cot", "baselines", Schedule(removal="all"))


def teaching(recipe: Recipe, teacher: Teacher) -> Recipe:
    """The recipe by which a teacher from scratch learns."""
    return recipe.model_copy(
        update={
            "model": teacher.model,
            "train": teacher.train,
            "schedule": Schedule(removal="none"),
            "lora": None,
        }
    )
