"""Everything that can be known of a recipe, in the order of the run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from unspoken.check.data import read_sample
from unspoken.check.estimate import Estimate
from unspoken.check.finding import Finding
from unspoken.check.hub import ask_hub_once
from unspoken.check.machine import check_machine
from unspoken.check.student import check_students, describe_frontier
from unspoken.check.teacher import check_teacher
from unspoken.common.errors import DataError
from unspoken.common.places import require_folder_place
from unspoken.recipe import Recipe
from unspoken.recipe.layout import require_run, stage_files
from unspoken.recipe.plan import Phase, Plan, plan
from unspoken.recipe.records import StageRecord


def check_recipe(
    recipe: Recipe, *, elsewhere: bool = False, is_timed: bool = True
) -> Iterator[Finding]:
    """Yields what is known, what is not known here, and what may go wrong.

    Args:
        recipe: the whole one.
        elsewhere: another machine will run it, so this one is neither looked at nor timed.
        is_timed: takes seconds to see how fast its models learn and write here.

    Raises:
        UnspokenError: the recipe cannot run as it stands; the message says what to do.
    """
    planned = plan(recipe)
    phases = planned.phases
    require_folder_place(recipe.folder)
    if recipe.from_run is not None:
        require_run(recipe.from_run)
    yield Finding(
        "plan", f"recipe {recipe.name}: {len(phases)} phase(s), run folder {recipe.folder}"
    )
    yield Finding("plan", f"models: {planned}")
    if done := _stages_done(recipe.folder):
        yield Finding(
            "plan",
            f"done there: {', '.join(done)}; what has not changed since is skipped, though the "
            "figures below have it all",
        )
    with ask_hub_once(recipe) as problem:
        if problem is not None:
            yield Finding("machine", problem)
        yield from _check_phases(recipe, planned, elsewhere=elsewhere, is_timed=is_timed)


def _stages_done(folder: Path) -> list[str]:
    """The folders of stages that an earlier run has finished, as far as they can be read."""
    done = []
    for path in stage_files(folder):
        with contextlib.suppress(DataError):  # of another version
            if (record := StageRecord.read(path)) is not None and record.is_done:
                done.append(path.parent.relative_to(folder).as_posix())
    return done


def _check_phases(
    recipe: Recipe, planned: Plan, *, elsewhere: bool, is_timed: bool
) -> Iterator[Finding]:
    phases = planned.phases
    if not elsewhere:
        yield from check_machine(recipe, planned)
    estimate = Estimate() if is_timed and not elsewhere else None
    for phase in phases:
        for finding in _check_phase(planned, phase, estimate, elsewhere=elsewhere):
            name = f"{phase.number + 1} {phase.recipe.name}"
            yield replace(finding, part=name) if len(phases) > 1 else finding
    if estimate is not None:
        yield from estimate.findings()


def _check_phase(
    planned: Plan, phase: Phase, estimate: Estimate | None, *, elsewhere: bool
) -> Iterator[Finding]:
    sample = read_sample(phase.recipe)
    yield Finding("data" if sample.examples else "unknown here", f"data: {sample.note}")
    if planned.teaching is not None:
        sample = yield from check_teacher(phase.recipe, planned.teaching, sample, estimate)
    students = [training for training in planned.students if training.phase == phase.number]
    others = [model for model in planned.only_measured if model.phase == phase.number]
    yield from check_students(
        phase.recipe, students, sample, others=others, elsewhere=elsewhere, estimate=estimate
    )
    for frontier in planned.frontiers:
        told = describe_frontier(frontier)
        if frontier.phase == phase.number and told is not None:
            if estimate is not None:
                estimate.unknown.append("the levels of the frontier, which come on top")
            yield Finding("steps", told, "frontier")
