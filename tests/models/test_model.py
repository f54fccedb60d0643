from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.recipes import tiny_qwen2
from unspoken import recipe
from unspoken.common.errors import ModelError
from unspoken.data.example import Example
from unspoken.data.tasks.multiplication import examples
from unspoken.models.card import ModelCard
from unspoken.models.chat_template import chat_template
from unspoken.models.fingerprint import fingerprint
from unspoken.models.load import build_empty, load_model, load_tokenizer, save_model
from unspoken.models.template import Template
from unspoken.models.tokenizer import character_tokenizer
from unspoken.train.checkpoint import model_card
from unspoken.train.collate import collate
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples
from unspoken.train.gap import gap_closed

SETTINGS = recipe.Model(
    tokenizer="characters",
    config={
        "model_type": "gpt2",
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 16,
        "n_positions": 48,
        "initializer_range": 0.5,  # far from uniform, so that a wrong position shows
    },
)


@pytest.fixture
def parts(tokenizer: Any) -> tuple[Any, CoTDataset]:
    data = examples([(2, 2)], 8, 0, 0)["train"]
    return (
        load_model(SETTINGS, tokenizer, seed=0).eval(),
        encode_examples(data, tokenizer, Template("compact")),
    )


def logits(model: Any, batch: Any) -> torch.Tensor:
    inputs = batch.tensors("cpu")
    inputs.pop("labels")
    with torch.no_grad():
        return model(**inputs, use_cache=False).logits


@pytest.mark.parametrize("removed", [0, 1, 3, 99])
def test_moving_the_position_table_expresses_the_gap_exactly(
    parts: tuple[Any, CoTDataset], removed: int
) -> None:
    """With the gap in the input = plain positions with the table moved, and back is exact."""
    model, dataset = parts
    everyone, gone = np.arange(8), np.full(8, removed)
    table = model.transformer.wpe.weight.detach().clone()
    gap = logits(model, collate(dataset, everyone, gone, positions="gap"))
    plain = collate(dataset, everyone, gone, positions="natural")
    with gap_closed(model, dataset, removed):
        moved = logits(model, plain)
    assert torch.equal(moved, gap)
    assert torch.equal(model.transformer.wpe.weight, table)
    assert removed == 0 or not torch.allclose(logits(model, plain), gap, atol=1e-3)


def test_generate_after_export_continues_as_with_the_gap(parts: tuple[Any, CoTDataset]) -> None:
    """Token by token with explicit positions against plain `generate` on the moved table."""
    model, dataset = parts
    removed = dataset.longest_thought
    prompt = torch.tensor(dataset.prompts([3]))
    start = prompt.shape[1]
    ids = prompt
    for _ in range(6):
        places = torch.arange(ids.shape[1])
        places = torch.where(places < start, places, places + removed)[None]
        with torch.no_grad():
            out = model(ids, position_ids=places, attention_mask=torch.ones_like(ids))
        ids = torch.cat([ids, out.logits[:, -1:].argmax(-1)], dim=1)
    with gap_closed(model, dataset, removed):
        generated = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=6,
            min_new_tokens=6,
            do_sample=False,
        )
    until_end = (ids[0] == model.generation_config.eos_token_id).nonzero()
    assert len(until_end) == 0, "choose another seed: the model ended early"
    assert generated.tolist() == ids.tolist()


@pytest.mark.integration
def test_saved_folder_loads_in_plain_transformers_without_unspoken(
    parts: tuple[Any, CoTDataset], tokenizer: Any, tmp_path: Path
) -> None:
    model, dataset = parts
    template = Template("compact")
    card = model_card(dataset, tokenizer, template, dataset.longest_thought, step=5)
    save_model(model, tokenizer, tmp_path, card)
    assert ModelCard.read(tmp_path) == card
    code = f"""
import sys
sys.modules["unspoken"] = None  # importing it is an error now
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(tmp_path)!r})
model = AutoModelForCausalLM.from_pretrained({str(tmp_path)!r})
inputs = tokenizer({card.example_prompt!r}, return_tensors="pt")
print(model.generate(**inputs)[0, inputs["input_ids"].shape[1]:].tolist())
"""
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert output.returncode == 0, output.stderr
    from unspoken.measure.decode import decode

    prompt = tokenizer(card.example_prompt)["input_ids"]
    (ours,) = decode(
        model,
        [prompt],
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=card.max_new_tokens,
    )
    end = [tokenizer.eos_token_id] if ours.stopped else []
    assert output.stdout.strip() == str(ours.token_ids + end)


def test_gpt2_has_its_gelu_as_one_operation_and_transformers_the_same_scores(
    tmp_path: Path, tokenizer: Any
) -> None:
    from transformers import AutoModelForCausalLM

    scratch = load_model(SETTINGS, tokenizer, seed=0).eval()
    card = ModelCard("compact", removed=0, max_new_tokens=8, step=0, example_prompt="1*1=")
    save_model(scratch, tokenizer, tmp_path / "saved", card)
    loaded = load_model(recipe.Model(name=str(tmp_path / "saved")), tokenizer).eval()
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    assert plain.config.activation_function == "gelu_new"
    ids = torch.arange(12)[None] % 10
    with torch.no_grad():
        expected = plain(ids).logits
        for ours in (scratch, loaded):
            assert all(isinstance(layer.mlp.act, torch.nn.GELU) for layer in ours.transformer.h)
            torch.testing.assert_close(ours(ids).logits, expected, rtol=1e-5, atol=1e-5)
    assert all(type(layer.mlp.act) is not torch.nn.GELU for layer in plain.transformer.h)


