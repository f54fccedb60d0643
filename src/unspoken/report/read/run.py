"""Run folder -> `RunResult`; `vetting` and `costs` read their own stages.

The layout is described in `unspoken.run`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError
from unspoken.common.files import read_json, read_text
from unspoken.common.plain_yaml import read_yaml
from unspoken.measure.predictions import with_latencies
from unspoken.recipe import layout
from unspoken.recipe.diagnosis_record import Diagnosis
from unspoken.recipe.evaluation_records import Evaluation, Latency
from unspoken.recipe.plan import Plan
from unspoken.recipe.records import DataRecord, TrainingRecord, TrainingState, validated
from unspoken.report.read.costs import read_costs
from unspoken.report.read.files import read_lines
from unspoken.report.read.frontier import Level, read_levels
from unspoken.report.read.missing import missing_parts, planned_models, read_plan
from unspoken.report.read.outcome import read_outcome
from unspoken.report.read.points import TrainPoint, ValidPoint, points_of
from unspoken.report.read.results import (
    CORE,
    EnvironmentRecord,
    PhaseResult,
    PredictionRecord,
    RunResult,
    VariantResult,
)
from unspoken.report.read.vetting import read_traces, read_vetted


def read_run(folder: Path) -> RunResult:
    """What is in a run folder, finished or not.

    Raises:
        DataError: it is not a run folder, or a file in it is broken.
    """
    path = folder / layout.RECIPE_FILE
    text = read_text(path)
    if text is None:
        raise DataError(
            f"{folder}: holds no {layout.RECIPE_FILE}; needed: the folder of an `unspoken run`"
        )
    recipe, _ = read_yaml(text, str(path))
    if not isinstance(recipe, dict):
        raise DataError(f"{path}: holds no settings; needed: a recipe")
    place = folder / layout.ENVIRONMENT_FILE
    environment = validated(EnvironmentRecord, read_json(place) or {}, place)
    hashes = environment.get("data", [])
    parts = recipe.get("phases") or []
    name = recipe.get("name", folder.name)
    names = [part.get("name", name) for part in parts] if len(parts) > 1 else [name]
    planned, why = read_plan(recipe)
    models = planned_models(planned, folder)
    phases = []
    for number, phase_name in enumerate(names):
        key = layout.phase_key(number, phase_name) if len(names) > 1 else ""
        known = hashes[number] if number < len(hashes) else {}
        variants = _read_variants(folder, key, planned, models)
        can_measure = _can_measure(folder / layout.DATA / key)
        latency = _read_latency(folder / layout.LATENCY / key, variants)
        variants = {name: _with_latency(one, latency) for name, one in variants.items()}
        phase = PhaseResult(
            name=phase_name,
            key=key,
            variants=variants,
            data_hashes=known,
            staged=_staged(recipe),
            can_measure=can_measure,
            latency=latency,
            task=_task(recipe, parts[number] if number < len(parts) else {}),
            levels=_read_levels(folder, number, planned),
        )
        phases.append(replace(phase, diagnosis=_read_diagnosis(folder, phase)))
    taught = recipe.get("teacher") is not None
    run = RunResult(
        folder=folder,
        name=name,
        description=recipe.get("description", ""),
        recipe=recipe,
        recipe_text=text,
        environment=environment,
        phases=phases,
        missing=[],
        traces=read_traces(folder / layout.TRACES, recipe) if taught else None,
        vetted=read_vetted(folder / layout.VETTED, recipe) if taught else None,
        costs=read_costs(folder, recipe, planned, models) if _staged(recipe) else [],
    )
    return replace(run, missing=missing_parts(run, planned, why))


def _task(recipe: dict[str, Any], part: dict[str, Any]) -> str | None:
    """Whose questions a phase has: its own setting, else the recipe's."""
    named = [(settings.get("data") or {}).get("task") for settings in (part, recipe)]
    return next((task for task in named if isinstance(task, str)), None)


def _read_levels(folder: Path, phase: int, planned: Plan | None) -> list[Level]:
    """The levels of removal of a phase; none where what was to be done is not known."""
    frontiers = () if planned is None else planned.frontiers
    return [
        level
        for frontier in frontiers
        if frontier.phase == phase
        for level in read_levels(folder, frontier)
    ]


def _read_diagnosis(folder: Path, phase: PhaseResult) -> Diagnosis | None:
    """What was found of the very model that is there now."""
    found = Diagnosis.read(folder / layout.DIAGNOSIS / phase.key / layout.DIAGNOSIS_FILE)
    trained = phase.variants[layout.INTERNALIZED].trained
    if found is None or trained is None or found.model_sha256 != trained.model_sha256:
        return None
    return found


def _staged(recipe: dict[str, Any]) -> bool:
    return any(recipe.get(section) is not None for section in ("teacher", "distil"))


def _can_measure(folder: Path) -> bool:
    """False where the data stage is done and has left neither test nor validation questions."""
    record = DataRecord.read(folder / layout.STAGE_FILE)
    return record is None or record.files is None or not {"test", "valid"}.isdisjoint(record.files)


