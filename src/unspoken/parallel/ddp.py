"""Torch's DDP: every process has the whole model and optimizer state; also one process alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from unspoken.parallel.processes import Processes

if TYPE_CHECKING:
    from unspoken.parallel.processes import AnyModel


class DdpProcesses(Processes):
    """Torch's DDP: gradients are exchanged after the last micro-batch of a step."""

    way = "ddp"

    def micro_batch(
        self, model: torch.nn.Module, *, last: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """A block in which gradients are exchanged after the step's last backward pass only."""
        return contextlib.nullcontext() if last else self.accelerator.no_sync(model)

    def optimizer_state(self, model: AnyModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The optimizer's own state_dict."""
        return optimizer.state_dict()

    def load_optimizer_state(
        self, model: AnyModel, optimizer: torch.optim.Optimizer, state: dict[str, Any]
    ) -> None:
        """The opposite of `optimizer_state`."""
        optimizer.load_state_dict(state)
