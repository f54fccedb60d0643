"""Torch's FSDP2: weights, gradients and optimizer state are split over the processes.

torch's `fully_shard` does it. Gradients are shared out after every micro-batch: whole ones would
not fit. What one process would
have comes from torch.distributed.checkpoint.state_dict, which names parameters where an
optimizer's own state_dict, and so our checkpoints, number them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import MixedPrecisionPolicy

from unspoken.common.errors import RecipeError, setting
from unspoken.parallel.processes import Processes, torch_optimizer
from unspoken.parallel.world import is_set
from unspoken.recipe import Recipe

if TYPE_CHECKING:
    from unspoken.parallel.processes import AnyModel


class Fsdp2Processes(Processes):
    """Torch's FSDP2."""

    way = "fsdp2"
    shares_weights = True

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        """Joins the processes; see `Processes`.

        Raises:
            RecipeError: the launcher asks for something that unspoken was never tried with.
        """
        plugin = fsdp_plugin(recipe.train.precision)
        super().__init__(recipe, folder, fsdp_plugin=plugin)
        # Without GPUs, and from a process's second model on, Accelerate forgets the plugin and
        # makes plain DDP of it.
        self.accelerator.state.fsdp_plugin = plugin
        self.accelerator.state.distributed_type = DistributedType.FSDP

    def clip(self, max_norm: float) -> torch.Tensor:
        """Scales the gradients so that their norm is at most `max_norm`; returns it before."""
        norm: Any = super().clip(max_norm)
        return norm.full_tensor()

    def gather_weights(self, model: AnyModel, *, everywhere: bool) -> dict[str, torch.Tensor]:
        """Whole copies of the weights, by name; see `Processes.gather_weights`."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=not everywhere)
        weights: dict[str, Any] = get_model_state_dict(model, options=options)
        return weights

    def change_weights(self, model: AnyModel, change: Callable[[AnyModel], None]) -> None:
        """Lets `change` set the weights of a whole copy, and takes each process its share."""
        with self.whole(model, everywhere=True) as whole:
            change(whole)
            options = StateDictOptions(full_state_dict=True)
            set_model_state_dict(model, whole.state_dict(), options=options)

    def optimizer_state(self, model: AnyModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The state_dict of one process' optimizer in the main process, an empty one elsewhere."""
        optimizer = torch_optimizer(optimizer)
        if not optimizer.state:  # torch would take a step to have one
            return optimizer.state_dict()
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=options)
        if not self.accelerator.is_main_process:
            return {}
        names = parameter_names(model, optimizer)
        return _with_keys(state, {name: number for number, name in enumerate(names)})

    def load_optimizer_state(
        self, model: AnyModel, optimizer: torch.optim.Optimizer, state: dict[str, Any]
    ) -> None:
        """Puts what `optimizer_state` returned into the optimizer, each process its share."""
        optimizer = torch_optimizer(optimizer)
        if not state["state"]:  # torch would take a step, and count it
            return
        named = _with_keys(state, dict(enumerate(parameter_names(model, optimizer))))
        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(model, optimizer, named, options=options)


def fsdp_plugin(precision: str) -> FullyShardedDataParallelPlugin:
    """Accelerate's, from the launcher's settings; sums gradients in fp32, as the others do."""
    if is_set("FSDP_OFFLOAD_PARAMS"):
        raise RecipeError(
            "accelerate's configuration: found fsdp_offload_params: true, which unspoken was never "
            f"tried with; set it to false, and a smaller {setting('train.micro_batch_size')}"
        )
    plugin = FullyShardedDataParallelPlugin()
    if precision == "bf16":
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32
        )
    return plugin


def parameter_names(model: AnyModel, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the optimizer's parameters, in the order in which its state_dict numbers them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


def _with_keys(state: dict[str, Any], keys: dict[Any, Any]) -> dict[str, Any]:
    """An optimizer's state_dict with other keys for its parameters."""
    return {
        "state": {keys[key]: values for key, values in state["state"].items()},
        "param_groups": [
            {**group, "params": [keys[key] for key in group["params"]]}
            for group in state["param_groups"]
        ],
    }
