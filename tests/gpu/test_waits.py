"""How often a training step waits for its GPU, as torch counts it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.gpu import ON_A_GPU, SMALL
from helpers.recipes import tiny_recipe
from helpers.training import trainer
from unspoken.train import loss as loss_module
from unspoken.train.checkpoint import TrainState
from unspoken.train.schedule import RemovalState

pytestmark = [*ON_A_GPU, pytest.mark.gpu]


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("chunk", [2**24, 1000])
@pytest.mark.parametrize(
    "sections",
    [
        {"train": {"precision": "fp32"}},
        {"train": {"precision": "bf16", "micro_batch_size": 4}},
        {"train": {"precision": "fp16"}},
        {"train": {"precision": "bf16"}, "schedule": {"positions": "gap"}},
        {"train": {"precision": "bf16"}, "lora": {"r": 2, "target_modules": ["c_attn"]}},
        {"train": {"precision": "bf16", "gradient_checkpointing": True}},
    ],
    ids=["fp32", "bf16", "fp16", "gap", "lora", "checkpointing"],
)
def test_a_step_waits_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any], chunk: int
) -> None:
    """For the loss, the norm and the wish to stop."""
    monkeypatch.setattr(loss_module, "CHUNK", chunk)
    one = trainer(tiny_recipe(tmp_path, model=SMALL, **sections), tmp_path)
    one.model.train()
    one.step(TrainState(step=0, schedule=RemovalState(removed=1)))
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            one.step(TrainState(step=1, schedule=RemovalState(removed=2)))
        finally:
            torch.cuda.set_sync_debug_mode(before)
    waits = [str(each.message) for each in seen if "called a synchronizing" in str(each.message)]
    assert len(waits) == 1, waits
