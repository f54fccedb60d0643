"""DeepSpeed's ZeRO: gradients and optimizer state are shared out, under stage 3 weights, too.

Each process steps flat pieces of fp32 weights instead of the model's parameters; `deepspeed.utils`
gathers what one process would have of a parameter, and puts it back. Importing this module does
not import deepspeed.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from accelerate.utils import DeepSpeedPlugin

from unspoken.common.errors import RecipeError
from unspoken.parallel.processes import Processes, torch_optimizer
from unspoken.parallel.world import read_world
from unspoken.recipe import Recipe

if TYPE_CHECKING:
    from unspoken.parallel.processes import AnyModel


class ZeroProcesses(Processes):
    """DeepSpeed's engine, which does the backward pass, the clipping and the step itself."""

    way = "zero"

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        """Joins the processes; see `Processes`.

        Raises:
            RecipeError: the launcher asks for something that unspoken was never tried with.
        """
        plugin = deepspeed_plugin(recipe)
        self.shares_weights = plugin.zero_stage == 3
        super().__init__(recipe, folder, deepspeed_plugin=plugin)
        keep_from_transformers()
        self._groups: list[list[torch.nn.Parameter]] = []

    def prepare(
        self, model: AnyModel, optimizer: torch.optim.Optimizer
    ) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        """The engine to call, and a wrapper of its optimizer."""
        self._groups = [list(group["params"]) for group in optimizer.param_groups]
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)  # it would list its settings
        return super().prepare(model, optimizer)

    def arithmetic(self) -> contextlib.AbstractContextManager[Any]:
        """A block with all micro-batches of a step; the engine itself sees to precision."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def micro_batch(self, model: torch.nn.Module, *, last: bool) -> Iterator[None]:
        """A block with one forward and backward pass; the engine counts none of them itself."""
        _engine(model).set_gradient_accumulation_boundary(is_boundary=last)
        yield

    def backward(self, model: torch.nn.Module, loss: torch.Tensor) -> None:
        """Adds the gradient of this loss."""
        _engine(model).backward(loss, scale_wrt_gas=False)

    def step(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, max_norm: float
    ) -> torch.Tensor:
        """The engine's step, which clips by the norm in its settings; returns the norm before."""
        engine = _engine(model)
        engine.step()
        norm = float(engine.get_global_grad_norm() or 0.0)
        norm = norm if norm >= 0 else float("nan")  # DeepSpeed says -1
        return torch.full((), norm, device=self.accelerator.device)

    def reset(self, optimizer: torch.optim.Optimizer) -> None:
        """Makes the optimizer's moments and its count of steps 0.

        DeepSpeed keeps views of them, so they cannot be dropped; the next step is the same.
        """
        for moments in torch_optimizer(optimizer).state.values():
            for value in moments.values():
                value.zero_()

    def gather_weights(self, model: AnyModel, *, everywhere: bool) -> dict[str, torch.Tensor]:
        """Whole copies of weights and buffers, by name; see `Processes.gather_weights`."""
        wanted = everywhere or self.accelerator.is_main_process
        weights = {}
        for name, share in model.state_dict(keep_vars=True).items():
            with _deepspeed().zero.GatheredParameters([share]):
                if wanted:
                    whole = share.detach()
                    weights[name] = whole.clone() if everywhere else whole.to("cpu", copy=True)
        return weights

    def optimizer_state(self, model: AnyModel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The state_dict of one process' optimizer, in the main process at least."""
        flat = torch_optimizer(optimizer)
        kept = next(iter(flat.state.values()), {})  # the same keys and count for every piece
        if kept:
            self._link_moments(flat)
        gather = _deepspeed().utils.safe_get_full_optimizer_state
        state: dict[int, dict[str, Any]] = {}
        for number, parameter in enumerate(self._parameters() if kept else ()):
            for key, value in sorted(kept.items()):
                whole = value.clone() if value.ndim == 0 else gather(parameter, key)
                if self.accelerator.is_main_process:  # or each would need memory for all
                    state.setdefault(number, {})[key] = whole.cpu()
        groups, begin = [], 0
        for group, parameters in zip(flat.param_groups, self._groups, strict=True):
            end = begin + len(parameters)
            groups.append({**group, "params": list(range(begin, end))})
            begin = end
        return {"state": state, "param_groups": groups}

    def load_optimizer_state(
        self, model: AnyModel, optimizer: torch.optim.Optimizer, state: dict[str, Any]
    ) -> None:
        """Puts what `optimizer_state` returned into the optimizer, each process its share.

        Moments only exist after a first step, and DeepSpeed has no function that makes them.
        """
        flat, moments = torch_optimizer(optimizer), state["state"]
        if not moments:
            return
        if self.shares_weights:
            within: Any = optimizer
            pieces = within.optimizer.fp32_partitioned_groups_flat
        else:
            pieces = [group["params"][0] for group in flat.param_groups]
        for piece in pieces:
            flat.state[piece] = _moments_like(piece, next(iter(moments.values())))
        self._link_moments(flat)
        for number, parameter in enumerate(self._parameters()):
            for key, value in moments.get(number, {}).items():
                if value.ndim > 0:
                    self._put(parameter, key, value.to(self.accelerator.device))

    def _link_moments(self, flat: torch.optim.Optimizer) -> None:
        """Lets DeepSpeed find the moments of each parameter in those of the flat pieces.

        It does so itself after the first step under stage 3. Under the others it does it once the
        first parameter group has stepped, when the second one has no moments yet.
        """
        if not self.shares_weights:
            link = _deepspeed().utils.lazy_init_hp_params_optimizer_state
            for group, parameters in zip(flat.param_groups, self._groups, strict=True):
                link(parameters, group["params"][0], flat.state)

    def _put(self, parameter: Any, key: str, moment: torch.Tensor) -> None:
        """Puts this process' share of a moment of a parameter where DeepSpeed keeps it."""
        utils = _deepspeed().utils
        if not self.shares_weights:
            utils.safe_set_full_optimizer_state(parameter, moment, key)
            return
        # The function for whole moments fails where they are no multiple of the processes.
        size = utils.safe_get_local_optimizer_state(parameter, key).numel()
        world = self.accelerator
        padded = F.pad(moment.flatten(), (0, size * world.num_processes - moment.numel()))
        share = padded.narrow(0, size * world.process_index, size)
        utils.safe_set_local_optimizer_state(parameter, share, key)

    def _parameters(self) -> Iterator[torch.nn.Parameter]:
        """The trained parameters, in the order in which torch's state_dict numbers them."""
        for group in self._groups:
            yield from group


def _moments_like(piece: torch.Tensor, kept: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Moments of a flat piece, all 0, with the numbers of a parameter's, such as its step."""
    return {
        key: torch.zeros_like(piece) if value.ndim else value.to(piece.device, copy=True)
        for key, value in kept.items()
    }


def deepspeed_plugin(recipe: Recipe) -> DeepSpeedPlugin:
    """Accelerate's, from the launcher's settings; what the recipe decides is the recipe's.

    Raises:
        RecipeError: the launcher asks for something that unspoken was never tried with.
    """
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # two for each collective of stage 3, which is DeepSpeed's to call
    warnings.filterwarnings("ignore", r".*torch\.distributed\..* is deprecated", FutureWarning)
    plugin = DeepSpeedPlugin()
    config: Any = plugin.deepspeed_config
    sharing = config["zero_optimization"]
    stage = int(sharing.get("stage", 2))
    if stage not in (1, 2, 3):
        raise RecipeError(
            f"accelerate's configuration: found DeepSpeed's zero_stage {stage}; needed: 2 or 3; "
            "set it, or start with configs/ddp.yaml, which shares out nothing"
        )
    for what in ("offload_optimizer", "offload_param"):
        if sharing.get(what, {}).get("device", "none") != "none":
            raise RecipeError(
                f"accelerate's configuration: found {what}_device "
                f"{sharing[what]['device']}, which unspoken was never tried with; set it to none, "
                "or start with configs/fsdp2.yaml"
            )
    mine = recipe.train.batch_size // read_world().size
    micro = min(recipe.train.micro_batch_size or mine, mine)
    config |= {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": max(1, micro),
        "gradient_accumulation_steps": 1,
        "gradient_clipping": recipe.train.max_grad_norm,
        "fp16": {"enabled": False},
        "bf16": {"enabled": False},
    }
    if recipe.train.precision == "bf16":  # fp32 weights and sums, as everywhere else
        config["torch_autocast"] = {
            "enabled": True,
            "dtype": "bfloat16",
            "lower_precision_safe_modules": [],
        }
    return plugin


def keep_from_transformers() -> None:
    """Undoes what Accelerate told transformers, which would cut up every model it loads from now on
    under stage 3: what unspoken validates, answers and saves with are plain models."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


def _engine(model: torch.nn.Module) -> Any:
    """The model as a DeepSpeedEngine, a type that is not there without deepspeed."""
    return model


def _deepspeed() -> Any:
    return importlib.import_module("deepspeed")
