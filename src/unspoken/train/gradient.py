"""The gradient of an optimizer step: its examples' forward and backward passes, a few at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unspoken.models.load import width_of
from unspoken.parallel.processes import Processes
from unspoken.parallel.products import products_by_onednn, takes_onednn
from unspoken.recipe import Recipe
from unspoken.train.attention import mask_of_ones, unpadded
from unspoken.train.auxiliary import Auxiliary, draw_first, removed_tokens
from unspoken.train.collate import collate
from unspoken.train.dataset import CoTDataset
from unspoken.train.room import AtOnce, Room

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

#: Of a micro-batch, summed over its label tokens, a scalar; called as `negative_log_likelihood` is.
Loss = Callable[[Any, dict[str, torch.Tensor]], torch.Tensor]


class Gradient:
    """Adds to a model's gradients those of examples whose thoughts are removed in part.

    Attributes:
        by_onednn: whether fp32 products are given to oneDNN in place of MKL.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        recipe: Recipe,
        train: CoTDataset,
        processes: Processes,
        room: Room,
        *,
        loss: Loss,
    ) -> None:
        """Of the bare model, until `close`; `room` is told what goes through it at once.

        Raises:
            ModelError: an auxiliary loss is asked for, and the model has no output layer.
        """
        self._bare, self._train, self._loss = model, train, loss
        self._recipe, self._processes, self._room = recipe, processes, room
        self.by_onednn = takes_onednn(recipe.train.precision, width_of(model.config))
        self._weight = recipe.schedule.auxiliary_loss
        self._auxiliary = Auxiliary(model, train.longest_thought) if self._weight else None

    def close(self) -> None:
        """The model is as it was."""
        if self._auxiliary is not None:
            self._auxiliary.close()

    def add(
        self,
        model: Any,
        indices: np.ndarray,
        removed: np.ndarray,
        mine: np.ndarray,
        *,
        step: int,
        scale: float,
    ) -> torch.Tensor:
        """Adds `scale` times the gradient of this process' part of a batch.

        Args:
            model: the wrapped one, which is called.
            indices, removed: (B,): the batch's examples; how many tokens of each thought are gone.
            mine: which of them are this process'.
            step: optimizer step, from 0, of which the batch is.
            scale: of the gradient.

        Returns:
            The loss of this part's label tokens and their auxiliary loss, both summed, (2,).
        """
        recipe, device = self._recipe, self._processes.accelerator.device
        micro = recipe.train.micro_batch_size or len(mine)
        first = np.zeros(len(indices))
        if self._auxiliary is not None:
            first = draw_first(recipe.seed, step, len(indices))
        total = torch.zeros(2, device=device)
        by_onednn = products_by_onednn(self.by_onednn)
        with self._processes.arithmetic(), unpadded(), by_onednn:
            for start in range(0, len(mine), micro):
                part = mine[start : start + micro]
                last = start + micro >= len(mine)
                with self._processes.micro_batch(model, last=last):
                    losses = self._losses(model, indices[part], removed[part], first[part])
                    loss = losses[0] if len(losses) == 1 else losses[0] + self._weight * losses[1]
                    self._processes.backward(model, loss * scale)
                total[: len(losses)] += torch.stack(losses).detach()
        self._room.at_once = None
        return total

    def _losses(
        self, model: Any, indices: np.ndarray, removed: np.ndarray, first: np.ndarray
    ) -> list[torch.Tensor]:
        """The summed loss of a micro-batch, and the auxiliary one where it has one."""
        schedule, device = self._recipe.schedule, self._processes.accelerator.device
        batch = collate(
            self._train, indices, removed, side=schedule.side, positions=schedule.positions
        )
        self._room.at_once = AtOnce(*batch.input_ids.shape)
        inputs = batch.tensors(device)
        inputs |= mask_of_ones(self._bare, inputs["input_ids"])
        if self._auxiliary is None:
            return [self._loss(model, inputs)]
        besides = removed_tokens(self._train, indices, removed, batch, first, side=schedule.side)
        if besides is None:
            return [self._loss(model, inputs)]
        return self._auxiliary.losses(lambda: self._loss(model, inputs), besides.tensors(device))
