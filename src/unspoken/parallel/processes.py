"""One training over several processes: what the ways of doing it share.

Whoever starts the processes (`accelerate launch`, torchrun) says in environment variables how they
work together, and Accelerate does it:

    ddp     every process has the whole model and the whole optimizer state (also: one process)
    fsdp2   weights, gradients and optimizer state are shared out (torch's fully_shard)
    zero    DeepSpeed: gradients and optimizer state are shared out, under stage 3 weights, too

Each way is a subclass in a file of that name; `unspoken.parallel.start` chooses. The training loop
takes the same steps under each of them, and checkpoints are the same files: whole weights, and
optimizer state as one process has it. So any number of processes, in any of the three ways, goes
on from any checkpoint.
"""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin

from unspoken.parallel.world import Way, join_processes
from unspoken.recipe import Recipe

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    AnyModel = PreTrainedModel | PeftModel


class Processes(ABC):
    """The processes of one training run.

    Attributes:
        way: how they work together.
        shares_weights: whether no process has all weights for good.
        precision: of the arithmetic: fp32, bf16 or fp16.
        accelerator: Accelerate's. Precision is none of its business: its way of bf16 and fp16 makes
            fp32 copies of all logits, casts weights in every pass, and waits for the GPU twice a
            step to ask for the scale.
        scaler: of the loss and the gradients in fp16, else None.
    """

    way: ClassVar[Way]
    shares_weights: bool = False

    def __init__(self, recipe: Recipe, folder: Path, **plugins: Any) -> None:
        """Joins the processes that the launcher started.

        Args:
            recipe: its precision and trackers count, not the launcher's.
            folder: of the run, for trackers.
            plugins: Accelerate's, for this way.
        """
        self.precision = recipe.train.precision
        join_processes()
        AcceleratorState._reset_state()  # phases and baselines follow each other in one process
        self.accelerator = Accelerator(
            mixed_precision="no",
            log_with=list(recipe.train.trackers) or None,  # pyright: ignore[reportArgumentType]
            project_dir=folder,
            # or the launcher's number would divide the loss
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            **plugins,
        )
        self._kind = self.accelerator.device.type
        self.scaler = torch.amp.GradScaler(self._kind) if self.precision == "fp16" else None
        self._shell: Any = None
        self._trained: list[torch.nn.Parameter] = []

    def remember(self, model: AnyModel) -> None:
        """Keeps the model's structure where weights are shared out; before anything wraps it."""
        if self.shares_weights:
            self._shell = without_weights(model)

    def prepare(
        self, model: AnyModel, optimizer: torch.optim.Optimizer
    ) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        """The model to call and the optimizer to step."""
        called, stepped = self.accelerator.prepare(model, optimizer)
        self._trained = [each for each in called.parameters() if each.requires_grad]
        return called, stepped

    def arithmetic(self) -> contextlib.AbstractContextManager[Any]:
        """A block with all micro-batches of a step; each weight is cast once within it."""
        return self.autocast()

    def micro_batch(
        self, model: torch.nn.Module, *, last: bool
    ) -> contextlib.AbstractContextManager[Any]:
        """A block with the forward and the backward pass of one micro-batch.

        Args:
            model: as `prepare` returned it.
            last: of this optimizer step; gradients may wait for it before they are exchanged.
        """
        return contextlib.nullcontext()

    def backward(self, model: torch.nn.Module, loss: torch.Tensor) -> None:
        """Adds the gradient of this loss; over the processes, gradients become their mean."""
        with torch.autocast(self._kind, enabled=False):
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def step(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, max_norm: float
    ) -> torch.Tensor:
        """Clips the gradients, steps, and forgets them; nothing of it waits for the GPU.

        Args:
            model, optimizer: as `prepare` returned them.
            max_norm: of the gradients over all processes.

        Returns:
            The norm of the gradients before clipping, a scalar. Where it is not finite in fp16,
            the scaler left the step out.
        """
        plain = torch_optimizer(optimizer)
        if self.scaler is not None:
            self.scaler.unscale_(plain)
        norm = self.clip(max_norm)
        if self.scaler is None:
            plain.step()
        else:
            self.scaler.step(plain)
            self.scaler.update()
        plain.zero_grad()
        return norm

    def clip(self, max_norm: float) -> torch.Tensor:
        """Scales the gradients so that their norm is at most `max_norm`; returns it before."""
        return torch.nn.utils.clip_grad_norm_(self._trained, max_norm)

    def reset(self, optimizer: torch.optim.Optimizer) -> None:
        """Forgets the optimizer's moments, not the weights."""
        plain = torch_optimizer(optimizer)
        if not getattr(plain, "is_paged", False):
            plain.state.clear()
            return
        # bitsandbytes never gives paged memory back: the moments stay where they are, and are 0
        for state in plain.state.values():
            state["step"] = 0
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and not name.startswith("qmap"):
                    value.zero_()

    @contextlib.contextmanager
    def whole(self, model: AnyModel, *, everywhere: bool = False) -> Iterator[Any]:
        """Within the block, the plain model with all its weights, in the main process at least.

        All processes must enter; where the weights are not, None comes. Changes to them are lost
        where weights are shared out.

        Args:
            model: that was given to `prepare`.
            everywhere: in all processes, on their devices and in the arithmetic of training; else
                on the CPU where weights are shared out.
        """
        arithmetic = self.autocast() if everywhere else contextlib.nullcontext()
        if not self.shares_weights:
            with arithmetic:
                yield model
            return
        weights = self.gather_weights(model, everywhere=everywhere)
        if not (everywhere or self.accelerator.is_main_process):
            yield None
            return
        plain = copy.deepcopy(self._shell)
        plain.load_state_dict(weights, assign=True)
        plain.tie_weights()
        with arithmetic:
            yield plain.to(self.accelerator.device) if everywhere else plain

    def change_weights(self, model: AnyModel, change: Callable[[AnyModel], None]) -> None:
        """Lets `change` set the weights of the whole model, in every process alike.

        Args:
            model: that was given to `prepare`; its weights are shared out by none but FSDP2.
            change: is given a plain model with all weights.
        """
        change(model)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """A block in which models compute in the precision of training, each weight cast once."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self._kind, dtype)

    def gather_weights(self, model: AnyModel, *, everywhere: bool) -> dict[str, torch.Tensor]:
        """Whole copies of weights that are shared out, by name; all processes must call it.

        Args:
            model: that was given to `prepare`.
            everywhere: in all processes, on their devices; else in the main one, on the CPU.
        """
        raise NotImplementedError(f"{self.way} shares out no weights")

    @abstractmethod
    def optimizer_state(self, model: AnyModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Its state_dict as one process would have it, in the main process at least.

        All processes must call it.
        """

    @abstractmethod
    def load_optimizer_state(
        self, model: AnyModel, optimizer: torch.optim.Optimizer, state: dict[str, Any]
    ) -> None:
        """Puts what `optimizer_state` returned into the optimizer, each process its share."""


def torch_optimizer(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Torch's own optimizer within all wrappers."""
    while (within := getattr(optimizer, "optimizer", None)) is not None:
        optimizer = within
    return optimizer


def without_weights(model: AnyModel) -> AnyModel:
    """A copy of the model's structure, its weights on torch's `meta` device."""
    empty = {
        id(parameter): torch.nn.Parameter(
            torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad
        )
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, empty)
