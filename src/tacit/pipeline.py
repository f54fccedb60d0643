"""`tacit run`: from a recipe to a report, stage by stage, skipping what is done.

A run folder holds everything that the run read, wrote and measured:

    recipe.yaml  environment.json      settings with all defaults; command, versions, data hashes
    data/                              what tacit made or converted
    internalized/  explicit/  no_cot/  model/, levels/, metrics.jsonl, stage.json; on the test
                                       split predictions.jsonl and evaluation.json
    report.html  report.json  plots/

With several phases, each variant has one such folder per phase inside.
"""

from __future__ import annotations

import datetime
import gc
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tacit.atomic import link_folder, write_text
from tacit.checkpoint import remove_checkpoints
from tacit.dataset import encode_file, file_hash
from tacit.environment import environment
from tacit.errors import DataError, OutputExistsError
from tacit.evaluate import evaluate_folder
from tacit.example import read_questions
from tacit.model import load_model, load_tokenizer
from tacit.recipe import Model, Recipe, Schedule, dump_recipe, load_recipe
from tacit.splits import Splits, check_phases, make_data
from tacit.template import Template

#: Settings that do not change what a stage produces; they may differ when a run is resumed.
_INCIDENTAL = {
    "train": ["checkpoint_every", "keep_checkpoints", "log_every", "trackers", "threads"],
    "model": ["local_files_only"],
}


@dataclass(frozen=True)
class Variant:
    """One of the models that a recipe trains: how its schedule differs."""

    name: str
    schedule: Schedule


def run_recipe(
    recipe: Recipe, *, command: str = "", overwrite: bool = False, progress: bool = True
) -> Path:
    """Runs every stage that is not done yet; returns the path of report.html.

    Args:
        recipe: as `load_recipe` gives it.
        command: what the user typed, for the report.
        overwrite: start again where the run folder holds a run with other settings.
        progress: show bars and notes.

    Raises:
        TacitError: for everything that the user can mend.
    """
    from accelerate import PartialState

    from tacit.report import write_report

    # one process makes data and asks test questions while the others wait in a collective
    process = PartialState(cpu=not _has_gpu(), timeout=datetime.timedelta(hours=24))
    folder = recipe.folder
    phases = recipe.resolved_phases()
    splits: list[Splits] = []
    if process.is_main_process:
        _open_folder(recipe, overwrite)
        splits = [
            make_data(phase, _phase_folder(folder / "data", phases, n))
            for n, phase in enumerate(phases)
        ]
        check_phases(splits, recipe.data.allow_leaks)
        _write_environment(recipe, splits, command)
    splits = _broadcast(splits)
    steps: dict[int, int] = {}
    for variant in variants(recipe):
        model = recipe.model
        for number, phase in enumerate(phases):
            target = _phase_folder(folder / variant.name, phases, number)
            stage = train_stage(
                phase.model_copy(update={"model": model, "schedule": _schedule(variant, phase)}),
                splits[number],
                target,
                num_steps=steps.get(number) if variant.name != "internalized" else None,
                overwrite=overwrite,
                progress=progress,
            )
            if variant.name == "internalized":
                steps[number] = stage["state"]["step"]
            if process.is_main_process:
                evaluate_stage(phase, splits[number], target / "model", target, progress=progress)
            model = _model_in(target / "model", recipe.model)
            process.wait_for_everyone()
    if process.is_main_process:
        _borrow_explicit(recipe, phases, splits, progress)
        write_report(folder)
    process.wait_for_everyone()
    process.destroy_process_group()
    return folder / "report.html"


def _model_in(folder: Path, settings: Model) -> Model:
    """A model that training wrote, loaded with the recipe's other settings."""
    own = {"name": str(folder), "config": None, "tokenizer": None, "alphabet": None}
    return settings.model_copy(update={**own, "revision": None, "local_files_only": True})