def test_of_several_chat_templates_the_default_one_is_taken(tmp_path: Path, tokenizer: Any) -> None:
    asked = "{{ messages[0]['content'] }}{% if add_generation_prompt %}<think>\n{% endif %}"
    tokenizer.chat_template = {"default": asked, "tool_use": "{{ tools }}"}
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(recipe.Model(name="unused", tokenizer=str(tmp_path)))
    template = Template("chat", loaded)
    spans = template.spans(Example("1 + 1", "2", "1 + 1 = 2"))
    assert "</think>" in spans.thought
    assert chat_template(template, loaded) == asked


def test_a_pad_token_is_found_and_the_end_token_stays(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(recipe.Model(name="unused", tokenizer=str(tmp_path)))
    assert loaded.pad_token_id == loaded.eos_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (recipe.Model(name="/no/such/folder"), "no such folder"),
        (recipe.Model(name="nobody/nothing", local_files_only=True), "the hub was not reached; "),
    ],
)
def test_a_model_that_is_not_there_is_one_clear_error(settings: Any, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        load_tokenizer(settings)


@pytest.mark.parametrize(
    "values",
    [
        {"n_layer": -1}, {"n_layer": 0}, {"n_layer": 10**9}, {"n_head": 0}, {"n_head": 3},
        {"n_embd": 2**62}, {"n_embd": "wide"}, {"n_embd": True}, {"n_embd": -8},
        {"dtype": "float99"}, {"activation_function": "relux"}, {"resid_pdrop": -1},
        {"model_type": "t5"}, {"model_type": "gpt99"}, {"attn_implementation": "flashy"},
        {"vocab_size": 3}, {"vocab_size": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_configuration_that_makes_no_model_is_one_line(values: dict[str, Any]) -> None:
    config = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, **values}
    with pytest.raises(ModelError, match=r"model\.config") as caught:
        build_empty(recipe.Model(tokenizer="characters", config=config), character_tokenizer())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_wrong_configurations_are_one_clear_error(tokenizer: Any) -> None:
    wrong = recipe.Model(tokenizer="characters", config={"model_type": "gtp2"})
    with pytest.raises(ModelError, match=r"model.config: .*gtp2"):
        load_model(wrong, tokenizer)
    small = recipe.Model(
        tokenizer="characters", config={**(SETTINGS.config or {}), "vocab_size": 9}
    )
    with pytest.raises(ModelError, match=r"tokenizer has \d+ tokens but the model .* only 9"):
        load_model(small, tokenizer)


def test_empty_model_counts_parameters_without_memory(tokenizer: Any) -> None:
    empty = build_empty(SETTINGS, tokenizer)
    assert all(parameter.is_meta for parameter in empty.parameters())
    real = load_model(SETTINGS, tokenizer)
    assert sum(p.numel() for p in empty.parameters()) == sum(p.numel() for p in real.parameters())


def test_character_tokenizer_survives_saving(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(recipe.Model(name=str(tmp_path)))
    text = "3 * 4\n#### 1 2 é"
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.decode(loaded("a b\nc")["input_ids"]) == "a b\nc"


@pytest.mark.parametrize(("kind", "fine"), [("gpt2", True), ("qwen3", True), ("qwen2", False)])
def test_a_tokenizer_that_would_reload_as_another_one_is_refused(kind: str, fine: bool) -> None:
    from transformers import AutoConfig

    from unspoken.models.from_config import require_reloadable_tokenizer

    class Model:
        config = AutoConfig.for_model(kind)

    expected = contextlib.nullcontext() if fine else pytest.raises(ModelError, match="Qwen2Tokeniz")
    with expected:
        require_reloadable_tokenizer(Model(), character_tokenizer())


def test_large_weights_are_told_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> list[str]:  # beside the libraries' own bars, which a verb switches off
        return [
            line for line in capsys.readouterr().err.splitlines() if line.startswith("loading ")
        ]

    settings = recipe.Model(name=str(tiny_qwen2(tmp_path / "small")))
    tokenizer = load_tokenizer(settings)
    load_model(settings, tokenizer)
    assert told() == []
    monkeypatch.setattr("unspoken.models.load.LARGE_BYTES", 1_000)
    load_model(settings, tokenizer, purpose="ask")
    assert told() == [f"loading {tmp_path / 'small'}: 0.0 GB of weights"]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    load_model(settings, tokenizer)
    assert told() == []


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("gpt2", "n_layers", "n_layer"), ("llama", "num_layers", "num_hidden_layers")],
)
def test_a_name_that_a_configuration_does_not_have_is_told(kind: str, name: str, near: str) -> None:
    tokenizer = character_tokenizer(None)
    settings = recipe.Model(config={"model_type": kind, name: 1}, tokenizer="characters")
    with pytest.raises(ModelError, match=rf"model\.config\.{name}: found .* did you mean {near}\?"):
        build_empty(settings, tokenizer)
    config = {"model_type": kind, "num_hidden_layers": 1, "hidden_size": 8, "use_cache": False}
    config |= {"num_attention_heads": 2} | ({} if kind == "gpt2" else {"rope_theta": 1e4})
    build_empty(recipe.Model(config=config, tokenizer="characters"), tokenizer)


def test_a_folder_that_is_named_as_weights_are_decides_nothing(tmp_path: Path) -> None:
    """DeepSpeed's zero_to_fp32.py leaves such ones."""
    (tmp_path / "config.json").write_text("{}")
    before = fingerprint(tmp_path)
    (tmp_path / "pytorch_model.bin").mkdir()
    assert fingerprint(tmp_path) == before
