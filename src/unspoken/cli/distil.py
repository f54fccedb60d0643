"""`unspoken distil`: a teacher's traces into a student, by flags instead of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unspoken.cli.options import (
    Checkpoint,
    DataFlags,
    LoraFlags,
    Replace,
    RunFolderFlags,
    StudentFlags,
    TrainingFlags,
)
from unspoken.cli.running import run_and_report
from unspoken.common.errors import RecipeError, SettingError, setting
from unspoken.common.places import require_folder_place
from unspoken.parallel.world import is_main_process, read_world
from unspoken.recipe.defaults import ACCUMULATION, DISTIL, DISTIL_ALL_WEIGHTS, PER_DEVICE
from unspoken.recipe.layout import DISTILLED, MODEL, RECIPE_FILE, STAGE_FILE
from unspoken.recipe.merge import merge, nested


class DistilDataFlags(DataFlags, defaults=DISTIL):
    """What is learned from."""


class DistilStudentFlags(
    StudentFlags,
    defaults=DISTIL,
    required=("model_name",),
    names={"model_name": ("--student_dir", "--model_name")},
):
    """Who learns."""


class DistilTrainingFlags(
    TrainingFlags,
    defaults={
        **DISTIL,
        "train.batch_size": f"{PER_DEVICE * ACCUMULATION} for each process",
        "train.micro_batch_size": PER_DEVICE,
        "gradient_accumulation_steps": ACCUMULATION,
    },
    names={
        "micro_batch_size": ("--per_device_train_batch_size", "--micro_batch_size"),
        "learning_rate": ("--lr", "--learning_rate"),
        "checkpoint_every": ("--save_steps", "--checkpoint_every"),
    },
):
    """How it learns."""


class DistilFolderFlags(
    RunFolderFlags, required=("output",), names={"output": ("--out_dir", "--output")}
):
    """Where it goes."""


def distil(
    *overrides: str,
    student: Annotated[DistilStudentFlags, Parameter(name="*")],
    folder: Annotated[DistilFolderFlags, Parameter(name="*")],
    data: Annotated[DistilDataFlags, Parameter(name="*")] = DistilDataFlags(),  # noqa: B008
    lora: Annotated[LoraFlags, Parameter(name="*")] = LoraFlags(),  # noqa: B008
    training: Annotated[DistilTrainingFlags, Parameter(name="*")] = DistilTrainingFlags(),  # noqa: B008
    resume_from_checkpoint: Checkpoint = None,
    overwrite: Replace = False,
) -> None:
    """Train a student on a teacher's traces.

    LoRA on 4-bit weights; with --quantization none on weights as they are; with --full_finetuning
    all weights are trained. Traces without a final answer, cut off or doubled are left out and
    listed in OUT_DIR/data/rejected.jsonl. An interrupted run goes on when the same command is given
    again. The adapter stands in OUT_DIR itself, with what it was made from.

    Parameters
    ----------
    overrides
        section.key=value for everything without a flag, as for unspoken run
    """
    from unspoken.recipe import recipe_from

    if data.data is None and data.task is None:
        raise SettingError(
            "data",
            found="nothing to learn from",
            needed="a teacher's traces, or examples",
            remedy=f"give {setting('data', 'FILE.jsonl')}, or choose {setting('task')}",
        )
    values = nested(DISTIL)
    values = merge(values, {"lora": {}, "distil": {}, "internalize": False})
    if lora.full_finetuning:
        _refuse_adapter_flags(student, lora)
        values = merge(values, {**nested(DISTIL_ALL_WEIGHTS), "lora": None})
    for group in (student, folder, data, lora, training):
        values = merge(values, group.to_recipe())
    values["name"] = Path(folder.output).name or "distil"
    values["train"] |= training.batches(
        batch=PER_DEVICE * ACCUMULATION,
        micro=PER_DEVICE,
        accumulation=ACCUMULATION,
        processes=read_world().size,
    )
    recipe = recipe_from(values, overrides, where="")
    require_folder_place(recipe.folder)
    try:
        if is_main_process():
            _hide_model(recipe.folder)
        run_and_report(recipe, overwrite=overwrite, resume=resume_from_checkpoint)
    finally:
        if is_main_process():
            _show_model(recipe.folder)
    if is_main_process():
        print(f"student: {recipe.folder}")


def _refuse_adapter_flags(student: StudentFlags, lora: LoraFlags) -> None:
    """Raises RecipeError for flags that are for adapters, beside --full_finetuning."""
    given = [name for name in lora.given() if name != "full_finetuning"]
    beside = [setting(name) for name in given]
    if student.quantization == "nf4":
        beside = [setting("quantization", "nf4")]
    if beside:
        raise RecipeError(
            f"{setting('full_finetuning')}: found it with {beside[0]}, which is for adapters; "
            "needed: one or the other; leave one out"
        )


def _hide_model(folder: Path) -> None:
    """Takes the finished student's second names out of OUT_DIR: another one may come there."""
    if (folder / RECIPE_FILE).exists():  # a run's; never files of somebody else
        for path in (folder / DISTILLED / MODEL).glob("*"):
            (folder / path.name).unlink(missing_ok=True)


def _show_model(folder: Path) -> None:
    """Gives the finished student's files their second names in OUT_DIR."""
    from unspoken.common.files import link_files
    from unspoken.recipe.records import TrainingRecord

    record = TrainingRecord.read(folder / DISTILLED / STAGE_FILE)
    if record is not None and record.is_done:
        link_files(folder / DISTILLED / MODEL, folder)
