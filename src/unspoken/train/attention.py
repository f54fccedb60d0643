"""Attention in training batches: torch's causal kernel, known without looking into a mask.

Padding stands on the right of a causal model, where nobody sees it. transformers cannot know that:
without a mask it compares all positions to find packed sequences, with a mask of ones it adds the
mask up, and both times the host waits for the GPU in every forward pass; under torch.compile it
even builds the whole mask, and torch leaves its flash kernel. `unpadded` tells it.
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
    """Within the block, masks of ones that models get for torch's attention are not looked into."""
    from transformers import AttentionMaskInterface

    ours, theirs = _masks()
    AttentionMaskInterface.register("sdpa", ours)
    try:
        yield
    finally:
        AttentionMaskInterface.register("sdpa", theirs)


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
