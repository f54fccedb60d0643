"""The arithmetic of a training: what a recipe asks for, as this machine can have it."""

from __future__ import annotations

import os

from unspoken.common.errors import SettingError, setting
from unspoken.common.machine import cpu_has_bfloat16, gains_from_bfloat16
from unspoken.parallel.world import join_processes, read_world
from unspoken.recipe import Recipe, Train


def resolve_precision(recipe: Recipe, width: int | None) -> Recipe:
    """The recipe with a precision that this machine has in place of `auto`.

    auto: bf16 on a GPU that has it, fp16 on another; on a CPU bf16 where the processor has it and
    the model is wide enough to gain, else fp32. Of several processes all must call this, and get
    the one that all of them have. To be called when training starts and not before: what a recipe
    asks for decides whether a training is begun anew, and a job that goes on on another machine is
    the same one.

    Args:
        recipe: of one training.
        width: features of the model's hidden states; None where they are not known.

    Raises:
        SettingError: fp16 without a GPU.
    """
    require_precision(recipe.train)
    if recipe.train.precision != "auto":
        return recipe
    train = recipe.train.model_copy(update={"precision": _had_by_all(_own_precision(width))})
    return recipe.model_copy(update={"train": train})


def _own_precision(width: int | None) -> str:
    import torch

    if gains_from_bfloat16(width):
        return "bf16"
    return "fp16" if torch.cuda.is_available() else "fp32"


def _had_by_all(own: str) -> str:
    """The precision that every process has, where each has its own."""
    if read_world().size == 1:
        return own
    from accelerate.utils import gather_object

    join_processes()
    return min(gather_object([own]), key=("fp32", "fp16", "bf16").index)


def require_precision(train: Train, place: str = "train") -> None:
    """Refuses fp16 without a GPU.

    Args:
        train: the section.
        place: of it in the recipe.
    """
    import torch

    if train.precision == "fp16" and not torch.cuda.is_available():
        better = "bf16" if cpu_has_bfloat16() else "fp32"
        raise SettingError(
            f"{place}.precision",
            found="fp16 on a machine without a GPU",
            needed="bf16 or fp32",
            remedy=f"set {setting(f'{place}.precision', better)}",
        )


def describe_precision(asked: Train, had: str) -> str:
    """The precision of a training in words, and why it is that where the machine chose.

    Args:
        asked: as the recipe has it.
        had: as it was resolved.
    """
    if asked.precision != "auto":
        return f"precision: {had}"
    import torch

    if torch.cuda.is_available():
        why = "the GPU has it" if had == "bf16" else "the GPU has no bf16"
    elif had == "bf16":
        why = "the processor has it and the model is wide enough to gain"
    elif cpu_has_bfloat16():
        why = "the model is too small to gain from bf16"
    else:
        why = "the processor has no bf16"
    other = "" if had == "fp32" else "; train.precision=fp32 changes it"
    return f"precision: {had} (auto: {why}{other})"


def precision_note(recipe: Recipe) -> str | None:
    """A line for people where the launcher's mixed precision is not the recipe's, which counts."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    asked = "fp32" if asked == "no" else asked
    if "ACCELERATE_MIXED_PRECISION" not in os.environ or asked == recipe.train.precision:
        return None
    return (
        f"note: accelerate's configuration says mixed_precision {asked}, the recipe train.precision"
        f" {recipe.train.precision}; the recipe counts (train.precision={asked} changes it)"
    )
