"""`unspoken distil`: a teacher's traces into a student, by flags instead of a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from unspoken.cli.options import Flag, Overwrite
from unspoken.cli.run import run_and_report
from unspoken.common.errors import RecipeError
from unspoken.parallel.world import is_main_process, read_world
from unspoken.recipe import layout
from unspoken.recipe.sections import TemplateName


def distil(
    *overrides: str,
    student_dir: str,
    data: Path,
    out_dir: Path,
    per_device_train_batch_size: int = 2,
    gradient_accumulation_steps: int = 4,
    epochs: float = 3,
    lr: float = 2e-4,
    r: int | None = None,
    lora_alpha: int | None = None,
    lora_dropout: float | None = None,
    target_modules: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    max_length: int = 1024,
    quantization: Literal["nf4", "none"] | None = None,
    full_finetuning: Flag = False,
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "sgd"] | None = None,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    template: TemplateName = "qa",
    valid: Path | None = None,
    test: Path | None = None,
    save_steps: int = 500,
    resume_from_checkpoint: Path | None = None,
    gradient_checkpointing: Flag = False,
    trust_remote_code: Flag = False,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train a student on a teacher's traces: LoRA on 4-bit weights, LoRA, or all weights.

    An interrupted run goes on when the same command is given again. The adapter stands in OUT_DIR
    itself, with what it was made from: settings, the traces that were left out, logs.

    Parameters
    ----------
    overrides
        section.key=value for everything without a flag, as for unspoken run.
    student_dir
        Model folder, or hub name.
    data
        Traces (question and cot), or examples (question, thought, answer). Traces without a
        final answer, cut off or doubled are left out and listed in OUT_DIR/data/rejected.jsonl.
    out_dir
        Folder for the adapter (or model), its checkpoints, logs and report.
    per_device_train_batch_size
        Examples per forward pass and process.
    gradient_accumulation_steps
        Forward passes per optimizer step.
    lr
        Learning rate.
    r
        LoRA rank (default 8).
    lora_alpha
        LoRA scale: alpha / r (default 16).
    lora_dropout
        Default 0.05.
    target_modules
        all-linear, or names (default: q_proj, k_proj, v_proj, o_proj, up_proj and down_proj under
        the names of this architecture).
    max_length
        Examples with more tokens are left out, and counted.
    quantization
        nf4: 4-bit base weights (default with LoRA); none: as they are.
    full_finetuning
        Train all weights instead of an adapter.
    optimizer
        Default paged_adamw_8bit, with --full_finetuning adamw.
    precision
        Of the arithmetic; auto: bf16 on a GPU that has it, fp16 on another, fp32 without one.
    template
        How questions and answers are put: qa is "### Question: ... ### Answer: ...".
    valid
        JSONL with question and answer; the best model by it is kept (default: the last one).
    test
        JSONL with question and answer, asked at the end; traces of its questions are left out.
    save_steps
        Optimizer steps between checkpoints.
    resume_from_checkpoint
        Go on from this checkpoint and not from the newest, such as OUT_DIR/checkpoint-500.
    overwrite
        Replace what runs again because settings changed, instead of keeping it in OUT_DIR/old.
    """
    from unspoken.recipe import recipe_from

    if full_finetuning and (quantization == "nf4" or target_modules):
        raise RecipeError(
            "--full_finetuning: found it with "
            + ("--quantization nf4" if quantization == "nf4" else "--target_modules")
            + ", which is for adapters; needed: one or the other; leave one out"
        )
    _refuse_small(per_device_train_batch_size, gradient_accumulation_steps)
    num_processes = read_world().size
    files = {"train": data, "valid": valid, "test": test}
    lora = {"r": r, "alpha": lora_alpha, "dropout": lora_dropout}
    lora = {name: value for name, value in lora.items() if value is not None}
    lora |= {"target_modules": _targets(target_modules)} if target_modules else {}
    values: dict[str, Any] = {
        "name": out_dir.name or "distil",
        "output": str(out_dir),
        "seed": seed,
        "template": template,
        "data": {
            **{name: str(path) for name, path in files.items() if path is not None},
            "num_valid": 0,
            "max_length": max_length,
        },
        "model": {
            "name": student_dir,
            "quantization": None if full_finetuning or quantization == "none" else "nf4",
            "trust_remote_code": trust_remote_code,
        },
        "lora": None if full_finetuning else lora,
        "train": {
            "epochs": epochs,
            "batch_size": (
                per_device_train_batch_size * gradient_accumulation_steps * num_processes
            ),
            "micro_batch_size": per_device_train_batch_size,
            "learning_rate": lr,
            "optimizer": optimizer or ("adamw" if full_finetuning else "paged_adamw_8bit"),
            "precision": _precision(precision),
            "checkpoint_every": save_steps,
            "gradient_checkpointing": gradient_checkpointing,
        },
        "distil": {},
        "internalize": False,
    }
    loaded = recipe_from(values, overrides, where="command line")
    try:
        if is_main_process():
            _hide_model(loaded.folder)
        run_and_report(loaded, overwrite, resume=resume_from_checkpoint)
    finally:
        if is_main_process():
            _show_model(loaded.folder)
    if is_main_process():
        print(f"student: {loaded.folder}")


def _hide_model(folder: Path) -> None:
    """Takes the finished student's second names out of OUT_DIR: another one may come there."""
    if (folder / "recipe.yaml").exists():  # a run's; never files of somebody else
        for path in (folder / layout.DISTILLED / layout.MODEL).glob("*"):
            (folder / path.name).unlink(missing_ok=True)


def _show_model(folder: Path) -> None:
    """Gives the finished student's files their second names in OUT_DIR."""
    from unspoken.common.files import link_files

    status = folder / layout.DISTILLED / layout.STAGE_FILE
    if status.exists() and json.loads(status.read_text())["status"] == "done":
        link_files(folder / layout.DISTILLED / layout.MODEL, folder)


def _targets(names: list[str] | None) -> Any:
    if not names:
        return "auto"
    return names[0] if names in (["auto"], ["all-linear"]) else names


def _refuse_small(per_device: int, accumulation: int) -> None:
    given = {"per_device_train_batch_size": per_device, "gradient_accumulation_steps": accumulation}
    for name, value in given.items():
        if value < 1:
            raise RecipeError(f"--{name}: found {value}; needed: at least 1; raise it")


def _precision(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    import torch

    if not torch.cuda.is_available():
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
