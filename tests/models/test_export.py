from __future__ import annotations

import json
import random
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from helpers.adapters import base_model, recipe
from helpers.recipes import ALPHABET
from unspoken.cli.export import export
from unspoken.common.errors import ModelError, OutputExistsError
from unspoken.data.example import read_questions
from unspoken.measure.evaluate import evaluate_folder
from unspoken.models import template as template_module
from unspoken.models.card import ModelCard
from unspoken.models.chat_template import chat_template
from unspoken.models.download import Download
from unspoken.models.export.folder import export_model
from unspoken.models.export.readme import Story, readme
from unspoken.models.hub import HubFile
from unspoken.models.template import Template, encode_prompts
from unspoken.models.tokenizer import character_tokenizer
from unspoken.recipe import Model
from unspoken.recipe.sections import TemplateName
from unspoken.run.run import run_recipe

QUESTIONS = [
    "1 2 * 3 4",
    "Tom has 12 apples, and  buys 30 more.\nHow many now?",
    "  what is 1  2 * 3 ?  ",
    "a 1 b  2 \u00e9 3 \u00b2 4 _ 5 \u0664 6",
    "x",
    "",
]
OWN_CHAT = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
#: Answers the questions in a file, in a Python that cannot import unspoken; peft only for adapters.
ASK = """
import json, sys
sys.modules["unspoken"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
questions, served, adapter, limit = sys.argv[1:5]
tokenizer = AutoTokenizer.from_pretrained(served)

def answers(model, **limits):
    for question in json.load(open(questions)):
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True, return_tensors="pt", return_dict=True,
        )
        new = model.generate(**inputs, **limits)[0, inputs["input_ids"].shape[1]:]
        yield tokenizer.decode(new, skip_special_tokens=True)

sys.modules["peft"] = None
found = {"served": list(answers(AutoModelForCausalLM.from_pretrained(served)))}
if adapter != "-":
    del sys.modules["peft"]
    from peft import AutoPeftModelForCausalLM
    model = AutoPeftModelForCausalLM.from_pretrained(adapter)
    found["adapter"] = list(answers(model, max_new_tokens=int(limit), do_sample=False))
print(json.dumps(found))
"""