def _read_variants(
    folder: Path, key: str, planned: Plan | None, models: Collection[str]
) -> dict[str, VariantResult]:
    """The core variants and whichever others are there; of those not asked for, nothing is read."""
    found = {
        name: _read_variant(name, folder / name / key, planned)
        if name in models
        else _absent(name, folder / name / key)
        for name in layout.MODELS
    }
    for own in (found[layout.INTERNALIZED], found[layout.AT_ONCE]):
        if own.started_from is not None:
            steps, examples = _before(folder / own.started_from, found.get(own.started_from))
            found[own.name] = replace(own, steps_before=steps, examples_before=examples)
    own = found[layout.INTERNALIZED]
    outcome = read_outcome(own.trained, own.train, own.valid)
    found[own.name] = replace(own, outcome=outcome)
    return {name: v for name, v in found.items() if name in CORE or v.status != "absent"}


def _read_latency(folder: Path, variants: dict[str, VariantResult]) -> Latency | None:
    """How the models took turns, of those that are as they were then."""
    latency = Latency.read(folder / layout.LATENCY_FILE)
    if latency is None:
        return None
    models = {
        name: answers
        for name, answers in latency.models.items()
        if name in variants and answers.seconds and latency.is_of(name, variants[name].measured)
    }
    return replace(latency, models=models) if models else None


def _with_latency(variant: VariantResult, latency: Latency | None) -> VariantResult:
    """The model with the figures of its turns, in place of those that it had by itself."""
    if latency is None or variant.measured is None or variant.name not in latency.models:
        return variant
    measured = with_latencies(variant.measured, latency.models[variant.name].seconds)
    return replace(variant, measured=measured)


def _before(folder: Path, variant: VariantResult | None) -> tuple[int | None, int | None]:
    """Optimizer steps and examples of a model that another one went on from.

    It is a variant or a level. A level's stand in the record of its training, also where the level
    was removed.
    """
    if variant is not None:
        return variant.last_step, variant.num_seen
    record = TrainingRecord.read(folder.parents[1] / layout.STAGE_FILE) or TrainingRecord()
    step = record.state.best.get(folder.name.removeprefix(layout.LEVEL), {}).get("step")
    return step, step and record.batch_size and step * record.batch_size


def _absent(name: str, folder: Path) -> VariantResult:
    return VariantResult(name, folder, "absent", False, None, None, [], [], [], 0)


def _read_variant(name: str, folder: Path, planned: Plan | None) -> VariantResult:
    evaluation = Evaluation.read(folder / layout.EVALUATION_FILE)
    stage = TrainingRecord.read(folder / layout.STAGE_FILE)
    if planned is not None:
        is_trained = any(one.name == name for one in planned.trainings)
    else:
        is_trained = stage is not None
    borrowed = name == layout.EXPLICIT and not is_trained
    if name == layout.EXPLICIT and _is_of_earlier_recipe(folder, stage, borrowed):
        return _absent(name, folder)
    records, unreadable = read_lines(folder / layout.METRICS_FILE)
    if not is_trained:
        stage, records, unreadable = None, [], 0  # of a model that an earlier recipe trained
    trained = stage if stage is not None and stage.is_done else None
    if borrowed:
        trained = _borrowed(folder)
    return VariantResult(
        name=name,
        folder=folder,
        status=_status(folder, stage, evaluation, borrowed),
        borrowed=borrowed,
        measured=evaluation,
        trained=trained,
        train=points_of(records, "train", TrainPoint),
        valid=points_of(records, "valid", ValidPoint),
        predictions=read_lines(folder / layout.PREDICTIONS_FILE, PredictionRecord)[0],
        unreadable=unreadable,
        started_from=None if stage is None else stage.started_from,
    )


def _status(
    folder: Path, stage: TrainingRecord | None, evaluation: Evaluation | None, borrowed: bool
) -> str:
    """How far a variant has come; see `VariantResult`."""
    if evaluation is not None:
        return "measured"
    if (stage is not None and stage.is_done) or (borrowed and (folder / layout.MODEL).is_dir()):
        return "trained"
    return "absent" if stage is None else "training"


def _is_of_earlier_recipe(folder: Path, stage: TrainingRecord | None, borrowed: bool) -> bool:
    """Whether the explicit model there was trained and is to be borrowed now, or the reverse."""
    if borrowed:
        return stage is not None and not (folder / layout.MODEL / layout.VALID_FILE).is_file()
    return stage is None


def _borrowed(folder: Path) -> TrainingRecord | None:
    """A checkpoint of another run tells its step and its size, not its share of the time."""
    is_phase = folder.name != layout.EXPLICIT
    internalized = folder.parents[1 if is_phase else 0] / layout.INTERNALIZED
    source = internalized / folder.name if is_phase else internalized
    stage = TrainingRecord.read(source / layout.STAGE_FILE) or TrainingRecord()
    valid = read_json(folder / layout.MODEL / layout.VALID_FILE)
    if valid is None:
        return None
    return TrainingRecord(
        status="done",
        state=TrainingState(step=valid.get("step")),
        num_parameters=stage.num_parameters,
        num_train=stage.num_train,
        num_dropped=stage.num_dropped,
    )
