"""Whether model, data and recipe fit together, and how many steps there are."""

from __future__ import annotations

import inspect
from typing import Any

from unspoken.common.errors import ModelError, RecipeError
from unspoken.parallel.world import require_batches
from unspoken.recipe import Recipe
from unspoken.train.dataset import CoTDataset
from unspoken.train.gap import require_gap_support


def count_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimizer steps at the most: the shorter of epochs and max_steps."""
    limits = [recipe.train.max_steps]
    if recipe.train.epochs is not None:
        limits.append(max(1, round(recipe.train.epochs * steps_per_epoch)))
    return min(limit for limit in limits if limit is not None)


def require_fit(
    recipe: Recipe, model: Any, train: CoTDataset, *, num_processes: int, num_valid: int
) -> None:
    """Checks what only shows when model, data and recipe come together."""
    require_batches(recipe.train, num_processes)
    if recipe.schedule.accuracy_above is not None and not num_valid:
        raise RecipeError(
            "schedule.accuracy_above needs validation questions; give data.valid, or use "
            "schedule.loss_below"
        )
    if "logits_to_keep" not in inspect.signature(type(model).forward).parameters and not hasattr(
        model, "peft_config"
    ):
        raise ModelError(
            f"{type(model).__name__} cannot give logits at chosen places only (logits_to_keep); "
            "choose another model"
        )
    longest = int(train.lengths.max())
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and longest > limit:
        raise ModelError(
            f"the longest example has {longest} tokens but the model {limit} positions; "
            f"set data.max_length={limit}, or take a model with more positions"
        )
    if recipe.schedule.positions == "gap" and recipe.schedule.removal != "none":
        require_gap_support(model, train, recipe.schedule)
