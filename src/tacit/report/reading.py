"""Run folder -> `RunResult`. The only module of the report that opens the run's files.

The layout is described in `tacit.pipeline`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tacit.errors import DataError
from tacit.report.results import (
    VARIANTS,
    Measured,
    PhaseResult,
    RunResult,
    Trained,
    TrainPoint,
    ValidPoint,
    VariantResult,
)


def read_run(folder: Path) -> RunResult:
    """What is in a run folder, finished or not.

    Raises:
        DataError: it is not a run folder, or a file in it is broken.
    """
    text = _text(folder / "recipe.yaml")
    if text is None:
        raise DataError(f"{folder}: holds no recipe.yaml; needed: the folder of a `tacit run`")
    try:
        recipe = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{folder / 'recipe.yaml'}: not YAML: {error}") from None
    if not isinstance(recipe, dict):
        raise DataError(f"{folder / 'recipe.yaml'}: holds no settings; needed: a recipe")
    environment = _json(folder / "environment.json") or {}
    hashes = environment.get("data", [])
    parts = recipe.get("phases") or []
    name = recipe.get("name", folder.name)
    names = [part.get("name", name) for part in parts] if len(parts) > 1 else [name]
    phases = []
    for number, phase_name in enumerate(names):
        key = f"{number + 1}-{phase_name}" if len(names) > 1 else ""
        variants = {
            variant: _read_variant(variant, folder / variant / key, recipe) for variant in VARIANTS
        }
        known = hashes[number] if number < len(hashes) else {}
        phases.append(PhaseResult(phase_name, key, variants, known))
    missing = [line for phase in phases for line in _missing(phase, recipe)]
    description = recipe.get("description", "")
    return RunResult(folder, name, description, recipe, text, environment, phases, missing)


def _read_variant(name: str, folder: Path, recipe: dict[str, Any]) -> VariantResult:
    evaluation = _json(folder / "evaluation.json")
    stage = _json(folder / "stage.json")
    source = recipe.get("baselines", {}).get("explicit")
    borrowed = name == "explicit" and source == "before_removal" and stage is None
    records, unreadable = _lines(folder / "metrics.jsonl")
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
        predictions=_lines(folder / "predictions.jsonl")[0],
        unreadable=unreadable,
    )


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
    )


def _borrowed(folder: Path) -> Trained | None:
    """A checkpoint of another run tells its step and its size, not its share of the time."""
    internalized = folder.parents[0 if folder.name == "explicit" else 1] / "internalized"
    key = "" if folder.name == "explicit" else folder.name
    stage = _json(internalized / key / "stage.json") or {}
    valid = _json(folder / "model" / "valid.json")
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


def _missing(phase: PhaseResult, recipe: dict[str, Any]) -> list[str]:
    """One sentence for every model of the phase that there is nothing, or not all, to say about."""
    where = f" in phase {phase.key}" if phase.key else ""
    baselines = recipe.get("baselines", {})
    off = {
        "explicit": baselines.get("explicit", "off") == "off",
        "no_cot": not baselines.get("no_cot", False),
        "internalized": False,
    }
    settings = {"explicit": "baselines.explicit=train", "no_cot": "baselines.no_cot=true"}
    lines = []
    for name, variant in phase.variants.items():
        model = f"The {variant.label} model{where}"
        if variant.status == "absent" and off[name]:
            lines.append(f"{model} is not part of this recipe ({settings[name]} adds it).")
        elif variant.status == "absent":
            lines.append(f"{model} is not there yet.")
        elif variant.status == "training":
            step = variant.last_step
            lines.append(f"{model} is not trained to the end; its log ends at step {step or 0:,}.")
        elif variant.status == "trained":
            lines.append(f"{model} is trained but not measured yet.")
        if variant.unreadable:
            lines.append(f"{model}'s metrics.jsonl has a line that was cut off.")
    return lines


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def _json(path: Path) -> dict[str, Any] | None:
    text = _text(path)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}); remove the file") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: not a JSON object; remove the file and run again")
    return values


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Records of a JSONL file, and how many lines were cut off: a run may be writing it now."""
    records, unreadable = [], 0
    for line in (_text(path) or "").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            unreadable += 1
    return records, unreadable
