"""The arithmetic of a training: asked for, and had."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.recipes import tiny_recipe
from helpers.training import dtype_of_products, run
from unspoken.common.errors import RecipeError
from unspoken.parallel.precision import precision_note, resolve_precision
from unspoken.parallel.start import start_processes
from unspoken.run.run import run_recipe


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, *, bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return bf16 or including_emulation  # as torch says of every GPU

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is fine on a GPU")
def test_fp16_on_a_cpu_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.precision.*bf16"):
        run(tmp_path, train={"precision": "fp16"})


def test_auto_is_what_the_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "auto"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_precision(recipe).train.precision == "fp32"
    pretend_gpu(monkeypatch, bf16=False)
    assert resolve_precision(recipe).train.precision == "fp16"
    pretend_gpu(monkeypatch, bf16=True)
    assert resolve_precision(recipe).train.precision == "bf16"
    assert recipe.train.precision == "auto"


def test_a_precision_that_was_asked_for_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "fp32"})
    pretend_gpu(monkeypatch, bf16=True)
    assert resolve_precision(recipe) == recipe


def test_auto_is_no_reason_to_train_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was queued again may get another GPU; what decides is what the recipe says."""
    recipe = tiny_recipe(tmp_path, train={"precision": "auto", "max_steps": 4})
    run_recipe(recipe, progress=False)
    had = resolve_precision(recipe).train.precision
    monkeypatch.setattr(
        "unspoken.train.loop.resolve_precision", lambda _: pytest.fail(f"begun anew, not {had}")
    )
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append)
    assert "internalize: done" in said


def test_the_precision_of_a_finished_training_is_told(tmp_path: Path) -> None:
    resolved = resolve_precision(tiny_recipe(tmp_path, train={"precision": "auto"}))
    result = run(tmp_path, train={"precision": "auto", "max_steps": 2})
    assert result.precision == resolved.train.precision


def test_the_recipes_precision_counts_and_another_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "bf16"})
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    assert precision_note(recipe) is None
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert "the recipe counts (train.precision=fp16 changes it" in str(precision_note(recipe))
    assert dtype_of_products(start_processes(recipe, tmp_path)) == torch.bfloat16
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert precision_note(recipe) is None
