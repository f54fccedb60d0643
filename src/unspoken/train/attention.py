"""Attention in training batches: torch's causal kernel, known without looking into a mask.

Padding stands on the right of a causal model, where nobody sees it. transformers cannot know that:
without a mask it compares all positions to find packed sequences, with a mask of ones it adds the
mask up, and both times the host waits for the GPU in every forward pass; under torch.compile it
even builds the whole mask, and torch leaves its flash kernel. `unpadded` tells it.

On a CPU, torch's kernel is written for fp32: in bf16 it takes 1.4 to 2.6 times as long with its
backward pass (torch 2.13). So there attention is computed in fp32, which is more exact, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


@contextmanager
def unpadded() -> Iterator[None]:
    """Within the block, torch's attention takes masks of ones as such, and on a CPU fp32."""
    from transformers import AttentionInterface, AttentionMaskInterface

    mask, their_mask = _masks()
    attention, their_attention = _attentions()
    AttentionMaskInterface.register("sdpa", mask)
    AttentionInterface.register("sdpa", attention)
    try:
        yield
    finally:
        AttentionMaskInterface.register("sdpa", their_mask)
        AttentionInterface.register("sdpa", their_attention)


def mask_of_ones(
    model: PreTrainedModel | PeftModel, input_ids: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The argument that spares a model the search for packed sequences, where it needs one.

    Args:
        model: the bare one.
        input_ids: (B, T).
    """
    import torch

    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        return {}
    return {"attention_mask": torch.ones_like(input_ids, dtype=torch.bool)}


@cache
def _masks() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two functions that make masks for torch's attention: without padding, and with any.

    Always the same two: for others torch.compile would compile again.
    """
    from transformers.masking_utils import sdpa_mask

    def mask(**arguments: Any) -> torch.Tensor | None:
        is_causal = arguments.get("allow_is_causal_skip", True)
        if is_causal and arguments.get("local_size") is None:
            return None  # torch's attention is causal then by itself
        return sdpa_mask(**{**arguments, "attention_mask": None})

    return mask, sdpa_mask


@cache
def _attentions() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two functions that attend: in fp32 on a CPU, and in the precision that they are given.

    Always the same two, as the masks.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def attend(
        module: Any, query: Any, key: Any, value: Any, *arguments: Any, **named: Any
    ) -> tuple[torch.Tensor, None]:
        lower = _dtype_on_cpu(query)
        if lower is None:
            return sdpa_attention_forward(module, query, key, value, *arguments, **named)
        tensors = (each.float() for each in (query, key, value))
        with torch.autocast("cpu", enabled=False):
            found, _ = sdpa_attention_forward(module, *tensors, *arguments, **named)
        return found.to(lower), None

    return attend, sdpa_attention_forward


def _dtype_on_cpu(query: torch.Tensor) -> torch.dtype | None:
    """What a CPU would attend in where that is not fp32; else None."""
    import torch

    if query.device.type != "cpu":
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    return None if dtype in (torch.float32, torch.float64) else dtype
