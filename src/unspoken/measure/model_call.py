"""How a causal language model is called for scores, whatever its arguments are named."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

#: Highest difference of scores that is rounding, as a share of the largest score.
_TOLERANCE = {torch.float32: 5e-3, torch.float64: 1e-6}  # of fp32 also with TF32


class ModelCall:
    """How a model is called: the names of its arguments, and which masks it wants."""

    def __init__(self, model: PreTrainedModel | PeftModel) -> None:
        whole: Any = model
        base: Any = whole.get_base_model() if hasattr(whole, "peft_config") else whole
        self.model: Any = base
        self.config: Any = base.config.get_text_config()
        self.names = inspect.signature(base.forward).parameters
        self.cache_name = "cache" if "cache" in self.names else "past_key_values"
        self.num_weights = sum(weight.numel() for weight in base.parameters())
        self.is_spread = len(set((getattr(base, "hf_device_map", None) or {}).values())) > 1
        self.num_positions: int | None = getattr(self.config, "max_position_embeddings", None)
        window = getattr(self.config, "sliding_window", None)
        kinds = getattr(self.config, "layer_types", None)
        self.windows: dict[str | None, int | None]
        if kinds is None:
            self.windows = {None: window}
        else:
            self.windows = {k: window if k == "sliding_attention" else None for k in set(kinds)}

    def __call__(self, ids: torch.Tensor, cache: Any, **extra: Any) -> torch.Tensor:
        """(B, T) ids -> (B, T, V) scores."""
        arguments = {"input_ids": ids, self.cache_name: cache, "use_cache": True, **extra}
        return self.model(**arguments).logits

    def at(self, ids: torch.Tensor, cache: Any, ends: torch.Tensor) -> torch.Tensor:
        """(B, T) ids, (B,) columns -> (B, V) scores at these columns alone."""
        if len(ids) == 1 and "logits_to_keep" in self.names:  # its column is the last one
            return self(ids, cache, logits_to_keep=1)[:, -1]
        rows = torch.arange(len(ids), device=ids.device)
        if "logits_to_keep" not in self.names:
            return self(ids, cache)[rows, ends]
        columns, place = ends.unique(return_inverse=True)
        head = self.model.get_output_embeddings()
        if len(columns) == 1 or head is None:
            return self(ids, cache, logits_to_keep=columns)[rows, place]

        def select(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            """(B, T, width) -> (B, 1, width): of all columns only each row's own."""
            return inputs[0][rows, ends][:, None], *inputs[1:]

        handle = head.register_forward_pre_hook(select)
        try:
            scores = self(ids, cache)
        finally:
            handle.remove()
        # a model that uses the weights of its head without calling it has scores of all columns
        return scores[:, 0] if scores.shape[1] == 1 else scores[rows, ends]

    def masks(self, columns: torch.Tensor, places: torch.Tensor, dtype: torch.dtype) -> Any:
        """(T,) columns, (B, 1) places -> a (B, 1, 1, T) mask, or one for each kind of layer."""
        made = {}
        for kind, window in self.windows.items():
            seen = columns <= places
            if window is not None:
                seen = seen & (columns > places - window)
            hidden = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            made[kind] = hidden.masked_fill(~seen, float("-inf"))[:, None, None]
        return made.get(None, made)


def scores_agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether scores differ by rounding alone; NaN does not agree."""
    limit = _TOLERANCE.get(found.dtype, 5e-2) * expected.float().abs().max()
    return bool((found.float() - expected.float()).abs().max() <= limit)
