"""What a run folder does not have yet, or not whole: one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unspoken.report.read.costs import trains_teacher
from unspoken.report.read.results import CORE, TRAINED_ONLY, PhaseResult, RunResult, VariantResult

_SETTINGS = {
    "explicit": "baselines.explicit=train",
    "no_cot": "baselines.no_cot=true",
}


def missing_parts(run: RunResult) -> list[str]:
    """The sentences, the teacher's stages first."""
    models = [line for phase in run.phases for line in _models(phase, run.recipe)]
    return [*_teacher_stages(run), *models]


def _teacher_stages(run: RunResult) -> Iterator[str]:
    if run.recipe.get("teacher") is None:
        return
    if run.traces is None:
        yield "The teacher has not written any traces yet."
    elif not run.traces.done:
        yield f"The teacher is not done; it has written {run.traces.num_traces or 0:,} traces."
    if run.vetted is None or not run.vetted.done:
        yield "The traces are not vetted yet."


def _models(phase: PhaseResult, recipe: dict[str, Any]) -> list[str]:
    """One sentence for every model of the phase that there is nothing, or not all, to say about."""
    asked_for = wanted(recipe)
    lines = [_not_there(phase, name) for name in asked_for if name not in phase.variants]
    for name, variant in phase.variants.items():
        model = _model(phase, variant)
        if variant.status == "absent" and name == "explicit" and "distilled" in asked_for:
            continue  # the distilled student is the one that writes its thought
        if variant.status == "absent" and name not in asked_for:
            if name in _SETTINGS:  # not what `internalize: false` leaves out on purpose
                lines.append(f"{model} is not part of this recipe ({_SETTINGS[name]} adds it).")
        elif variant.status == "absent":
            lines.append(f"{model} is not there yet.")
        elif variant.status == "training":
            step = variant.last_step
            lines.append(f"{model} is not trained to the end; its log ends at step {step or 0:,}.")
        elif variant.status == "trained" and (name in CORE or name in asked_for):
            why = "is trained but not measured yet" if phase.can_measure else TRAINED_ONLY
            lines.append(f"{model} {why}.")
        if variant.unreadable:
            lines.append(f"{model}'s metrics.jsonl has a line that was cut off.")
    return lines


def wanted(recipe: dict[str, Any]) -> list[str]:
    """The variants that the recipe asks for, in the order of the table.

    A run folder may also hold others, of an earlier recipe: they had other data or settings.
    """
    baselines, teacher = recipe.get("baselines") or {}, recipe.get("teacher") or {}
    asked = teacher.get("evaluate", True) and teacher.get("engine") != "worked"
    flags = {
        "teacher": bool(teacher) and (asked or trains_teacher(recipe)),
        "distilled": recipe.get("distil") is not None,
        "explicit": baselines.get("explicit", "off") != "off",
        "internalized": recipe.get("internalize", True),
        "no_cot": baselines.get("no_cot", False),
        "untrained": baselines.get("untrained", False),
    }
    return [name for name, is_wanted in flags.items() if is_wanted]


def _not_there(phase: PhaseResult, name: str) -> str:
    where = _where(phase)
    if name == "distilled":
        return f"The explicit student{where} is not there yet."
    subject = "teacher" if name == "teacher" else "untrained student"
    why = " yet" if phase.can_measure else "; there are no questions to measure it with (data.test)"
    return f"The {subject}{where} is not measured{why}."


def _model(phase: PhaseResult, variant: VariantResult) -> str:
    return f"T{variant.subject[1:]}{_where(phase)}"


def _where(phase: PhaseResult) -> str:
    return f" in phase {phase.key}" if phase.key else ""
