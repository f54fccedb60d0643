"""The optimizer and the learning rate of a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from transformers import get_scheduler

from unspoken.common.errors import setting
from unspoken.models.quantization import require_bitsandbytes
from unspoken.recipe import Recipe
from unspoken.train.fit import Length

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def make_optimizer(model: PreTrainedModel | PeftModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with fp32 state, unless the recipe says otherwise; biases and norms do not decay."""
    settings = recipe.train
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.betas[0])
    arguments: dict[str, Any] = {"lr": settings.learning_rate, "betas": settings.betas}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, **arguments, fused=True)
    require_bitsandbytes(
        "train.optimizer", settings.optimizer, f"set {setting('train.optimizer', 'adamw')}"
    )
    import bitsandbytes

    paged = settings.optimizer == "paged_adamw_8bit"
    kind = bitsandbytes.optim.PagedAdamW8bit if paged else bitsandbytes.optim.AdamW8bit
    return kind(groups, **arguments)


class LearningRate:
    """Warm-up and one of transformers' schedules, then a decay to 0; there is no state to save.

    The decay goes over the last `settle_steps` steps. A baseline of fixed length decays over as
    many steps, or it would be at a disadvantage.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: Recipe, length: Length) -> None:
        """Takes a recipe's settings.

        Args:
            optimizer: of the training, before anything wraps it.
            recipe: its section `train` is used.
            length: of the training.
        """
        self.settings, self.length = recipe.train, length
        warmup, num_steps = self.settings.warmup_steps, length.num_steps
        scheduler: Any = get_scheduler(
            self.settings.lr_schedule,
            optimizer,
            num_warmup_steps=round(warmup * num_steps) if 0 < warmup < 1 else round(warmup),
            num_training_steps=num_steps,
        )
        self._factor: Callable[[int], float] = scheduler.lr_lambdas[0]

    def at(self, step: int, all_removed_at: int | None) -> float:
        """The learning rate of an optimizer step.

        Args:
            step: counted from 0.
            all_removed_at: step at which the last token went, or None.
        """
        rate = self.settings.learning_rate * self._factor(step)
        settle = self.settings.settle_steps
        if not (self.settings.settle_decay and settle):
            return rate
        if self.length.settle_steps is None:
            start = self.length.num_steps - settle
        elif all_removed_at is not None:
            start = all_removed_at
        else:
            return rate
        return rate * min(1.0, max(0.0, 1 - (step - start) / settle))
