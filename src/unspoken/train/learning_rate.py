"""step -> learning rate: the schedules that transformers has under these names.

Written out here because `transformers.get_scheduler` comes with transformers.trainer_utils, which
imports peft, bitsandbytes and torch's inductor: twice the time of everything else that a process
needs before its first step. `tests/train/test_learning_rate.py` holds them equal to the bit.
"""

from __future__ import annotations

import math

from unspoken.recipe import Recipe
from unspoken.train.fit import Length

#: Learning rate at which a polynomial schedule ends.
_LAST = 1e-7


class LearningRate:
    """Warm-up and a schedule, then a decay to 0; it follows from the step, so nothing is saved.

    The decay goes over the last `settle_steps` steps, or what `max_steps` leaves of them. A
    baseline of fixed length decays over as many steps, or it would be at a disadvantage.
    """

    def __init__(self, recipe: Recipe, length: Length) -> None:
        """Takes a recipe's section `train`, and the length of the training."""
        self.settings, self.length = recipe.train, length
        warmup, num_steps = self.settings.warmup_steps, length.num_steps
        self.num_warmup = round(warmup * num_steps) if 0 < warmup < 1 else round(warmup)

    def at(self, step: int, all_removed_at: int | None) -> float:
        """The learning rate of an optimizer step.

        Args:
            step: counted from 0.
            all_removed_at: step at which the last token went, or None.
        """
        rate = self.settings.learning_rate * self.factor(step)
        settle = self.settings.settle_steps
        if not (self.settings.settle_decay and settle):
            return rate
        end = self.length.last_step(all_removed_at)
        if self.length.settle_steps is None:
            start = max(0, end - settle)
        elif all_removed_at is not None:
            start = all_removed_at
        else:
            return rate
        return rate * min(1.0, max(0.0, 1 - (step - start) / max(1, end - start)))

    def factor(self, step: int) -> float:
        """The share of the recipe's learning rate that warm-up and schedule leave at a step."""
        schedule, num_warmup = self.settings.lr_schedule, self.num_warmup
        if step < num_warmup and schedule != "constant":
            return step / num_warmup
        num_steps, rate = self.length.num_steps, self.settings.learning_rate
        done = (step - num_warmup) / max(1, num_steps - num_warmup)
        factor = 1.0
        if schedule == "linear":
            factor = max(0.0, (num_steps - step) / max(1, num_steps - num_warmup))
        elif schedule == "cosine":
            factor = max(0.0, 0.5 * (1.0 + math.cos(math.pi * 0.5 * 2.0 * done)))
        elif schedule == "polynomial":  # of power 1
            factor = ((rate - _LAST) * (1 - min(1.0, done)) + _LAST) / rate
        return factor
