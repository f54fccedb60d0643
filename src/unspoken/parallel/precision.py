"""The arithmetic of a training: what a recipe asks for, as this machine can have it."""

from __future__ import annotations

import os

from unspoken.common.errors import SettingError, setting
from unspoken.common.machine import has_bfloat16
from unspoken.recipe import Recipe, Train


def resolve_precision(recipe: Recipe) -> Recipe:
    """The recipe with a precision that this machine has in place of `auto`.

    auto: bf16 on a GPU that has it, fp16 on another, fp32 without one. To be called when training
    starts and not before: what a recipe asks for decides whether a training is begun anew, and a
    job that goes on on another GPU is the same one.

    Raises:
        SettingError: fp16 without a GPU.
    """
    import torch

    require_precision(recipe.train)
    if recipe.train.precision != "auto":
        return recipe
    precision = "bf16" if has_bfloat16() else "fp16" if torch.cuda.is_available() else "fp32"
    train = recipe.train.model_copy(update={"precision": precision})
    return recipe.model_copy(update={"train": train})


def require_precision(train: Train, place: str = "train") -> None:
    """Refuses fp16 without a GPU.

    Args:
        train: the section.
        place: of it in the recipe.
    """
    import torch

    if train.precision == "fp16" and not torch.cuda.is_available():
        raise SettingError(
            f"{place}.precision",
            found="fp16 on a machine without a GPU",
            needed="bf16 or fp32",
            remedy=f"set {setting(f'{place}.precision', 'bf16')}",
        )


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
