"""What a training step asks its device: nothing before its end. And attention as it was."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, trainer
from unspoken.train import loss as loss_module
from unspoken.train.attention import mask_of_ones, unpadded
from unspoken.train.checkpoint import TrainState
from unspoken.train.schedule import RemovalState

#: Operations after which the host knows a value that stood on the device.
READS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique"}


class Reads(TorchDispatchMode):
    """Notes the operations within the block that make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        boolean = name in ("index", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in READS or boolean:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def reads_of_a_step(folder: Path, **sections: Any) -> list[str]:
    """In the second step, since the first one makes the optimizer's state."""
    one = trainer(tiny_recipe(folder, model=NO_DROPOUT, **sections), folder)
    one.model.train()
    for step in (0, 1):
        with Reads() as reads:
            one.step(TrainState(step=step, schedule=RemovalState(removed=3)))
    return reads.names


def test_the_counter_counts() -> None:
    mask, values = torch.tensor([True, False]), torch.ones(2)
    with Reads() as reads:
        assert mask.any()
        values[mask]
        values.sum().item()
    assert len(reads.names) == 3


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"schedule": {"positions": "gap"}},
        {"train": {"micro_batch_size": 4}},
        {"train": {"precision": "bf16"}},
        {"train": {"gradient_checkpointing": True}},
        {"lora": {"r": 2, "target_modules": ["c_attn"]}},
    ],
    ids=["natural", "gap", "micro-batches", "bf16", "checkpointing", "lora"],
)
def test_a_step_asks_its_device_nothing_before_its_end(
    tmp_path: Path, sections: dict[str, Any]
) -> None:
    """Its last operation brings loss, norm and the wish to stop to the host, by `tolist`."""
    assert reads_of_a_step(tmp_path, **sections) == []


def test_the_loss_in_chunks_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "CHUNK", 100)
    assert reads_of_a_step(tmp_path) == []


def test_fp16s_scaler_asks_nothing_and_leaves_out_what_overflows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, which has both, though a recipe is refused it there."""
    monkeypatch.setattr("unspoken.parallel.precision.require_precision", lambda *_: None)
    assert reads_of_a_step(tmp_path / "reads", train={"precision": "fp16"}) == []
    recipe = tiny_recipe(tmp_path, model=NO_DROPOUT, train={"precision": "fp16"})
    one = trainer(recipe, tmp_path / "run")
    one.model.train()
    scaler = one.processes.scaler
    assert scaler is not None
    for step, (scale, is_left_out) in enumerate(
        ((2.0**10, False), (2.0**40, True), (2.0**9, False))
    ):
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale})
        before = {name: value.clone() for name, value in one.bare_model.state_dict().items()}
        figures = one.step(TrainState(step=step))
        stayed = [torch.equal(one.bare_model.state_dict()[name], before[name]) for name in before]
        assert all(stayed) == is_left_out
        assert math.isfinite(figures.gradient_norm) != is_left_out
        assert math.isfinite(figures.loss)
        assert scaler.get_scale() == (scale / 2 if is_left_out else scale)


MODELS: dict[str, Any] = {
    "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 16},
    "llama": {},
    "mistral": {"sliding_window": 5},
    "gemma3_text": {"sliding_window": 5, "head_dim": 8},
    "qwen3": {"head_dim": 8},
}
SMALL: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1,
}  # fmt: skip


def small_model(kind: str) -> Any:
    """Without dropout."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=30, max_position_embeddings=32, pad_token_id=0,
        **({} if kind == "gpt2" else SMALL), **MODELS[kind],
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("kind", MODELS)
def test_attention_is_what_it_was(kind: str) -> None:
    """Also where layers see a window only."""
    model = small_model(kind)
    ids = torch.randint(1, 30, (3, 12))
    with torch.no_grad():
        before = model(input_ids=ids).logits
        with unpadded():
            within = model(input_ids=ids, **mask_of_ones(model, ids)).logits
        padded = torch.ones_like(ids)
        padded[0, :3] = 0
        left = model(input_ids=ids, attention_mask=padded).logits
    assert torch.equal(within, before)
    assert not torch.equal(left[0], before[0]), "outside the block masks count"
    assert torch.equal(left[1:], before[1:])


def test_other_kinds_of_attention_get_no_mask() -> None:
    """They would look into it."""
    sizes: Any = MODELS["gpt2"]
    config = AutoConfig.for_model("gpt2", **sizes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    assert mask_of_ones(model, torch.ones(1, 2, dtype=torch.int64)) == {}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("autocast", [True, False])
def test_on_a_cpu_bf16_attends_in_fp32(
    kind: str, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And hands on what the model expects; outside of the block all is as it was."""
    model = small_model(kind)
    model = model if autocast else model.bfloat16()
    ids = torch.randint(1, 30, (3, 12))
    seen: list[tuple[torch.dtype, bool]] = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        seen.append((query.dtype, torch.is_autocast_enabled("cpu")))
        return kernel(query, *arguments, **named)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), unpadded():
        logits = model(ids, **mask_of_ones(model, ids)).logits
        logits.float().sum().backward()
    assert set(seen) == {(torch.float32, False)}
    assert logits.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), torch.no_grad():
        plain = model(ids).logits
    assert (torch.float32, False) not in seen
    torch.testing.assert_close(logits, plain, atol=2e-2, rtol=2e-2)
