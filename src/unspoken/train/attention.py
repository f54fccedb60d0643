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
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    AttentionMaskInterface.register("sdpa", _mask())
    AttentionInterface.register("sdpa", _attention())
    try:
        yield
    finally:
        AttentionMaskInterface.register("sdpa", sdpa_mask)
        AttentionInterface.register("sdpa", sdpa_attention_forward)


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
def _mask() -> Callable[..., Any]:
    """Makes masks for torch's attention, without padding.

    Always the same function: for another one torch.compile would compile again.
    """
    from transformers.masking_utils import sdpa_mask

    def mask(**arguments: Any) -> torch.Tensor | None:
        is_causal = arguments.get("allow_is_causal_skip", True)
        if is_causal and arguments.get("local_size") is None:
            return None  # torch's attention is causal then by itself
        return sdpa_mask(**{**arguments, "attention_mask": None})

    return mask


@cache
def _attention() -> Callable[..., Any]:
    """Attends, on a CPU in fp32; always the same function, as the mask's."""
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

    return attend


def _dtype_on_cpu(query: torch.Tensor) -> torch.dtype | None:
    """What a CPU would attend in where that is not fp32; else None."""
    import torch

    if query.device.type != "cpu":
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    return None if dtype in (torch.float32, torch.float64) else dtype
