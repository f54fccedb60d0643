"""DeepSpeed's ZeRO, stages 1 and 2: its settings from the recipe, its optimizer state as torch's.

Each process steps one flat piece of fp32 weights for each parameter group; a parameter may lie in
it whole, in part or not at all. `tacit.distributed` asks here for what one process would have.
Importing this room does not import deepspeed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

from tacit.errors import RecipeError
from tacit.recipe import Recipe


def plugin(recipe: Recipe) -> Any:
    """Accelerate's, from the launcher's settings; what the recipe decides is the recipe's."""
    import torch
    from accelerate.utils import DeepSpeedPlugin

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    made: Any = DeepSpeedPlugin()
    config = made.deepspeed_config
    sharing = config["zero_optimization"]
    stage = int(sharing.get("stage", 2))
    if stage not in (1, 2):
        same = "configs/fsdp2.yaml, which shares out weights, too"
        same = "configs/ddp.yaml, which shares out nothing" if stage == 0 else same
        raise RecipeError(
            f"accelerate's configuration: found DeepSpeed's zero_stage {stage}; needed: 2; set it, "
            f"or start with {same}"
        )
    for what in ("offload_optimizer", "offload_param"):
        if sharing.get(what, {}).get("device", "none") != "none":
            raise RecipeError(
                f"accelerate's configuration: found {what}_device "
                f"{sharing[what]['device']}, which tacit was never tried with; set it to none, or "
                "start with configs/fsdp2.yaml"
            )
    mine = recipe.train.batch_size // int(os.environ.get("WORLD_SIZE", "1"))
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
    return made


def forget(zero: Any) -> None:
    """Lets go of the pieces of moments that were forgotten; they would be kept in memory."""
    zero._hp_optimizer_states_linked = False
    for parameter in (parameter for group in zero.bit16_groups for parameter in group):
        if parameter._hp_mapping is not None:
            parameter._hp_mapping.optim_fragment = None


def _groups(zero: Any) -> Iterator[tuple[Any, list[tuple[int, Any]]]]:
    """Each flat piece of this process, and the parameters of its group, numbered."""
    index = 0
    for flat, group in zip(zero.single_partition_of_fp32_groups, zero.bit16_groups, strict=True):
        yield flat, list(enumerate(group, start=index))
        index += len(group)


def _fragments(parameter: Any, flat: Any, whole: Any) -> tuple[Any, Any] | None:
    """What a flat piece and a whole tensor have in common: (part of the one, of the other)."""
    mapping = parameter._hp_mapping
    if mapping is None:
        return None
    here, there = mapping.hp_fragment_address, mapping.lp_fragment_address
    part = whole.view(-1).narrow(0, there.start, there.numel)
    return flat.narrow(0, here.start, here.numel), part


def whole_state(zero: Any) -> dict[str, Any]:
    """DeepSpeed's optimizer state in the form of torch's state_dict; calling a value gathers it."""
    state: dict[int, dict[str, Callable[[], Any]]] = {}
    groups = []
    for (flat, numbered), group in zip(_groups(zero), zero.optimizer.param_groups, strict=True):
        numbers = [index for index, _ in numbered]
        groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": numbers})
        pieces = zero.optimizer.state.get(flat, {})
        for index, parameter in numbered if pieces else ():
            state[index] = {
                key: functools.partial(_gathered, parameter, flat, value)
                for key, value in pieces.items()
            }
    return {"state": state, "param_groups": groups}


def _gathered(parameter: Any, flat: Any, value: Any) -> Any:
    """A parameter's moment from the processes' pieces; its own copy of a number, such as the step,
    which DeepSpeed counts once for all."""
    import torch

    if value.shape != flat.shape:
        return value.clone()
    whole = torch.zeros(parameter.shape, dtype=value.dtype, device=value.device)
    if found := _fragments(parameter, value, whole):
        found[1].copy_(found[0])
    torch.distributed.all_reduce(whole)
    return whole


def load_state(zero: Any, saved: dict[str, Any]) -> None:
    """The opposite of `whole_state`."""
    import torch

    for flat, numbered in _groups(zero):
        pieces: dict[str, Any] = {}
        for index, parameter in numbered:
            for key, value in saved["state"].get(index, {}).items():
                if value.shape != parameter.shape:
                    pieces[key] = value.to(flat.device, copy=True)
                    continue
                piece = pieces.setdefault(key, torch.zeros_like(flat))
                if found := _fragments(parameter, piece, value.to(flat.device)):
                    found[0].copy_(found[1])
        if pieces:
            zero.optimizer.state[flat] = pieces
