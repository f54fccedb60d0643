"""One training run over several processes: what differs between the ways of doing it.

Whoever starts the processes (`accelerate launch`, torchrun) says in environment variables how they
work together, and Accelerate does it:

    ddp     every process has the whole model and the whole optimizer state (also: one process)
    fsdp2   weights, gradients and optimizer state are shared out (torch's fully_shard)
    zero    DeepSpeed: gradients and optimizer state are shared out, under stage 3 weights, too

`unspoken.train.loop` takes the same steps under each of them, and `unspoken.train.checkpoint`
writes the same files: whole weights, and optimizer state as one process has it. So any number of
processes, in any of the three ways, goes on from any checkpoint.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken.common.errors import RecipeError
from unspoken.parallel import zero
from unspoken.parallel.world import Way, is_set, join_processes, read_way, require_way
from unspoken.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


class Processes:
    """The processes of one training run.

    Attributes:
        way: how they work together.
        accelerator: Accelerate's.
    """

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        """Joins the processes that the launcher started.

        Args:
            recipe: its precision, batch sizes and trackers count, not the launcher's.
            folder: of the run, for trackers.

        Raises:
            RecipeError: recipe and launcher do not fit together.
        """
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import DistributedType, GradientAccumulationPlugin

        self.way: Way = read_way()
        self.precision = recipe.train.precision
        require_way(recipe)
        precision = {"fp32": "no"}.get(self.precision, self.precision)
        plugin = None
        extra: dict[str, Any] = {"fsdp_plugin": None}
        if self.way == "fsdp2":
            plugin = _fsdp_plugin(self.precision)
            extra = {"fsdp_plugin": plugin}
        elif self.way == "zero":
            extra = {"deepspeed_plugin": zero.plugin(recipe)}
            precision = "no"  # DeepSpeed's engine sees to it
        trackers: list[Any] = list(recipe.train.trackers)
        join_processes()
        AcceleratorState._reset_state()  # phases and baselines follow each other in one process
        self.accelerator: Accelerator = Accelerator(
            mixed_precision=precision,
            log_with=trackers or None,
            project_dir=folder,
            # or the launcher's number would divide the loss
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            **extra,
        )
        if self.way == "zero":
            zero.keep_from_transformers()
        if self.way == "fsdp2":
            # Without GPUs, and from a process's second model on, Accelerate forgets the plugin
            # and makes plain DDP of it.
            self.accelerator.state.fsdp_plugin = plugin
            self.accelerator.state.distributed_type = DistributedType.FSDP
        self._shell: Any = None
        self._shares_weights = False

    def remember(self, model: Any) -> None:
        """Keeps the model's structure, without weights, for `whole`; before anything wraps it."""
        import torch

        if self.way != "ddp":
            empty = {
                id(parameter): torch.nn.Parameter(
                    torch.empty_like(parameter, device="meta"),
                    requires_grad=parameter.requires_grad,
                )
                for parameter in model.parameters()
            }
            self._shell = copy.deepcopy(model, empty)

    def prepare(self, model: Any, optimizer: Any) -> tuple[Any, Any]:
        """The model to call and the optimizer to step."""
        if self.way == "zero":  # it would list all its settings
            logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        model, optimizer = self.accelerator.prepare(model, optimizer)
        self._shares_weights = self.way == "fsdp2" or (
            self.way == "zero" and zero.shares_weights(optimizer.optimizer)
        )
        return model, optimizer

    def backward(
        self, model: Any, loss: Callable[[], torch.Tensor], *, scale: float, last: bool
    ) -> torch.Tensor:
        """Adds `scale` times the gradient of a micro-batch's loss; returns the loss, detached.

        Args:
            model: as `prepare` returned it.
            loss: computes it.
            scale: of the gradients, which become the mean over the processes in each way.
            last: of this optimizer step. Under DeepSpeed, the step itself happens here, too.
        """
        if self.way == "zero":
            value = loss()
            model.set_gradient_accumulation_boundary(is_boundary=last)
            model.backward(value * scale, scale_wrt_gas=False)
            if last:
                model.step()
            return value.detach()
        # fsdp2 shares gradients out after every micro-batch: whole ones would not fit
        whole = self.way == "ddp" and not last
        with self.accelerator.no_sync(model) if whole else contextlib.nullcontext():
            value = loss()
            self.accelerator.backward(value * scale)
        return value.detach()

    def clip(self, model: Any, max_norm: float) -> float:
        """Clips the gradients to this norm over all processes; returns the norm before."""
        norm: Any = self.accelerator.clip_grad_norm_(model.parameters(), max_norm)
        norm = float(_whole(norm) if norm is not None else 0.0)
        return norm if norm >= 0 else float("nan")  # DeepSpeed says -1

    def reset(self, optimizer: Any) -> None:
        """Forgets the optimizer's moments, not the weights."""
        _torch_optimizer(optimizer).state.clear()
        if self.way == "zero":
            zero.forget(optimizer.optimizer)

    @contextlib.contextmanager
    def whole(self, model: Any, *, everywhere: bool = False) -> Iterator[Any]:
        """Within the block, the plain model with all its weights, in the main process at least.

        All processes must enter; where the weights are not, None comes. Changes to them are lost
        where weights are shared out.

        Args:
            model: that was given to `prepare`.
            everywhere: in all processes, on their devices; else on the CPU where weights are
                shared out.
        """
        if not self._shares_weights:
            yield model
            return
        wanted = everywhere or self.accelerator.is_main_process
        weights = {}
        for name, share in model.state_dict(keep_vars=True).items():
            fsdp2 = self.way == "fsdp2"
            tensor = _whole(share.detach()) if fsdp2 else zero.whole_weight(share)
            if wanted:
                weights[name] = tensor if everywhere else tensor.cpu()
        if not wanted:
            yield None
            return
        plain = copy.deepcopy(self._shell)
        plain.load_state_dict(weights, assign=True)
        plain.tie_weights()
        with self.autocast() if everywhere else contextlib.nullcontext():
            yield plain.to(self.accelerator.device) if everywhere else plain

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The arithmetic of training for a model that Accelerate did not wrap."""
        import torch

        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.accelerator.device.type, dtype)

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Its state_dict as one process would have it, in the main process at least.

        All processes must call it.
        """
        if self.way == "ddp":
            return optimizer.state_dict()
        is_zero = self.way == "zero"
        state = zero.whole_state(optimizer.optimizer) if is_zero else optimizer.state_dict()
        moments: dict[int, dict[str, Any]] = {}
        for index, values in sorted(state["state"].items()):
            for key in sorted(values):
                value = values[key]() if is_zero else _whole(values[key])
                if self.accelerator.is_main_process:  # or each would need memory for all
                    moments.setdefault(index, {})[key] = value.cpu()
        return {**state, "state": moments}

    def load_optimizer_state(self, optimizer: Any, state: dict[str, Any]) -> None:
        """Puts what `optimizer_state` returned into the optimizer, each process its share."""
        if self.way == "zero":
            zero.load_state(optimizer.optimizer, state)
            return
        if self.way == "fsdp2":
            groups = _torch_optimizer(optimizer).param_groups
            parameters = [parameter for group in groups for parameter in group["params"]]
            moments = {
                index: {key: _shared_out(value, parameters[index]) for key, value in values.items()}
                for index, values in sorted(state["state"].items())
            }
            state = {**state, "state": moments}
        optimizer.load_state_dict(state)


def _fsdp_plugin(precision: str) -> Any:
    """Accelerate's, from the launcher's settings; sums gradients in fp32, as the others do."""
    import torch
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if is_set("FSDP_OFFLOAD_PARAMS"):
        raise RecipeError(
            "accelerate's configuration: found fsdp_offload_params: true, which unspoken was never "
            "tried with; set it to false, and a smaller train.micro_batch_size"
        )
    plugin: Any = FullyShardedDataParallelPlugin()
    if precision == "bf16":
        plugin.mixed_precision_policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32
        )
    return plugin


def _torch_optimizer(optimizer: Any) -> Any:
    """The one within all wrappers."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def _whole(value: Any) -> Any:
    """A tensor that is shared out, as one; others as they are."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _shared_out(value: Any, parameter: Any) -> Any:
    """This process's share of a moment; a number, such as the step, stays one."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value.clone()
    value = value.to(parameter.device)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements)
