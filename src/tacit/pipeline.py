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
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tacit import __version__
from tacit.atomic import atomic_output, link_folder, write_text
from tacit.checkpoint import remove_checkpoints
from tacit.dataset import encode_file, file_hash
from tacit.errors import DataError, OutputExistsError
from tacit.evaluate import evaluate_folder
from tacit.example import iter_examples, iter_questions, read_questions
from tacit.leaks import check_leaks
from tacit.model import load_model, load_tokenizer
from tacit.recipe import Data, Model, Recipe, Schedule, dump_recipe, load_recipe
from tacit.template import Template

#: Settings that do not change what a stage produces; they may differ when a run is resumed.
_INCIDENTAL = {
    "train": ["checkpoint_every", "keep_checkpoints", "log_every", "trackers", "threads"],
    "model": ["local_files_only"],
}


@dataclass(frozen=True)
class Splits:
    """Files of one phase, with their SHA-256."""

    train: Path
    valid: Path | None
    test: Path | None
    hashes: dict[str, str]

    @property
    def asked(self) -> dict[str, Path]:
        """The files whose questions a model is measured with."""
        return {n: p for n, p in (("valid", self.valid), ("test", self.test)) if p is not None}


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
        _check_phases(splits, recipe.data.allow_leaks)
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


def _check_phases(splits: list[Splits], allow: bool) -> None:
    """One model goes through all phases: what an earlier one trains on, no later one may ask."""
    for number, later in enumerate(splits):
        for before, earlier in enumerate(splits[:number]):
            asked = {f"{name} of phase {number + 1}": path for name, path in later.asked.items()}
            questions = {name: iter_split_questions(path) for name, path in asked.items()}
            questions[f"train of phase {before + 1}"] = iter_split_questions(earlier.train)
            check_leaks(questions, allow=allow)


def variants(recipe: Recipe) -> Iterator[Variant]:
    """The models that the recipe trains, the internalized one first: it sets the steps."""
    yield Variant("internalized", recipe.schedule)
    if recipe.baselines.explicit == "train":
        yield Variant("explicit", Schedule(removal="none"))
    if recipe.baselines.no_cot:
        yield Variant("no_cot", Schedule(removal="all"))


def make_data(recipe: Recipe, folder: Path) -> Splits:
    """The files of the recipe's data, made if they are not there; checked for leaks.

    Raises:
        DataError: a file cannot be used, or the splits share questions.
    """
    data = recipe.data
    if data.task == "jsonl":
        given = {"train": data.train, "valid": data.valid, "test": data.test}
        files = {name: path and as_jsonl(path, data, name, folder) for name, path in given.items()}
        if files["train"] and not files["valid"]:
            files.update(_hold_out(files["train"], folder, data.num_valid, recipe.seed))
    else:
        files = {name: folder / f"{name}.jsonl" for name in ("train", "valid", "test")}
        _make_once(data, recipe.seed, folder)
    given = {name: path for name, path in files.items() if path is not None}
    hashes = {name: file_hash(path) for name, path in given.items()}
    _check_leaks(
        given,
        hashes,
        folder,
        allow_leaks=data.allow_leaks,
        allow_empty_thoughts=data.allow_empty_thoughts,
    )
    return Splits(files["train"], files["valid"], files["test"], hashes)  # pyright: ignore


def _make_once(data: Data, seed: int, folder: Path) -> None:
    """Makes the task's files unless they were made from the same settings."""
    from tacit.tasks.gsm8k import write_gsm8k
    from tacit.tasks.multiplication import write_multiplication

    wanted = _data_settings(data, seed)
    made = folder / "made_from.json"
    if made.exists() and json.loads(made.read_text()) == wanted:
        return
    if data.task == "multiplication":
        counts = (data.num_train, data.num_valid, data.num_test)
        write_multiplication(folder, data.digits, *counts, seed=seed, overwrite=True)
    else:
        write_gsm8k(
            folder, data.source, data.thought, num_valid=data.num_valid, seed=seed, overwrite=True
        )
    write_text(made, json.dumps(wanted))


