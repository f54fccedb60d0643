"""What a run folder does not have yet, or not whole: one sentence each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from unspoken.common.errors import RecipeError
from unspoken.recipe import recipe_from
from unspoken.recipe.layout import DISTILLED, EXPLICIT, MODELS, NO_COT, RECIPE_FILE, TEACHER
from unspoken.recipe.plan import Plan, plan
from unspoken.report.read.results import (
    CORE,
    NO_QUESTIONS,
    TRAINED_ONLY,
    PhaseResult,
    RunResult,
    VariantResult,
)

_SETTINGS = {EXPLICIT: "baselines.explicit=train", NO_COT: "baselines.no_cot=true"}


def read_plan(recipe: dict[str, Any]) -> tuple[Plan | None, str]:
    """What a run was to do, by its recipe.yaml; or None, and a sentence that says why.

    An older unspoken may have written settings that this one does not take.
    """
    try:
        return plan(recipe_from(recipe, where=RECIPE_FILE)), ""
    except RecipeError as error:
        return None, (
            f"What is missing is not known, because this unspoken cannot use {RECIPE_FILE} "
            f"({str(error).splitlines()[0]}); everything that is there is shown."
        )


def planned_models(planned: Plan | None, folder: Path) -> tuple[str, ...]:
    """The models that the recipe asks for, in the order of the table.

    A run folder may also hold others, of an earlier recipe: they had other data or settings. Where
    there is no plan, they are those that have a folder.
    """
    if planned is not None:
        return planned.models
    return tuple(name for name in MODELS if (folder / name).is_dir())


def missing_parts(run: RunResult, planned: Plan | None, why: str) -> list[str]:
    """The sentences, the teacher's stages first.

    Args:
        run: what is there.
        planned, why: as `read_plan` returns them.
    """
    names = planned_models(planned, run.folder)
    left_out = _SETTINGS if planned is not None else {}
    models = [line for phase in run.phases for line in _models(phase, names, left_out)]
    return [*([why] if why else []), *_teacher_stages(run), *models, *_times(run, planned)]


def _times(run: RunResult, planned: Plan | None) -> Iterator[str]:
    """Which of the measured models have no time for single questions, though the recipe has some.

    A teacher that another engine asks has none.
    """
    for number, phase in enumerate(run.phases):
        if planned is None or not planned.phases[number].recipe.evaluate.num_latency:
            continue
        names = {one.name for one in (*planned.trainings, *planned.only_measured)}
        lacking = [
            variant.label
            for name, variant in phase.variants.items()
            if name in names
            and variant.measured is not None
            and variant.measured.examples_per_s_single is None
        ]
        if lacking:
            yield f"Single questions of {', '.join(lacking)}{_where(phase)} are not timed yet."


def _teacher_stages(run: RunResult) -> Iterator[str]:
    if run.recipe.get("teacher") is None:
        return
    if run.traces is None:
        yield "The teacher has not written any traces yet."
    elif not run.traces.is_done:
        count = run.traces.num_traces or 0
        traces = "trace" if count == 1 else "traces"
        yield f"The teacher is not done; it has written {count:,} {traces}."
    if run.vetted is None or not run.vetted.done:
        yield "The traces are not vetted yet."


def _models(phase: PhaseResult, names: Collection[str], left_out: Mapping[str, str]) -> list[str]:
    """One sentence for every model of the phase that there is nothing, or not all, to say about.

    Args:
        phase: as it was read.
        names: of the models that the recipe asks for.
        left_out: settings that add a model, by its name.
    """
    lines = [_not_there(phase, name) for name in names if name not in phase.variants]
    for name, variant in phase.variants.items():
        model = _model(phase, variant)
        if variant.status == "absent":
            lack = _why_absent(name, names, left_out)
        else:
            lack = _lack(phase, variant, is_wanted=name in CORE or name in names)
        if lack:
            lines.append(f"{model} {lack}.")
        if variant.unreadable:
            lines.append(f"{model}'s metrics.jsonl has a line that was cut off.")
    return lines


def _lack(phase: PhaseResult, variant: VariantResult, *, is_wanted: bool) -> str:
    """What a model that is there lacks, to follow its name; empty: nothing."""
    if variant.status == "training":
        return f"is not trained to the end; its log ends at step {variant.last_step or 0:,}"
    if variant.status == "trained" and is_wanted:
        return "is trained but not measured yet" if phase.can_measure else TRAINED_ONLY
    return ""


def _why_absent(name: str, names: Collection[str], left_out: Mapping[str, str]) -> str:
    """Why a model is not there, to follow its name; empty: nobody expects it."""
    if name == EXPLICIT and DISTILLED in names:
        return ""  # the distilled student is the one that writes its thought
    if name in names:
        return "is not there yet"
    # not what `internalize: false` leaves out on purpose
    return f"is not part of this recipe ({left_out[name]} adds it)" if name in left_out else ""


def _not_there(phase: PhaseResult, name: str) -> str:
    where = _where(phase)
    if name == DISTILLED:
        return f"The explicit student{where} is not there yet."
    subject = "teacher" if name == TEACHER else "untrained student"
    why = " yet" if phase.can_measure else f"; {NO_QUESTIONS}"
    return f"The {subject}{where} is not measured{why}."


def _model(phase: PhaseResult, variant: VariantResult) -> str:
    return f"T{variant.subject[1:]}{_where(phase)}"


def _where(phase: PhaseResult) -> str:
    return f" in phase {phase.key}" if phase.key else ""
