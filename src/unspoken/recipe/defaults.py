"""What the training verbs and the functions of the same names take where nothing is given.

Keys of a recipe -> values; a recipe itself has the defaults of its sections.
"""

from __future__ import annotations

from typing import Any

#: Of `unspoken distil`, as the usual scripts have it: LoRA on 4-bit weights.
DISTIL: dict[str, Any] = {
    "template": "qa",
    "data.num_valid": 0,
    "data.max_length": 1024,
    "model.quantization": "nf4",
    "train.epochs": 3,
    "train.learning_rate": 2e-4,
    "train.optimizer": "paged_adamw_8bit",
    "train.precision": "auto",
    "train.checkpoint_every": 500,
}
#: Of these, where all weights are trained.
DISTIL_ALL_WEIGHTS: dict[str, Any] = {"model.quantization": None, "train.optimizer": "adamw"}
#: Examples per forward pass and process, and forward passes per optimizer step, when distilling.
PER_DEVICE, ACCUMULATION = 2, 4
#: Of `unspoken internalize`.
INTERNALIZE: dict[str, Any] = {
    "output": "runs/internalize",
    "model.name": "gpt2-medium",
    "train.epochs": 10,
    "train.batch_size": 32,
    "train.learning_rate": 5e-5,
}
#: Of a small model from scratch that learns to write a thought.
WRITE_FROM_SCRATCH: dict[str, Any] = {
    "train.max_steps": 1_500,
    "train.batch_size": 64,
    "train.learning_rate": 2e-3,
    "train.lr_schedule": "linear",
    "train.warmup_steps": 50,
    "train.evaluate_every": 250,
    "train.num_valid": 200,
}
#: Of one that goes on until it has none, or says that it cannot.
INTERNALIZE_FROM_SCRATCH: dict[str, Any] = {
    **WRITE_FROM_SCRATCH,
    "train.max_steps": 6_000,
    "train.settle_steps": 600,
    "train.lr_schedule": "constant_with_warmup",
    "schedule.removal": "adaptive",
}
