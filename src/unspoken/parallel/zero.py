"""DeepSpeed's ZeRO: its settings from the recipe, its weights and optimizer state as torch's.

Each process steps flat pieces of fp32 weights. Under stages 1 and 2 there is one for each parameter
group, and a parameter may lie in it whole, in part or not at all; under stage 3 every parameter is
cut into equal shares, the last of them padded. `unspoken.parallel.processes` asks here for what one
process would have. Importing this module does not import deepspeed.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from unspoken.common.errors import RecipeError
from unspoken.parallel.world import read_world
from unspoken.recipe import Recipe


def plugin(recipe: Recipe) -> Any:
    """Accelerate's, from the launcher's settings; what the recipe decides is the recipe's."""
    import torch
    from accelerate.utils import DeepSpeedPlugin

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # two for each collective of stage 3, which is DeepSpeed's to call
    warnings.filterwarnings("ignore", r".*torch\.distributed\..* is deprecated", FutureWarning)
    made: Any = DeepSpeedPlugin()
    config = made.deepspeed_config
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
    return made


def keep_from_transformers() -> None:
    """Undoes what Accelerate told transformers, which would cut up every model it loads from now on
    under stage 3: what unspoken validates, answers and saves with are plain models."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


def shares_weights(zero: Any) -> bool:
    """Whether this is stage 3: no process has a whole weight outside of its layer's turn."""
    return hasattr(zero, "fp32_partitioned_groups_flat")


def whole_weight(parameter: Any) -> Any:
    """A copy of a weight or buffer, whole; all processes must call it."""
    if not hasattr(parameter, "ds_id"):
        return parameter.detach()
    deepspeed = importlib.import_module("deepspeed.runtime.zero")
    with deepspeed.GatheredParameters([parameter]):
        return parameter.detach().clone()


def forget(zero: Any) -> None:
    """Lets go of the pieces of moments that were forgotten; they would be kept in memory."""
    if shares_weights(zero):
        return
    zero._hp_optimizer_states_linked = False
    for parameter in (parameter for group in zero.bit16_groups for parameter in group):
        if parameter._hp_mapping is not None:
            parameter._hp_mapping.optim_fragment = None


class _Piece(NamedTuple):
    """What a parameter has in this process's flat piece of its group, if anything.

    Attributes:
        number: the parameter's number in torch's state_dict.
        shape: of the whole parameter.
        here, there: where its part begins in the flat piece, and in the whole parameter.
        size: of that part, in elements; 0 if nothing of it is here.
    """

    number: int
    shape: Any
    here: int = 0
    there: int = 0
    size: int = 0

    def of_flat(self, flat: Any) -> Any:
        return flat.narrow(0, self.here, self.size)

    def of_whole(self, whole: Any) -> Any:
        return whole.view(-1).narrow(0, self.there, self.size)


def _pieces(zero: Any) -> Iterator[tuple[int, Any, list[_Piece]]]:
    """(number of the parameter group, flat piece, what is in it), in the order of torch's."""
    numbers = itertools.count()
    if shares_weights(zero):
        pairs = zip(zero.fp32_partitioned_groups_flat, zero.fp16_groups, strict=True)
        for index, (flat, group) in enumerate(pairs):
            yield zero.sub_group_to_group_id[index], flat, list(_equal_shares(group, numbers))
    else:
        pairs = zip(zero.single_partition_of_fp32_groups, zero.bit16_groups, strict=True)
        for index, (flat, group) in enumerate(pairs):
            yield index, flat, list(_cut_anywhere(group, numbers))


def _equal_shares(group: Any, numbers: Iterator[int]) -> Iterator[_Piece]:
    """Stage 3."""
    import torch

    rank, here = torch.distributed.get_rank(), 0
    for parameter, number in zip(group, numbers, strict=False):
        share = parameter.partition_numel()
        there = min(rank * share, parameter.ds_numel)
        size = min(share, parameter.ds_numel - there)  # without the padding
        yield _Piece(number, parameter.ds_shape, here, there, size)
        here += share


def _cut_anywhere(group: Any, numbers: Iterator[int]) -> Iterator[_Piece]:
    """Stages 1 and 2."""
    for parameter, number in zip(group, numbers, strict=False):
        if (mapping := parameter._hp_mapping) is None:
            yield _Piece(number, parameter.shape)
        else:
            here, there = mapping.hp_fragment_address, mapping.lp_fragment_address
            yield _Piece(number, parameter.shape, here.start, there.start, here.numel)


def whole_state(zero: Any) -> dict[str, Any]:
    """DeepSpeed's optimizer state in the form of torch's state_dict; calling a value gathers it."""
    state: dict[int, dict[str, Callable[[], Any]]] = {}
    groups: list[dict[str, Any]] = [
        {**{key: value for key, value in group.items() if key != "params"}, "params": []}
        for group in zero.optimizer.param_groups
    ]
    for number, flat, pieces in _pieces(zero):
        groups[number]["params"] += [piece.number for piece in pieces]
        moments = zero.optimizer.state.get(flat, {})
        for piece in pieces if moments else ():
            state[piece.number] = {
                key: functools.partial(_gathered, piece, value, is_moment=value.shape == flat.shape)
                for key, value in moments.items()
            }
    return {"state": state, "param_groups": groups}


def _gathered(piece: _Piece, value: Any, *, is_moment: bool) -> Any:
    """A parameter's moment from the processes' pieces; its own copy of a number, such as the step,
    which DeepSpeed counts once for all."""
    import torch

    if not is_moment:
        return value.clone()
    whole = torch.zeros(piece.shape, dtype=value.dtype, device=value.device)
    piece.of_whole(whole).copy_(piece.of_flat(value))
    torch.distributed.all_reduce(whole)
    return whole


def load_state(zero: Any, saved: dict[str, Any]) -> None:
    """The opposite of `whole_state`."""
    import torch

    for _, flat, pieces in _pieces(zero):
        moments: dict[str, Any] = {}
        for piece in pieces:
            for key, value in saved["state"].get(piece.number, {}).items():
                if value.shape != piece.shape:
                    moments[key] = value.to(flat.device, copy=True)
                    continue
                moment = moments.setdefault(key, torch.zeros_like(flat))
                piece.of_flat(moment).copy_(piece.of_whole(value.to(flat.device)))
        if moments:
            zero.optimizer.state[flat] = moments