def _hold_out(train: Path, folder: Path, count: int, seed: int) -> dict[str, Path | None]:
    """Splits `count` examples, at most a tenth, off a training file that came without validation.

    Which ones follows from the seed; the user's file stays as it is.
    """
    lines = [raw for raw in train.read_bytes().splitlines(keepends=True) if raw.strip()]
    count = min(count, len(lines) // 10)
    if not count:
        return {}
    chosen = set(random.Random(seed).sample(range(len(lines)), count))
    parts: dict[str, Path | None] = {}
    for name, wanted in (("train", False), ("valid", True)):
        parts[name] = folder / f"{name}.jsonl"
        with atomic_output(folder / f"{name}.jsonl", overwrite=True) as file:
            for i, raw in enumerate(lines):
                if (i in chosen) == wanted:
                    file.write(raw if raw.endswith(b"\n") else raw + b"\n")
    return parts


def as_jsonl(path: Path, data: Data, split: str, folder: Path) -> Path:
    """The file itself, or what tacit converted it to: the paper's .txt files, raw GSM8K."""
    from tacit.tasks import gsm8k, icot

    target = folder / f"given-{split}.jsonl"
    if path.suffix == ".txt":
        icot.convert(path, target, overwrite=True)
        return target
    if gsm8k.is_raw(path):
        gsm8k.convert(path, target, data.thought, overwrite=True)
        return target
    return path


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


def _data_settings(data: Data, seed: int) -> dict[str, Any]:
    keys = {"task", "num_valid"}
    keys |= {"digits", "num_train", "num_test"} if data.task == "multiplication" else set()
    keys |= {"source", "thought"} if data.task == "gsm8k" else set()
    return {**data.model_dump(mode="json", include=keys), "seed": seed}


def _check_leaks(
    files: dict[str, Path],
    hashes: dict[str, str],
    folder: Path,
    *,
    allow_leaks: bool,
    allow_empty_thoughts: bool,
) -> None:
    """Looks for shared questions once per set of files; a million examples take a while."""
    passed = folder / "leaks_checked.json"
    if passed.exists() and json.loads(passed.read_text()) == hashes:
        return
    questions = {name: iter_split_questions(path) for name, path in files.items()}
    # read as training will read it: a line that cannot be learned from is found here
    train = iter_examples(files["train"], allow_empty_thought=allow_empty_thoughts)
    questions["train"] = (example.question for example in train)
    check_leaks(questions, allow=allow_leaks)
    if not allow_leaks:
        write_text(passed, json.dumps(hashes))


def iter_split_questions(path: Path) -> Iterator[str]:
    """The questions of a file in any form that tacit reads."""
    from tacit.tasks.icot import iter_lines

    examples = iter_lines(path) if path.suffix == ".txt" else iter_questions(path)
    return (example.question for example in examples)


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


# --- what a reader needs to repeat a run ----------------------------------------------------------


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


def environment() -> dict[str, Any]:
    """Versions, git revision and machine, for reports and benchmarks."""
    import torch

    names = ("torch", "transformers", "accelerate", "tokenizers", "numpy")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "versions": {
            "tacit": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in names},
        },
        "git_revision": _git_revision(),
        "machine": {
            "system": platform.system(),
            "processor": _processor(),
            "num_threads": torch.get_num_threads(),
            "gpu": gpu,
        },
    }


def _git_revision() -> str | None:
    """Of the checkout that tacit runs from; with + where files were changed since."""
    try:
        revision, status = (
            subprocess.run(
                ["git", *arguments],
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return revision + ("+" if status else "")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def command_line() -> str:
    """What the user typed."""
    import shlex

    return shlex.join(["tacit", *sys.argv[1:]])
