"""Weights in oneDNN's order: the same answers, and torch's own way wherever they do not serve."""

from __future__ import annotations

import platform
from typing import Any

import pytest
import torch
from torch import nn

from unspoken import recipe
from unspoken.common.machine import cpu_has_bfloat16
from unspoken.measure.decode import decode
from unspoken.models import prepacked
from unspoken.models.load import load_model
from unspoken.models.prepacked import prepack

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="only x86 weights are prepacked"
)

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {
        "model_type": "llama", "hidden_size": 512, "intermediate_size": 640,
        "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2,
        "max_position_embeddings": 64, "initializer_range": 0.2,
    },
    "gpt2": {
        "model_type": "gpt2", "n_embd": 512, "n_layer": 2, "n_head": 8, "n_positions": 64,
        "initializer_range": 0.2,
    },
}  # fmt: skip
#: Layers of each with weights, the head included.
NUM_LAYERS = {"llama": 2 * 7 + 1, "gpt2": 2 * 4 + 1}
PROMPTS = [[3, 4, 5], [5, 6, 7, 8, 9, 10], [4], [11, 3]]
#: Highest difference of scores, as a share of the largest one.
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
DTYPES = [
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(
            not cpu_has_bfloat16(), reason="this processor does not multiply in bf16 itself"
        ),
    ),
]


def model_of(kind: str, tokenizer: Any, dtype: torch.dtype = torch.float32) -> Any:
    settings = recipe.Model(tokenizer="characters", config=CONFIGS[kind])
    model = load_model(settings, tokenizer, seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):  # GPT-2's begin as zeros
                weight.uniform_(-1, 1)
    return model.to(dtype).eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", CONFIGS)
def test_scores_and_answers_are_the_same(kind: str, dtype: torch.dtype, tokenizer: Any) -> None:
    usual, packed = (model_of(kind, tokenizer, dtype) for _ in range(2))
    assert prepack(packed, 512) == NUM_LAYERS[kind]
    for ids in ([[3, 4, 5, 6]], [[7]], [[3, 4], [5, 6], [7, 8]]):
        with torch.inference_mode():
            expected, found = (model(torch.tensor(ids)).logits for model in (usual, packed))
        assert (found - expected).abs().max() <= ROUNDING[dtype] * expected.abs().max()
    written = [
        decode(model, PROMPTS, eos_token_id=1, pad_token_id=0, max_new_tokens=8)
        for model in (usual, packed)
    ]
    assert written[0] == written[1]


def test_what_needs_gradients_is_left_to_torch(tokenizer: Any) -> None:
    usual, packed = (model_of("gpt2", tokenizer) for _ in range(2))
    prepack(packed, 512)
    for model in (usual, packed):
        model(torch.tensor([[3, 4, 5]])).logits.logsumexp(-1).sum().backward()
    for one, other in zip(usual.parameters(), packed.parameters(), strict=True):
        assert one.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_autocast_casts_as_ever(tokenizer: Any) -> None:
    usual, packed = (model_of("llama", tokenizer) for _ in range(2))
    prepack(packed, 512)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, found = (model(torch.tensor([[3, 4, 5]])).logits for model in (usual, packed))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("width", [256, None])
def test_narrow_models_stay_as_they_are(width: int | None, tokenizer: Any) -> None:
    assert prepack(model_of("llama", tokenizer), width) == 0


@pytest.mark.parametrize("memory", [10_000_000, None])
def test_weights_that_fill_the_memory_are_there_once(
    memory: int | None, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepacked, "total_memory", lambda: memory)
    assert prepack(model_of("llama", tokenizer), 512) == 0


def test_only_plain_layers_on_a_processor_with_their_numbers() -> None:
    class Quantized(nn.Linear):
        """Its weight means something else."""

    known, turned = nn.Linear(512, 512), nn.Linear(512, 512, dtype=torch.float64)
    model = nn.Sequential(known, turned, Quantized(512, 512), nn.Linear(512, 512, device="meta"))
    assert prepack(model, 512) == 1
    assert "forward" in vars(known)


def test_a_folder_that_is_asked_is_prepacked_and_one_that_is_trained_is_not(
    tokenizer: Any, tmp_path: Any
) -> None:
    model_of("llama", tokenizer).save_pretrained(tmp_path)
    settings = recipe.Model(name=str(tmp_path), local_files_only=True)
    asked, trained = (load_model(settings, tokenizer, purpose=way) for way in ("ask", "train"))
    assert "forward" in vars(asked.get_output_embeddings())
    assert not any("forward" in vars(module) for module in trained.modules())