def backend_of(kind: str) -> Any:
    """A tiny Rust tokenizer that treats text as those of this family do."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers import trainers as t

    backend = Tokenizer(models.BPE(byte_fallback=kind.startswith("llama"), unk_token="<unk>"))
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet: list[str] = []
    if kind in ("gpt2", "qwen2", "llama3"):
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    elif kind == "llama-legacy":
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
    else:  # llama
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = t.BpeTrainer(
        vocab_size=330, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([*QUESTIONS, "### Question:\n### Answer:\n", "1234567890"], trainer)
    if kind.startswith("llama"):
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return backend


def tokenizer_of(kind: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    start = {"bos_token": "<s>"} if kind.startswith("llama") else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend_of(kind), eos_token="</s>", unk_token="<unk>", **start
    )


@pytest.mark.parametrize("name", ["plain", "compact", "qa", "chat"])
@pytest.mark.parametrize("kind", ["gpt2", "qwen2", "llama", "llama-legacy", "llama3"])
def test_the_chat_template_asks_as_training_did(
    kind: str, name: TemplateName, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    made = tokenizer_of(kind)
    made.chat_template = OWN_CHAT
    template = Template(name, made)
    expected = encode_prompts([template.prompt(each) for each in QUESTIONS], made, template)
    made.chat_template = chat_template(template, made)
    made.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for question, ids in zip(QUESTIONS, expected, strict=True):
        messages = [{"role": "user", "content": question}]
        options: Any = {"add_generation_prompt": True, "return_dict": False}
        assert loaded.apply_chat_template(messages, **options) == ids
        # as servers do it: first the text, then its tokens
        text = loaded.apply_chat_template(messages, tokenize=False, **options)
        assert loaded(text, add_special_tokens=False)["input_ids"] == ids
    if kind.startswith("llama") and name != "chat":
        assert expected[0][0] == loaded.bos_token_id
        assert loaded.bos_token_id not in expected[0][1:]


def test_squeezing_in_jinja_is_squeezing_in_python(tokenizer: Any) -> None:
    jinja = chat_template(Template("compact"), tokenizer)
    draw = random.Random(0)
    symbols = "   ab1 2*_\u00e9\u00b2\u0664\u2163\u4e8c\u0301\n\t\u00a0"
    for _ in range(1_000):
        question = "".join(draw.choice(symbols) for _ in range(draw.randrange(12)))
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], chat_template=jinja, tokenize=False
        )
        assert text == template_module.squeeze(question) + "=", repr(question)


def test_more_than_one_question_is_refused_by_the_template(tokenizer: Any) -> None:
    from jinja2 import TemplateError

    jinja = chat_template(Template("plain"), tokenizer)
    system = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "1"}]
    for messages in (system, [{"role": "assistant", "content": "1"}]):
        with pytest.raises(TemplateError, match="one user message"):
            tokenizer.apply_chat_template(messages, chat_template=jinja, tokenize=False)


def test_a_wrong_chat_template_is_left_out(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> None:
    monkeypatch.setattr(template_module, "squeeze", lambda text: text.replace(" ", ""))
    with pytest.raises(ModelError, match="cannot be written as a chat template"):
        chat_template(Template("compact"), tokenizer)


def trained(tmp_path: Path, kind: str = "qwen2", **sections: Any) -> Path:
    """The adapter folder of a run that took a second."""
    sections.setdefault("lora", {"r": 16, "alpha": 64})
    sections.setdefault("train", {"learning_rate": 3e-3})
    sections.setdefault("data", {"num_test": 8})
    run_recipe(recipe(tmp_path, kind, **sections), progress=False)
    return tmp_path / "run" / "internalized" / "model"


def ask(tmp_path: Path, served: Path, adapter: str = "-", limit: int = 0) -> Any:
    """The answers to the test questions from a Python without unspoken: served, adapter."""
    questions = tmp_path / "questions.json"
    asked = [each.question for each in read_questions(tmp_path / "run" / "data" / "test.jsonl")]
    questions.write_text(json.dumps(asked))
    command = [sys.executable, "-c", ASK, str(questions), str(served), adapter, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def predictions(tmp_path: Path) -> list[str]:
    path = tmp_path / "run" / "internalized" / "predictions.jsonl"
    return [json.loads(line)["generated"] for line in path.read_text().splitlines()]


@pytest.mark.integration
@pytest.mark.parametrize(("kind", "learning_rate"), [("gpt2", 3e-2), ("qwen2", 3e-3)])
def test_an_adapter_and_its_export_answer_without_unspoken_as_unspoken_measured(
    tmp_path: Path, kind: str, learning_rate: float
) -> None:
    adapter = trained(tmp_path, kind, train={"learning_rate": learning_rate})
    folder = export_model(adapter, tmp_path / "served")
    expected = predictions(tmp_path)
    assert len(set(expected)) > (kind == "qwen2")  # the other one learns one answer for all
    assert any(expected)  # how many a few steps teach to end at once differs between machines
    card = ModelCard.read(adapter)
    assert card is not None
    asked = ask(tmp_path, folder, str(adapter), card.max_new_tokens)
    assert asked == {"served": expected, "adapter": expected}
    assert not (folder / "adapter_config.json").exists()
    assert (folder / "model.safetensors").exists()
    assert (folder / "unspoken.json").read_bytes() == (adapter / "unspoken.json").read_bytes()
    settings = json.loads((folder / "generation_config.json").read_text())
    assert settings["do_sample"] is False
    assert settings["temperature"] == 0
    assert settings["max_new_tokens"] == card.max_new_tokens
    assert settings["eos_token_id"] == 1
    examples = read_questions(tmp_path / "run" / "data" / "test.jsonl")
    evaluate_folder(Model(name=str(folder)), examples, tmp_path / "again.jsonl")
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert [each["generated"] for each in again] == expected


def logits_of(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(torch.arange(3, 40)[None]).logits


@pytest.mark.integration
def test_an_adapter_from_4_bit_weights_is_merged_into_the_unquantized_ones(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is for Linux and Windows")
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    load: Any = AutoModelForCausalLM.from_pretrained
    adapter = trained(tmp_path, model={"quantization": "nf4"}, train={"learning_rate": 1e-2})
    folder = export_model(adapter, tmp_path / "served")
    served = logits_of(load(folder))
    beside = logits_of(PeftModel.from_pretrained(load(tmp_path / "base"), adapter))
    torch.testing.assert_close(served, beside, atol=1e-4, rtol=1e-4)
    assert (served - logits_of(load(tmp_path / "base"))).abs().max() > 0.01
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    text = (folder / "README.md").read_text()
    assert "the adapter was trained on nf4 weights" in text
    assert "before the adapter was merged on nf4 weights" in text


@pytest.mark.integration
def test_a_whole_model_keeps_its_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = trained(tmp_path, lora=None)
    folder = export_model(str(model), tmp_path / "served")
    before, after = (load_file(each / "model.safetensors") for each in (model, folder))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert ModelCard.read(folder) == ModelCard.read(model)


@pytest.mark.integration
def test_base_and_adapter_can_be_named_apart_and_the_dtype_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    adapter = trained(tmp_path)
    base = (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(ModelError, match=r"give model=FOLDER adapter="):
        export_model(adapter, tmp_path / "served")
    export(model=str(base), lora_model=adapter, output=tmp_path / "served", dtype="bfloat16")
    assert "vllm serve" in capsys.readouterr().out
    weights = load_file(tmp_path / "served" / "model.safetensors").values()
    assert {tensor.dtype for tensor in weights} == {torch.bfloat16}
    assert json.loads((tmp_path / "served" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.integration
def test_a_tokenizer_that_would_be_loaded_as_another_one_is_refused(tmp_path: Path) -> None:
    adapter = trained(tmp_path, "qwen2")
    character_tokenizer(ALPHABET).save_pretrained(adapter)
    with pytest.raises(ModelError, match="beside a model of type qwen2"):
        export_model(adapter, tmp_path / "served")
    assert {path.name for path in tmp_path.iterdir()} == {"base", "run"}


@pytest.mark.parametrize("name", ["student", "größer & 7 %", "Anna's"])
def test_the_readmes_commands_are_whole_whatever_the_folder_is_called(name: str) -> None:
    story = Story(None, None, None, False, None, None, None, None)
    card = ModelCard("plain", 1, 9, 1, "Q\n")
    text = readme(name, story, card, has_template=True, problem=None, dtype="float32")
    assert "thought, 1 token of which was removed during" in text
    block = text.partition("```bash\n")[2].partition("```")[0].replace("\\\n", " ")
    serve, ask = (shlex.split(line, comments=True) for line in block.splitlines())
    assert serve == ["vllm", "serve", ".", "--served-model-name", name]
    assert json.loads(ask[-1])["model"] == name


@pytest.mark.integration
def test_the_readme_tells_where_the_model_comes_from(tmp_path: Path) -> None:
    adapter = trained(tmp_path)
    record = Download(
        tmp_path / "base", "Qwen/Tiny", "main", "c" * 40, "safetensors", False,
        (HubFile("config.json", 1),), "2026-01-01",
    )  # fmt: skip
    record.write(tmp_path / "base")
    text = (export_model(adapter, tmp_path / "served") / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert (front["base_model"], front["library_name"]) == ("Qwen/Tiny", "transformers")
    assert "c" * 40 in text
    assert "vllm serve" in text
    evaluation = json.loads((adapter.parent / "evaluation.json").read_text())
    accuracy = f"Accuracy {evaluation['accuracy']:.1%}"
    assert f"{accuracy}" in text
    assert "license of the base model" in text
    # what is exported again carries it on
    again = export_model(tmp_path / "served", tmp_path / "again", dtype="bfloat16")
    told = (again / "README.md").read_text()
    made = [line for line in text.splitlines() if line.startswith("- ")]
    assert [line for line in told.splitlines() if line.startswith("- ")][: len(made)] == made
    assert "- weights: bfloat16" in told
    assert accuracy in told
    assert told.partition("# again")[0] == text.partition("# served")[0]
    # figures of other weights are not claimed
    evaluation["settings"]["model_sha256"] = "0"
    (adapter.parent / "evaluation.json").write_text(json.dumps(evaluation))
    text = (export_model(adapter, tmp_path / "served", overwrite=True) / "README.md").read_text()
    assert accuracy not in text
    assert str(tmp_path) not in text


def test_nothing_is_replaced_that_is_no_model_or_was_not_meant(tmp_path: Path) -> None:
    base = base_model(tmp_path / "base")
    served = export_model(base, tmp_path / "served")
    with pytest.raises(OutputExistsError, match="overwrite=true"):
        export_model(base, served)
    (served / "old.txt").write_text("old")
    export_model(base, served, overwrite=True)
    assert not (served / "old.txt").exists()
    (tmp_path / "notes").mkdir()
    with pytest.raises(OutputExistsError, match="no model folder"):
        export_model(base, tmp_path / "notes", overwrite=True)
    for place in (base, base / "inside", tmp_path):
        with pytest.raises(OutputExistsError, match="is, holds or lies in"):
            export_model(base, place, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "notes", "served"]


def test_what_cannot_be_exported_says_what_to_do(tmp_path: Path) -> None:
    base = base_model(tmp_path / "base")
    with pytest.raises(ModelError, match="no such folder"):
        export_model(tmp_path / "nothing", tmp_path / "served")
    with pytest.raises(ModelError, match=r"no adapter_config.json"):
        export_model(base, tmp_path / "served", adapter=base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "quantization_config": {}}))
    with pytest.raises(ModelError, match="found quantized weights; needed: unquantized"):
        export_model(base, tmp_path / "served")
    assert not (tmp_path / "served").exists()
