"""A run on a GPU that was stopped goes on as if nothing had happened, dropout included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.adapters import recipe as adapter_recipe
from helpers.gpu import ON_A_GPU, SMALL, deterministic, largest_difference, on_the_cpu
from helpers.recipes import tiny_recipe
from helpers.training import losses, same, stop_after, trainer, weights

pytestmark = [*ON_A_GPU, pytest.mark.gpu]


def _whole_and_parts(folder: Path, recipe: Any) -> tuple[Path, Path]:
    """The models of a run in one go, and of one that was stopped twice and went on."""
    whole = trainer(recipe, folder / "whole").run()
    for step in (6, 13):
        with pytest.raises(SystemExit):
            stop_after(step, recipe, folder / "parts").run()
    return whole.folder, trainer(recipe, folder / "parts").run().folder


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, device: str, precision: str
) -> None:
    """Where torch is told to take deterministic kernels; dropout is in every place of GPT-2."""
    if precision == "fp16" and device == "cpu":
        pytest.skip("fp16 is for GPUs")
    recipe = tiny_recipe(tmp_path, train={"precision": precision})
    with deterministic():
        whole, parts = _whole_and_parts(tmp_path, recipe)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(weights(whole), weights(parts))


def test_resumed_equals_uninterrupted_with_gaps_in_the_positions(tmp_path: Path) -> None:
    """The table of positions is moved on the GPU, and back on the CPU."""
    recipe = tiny_recipe(tmp_path, schedule={"positions": "gap"})
    with deterministic():
        whole, parts = _whole_and_parts(tmp_path, recipe)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(weights(whole), weights(parts))


def test_a_resumed_adapter_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    recipe = adapter_recipe(tmp_path, lora={"dropout": 0.2})
    with deterministic():
        _whole_and_parts(tmp_path, recipe)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_resumed_is_near_uninterrupted_with_any_kernels(tmp_path: Path) -> None:
    """Some of CUDA's sums have no order: within 1e-3 after 24 steps; another dropout would give
    losses that are apart by 0.05 and more."""
    recipe = tiny_recipe(tmp_path)
    _whole_and_parts(tmp_path, recipe)
    assert largest_difference(losses(tmp_path / "parts"), losses(tmp_path / "whole")) < 1e-3


@pytest.mark.usefixtures("cuda")
def test_dropout_goes_on_from_the_random_state_of_cuda_in_the_checkpoint(tmp_path: Path) -> None:
    """With another one in its place the next losses are others."""
    recipe = tiny_recipe(tmp_path)
    trainer(recipe, tmp_path / "whole").run()
    with pytest.raises(SystemExit):
        stop_after(6, recipe, tmp_path / "parts").run()
    path = tmp_path / "parts" / "checkpoint-7" / "training.pt"
    saved = torch.load(path, weights_only=True)
    (state,) = saved["random"]
    assert len(state["cuda"]) == torch.cuda.device_count()
    torch.cuda.manual_seed(1234)
    state["cuda"] = torch.cuda.get_rng_state_all()
    torch.save(saved, path)
    trainer(recipe, tmp_path / "parts").run()
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert largest_difference(whole[:7], parts[:7]) < 1e-3 < largest_difference(whole, parts)


def test_a_checkpoint_of_the_gpu_goes_on_on_the_cpu(tmp_path: Path) -> None:
    """And the other way: optimizer state and weights are where they are needed."""
    recipe = tiny_recipe(tmp_path, model=SMALL)
    trainer(recipe, tmp_path / "whole").run()
    with pytest.raises(SystemExit):
        stop_after(6, recipe, tmp_path / "parts").run()
    with on_the_cpu(), pytest.raises(SystemExit):
        stop_after(13, recipe, tmp_path / "parts").run()
    trainer(recipe, tmp_path / "parts").run()
    assert largest_difference(losses(tmp_path / "parts"), losses(tmp_path / "whole")) < 2e-4
