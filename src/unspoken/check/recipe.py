"""Everything that can be known of a recipe, in the order of the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from unspoken.check.data import read_sample
from unspoken.check.finding import Finding
from unspoken.check.machine import check_machine
from unspoken.check.student import check_students
from unspoken.check.teacher import check_teacher
from unspoken.recipe import Recipe
from unspoken.recipe.plan import Phase, Plan, plan


def check_recipe(recipe: Recipe, *, elsewhere: bool = False) -> Iterator[Finding]:
    """Yields what is known, what is not known here, and what may go wrong.

    Args:
        recipe: the whole one.
        elsewhere: another machine will run it, so this one is neither looked at nor timed.

    Raises:
        UnspokenError: the recipe cannot run as it stands; the message says what to do.
    """
    planned = plan(recipe)
    phases = planned.phases
    yield Finding(
        "plan", f"recipe {recipe.name}: {len(phases)} phase(s), run folder {recipe.folder}"
    )
    yield Finding("plan", f"models: {planned}")
    if not elsewhere:
        yield from check_machine(recipe, planned)
    for phase in phases:
        for finding in _check_phase(planned, phase, elsewhere=elsewhere):
            name = f"{phase.number + 1} {phase.recipe.name}"
            yield replace(finding, part=name) if len(phases) > 1 else finding


def _check_phase(planned: Plan, phase: Phase, *, elsewhere: bool) -> Iterator[Finding]:
    sample = read_sample(phase.recipe)
    yield Finding("data" if sample.examples else "unknown here", f"data: {sample.note}")
    if planned.teaching is not None:
        sample = yield from check_teacher(phase.recipe, planned.teaching, sample)
    students = [training for training in planned.students if training.phase == phase.number]
    yield from check_students(phase.recipe, students, sample, elsewhere=elsewhere)
