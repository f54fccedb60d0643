"""QLoRA as it is used: NF4 with double quantization, paged 8-bit AdamW, LoRA, bf16."""

from __future__ import annotations

import gc
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.adapters import base_model
from helpers.gpu import ON_A_GPU, deterministic, records_of, unspoken
from helpers.recipes import tiny_recipe
from helpers.training import losses, same, stop_after, trainer
from unspoken.common.memory import reset_peak
from unspoken.data.jsonl import write_jsonl
from unspoken.models.adapter import is_adapter
from unspoken.parallel.processes import torch_optimizer
from unspoken.recipe import recipe_from

pytest.importorskip("bitsandbytes", reason="bitsandbytes is for Linux and Windows")

pytestmark = [*ON_A_GPU, pytest.mark.gpu]

#: So wide that each adapter's moments have 100,000 numbers and more: smaller ones are not paged.
RANK = 256


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    heads = {"num_attention_heads": 8, "num_key_value_heads": 8}
    return base_model(folder, hidden_size=512, intermediate_size=512, **heads)


def qlora(base: Path, folder: Path, **sections: Any) -> Any:
    """The recipe of a student in 4 bits."""
    train = {"optimizer": "paged_adamw_8bit", "precision": "bf16", **sections.pop("train", {})}
    values = tiny_recipe(folder, train=train, **sections).model_dump(mode="json")
    lora = {"r": RANK, "alpha": RANK, "dropout": 0.05}
    return recipe_from(
        {**values, "model": {"name": str(base), "quantization": "nf4"}, "lora": lora}
    )


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_qlora_trains_with_finite_falling_losses(tmp_path: Path, base: Path, device: str) -> None:
    from bitsandbytes.nn import Linear4bit
    from bitsandbytes.optim import PagedAdamW8bit

    recipe = qlora(base, tmp_path)
    training = trainer(recipe, tmp_path, dtype="bfloat16")
    folder = training.run().folder
    layers = [each for each in training.bare_model.modules() if isinstance(each, Linear4bit)]
    assert len(layers) == 7
    for layer in layers:
        weight: Any = layer.weight
        assert (weight.device.type, weight.quant_state.nested) == (device, True)
        assert weight.quant_state.quant_type == "nf4"
    optimizer = torch_optimizer(training.optimizer)
    assert isinstance(optimizer, PagedAdamW8bit)
    moments = [state["state1"] for state in optimizer.state.values()]
    assert {each.dtype for each in moments} == {torch.uint8}
    if device == "cuda":
        assert all(getattr(each, "is_paged", False) for each in moments)
    found = losses(tmp_path)
    assert all(map(math.isfinite, found))
    assert np.mean(found[-5:]) < np.mean(found[:5]) - 0.2
    assert is_adapter(str(folder))
    trained = [weight for name, weight in adapter_of(folder).items() if "lora_B" in name]
    assert all(bool(weight.isfinite().all()) and bool(weight.any()) for weight in trained)


def test_paged_moments_take_their_memory_once(tmp_path: Path, base: Path, device: str) -> None:
    """A removal forgets them and keeps their place; the losses are those without pages."""
    from bitsandbytes.functional import GlobalPageManager

    pages = GlobalPageManager.get_instance().paged_tensors
    before = len(pages)
    with deterministic():
        for optimizer in ("paged_adamw_8bit", "adamw_8bit"):
            recipe = qlora(base, tmp_path, train={"optimizer": optimizer}, schedule={"delta": 8})
            training = trainer(recipe, tmp_path / optimizer, dtype="bfloat16")
            training.run()
    assert losses(tmp_path / "paged_adamw_8bit") == losses(tmp_path / "adamw_8bit")
    trained = len(torch_optimizer(training.optimizer).state)
    assert len(pages) - before == (2 * trained if device == "cuda" else 0)


