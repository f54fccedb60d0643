"""What the optimizer keeps."""

from __future__ import annotations

from pathlib import Path

import torch

from helpers.recipes import tiny_recipe
from helpers.training import trainer, weights


def test_bf16_keeps_fp32_weights_and_optimizer_state(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "bf16", "max_steps": 3})
    mixed = trainer(recipe, tmp_path)
    result = mixed.run()
    assert {tensor.dtype for tensor in weights(result.folder).values()} == {torch.float32}
    moments = [state["exp_avg"] for state in mixed.optimizer.state.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}
