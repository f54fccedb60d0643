"""The optimizer that a recipe names, such as AdamW, over the weights that are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from unspoken.common.errors import setting
from unspoken.models.quantization import require_bitsandbytes
from unspoken.recipe import Recipe

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def make_optimizer(model: PreTrainedModel | PeftModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with fp32 state, unless the recipe says otherwise; biases and norms do not decay."""
    settings = recipe.train
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.betas[0])
    arguments: dict[str, Any] = {"lr": settings.learning_rate, "betas": settings.betas}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, **arguments, fused=True)
    require_bitsandbytes(
        "train.optimizer", settings.optimizer, f"set {setting('train.optimizer', 'adamw')}"
    )
    import bitsandbytes

    paged = settings.optimizer == "paged_adamw_8bit"
    kind = bitsandbytes.optim.PagedAdamW8bit if paged else bitsandbytes.optim.AdamW8bit
    return kind(groups, **arguments)
