"""The arithmetic of a training: asked for, and had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.recipes import tiny_recipe
from helpers.training import dtype_of_products, run
from unspoken.common.errors import RecipeError
from unspoken.models.load import dtype_for_asking, read_width
from unspoken.parallel.precision import describe_precision, precision_note, resolve_precision
from unspoken.parallel.start import start_processes
from unspoken.parallel.world import World
from unspoken.recipe import Model
from unspoken.run.run import run_recipe


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, *, bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return bf16 or including_emulation  # as torch says of every GPU

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)


def pretend_cpu(monkeypatch: pytest.MonkeyPatch, *, bf16: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("unspoken.common.machine.cpu_has_bfloat16", lambda: bf16)
    monkeypatch.setattr("unspoken.parallel.precision.cpu_has_bfloat16", lambda: bf16)


@pytest.mark.parametrize(("has_bf16", "better"), [(True, "bf16"), (False, "fp32")])
def test_fp16_on_a_cpu_is_refused_for_what_is_good_there(
    has_bf16: bool, better: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_cpu(monkeypatch, bf16=has_bf16)
    with pytest.raises(RecipeError, match=f"; set train.precision={better}$"):
        run(tmp_path, train={"precision": "fp16"})


def test_auto_is_what_the_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "auto"})
    pretend_cpu(monkeypatch, bf16=False)
    assert resolve_precision(recipe, 768).train.precision == "fp32"
    pretend_gpu(monkeypatch, bf16=False)
    assert resolve_precision(recipe, 768).train.precision == "fp16"
    pretend_gpu(monkeypatch, bf16=True)
    assert resolve_precision(recipe, 16).train.precision == "bf16"
    assert recipe.train.precision == "auto"


@pytest.mark.parametrize(
    ("machine", "width", "had", "why"),
    [
        ("with bf16", 576, "bf16", "wide enough"),
        ("with bf16", 768, "bf16", "wide enough"),
        ("with bf16", 128, "fp32", "too small"),  # the quickstart's model
        ("with bf16", None, "fp32", "too small"),
        ("without", 768, "fp32", "no bf16"),
    ],
)
def test_on_a_cpu_auto_is_bf16_where_machine_and_model_gain(
    monkeypatch: pytest.MonkeyPatch, machine: str, width: int | None, had: str, why: str
) -> None:
    recipe = tiny_recipe(Path("nowhere"), train={"precision": "auto"})
    pretend_cpu(monkeypatch, bf16=machine == "with bf16")
    assert resolve_precision(recipe, width).train.precision == had
    said = describe_precision(recipe.train, had)
    assert said.startswith(f"precision: {had} (auto: ")
    assert why in said
    assert ("train.precision=fp32" in said) == (had == "bf16")
    asked = tiny_recipe(Path("nowhere"), train={"precision": "fp32"})
    assert describe_precision(asked.train, "fp32") == "precision: fp32"


def test_several_processes_take_what_all_of_them_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "auto"})
    pretend_cpu(monkeypatch, bf16=True)
    monkeypatch.setattr("unspoken.parallel.precision.join_processes", lambda: None)
    monkeypatch.setattr(
        "unspoken.parallel.precision.read_world", lambda: World(rank=0, size=2, local_size=2)
    )
    for others, had in (("bf16", "bf16"), ("fp16", "fp16"), ("fp32", "fp32")):
        monkeypatch.setattr("accelerate.utils.gather_object", lambda own, o=others: [*own, o])
        assert resolve_precision(recipe, 768).train.precision == had


@pytest.mark.parametrize(
    ("settings", "width"),
    [
        ({"config": {"model_type": "gpt2", "n_embd": 640}, "tokenizer": "characters"}, 640),
        ({"config": {"model_type": "llama", "hidden_size": 64}, "tokenizer": "characters"}, 64),
    ],
)
def test_how_wide_a_model_is_stands_in_its_configuration(
    settings: dict[str, Any], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model.model_validate(settings)
    assert read_width(model) == width
    pretend_cpu(monkeypatch, bf16=True)
    assert dtype_for_asking(model) == ("bfloat16" if width >= 512 else "float32")
    pretend_cpu(monkeypatch, bf16=False)
    assert dtype_for_asking(model) == "float32"


def test_a_precision_that_was_asked_for_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "fp32"})
    pretend_gpu(monkeypatch, bf16=True)
    assert resolve_precision(recipe, 768) == recipe


def test_auto_is_no_reason_to_train_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that was queued again may get another GPU; what decides is what the recipe says."""
    recipe = tiny_recipe(tmp_path, train={"precision": "auto", "max_steps": 4})
    run_recipe(recipe, progress=False)
    had = resolve_precision(recipe, 16).train.precision
    monkeypatch.setattr(
        "unspoken.train.loop.resolve_precision", lambda *_: pytest.fail(f"begun anew, not {had}")
    )
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append)
    assert "internalize: done" in said


def test_the_precision_of_a_finished_training_is_told(tmp_path: Path) -> None:
    resolved = resolve_precision(tiny_recipe(tmp_path, train={"precision": "auto"}), 16)
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
