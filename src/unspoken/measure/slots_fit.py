"""Which models can be asked in slots (`measure/slots.py`)."""

from __future__ import annotations

import logging
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from unspoken.common.out_of_memory import is_out_of_memory
from unspoken.measure.choose import Chooser
from unspoken.measure.model_call import ModelCall, scores_agree
from unspoken.measure.slots import Slots

logger = logging.getLogger(__name__)

_KNOWN: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_LAYERS = {"full_attention", "sliding_attention"}


def fits(model: Any) -> bool:
    """Whether a model can be asked in slots: it says so, and a few tokens have the same scores.

    Decoders with plain or sliding attention and positions that can be given do; a model with
    another kind of state (Mamba), with positions that follow from a mask (ALiBi) or from the
    longest row (dynamic RoPE), or with virtual tokens (prompt tuning) does not.
    """
    if not isinstance(model, PreTrainedModel) and not hasattr(model, "peft_config"):
        return False
    if model not in _KNOWN:
        _KNOWN[model] = _says_so(model) and _is_exact(model)
    return _KNOWN[model]


def _says_so(model: Any) -> bool:
    """What its type and configuration say."""
    if hasattr(model, "peft_config") and model.active_peft_config.is_prompt_learning:
        return False
    call = ModelCall(model)
    config = call.config
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = {
        str(part.get("rope_type")) for part in (rope, *rope.values()) if isinstance(part, dict)
    }
    return (
        {"attention_mask", "position_ids", call.cache_name} <= set(call.names)
        and not config.is_encoder_decoder
        and getattr(config, "attention_chunk_size", None) is None
        and getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
        and set(getattr(config, "layer_types", None) or ()) <= _LAYERS
        and kinds.isdisjoint({"dynamic", "longrope"})
    )


@torch.inference_mode()
def _is_exact(model: Any) -> bool:
    """Whether rows of different lengths get the scores that each gets when it is read whole."""
    device = model.device
    rows = [[1, 2, 3, 4, 5, 6], [2, 1, 3, 1]]
    places = torch.tensor([len(row) for row in rows], device=device)
    try:
        slots = Slots(model, len(rows), Chooser(len(rows), device, None))
        slots.fill([0, 1], rows, [3, 3], None)
        for token in (3, 2):
            slots.width = int(places.max()) + 1
            found = slots.score(torch.full_like(places, token), places.clone())
            for row in rows:
                row.append(token)
            whole = [
                model(input_ids=torch.tensor([row], device=device)).logits[0, -1] for row in rows
            ]
            if not scores_agree(found, torch.stack(whole)):
                return False
            places += 1
    except Exception as error:
        if is_out_of_memory(error):
            raise
        logger.debug("%s is left to generate: %s", type(model).__name__, error)
        return False
    return True
