"""What a run folder holds, and under which names: here and nowhere else.

`unspoken.run` says what the folders are for; `unspoken.recipe.records`, `evaluation_records` and
`diagnosis_record` what stands in the JSON files. Where a recipe has several phases, the folder of
each model has one folder per phase inside (`phase_key`), and what is listed below for a training
stands in that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from unspoken.common.errors import DataError, OutputExistsError, SettingError, setting
from unspoken.common.numbered import number_in, numbered
from unspoken.common.places import require_folder_place

#: Stages in their order; a run can be begun anew from each of them.
STAGES = (
    "data", "teacher", "generate", "vet", "distil", "internalize", "baselines", "frontier",
    "evaluate", "latency", "report",
)  # fmt: skip

# ---- folders of a run -----------------------------------------------------------------------

DATA = "data"
TRACES = "traces"
VETTED = "vetted"
TEACHER = "teacher"
DISTILLED = "distilled"
INTERNALIZED = "internalized"
EXPLICIT = "explicit"
AT_ONCE = "at_once"
NO_COT = "no_cot"
UNTRAINED = "untrained"
DIAGNOSIS = "diagnosis"  # what `unspoken diagnose` found
FRONTIER = "frontier"  # a folder for each level of removal, such as 0007
#: Everything that can be measured, the teacher first.
MODELS = (TEACHER, DISTILLED, EXPLICIT, INTERNALIZED, AT_ONCE, NO_COT, UNTRAINED)
_STAGE_FOLDERS = (DATA, TRACES, VETTED, FRONTIER, *MODELS)
LATENCY = "latency"
PLOTS = "plots"
#: What a caller from Python gave as objects: examples by split, a model.
GIVEN = "given"
#: Holds a folder 1, 2, ... for each run that set something aside, replaced-1, ... for the time
#: until what replaces it is done.
OLD = "old"

# ---- files of a run -------------------------------------------------------------------------

RECIPE_FILE = "recipe.yaml"
#: Keys of every recipe that was written into a run folder, since there are run folders.
_ALWAYS_WRITTEN = {
    "name", "description", "seed", "output", "template", "data", "model", "lora", "schedule",
    "train", "evaluate", "baselines", "phases",
}  # fmt: skip
ENVIRONMENT_FILE = "environment.json"
REPORT_PAGE = "report.html"
REPORT_FILE = "report.json"
#: What `unspoken.common.locks.locked` is given, and what it makes of that.
LOCKED, LOCK_FILE = "run", ".run.lock"

# ---- in every folder of a stage, and of what was measured -----------------------------------

STAGE_FILE = "stage.json"
EVALUATION_FILE = "evaluation.json"
LATENCY_FILE = "latency.json"  # in latency/
PREDICTIONS_FILE = "predictions.jsonl"

# ---- frontier/: in the folder of a level, and beside these ------------------------------------

VALIDATION_FILE = "validation.json"
VALIDATION_PREDICTIONS_FILE = "validation_predictions.jsonl"
CHOICES_FILE = "choices.json"
DIAGNOSIS_FILE = "diagnosis.json"  # of diagnosis/

# ---- data/: files of splits; traces/, vetted/, teacher/ -------------------------------------

QUESTIONS_FILE = "questions.jsonl"  # those left for a teacher from scratch to be asked
TEACHER_FILE = "teacher.jsonl"  # examples that it learns from
TRACES_FILE = "traces.jsonl"
SERVER_LOG = "server.log"  # what the teacher's server said, where the run started it
SHARDS = "shards"  # of traces/: shares of machines that work at the same time
DATASET_FILE = "dataset.jsonl"
REJECTED_FILE = "rejected.jsonl"
FAILED_FILE = "failed.jsonl"  # questions without a trace that was kept
ANSWERS_FILE = "answers.jsonl"  # a teacher's, to the test questions
ASKING_FILE = "asking.json"  # the settings that these answers belong to

# ---- a training: its log, checkpoints, models of the levels of removal, final model ---------

METRICS_FILE = "metrics.jsonl"
MODEL = "model"
LEVELS = "levels"
STARTS = "starts"  # levels that other trainings go on from, where every host sees them
VALID_FILE = "valid.json"  # validation figures, in the model folder of a level
CHECKPOINT_STATE_FILE = "state.json"
CHECKPOINT_TENSORS_FILE = "training.pt"
CHECKPOINT_FILES = (CHECKPOINT_TENSORS_FILE, CHECKPOINT_STATE_FILE)
LEVEL = "removed-"  # then its name; unspoken.recipe.levels
_CHECKPOINT = "checkpoint-"
#: Patterns of the files of weights in a model folder.
WEIGHTS = ("*.safetensors", "*.bin")
#: Patterns, below a run folder, of folders that appear whole or not at all.
WHOLE_FOLDERS = (f"**/{_CHECKPOINT}*", f"**/{LEVELS}/{LEVEL}*", f"**/{MODEL}")


def split_file(folder: Path, split: str) -> Path:
    """The file of a split (train, valid, test) in a folder of data."""
    return folder / f"{split}.jsonl"


def predictions_file(evaluation: Path) -> Path:
    """The answers that an evaluation.json, or a validation.json of a level, was made of."""
    is_validation = evaluation.name == VALIDATION_FILE
    return evaluation.with_name(VALIDATION_PREDICTIONS_FILE if is_validation else PREDICTIONS_FILE)


def phase_key(number: int, name: str) -> str:
    """The name of a phase's folder, the first of several being number 0: `1-multiplication`."""
    return f"{number + 1}-{name}"


