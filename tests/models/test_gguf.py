"""A GGUF file wherever a model is named; what is saved afterwards is a plain folder."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from helpers.gguf_files import SPECIAL, bpe_tokenizer, tiny_llama, write_gguf
from helpers.recipes import tiny_recipe
from unspoken.check.offline import is_here
from unspoken.check.recipe import check_recipe
from unspoken.common.errors import ModelError, settings_of
from unspoken.data.example import Example
from unspoken.measure.evaluate import EvaluateOptions, evaluate_folder
from unspoken.models.adapter import base_of, is_adapter
from unspoken.models.card import ModelCard
from unspoken.models.export.folder import export_model
from unspoken.models.fingerprint import fingerprint
from unspoken.models.load import build_empty, load_model, load_tokenizer, save_model
from unspoken.models.local import is_local
from unspoken.recipe import Lora, Model, recipe_from
from unspoken.run.run import run_recipe
from unspoken.teach.engines.transformers import transformers_engine

CARD = ModelCard("qa", removed=0, max_new_tokens=8, step=0, example_prompt="1")
PROMPT = torch.arange(5, 30)[None]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(PROMPT).logits


def load(name: Path | str, **arguments: Any) -> Any:
    settings = Model(name=str(name))
    return load_model(settings, load_tokenizer(settings), **arguments)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("quantized", [True, False])
def test_what_a_file_says_a_saved_folder_says(tmp_path: Path, tied: bool, quantized: bool) -> None:
    """Logit for logit; and the file without quantization is the model that it was made from."""
    original = tiny_llama(tied)
    file = write_gguf(tmp_path / "tiny.gguf", original, quantized=quantized)
    model = load(file)
    assert quantized or torch.equal(logits(model), logits(original))
    save_model(model, load_tokenizer(Model(name=str(file))), tmp_path / "plain", CARD)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    assert torch.equal(logits(plain), logits(model))
    assert "quantization_config" not in json.loads((tmp_path / "plain/config.json").read_text())
    with safe_open(tmp_path / "plain" / "model.safetensors", framework="pt") as weights:
        assert ("lm_head.weight" in weights.keys()) != tied  # noqa: SIM118
    for one in (model, plain):
        assert (one.lm_head.weight is one.model.embed_tokens.weight) == tied
        assert one.config.tie_word_embeddings == tied


def test_a_model_from_a_file_learns_as_one_from_its_folder(tmp_path: Path) -> None:
    """It is not frozen, and loading draws nothing: fresh adapters are the same."""
    model = load(write_gguf(tmp_path / "tiny.gguf"), seed=1)
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.save_pretrained(tmp_path / "plain")
    load_tokenizer(Model(name=str(tmp_path / "tiny.gguf"))).save_pretrained(tmp_path / "plain")
    one = load(tmp_path / "tiny.gguf", seed=1, lora=Lora()).state_dict()
    other = load(tmp_path / "plain", seed=1, lora=Lora()).state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_tokenizer_is_the_files_own(tmp_path: Path) -> None:
    """Ids, size and special tokens; transformers 5.17 and 5.24 each get one of them wrong."""
    tokenizer: Any = load_tokenizer(Model(name=str(write_gguf(tmp_path / "tiny.gguf"))))
    texts = ["What is 12 + 30?\n", " 3 apples  and", "<start>user\n\u00e9<end>", "Step 1: 3\tx\n\n"]
    expected = [bpe_tokenizer().encode(text).ids for text in texts]
    assert tokenizer(texts)["input_ids"] == expected
    assert len(tokenizer) == 300
    assert (tokenizer.unk_token, tokenizer.bos_token, tokenizer.eos_token) == SPECIAL
    assert tokenizer.pad_token == "<end>"
    tokenizer.save_pretrained(tmp_path / "saved")
    saved: Any = load_tokenizer(Model(name="unused", tokenizer=str(tmp_path / "saved")))
    assert saved(texts)["input_ids"] == expected
    assert saved.special_tokens_map == tokenizer.special_tokens_map
    assert saved.chat_template == tokenizer.chat_template


def test_a_folder_stands_for_the_file_in_it_unless_it_has_weights(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    model = load(tmp_path)
    assert torch.equal(logits(model), logits(tiny_llama()))
    assert model.name_or_path == str(tmp_path)
    torch.nn.init.zeros_(model.lm_head.weight)
    model.save_pretrained(tmp_path)
    load_tokenizer(Model(name=str(tmp_path / "tiny.gguf"))).save_pretrained(tmp_path)
    assert torch.equal(logits(load(tmp_path)), torch.zeros(1, 25, 300))
    assert torch.equal(logits(load(tmp_path / "tiny.gguf")), logits(tiny_llama()))


def test_a_name_in_capitals_is_read_as_any_other(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "TINY.GGUF")
    for name in (file, tmp_path):
        assert torch.equal(logits(load(name)), logits(tiny_llama()))
        before = fingerprint(name)
        write_gguf(file, quantized=True)
        assert fingerprint(name) != before
        write_gguf(file)
    assert is_local(str(file))
    (tmp_path / "other.gguf").write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="found 2 GGUF files in it"):
        load(tmp_path)
    with pytest.raises(ModelError, match=r"NONE\.GGUF: no such file"):
        load(tmp_path / "NONE.GGUF")


def test_weights_have_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", quantized=True)
    assert load(file).dtype == torch.float32
    assert load(file, purpose="ask", dtype="bfloat16").dtype == torch.bfloat16
    assert load(file, purpose="merge", dtype="auto").dtype == torch.float32
    assert load(file, purpose="merge", dtype="float16").dtype == torch.float16


def test_without_weights_it_has_the_same_shape(tmp_path: Path) -> None:
    settings = Model(name=str(write_gguf(tmp_path / "tiny.gguf")))
    empty = build_empty(settings, load_tokenizer(settings))
    expected = {name: value.shape for name, value in tiny_llama().state_dict().items()}
    assert {name: value.shape for name, value in empty.state_dict().items()} == expected


@pytest.mark.parametrize("length", [0, 3, 29, 87, 300, 7301, 14302, 28304, 119_000, -1])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, length: int) -> None:
    """Cut anywhere: before, within and after what describes the model."""
    file = write_gguf(tmp_path / "tiny.gguf")
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ModelError, match=r"tiny\.gguf: cannot be read; found .*; needed: .*fetch"):
        load(file)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"architecture": "unheard"}, "unheard"),
        ({"without": "blk.1.ffn_up.weight"}, r"no weights for model\.layers\.1\.mlp\.up_proj"),
    ],
)
def test_a_file_that_gives_no_model_is_refused(
    tmp_path: Path, change: dict[str, str], found: str
) -> None:
    with pytest.raises(ModelError, match=rf"tiny\.gguf: cannot be read; found .*{found}"):
        load(write_gguf(tmp_path / "tiny.gguf", **change))  # type: ignore[arg-type]


def test_a_file_that_is_not_there_or_not_the_only_one_is_named(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    (tmp_path / "other.gguf").write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match=r"found 2 GGUF files in it \(other\.gguf, tiny\.gguf\)"):
        load(tmp_path)
    with (
        pytest.raises(ModelError, match=r"^teacher=.*none\.gguf: no such file"),
        settings_of({"model.name": "teacher"}),
    ):
        load(tmp_path / "none.gguf")


def test_without_the_package_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"without the package gguf; needed: .*pip install gguf"):
        load_tokenizer(Model(name=str(file)))


def test_a_package_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")

    def refuse(*_: Any, **__: Any) -> None:
        raise ImportError("Please install torch and gguf>=0.10.0 to load a GGUF checkpoint.")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refuse)
    with pytest.raises(ModelError, match=r"cannot use \(Please install.*--upgrade gguf"):
        load_tokenizer(Model(name=str(file)))


def test_a_file_has_the_fingerprint_of_its_folder(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    before = fingerprint(file)
    assert fingerprint(tmp_path) == before
    assert is_local(str(file))
    assert is_here(str(file), None, weights=True)
    assert not is_local(str(tmp_path / "none.gguf"))
    write_gguf(file, quantized=True)
    assert fingerprint(file) != before


def test_it_teaches_and_is_measured(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    engine = transformers_engine(file)
    assert engine.style == "chat"
    assert engine.settings()["teacher"] == fingerprint(file)
    questions = [Example(f"What is {n} + 2?", "", str(n + 2)) for n in range(3)]
    load(file).save_pretrained(tmp_path / "plain")
    load_tokenizer(Model(name=str(file))).save_pretrained(tmp_path / "plain")
    answers = []
    for name in ("tiny.gguf", "plain"):
        output = tmp_path / f"{name}.jsonl"
        settings = Model(name=str(tmp_path / name))
        evaluate_folder(settings, questions, output, EvaluateOptions(8, 2, 0), template="chat")
        answers.append([json.loads(line)["generated"] for line in output.read_text().splitlines()])
    assert answers[0] == answers[1]
    assert len(answers[0]) == 3


def test_an_exported_file_is_a_plain_folder(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    folder = export_model(file, tmp_path / "exported")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(folder)), logits(tiny_llama()))
    assert not list(folder.glob("*.gguf"))
    assert "base_model:" not in (folder / "README.md").read_text()


def test_an_adapter_over_a_file_finds_it_again(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    model = load(file, seed=0, lora=Lora())
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    save_model(model.eval(), load_tokenizer(Model(name=str(file))), tmp_path / "adapter", CARD)
    assert base_of(str(tmp_path / "adapter")) == str(file)
    asked = load(tmp_path / "adapter", purpose="ask", dtype="float32")
    assert torch.equal(logits(asked), logits(model))
    merged = AutoModelForCausalLM.from_pretrained(
        export_model(tmp_path / "adapter", tmp_path / "merged")
    )
    assert not torch.allclose(logits(merged), logits(tiny_llama()), atol=0.1)
    assert torch.allclose(logits(merged), logits(model), atol=1e-3)


@pytest.mark.integration
@pytest.mark.parametrize("lora", [None, {}])
def test_a_run_starts_from_a_file_and_leaves_plain_folders(
    tmp_path: Path, lora: dict[str, Any] | None
) -> None:
    """The same command again does nothing; with another file it runs again."""
    recipe = _recipe(tmp_path, write_gguf(tmp_path / "tiny.gguf"), lora)
    assert any(finding.text.startswith("model: llama") for finding in check_recipe(recipe))
    folder = run_recipe(recipe, progress=False).parent
    model = folder / "internalized" / "model"
    assert not list(folder.rglob("*.gguf"))
    load(model, purpose="ask")
    assert is_adapter(str(model)) == (lora is not None)
    assert (folder / "untrained" / "predictions.jsonl").exists()
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append)
    assert said[-1].startswith("nothing to do")
    write_gguf(tmp_path / "tiny.gguf", quantized=True)
    run_recipe(recipe, progress=False, say=said.append)
    assert any("model.fingerprint" in line for line in said)


def _recipe(tmp_path: Path, file: Path, lora: dict[str, Any] | None) -> Any:
    sections: dict[str, Any] = {"template": "qa", "lora": lora, "baselines": {"untrained": True}}
    sections["train"] = {"max_steps": 4, "evaluate_every": 4}
    sections["evaluate"] = {"limit": 4, "num_latency": 0, "max_new_tokens": 8}
    values = tiny_recipe(tmp_path / "run", **sections).model_dump(mode="json")
    return recipe_from({**values, "model": {"name": str(file)}})
