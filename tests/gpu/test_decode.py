"""Recorded decoding steps (CUDA graphs), plain ones and `generate` write the same tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from helpers.gpu import ON_A_GPU
from unspoken.measure.choose import Chooser
from unspoken.measure.decode import Decoder, Draws
from unspoken.measure.slots import Slots
from unspoken.measure.slots_fit import fits

pytestmark = [*ON_A_GPU, pytest.mark.gpu]

END, PAD = 39, 0
GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 400}
LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 400,
}
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "mistral": {**LLAMA, "sliding_window": 9},
}


def build(device: str, model_type: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    shared = {"vocab_size": 40, "initializer_range": 0.5, "bos_token_id": 1, "eos_token_id": END}
    config = AutoConfig.for_model(model_type, **shared, **MODELS[model_type])
    return AutoModelForCausalLM.from_config(config).float().eval().to(device)


def prompts_of(number: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(2, 38, (n % 9 + 1,), generator=generator).tolist() for n in range(number)]


def written(model: Any, batch_size: int, **settings: Any) -> list[list[int]]:
    prompts, patience = prompts_of(20), settings.pop("patience", None)
    decoder = Decoder(
        model, eos_token_id=END, pad_token_id=PAD, batch_size=batch_size, patience=patience
    )
    found = dict(decoder.stream(prompts, 60, **settings))
    return [found[number].token_ids for number in range(len(prompts))]


def num_equal(one: list[list[int]], other: list[list[int]]) -> int:
    return sum(first == second for first, second in zip(one, other, strict=True))


@pytest.mark.parametrize("model_type", MODELS)
@pytest.mark.parametrize("batch_size", [1, 6])
def test_recorded_plain_and_generate_write_the_same(
    device: str, model_type: str, batch_size: int
) -> None:
    """In fp32; the weights are drawn, so one of 20 may part where two tokens tie."""
    model = build(device, model_type)
    assert fits(model)
    recorded = written(model, batch_size, patience=0)
    plain = written(model, batch_size)
    assert num_equal(recorded, plain) >= 19
    expected = []
    for prompt in prompts_of(20):
        ids = torch.tensor([prompt], device=device)
        settings: dict[str, Any] = {"max_new_tokens": 60, "do_sample": False, "eos_token_id": END}
        mask = torch.ones_like(ids)
        output = model.generate(ids, attention_mask=mask, pad_token_id=PAD, **settings)
        row = output[0, len(prompt) :].tolist()
        expected.append(row[: row.index(END)] if END in row else row)
    assert num_equal(plain, expected) >= 19


@pytest.mark.parametrize("batch_size", [1, 6])
def test_steps_are_recorded_and_recorded_again_as_the_cache_grows(
    device: str, batch_size: int
) -> None:
    model = build(device, "gpt2")
    slots = Slots(model, batch_size, Chooser(batch_size, torch.device(device), None), patience=0)
    rows = range(batch_size)
    slots.fill(rows, prompts_of(batch_size), [380] * batch_size, None)
    num_recorded = 0
    for _ in range(350 if device == "cpu" else 44):
        slots.advance()
        num_recorded += slots.is_recorded
    assert num_recorded > 0
    assert device == "cpu" or num_recorded >= 40


def test_recorded_draws_follow_from_the_seed_alone(device: str) -> None:
    model = build(device, "llama")
    draws = Draws(0.9, 0.9, list(range(20)))
    recorded = written(model, 1, patience=0, draws=draws)
    assert num_equal(recorded, written(model, 6, patience=0, draws=draws)) >= 19
    assert num_equal(recorded, written(model, 6, draws=draws)) >= 19
    assert num_equal(recorded, written(model, 6, draws=draws._replace(seeds=[99] * 20))) < 19


def test_bf16_answers_in_recorded_steps(device: str) -> None:
    model = build(device, "gpt2").bfloat16()
    assert fits(model)
    assert num_equal(written(model, 6, patience=0), written(model, 6)) >= 15