def phase_folders(stage: Path) -> list[Path]:
    """The folders of phases in a stage's folder, in their order; none where there is one phase."""
    found = [path for path in stage.glob("*-*") if path.name.partition("-")[0].isdecimal()]
    return sorted(found, key=lambda path: int(path.name.partition("-")[0]))


def has_weights(model: Path) -> bool:
    """Whether a model folder has a file of weights; damaged ones are there."""
    return any(any(model.glob(pattern)) for pattern in WEIGHTS)


def checkpoint_folder(training: Path, step: int) -> Path:
    """Where the checkpoint of a step stands; named as Hugging Face's Trainer names it."""
    return training / f"{_CHECKPOINT}{step}"


def checkpoint_step(folder: Path) -> int | None:
    """The step of a checkpoint's folder; None where its name is not that of a checkpoint."""
    return number_in(folder.name, _CHECKPOINT)


def checkpoints_in(training: Path) -> list[Path]:
    """The checkpoints of a training, oldest first."""
    return list(numbered(training, _CHECKPOINT).values())


def require_run(folder: Path) -> None:
    """Checks that the run that `from_run` names is there.

    Raises:
        SettingError: a folder is not that of a run.
    """
    if not (folder / RECIPE_FILE).is_file():
        raise SettingError(
            "from_run",
            found=f"{folder}, which has no {RECIPE_FILE}",
            needed="the folder of an unspoken run",
            remedy="correct it, or leave it out",
        )


def is_run_folder(folder: Path) -> bool:
    """Whether unspoken has written into a folder as a run: a project has recipes, too."""
    # what a launch leaves before the first stage is the recipe alone
    return has_begun(folder) or is_written_out(folder / RECIPE_FILE)


def has_begun(folder: Path) -> bool:
    """Whether a run has done something in a folder; a recipe alone is only a recipe."""
    return (folder / ENVIRONMENT_FILE).exists() or any(stage_files(folder))


def stage_files(run: Path) -> Iterator[Path]:
    """The stage.json of each stage of a run that has begun."""
    for stage in _STAGE_FOLDERS:
        yield from sorted(run.glob(f"{stage}/**/{STAGE_FILE}"))


def is_written_out(recipe: Path) -> bool:
    """Whether a recipe has every key that those of run folders have; people leave some out."""
    try:
        text = recipe.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return {line.partition(":")[0] for line in text.splitlines()} >= _ALWAYS_WRITTEN


def can_be_written(run: Path) -> bool:
    """Whether this user may write into a run folder; another's, or a read-only disk's, is read."""
    return os.access(run, os.W_OK)


def require_writable(run: Path) -> None:
    """Raises DataError where a run folder cannot be written."""
    if not can_be_written(run):
        raise DataError(
            f"{run}: cannot be written; needed: a run folder that you may write; correct its "
            "permissions, or copy the run and name the copy"
        )


def require_run_folder(folder: Path) -> None:
    """Checks that a folder is a run's, or may become one.

    Raises:
        SettingError: it is a file, or below one.
        OutputExistsError: it holds files of something else.
    """
    require_folder_place(folder)
    # folders alone are left by a run that could not write its first file
    others = (
        path
        for path in folder.rglob("*")
        if path.name != LOCK_FILE
        and GIVEN not in path.relative_to(folder).parts[:1]
        and not path.is_dir()
    )
    if any(others) and not is_run_folder(folder):
        found = f"no {RECIPE_FILE}"
        if (folder / RECIPE_FILE).exists():
            found = f"no {RECIPE_FILE} that unspoken wrote"
        raise OutputExistsError(
            f"{folder}: holds files but {found}, so it is not a run folder; "
            "needed: one, or an empty one; name another as "
            f"{setting('output', 'FOLDER')}, or make it one with {setting('overwrite', True)}, "
            f"which replaces {REPORT_PAGE}, {REPORT_FILE}, {ENVIRONMENT_FILE} and {PLOTS}/, moves "
            f"a {RECIPE_FILE} and folders of a stage's name such as {DATA}/ to {OLD}/, and leaves "
            "all else"
        )
