"""Whether model, data and recipe fit together, and how many steps there are."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unspoken.common.errors import ModelError, RecipeError, setting
from unspoken.models.load import num_positions
from unspoken.parallel.world import require_batches
from unspoken.recipe import Recipe
from unspoken.train.dataset import CoTDataset
from unspoken.train.gap import require_gap_support

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def count_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimizer steps at the most: the shorter of epochs and max_steps."""
    limits = [recipe.train.max_steps]
    if recipe.train.epochs is not None:
        limits.append(max(1, round(recipe.train.epochs * steps_per_epoch)))
    return min(limit for limit in limits if limit is not None)


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        num_steps: optimizer steps at the most.
        settle_steps: it ends so many steps after everything was removed, if that is earlier; None:
            it does not.
    """

    num_steps: int
    settle_steps: int | None = None

    @staticmethod
    def of(recipe: Recipe, steps_per_epoch: int, exactly: int | None = None) -> Length:
        """The length that a recipe asks for.

        With `exactly` it has so many steps, whatever the recipe says.
        """
        if exactly is not None:
            return Length(exactly)
        return Length.within(count_steps(recipe, steps_per_epoch), recipe)

    @staticmethod
    def within(most: int, recipe: Recipe) -> Length:
        """The same, of so many steps at the most.

        Where everything is removed from the first step on there is nothing to settle after.
        """
        at_once = recipe.schedule.removal == "all"
        return Length(most, None if at_once else recipe.train.settle_steps)

    def last_step(self, all_removed_at: int | None) -> int:
        """The number of steps after which training ends."""
        if self.settle_steps is None or all_removed_at is None:
            return self.num_steps
        return min(self.num_steps, all_removed_at + self.settle_steps)


def require_fit(
    recipe: Recipe,
    model: PreTrainedModel | PeftModel,
    train: CoTDataset,
    *,
    num_processes: int,
    num_valid: int,
) -> None:
    """Checks what only shows when model, data and recipe come together.

    `num_valid` counts validation questions that are asked and have an answer to compare with.

    Raises:
        RecipeError, ModelError: they do not fit.
    """
    require_batches(recipe.train, num_processes)
    if recipe.schedule.accuracy_above is not None and not num_valid:
        raise RecipeError(
            f"{setting('schedule.accuracy_above')} needs validation questions with answers; give "
            f"{setting('data.valid')}, or use {setting('schedule.loss_below')}"
        )
    if "logits_to_keep" not in inspect.signature(type(model).forward).parameters and not hasattr(
        model, "peft_config"
    ):
        raise ModelError(
            f"{type(model).__name__} cannot give logits at chosen places only (logits_to_keep); "
            "choose another model"
        )
    longest = int(train.lengths.max())
    limit = num_positions(model)
    if limit is not None and longest > limit:
        raise ModelError(
            f"the longest example has {longest} tokens but the model {limit} positions; "
            f"set {setting('data.max_length', limit)}, or take a model with more positions"
        )
    removes = recipe.schedule.removal != "none" or recipe.schedule.start > 0
    if recipe.schedule.positions == "gap" and removes:
        require_gap_support(model, train, recipe.schedule)