def variants(recipe: Recipe) -> Iterator[Variant]:
    """The models that the recipe trains, the internalized one first: it sets the steps."""
    yield Variant("internalized", recipe.schedule)
    if recipe.baselines.explicit == "train":
        yield Variant("explicit", Schedule(removal="none"))
    if recipe.baselines.no_cot:
        yield Variant("no_cot", Schedule(removal="all"))


def train_stage(
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    *,
    num_steps: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains one model in `folder`, goes on with it, or finds it done; returns its stage.json.

    Raises:
        OutputExistsError: the folder holds a model that holds a run with other settings.
    """
    import torch
    from accelerate import PartialState

    from tacit.train import StepwiseInternalization

    process = PartialState()
    path = folder / "stage.json"
    settings = _stage_settings(recipe, splits, num_steps)
    stage = json.loads(path.read_text()) if path.exists() else None
    if stage is not None and stage["settings"] != settings:
        if not overwrite:
            _require_same(stage["settings"], settings, folder)
        stage = None
        process.wait_for_everyone()  # until all have read it
        if process.is_main_process:
            shutil.rmtree(folder)
    if stage is not None and stage["status"] == "done":
        if process.is_main_process:  # what a kill between "done" and the removal left
            remove_checkpoints(folder)
        return stage
    if stage is None and process.is_main_process:
        _write_stage(path, {"status": "running", "settings": settings})
    tokenizer = load_tokenizer(recipe.model)
    frozen = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[recipe.train.precision]
    model = load_model(
        recipe.model,
        tokenizer,
        seed=recipe.seed,
        lora=recipe.lora,
        dtype=frozen if recipe.lora is not None else "float32",
    )
    template = Template(recipe.template, tokenizer)
    limit = recipe.data.max_length
    with process.main_process_first():
        train = encode_file(
            splits.train,
            tokenizer,
            template,
            max_length=limit,
            steps=recipe.schedule.unit == "step",
            allow_empty_thought=recipe.data.allow_empty_thoughts,
            progress=progress,
        )
    examples = read_questions(splits.valid, limit=recipe.train.num_valid) if splits.valid else []
    trainer = StepwiseInternalization(
        model,
        tokenizer,
        template,
        recipe,
        train=train,
        valid=examples,
        folder=folder,
        num_steps=num_steps,
        progress=progress,
    )
    result = trainer.run()
    stage = {
        "status": "done",
        "settings": settings,
        "level": result.level,
        "state": asdict(result.state),
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "num_train": len(train),
        "num_dropped": train.num_dropped,
        "longest_thought": train.longest_thought,
        "peak_memory_bytes": result.peak_memory_bytes,
    }
    if process.is_main_process:
        _write_stage(path, stage)
        remove_checkpoints(folder)
    trainer.accelerator.free_memory()
    del trainer, model  # they refer to each other, and the next model needs their memory
    gc.collect()
    if _has_gpu():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return stage


def evaluate_stage(
    recipe: Recipe, splits: Splits, model_folder: Path, folder: Path, *, progress: bool = True
) -> dict[str, Any]:
    """Asks a finished model the test questions; writes predictions.jsonl and evaluation.json.

    This is the only reader of the test split. Without one, validation questions are asked and the
    result says so.
    """
    split = "test" if splits.test else "valid"
    path = splits.test or splits.valid
    if path is None:
        raise DataError("no data.test and no data.valid: nothing to measure the model with")
    wanted = {
        "model": str(model_folder),
        "model_sha256": _folder_hash(model_folder),
        "split": split,
        "data_sha256": splits.hashes[split],
        "evaluate": recipe.evaluate.model_dump(mode="json"),
    }
    target = folder / "evaluation.json"
    if target.exists():
        known = json.loads(target.read_text())
        if known["settings"] == wanted:
            return known
    metrics = evaluate_folder(
        _model_in(model_folder, recipe.model),
        read_questions(path, limit=recipe.evaluate.limit),
        folder / "predictions.jsonl",
        dtype=recipe.evaluate.dtype,
        max_new_tokens=recipe.evaluate.max_new_tokens,
        batch_size=recipe.evaluate.batch_size,
        num_latency=recipe.evaluate.num_latency,
        overwrite=True,
        progress=f"evaluate {folder.name}" if progress else None,
    )
    result = {"settings": wanted, **metrics}
    write_text(target, json.dumps(result, indent=2))
    return result


# --- the run folder -----------------------------------------------------------------------------


def _open_folder(recipe: Recipe, overwrite: bool) -> None:
    """Makes the run folder, or checks that what is in it belongs to this recipe."""
    folder = recipe.folder
    saved = folder / "recipe.yaml"
    if saved.exists() and any(folder.glob("*/**/stage.json")):
        old, new = _deciding(load_recipe(saved)), _deciding(recipe)
        if old != new and not overwrite:
            _require_same(old, new, folder)
        if old != new:
            for name in ("internalized", "explicit", "no_cot", "data", "plots"):
                shutil.rmtree(folder / name, ignore_errors=True)
            (folder / "environment.json").unlink(missing_ok=True)
    elif not saved.exists() and folder.exists() and any(folder.iterdir()) and not overwrite:
        raise OutputExistsError(
            f"{folder}: holds files but no recipe.yaml, so it is not a run folder; choose another "
            "with output=FOLDER, or give --overwrite"
        )
    write_text(saved, dump_recipe(recipe))


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide what training produces; a finished run may get others besides."""
    sections = {"seed", "template", "data", "model", "lora", "schedule", "train", "phases"}
    values = recipe.model_dump(mode="json", include=sections)
    for section, keys in _INCIDENTAL.items():
        for key in keys:
            values[section].pop(key)
    return values


def _phase_folder(parent: Path, phases: list[Recipe], number: int) -> Path:
    return parent if len(phases) == 1 else parent / f"{number + 1}-{phases[number].name}"


def _schedule(variant: Variant, phase: Recipe) -> Schedule:
    return phase.schedule if variant.name == "internalized" else variant.schedule


def _borrow_explicit(
    recipe: Recipe, phases: list[Recipe], splits: list[Splits], progress: bool
) -> None:
    """The explicit model as the internalized run's own best checkpoint before any removal."""
    if recipe.baselines.explicit != "before_removal":
        return
    for number, phase in enumerate(phases):
        source = _phase_folder(recipe.folder / "internalized", phases, number) / "levels"
        target = _phase_folder(recipe.folder / "explicit", phases, number)
        level = sorted(source.glob("removed-*"))[0]
        link_folder(level, target / "model")
        evaluate_stage(phase, splits[number], target / "model", target, progress=progress)


def _stage_settings(recipe: Recipe, splits: Splits, num_steps: int | None) -> dict[str, Any]:
    """Everything that decides what a training stage produces."""
    values = _deciding(recipe)
    values.pop("phases")
    values["data"] = {"max_length": recipe.data.max_length, **splits.hashes}
    values["data"].pop("test", None)
    values["num_steps"] = num_steps
    return values


def _require_same(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    differences = [
        f"{key}: {before!r} -> {after!r}" for key, before, after in _differences(old, new)
    ]
    if differences:
        raise OutputExistsError(
            f"{folder}: holds a run with other settings ({'; '.join(differences[:5])}); choose "
            "another run folder with output=FOLDER or name=NAME, or give --overwrite"
        )


def _differences(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(
                old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key
            )
    elif old != new:
        yield prefix, old, new


def _write_stage(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2))


def _folder_hash(folder: Path) -> str:
    """Of the weights: names, sizes and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{file_hash(path)}".encode())
    return digest.hexdigest()


def _broadcast(values: list[Splits]) -> list[Splits]:
    from accelerate.utils import broadcast_object_list

    holder: list[Any] = [values]
    broadcast_object_list(holder)
    return holder[0]


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _write_environment(recipe: Recipe, splits: list[Splits], command: str) -> None:
    path = recipe.folder / "environment.json"
    if path.exists():
        return
    values = {
        "command": command,
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "seed": recipe.seed,
        "data": [split.hashes for split in splits],
        **environment(),
    }
    write_text(path, json.dumps(values, indent=2))