def test_qlora_resumed_equals_uninterrupted(tmp_path: Path, base: Path) -> None:
    """Bit for bit with deterministic kernels; its 8-bit moments come from the checkpoint."""
    recipe = qlora(base, tmp_path, train={"max_steps": 12})
    with deterministic():
        whole = trainer(recipe, tmp_path / "whole", dtype="bfloat16").run()
        with pytest.raises(SystemExit):
            stop_after(4, recipe, tmp_path / "parts", dtype="bfloat16").run()
        parts = trainer(recipe, tmp_path / "parts", dtype="bfloat16").run()
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(adapter_of(whole.folder), adapter_of(parts.folder))


def test_qlora_with_gradient_checkpointing_has_the_same_losses(tmp_path: Path, base: Path) -> None:
    """Also with dropout in the adapters; within what bf16 gives and takes."""
    plain = qlora(base, tmp_path, train={"max_steps": 6})
    less = qlora(base, tmp_path, train={"max_steps": 6, "gradient_checkpointing": True})
    trainer(plain, tmp_path / "plain", dtype="bfloat16").run()
    trainer(less, tmp_path / "less", dtype="bfloat16").run()
    assert losses(tmp_path / "less") == pytest.approx(losses(tmp_path / "plain"), abs=6e-2)


@pytest.mark.usefixtures("cuda")
def test_four_bits_take_less_memory_than_32(tmp_path: Path) -> None:
    """The weights stay in 4 bits while they are trained.

    At the peak a layer's weights stand there once more as what is multiplied, which at this size is
    most of it: an H200 took 195 MB instead of 263.
    """
    wide = base_model(tmp_path / "base", hidden_size=1024, intermediate_size=8192)
    peaks, weights = [], []
    for quantization in (None, "nf4"):
        values = tiny_recipe(tmp_path, train={"max_steps": 2}).model_dump(mode="json")
        model = {"name": str(wide), "quantization": quantization}
        recipe = recipe_from({**values, "model": model, "lora": {}})
        training = trainer(recipe, tmp_path / str(quantization))
        gc.collect()  # of the training before
        reset_peak()
        peaks.append(training.run().peak_memory_bytes["gpu"])
        weights.append(training.bare_model.get_memory_footprint())
        del training
    assert weights[1] < 0.25 * weights[0]
    assert peaks[1] < peaks[0]


def test_distil_leaves_a_4_bit_adapter_that_is_asked_and_exported(
    tmp_path: Path, base: Path
) -> None:
    """As the command line's defaults are: the adapter, its answers on 4 bits, the merged model."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    data, out, served = tmp_path / "data.jsonl", tmp_path / "adapter", tmp_path / "served"
    sums = range(10, 50)
    write_jsonl(
        data, ({"question": f"{n}+1?", "cot": f"{n}+1\nFinal Answer: {n + 1}"} for n in sums)
    )
    unspoken(
        "distil", "--student_dir", base, "--data", data, "--out_dir", out, "--epochs", 2,
        "--lr", 1e-3, "--batch_size", 8,
    )  # fmt: skip
    stage = json.loads((out / "distilled" / "stage.json").read_text())
    assert stage["settings"]["model"]["quantization"] == "nf4"
    assert stage["settings"]["train"]["optimizer"] == "paged_adamw_8bit"
    answers = tmp_path / "answers.jsonl"
    unspoken(
        "evaluate", "--base_model", base, "--lora_model", out, "--quantization", "nf4", "--input",
        data, "--output", answers, "--limit", 8, "--num_latency", 1,
    )  # fmt: skip
    assert len(records_of(answers)) == 8
    unspoken("export", "--model", out, "--output", served, "--dtype", "float32")
    load: Any = AutoModelForCausalLM.from_pretrained
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        merged = load(served).eval()(ids).logits
        beside = PeftModel.from_pretrained(load(base), str(out)).eval()(ids).logits
        untrained = load(base).eval()(ids).logits
    torch.testing.assert_close(merged, beside, atol=1e-3, rtol=1e-3)
    assert float((merged - untrained).abs().max()) > 0.01
