"""Run folder -> `RunResult`; `vetting` and `costs` read their own stages.

The layout is described in `unspoken.run`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from unspoken.common.errors import DataError
from unspoken.recipe.layout import EXPLICIT
from unspoken.recipe.plan import Plan
from unspoken.report.read.costs import read_costs
from unspoken.report.read.files import read_json, read_lines, read_text
from unspoken.report.read.missing import missing_parts, planned_models, read_plan
from unspoken.report.read.results import (
    CORE,
    VARIANTS,
    Measured,
    PhaseResult,
    RunResult,
    Trained,
    TrainPoint,
    ValidPoint,
    VariantResult,
)
from unspoken.report.read.vetting import read_traces, read_vetted


def read_run(folder: Path) -> RunResult:
    """What is in a run folder, finished or not.

    Raises:
        DataError: it is not a run folder, or a file in it is broken.
    """
    text = read_text(folder / "recipe.yaml")
    if text is None:
        raise DataError(f"{folder}: holds no recipe.yaml; needed: the folder of an `unspoken run`")
    try:
        recipe = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{folder / 'recipe.yaml'}: not YAML: {error}") from None
    if not isinstance(recipe, dict):
        raise DataError(f"{folder / 'recipe.yaml'}: holds no settings; needed: a recipe")
    environment = read_json(folder / "environment.json") or {}
    hashes = environment.get("data", [])
    parts = recipe.get("phases") or []
    name = recipe.get("name", folder.name)
    names = [part.get("name", name) for part in parts] if len(parts) > 1 else [name]
    planned, why = read_plan(recipe)
    models = planned_models(planned, folder)
    phases = []
    for number, phase_name in enumerate(names):
        key = f"{number + 1}-{phase_name}" if len(names) > 1 else ""
        known = hashes[number] if number < len(hashes) else {}
        variants = _read_variants(folder, key, planned, models)
        can_measure = _can_measure(folder / "data" / key)
        phases.append(PhaseResult(phase_name, key, variants, known, _staged(recipe), can_measure))
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
        traces=read_traces(folder / "traces", recipe) if taught else None,
        vetted=read_vetted(folder / "vetted", recipe) if taught else None,
        costs=read_costs(folder, recipe, planned, models) if _staged(recipe) else [],
    )
    return replace(run, missing=missing_parts(run, planned, why))


def _staged(recipe: dict[str, Any]) -> bool:
    return any(recipe.get(section) is not None for section in ("teacher", "distil"))


def _can_measure(folder: Path) -> bool:
    """False where the data stage is done and has left neither test nor validation questions."""
    files = (read_json(folder / "stage.json") or {}).get("files")
    return files is None or "test" in files or "valid" in files


def _read_variants(
    folder: Path, key: str, planned: Plan | None, models: Collection[str]
) -> dict[str, VariantResult]:
    """The core variants and whichever others are there; of those not asked for, nothing is read."""
    found = {
        name: _read_variant(name, folder / name / key, planned)
        if name in models
        else _absent(name, folder / name / key)
        for name in VARIANTS
    }
    own = found["internalized"]
    if own.started_from in found:
        found[own.name] = replace(own, steps_before=found[own.started_from].last_step)
    return {name: v for name, v in found.items() if name in CORE or v.status != "absent"}


def _absent(name: str, folder: Path) -> VariantResult:
    return VariantResult(name, folder, "absent", False, None, None, [], [], [], 0)


def _read_variant(name: str, folder: Path, planned: Plan | None) -> VariantResult:
    evaluation = read_json(folder / "evaluation.json")
    stage = read_json(folder / "stage.json")
    if planned is not None:
        is_trained = any(one.name == name for one in planned.trainings)
    else:
        is_trained = stage is not None
    borrowed = name == EXPLICIT and not is_trained
    if name == "explicit" and _is_of_earlier_recipe(folder, stage, borrowed):
        return _absent(name, folder)
    records, unreadable = read_lines(folder / "metrics.jsonl")
    if not is_trained:
        stage, records, unreadable = None, [], 0  # of a model that an earlier recipe trained
    done = stage is not None and stage.get("status") == "done"
    status = "absent" if stage is None else "training"
    if done or (borrowed and (folder / "model").is_dir()):
        status = "trained"
    return VariantResult(
        name=name,
        folder=folder,
        status=status if evaluation is None else "measured",
        borrowed=borrowed,
        measured=None if evaluation is None else Measured.from_json(evaluation),
        trained=_borrowed(folder) if borrowed else _trained(stage if done else None),
        train=[
            TrainPoint(record["step"], record["loss"], record["removed"])
            for record in records
            if record.get("event") == "train"
        ],
        valid=[_valid_point(record) for record in records if record.get("event") == "valid"],
        predictions=read_lines(folder / "predictions.jsonl")[0],
        unreadable=unreadable,
        started_from=(stage or {}).get("started_from"),
    )


def _is_of_earlier_recipe(folder: Path, stage: dict[str, Any] | None, borrowed: bool) -> bool:
    """Whether the explicit model there was trained and is to be borrowed now, or the reverse."""
    if borrowed:
        return stage is not None and not (folder / "model" / "valid.json").is_file()
    return stage is None


def _valid_point(record: dict[str, Any]) -> ValidPoint:
    names = ValidPoint.__dataclass_fields__
    return ValidPoint(**{name: record[name] for name in names})


def _trained(stage: dict[str, Any] | None) -> Trained | None:
    if stage is None:
        return None
    state, memory = stage.get("state", {}), stage.get("peak_memory_bytes", {})
    return Trained(
        steps=state.get("step"),
        level=stage.get("level"),
        seconds=state.get("seconds"),
        all_removed_at=state.get("all_removed_at"),
        num_parameters=stage.get("num_parameters"),
        num_train=stage.get("num_train"),
        num_dropped=stage.get("num_dropped"),
        longest_thought=stage.get("longest_thought"),
        peak_memory=memory.get("gpu", memory.get("host")),
        on_gpu="gpu" in memory,
        num_trained_parameters=stage.get("num_trained_parameters"),
    )


def _borrowed(folder: Path) -> Trained | None:
    """A checkpoint of another run tells its step and its size, not its share of the time."""
    internalized = folder.parents[0 if folder.name == "explicit" else 1] / "internalized"
    key = "" if folder.name == "explicit" else folder.name
    stage = read_json(internalized / key / "stage.json") or {}
    valid = read_json(folder / "model" / "valid.json")
    if valid is None:
        return None
    return Trained(
        steps=valid.get("step"),
        level=None,
        seconds=None,
        all_removed_at=None,
        num_parameters=stage.get("num_parameters"),
        num_train=stage.get("num_train"),
        num_dropped=stage.get("num_dropped"),
        longest_thought=None,
        peak_memory=None,
        on_gpu=False,
    )
