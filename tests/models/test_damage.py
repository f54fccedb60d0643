"""Model folders that are damaged, do not fit, or are not what they say: one line with the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers.adapters import base_model, save_adapter
from helpers.teachers import CHAT
from unspoken.cli.main import call
from unspoken.common.errors import ModelError
from unspoken.measure.sampling import Sampling
from unspoken.models import template as templates
from unspoken.models.adapter import is_adapter, lay_over
from unspoken.models.card import ModelCard
from unspoken.models.export.folder import export_model
from unspoken.models.files import require_finite
from unspoken.models.load import load_model, load_tokenizer, restore_weights
from unspoken.models.template import Template, render_chat
from unspoken.models.tokenizer import character_tokenizer
from unspoken.recipe import Model
from unspoken.teach.engines.transformers import transformers_engine
from unspoken.teach.traces.write import generate_traces

DEEP = b"[" * 50_000
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
PAGE = b"<!DOCTYPE html><html>not found</html>"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of one model: base, adapter (of it), bin (pickled weights), trained (with a card)."""
    folder = tmp_path_factory.mktemp("made")
    base = base_model(folder / "base")
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(base)
    save_adapter(base, folder / "adapter")
    shutil.copytree(base, folder / "bin")
    (folder / "bin" / "model.safetensors").unlink()
    torch.save(load_file(base / "model.safetensors"), folder / "bin" / "pytorch_model.bin")
    shutil.copytree(base, folder / "trained")
    ModelCard("compact", 0, 8, 1, "1=").write(folder / "trained")
    return folder


def ask(folder: Path, output: Path) -> None:
    engine = transformers_engine(folder)
    sampling = Sampling(max_new_tokens=2)
    generate_traces(engine, [{"question": "1 + 1"}], output, sampling=sampling, overwrite=True)


def refusals(folder: Path, place: Path) -> list[str]:
    """What asking and exporting say of a folder; each in one line."""
    told = []
    for act in (lambda: ask(folder, place / "t.jsonl"), lambda: export_model(folder, place / "o")):
        with pytest.raises(ModelError) as caught:
            act()
        assert "\n" not in str(caught.value)
        assert "needed: " in str(caught.value)
        told.append(str(caught.value))
    assert not (place / "o").exists()
    return told


def replaced(raw: bytes, **values: Any) -> bytes:
    return json.dumps({**json.loads(raw), **values}).encode()


def test_a_folder_without_a_tokenizer_is_refused(made: Path, tmp_path: Path) -> None:
    """transformers makes an empty one for it, and says nothing."""
    folder = tmp_path / "model"
    shutil.copytree(made / "base", folder, ignore=shutil.ignore_patterns("tokenizer*", "vocab*"))
    for told in refusals(folder, tmp_path):
        assert told.startswith(f"tokenizer {str(folder)!r}: found no token but special ones")
    with pytest.raises(ModelError, match=r"such as tokenizer\.json; copy them into the folder"):
        load_tokenizer(Model(name=str(folder)))


@pytest.mark.parametrize("what", ["tokenizer", "model"])
def test_a_folder_without_a_model_is_told_as_such(tmp_path: Path, what: str) -> None:
    (tmp_path / "notes.txt").write_text("nothing of a model's")
    settings: Any = Model(name=str(tmp_path))
    with pytest.raises(ModelError, match=f"found none of the files of a {what} in it; needed: "):
        if what == "tokenizer":
            load_tokenizer(settings)
        else:
            load_model(settings, character_tokenizer())


HALF: Callable[[bytes], bytes] = lambda raw: raw[: len(raw) // 2]  # noqa: E731
WHATEVER = [
    *(
        (kind, name, change)
        for kind, name in [
            ("base", "config.json"), ("base", "tokenizer.json"), ("base", "tokenizer_config.json"),
            ("base", "generation_config.json"), ("base", "model.safetensors"),
            ("adapter", "adapter_config.json"), ("adapter", "adapter_model.safetensors"),
            ("bin", "pytorch_model.bin"), ("trained", "unspoken.json"),
        ]
        for change in (b"", HALF, DEEP, LFS, PAGE, b"\xff\xfe\x00", b"null")
    ),
    ("base", "model.safetensors", lambda raw: raw[:-1]),
    ("base", "model.safetensors", lambda raw: raw + b"\x00"),
    ("base", "model.safetensors", lambda raw: b"\xff" * 8 + raw[8:]),
    ("base", "model.safetensors", lambda raw: raw.replace(b'"shape":[', b'"shape":{', 1)),
    ("base", "config.json", lambda raw: replaced(raw, model_type="unheard")),
    ("base", "config.json", lambda raw: replaced(raw, hidden_size="wide")),
    ("base", "config.json", lambda raw: replaced(raw, hidden_size=10**30)),
    ("base", "config.json", lambda raw: replaced(raw, num_hidden_layers=-1.5)),
    ("base", "config.json", lambda raw: replaced(raw, vocab_size=[])),
    ("base", "config.json", lambda raw: replaced(raw, num_hidden_layers=0)),
    ("base", "config.json", lambda raw: replaced(raw, num_hidden_layers=3)),
    ("base", "config.json", lambda raw: replaced(raw, intermediate_size=32)),
    ("base", "tokenizer_config.json", lambda raw: replaced(raw, eos_token={"a": 1})),
    ("base", "tokenizer_config.json", lambda raw: replaced(raw, eos_token=None)),
    ("base", "tokenizer_config.json", lambda raw: replaced(raw, model_max_length={"a": 1})),
    ("base", "tokenizer.json", lambda raw: replaced(raw, added_tokens=5)),
    ("base", "tokenizer.json", lambda raw: replaced(raw, model={"type": "none"})),
    ("adapter", "adapter_config.json", lambda raw: replaced(raw, peft_type="unheard")),
    ("adapter", "adapter_config.json", lambda raw: replaced(raw, base_model_name_or_path=5)),
    ("adapter", "adapter_config.json", lambda raw: replaced(raw, r="many")),
    ("trained", "unspoken.json", lambda raw: replaced(raw, template="own")),
    ("trained", "unspoken.json", lambda raw: replaced(raw, max_new_tokens=-1)),
    ("trained", "unspoken.json", lambda raw: b"{}"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "change"), WHATEVER)
def test_a_damaged_file_is_named_in_one_line(
    made: Path, tmp_path: Path, kind: str, name: str, change: bytes | Callable[[bytes], bytes]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(made / kind, folder)
    raw = (folder / name).read_bytes()
    (folder / name).write_bytes(change if isinstance(change, bytes) else change(raw))
    family = "tokenizer" if name.startswith("tokenizer") else name
    for told in refusals(folder, tmp_path):
        assert family in told


@pytest.mark.parametrize("value", ["two", -3, [1, "x"], 1.5, {"a": 1}])
def test_an_end_token_that_is_none_is_named(made: Path, tmp_path: Path, value: Any) -> None:
    shutil.copytree(made / "base", tmp_path / "model")
    path = tmp_path / "model" / "generation_config.json"
    path.write_bytes(replaced(path.read_bytes(), eos_token_id=value))
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        ask(tmp_path / "model", tmp_path / "t.jsonl")


def test_weights_that_would_run_code_are_refused(made: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    shutil.copytree(made / "bin", tmp_path / "model")
    torch.save({"a": Evil()}, tmp_path / "model" / "pytorch_model.bin")
    for told in refusals(tmp_path / "model", tmp_path):
        assert "pytorch_model.bin: cannot be unpickled without running code" in told
        assert "safetensors" in told
    shutil.copytree(made / "adapter", tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    torch.save({"a": Evil()}, tmp_path / "adapter" / "adapter_model.bin")
    for told in refusals(tmp_path / "adapter", tmp_path):
        assert "adapter_model.bin: cannot be unpickled" in told
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_alone_are_read(made: Path, tmp_path: Path) -> None:
    ask(made / "bin", tmp_path / "bin.jsonl")
    ask(made / "base", tmp_path / "base.jsonl")
    assert (tmp_path / "bin.jsonl").read_text().replace("/bin", "/base") == (
        tmp_path / "base.jsonl"
    ).read_text()


# --- adapters -----------------------------------------------------------------------------------


def rename(folder: Path, how: Callable[[str], str]) -> None:
    """Gives the weights of an adapter other names; those without one are left out."""
    path = folder / "adapter_model.safetensors"
    weights = {how(name): weight for name, weight in load_file(path).items()}
    save_file({name: weight for name, weight in weights.items() if name}, path)


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        (lambda name: name.replace("base_model.model.", ""), "have no place"),
        (lambda name: name.replace("base_model.model.", "base_model.model.other."), "no place"),
        (lambda name: name.replace("layers.0", "layers.7"), "have no place"),
        (lambda name: name.replace("q_proj", "o_proj"), "have no place"),
        (lambda name: name if "q_proj" in name else "", "no weights for"),
        (lambda name: name if "lora_A" in name else "", "no weights for"),
        (lambda name: "", "no weights"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    made: Path, tmp_path: Path, how: Callable[[str], str], problem: str
) -> None:
    shutil.copytree(made / "adapter", tmp_path / "adapter")
    rename(tmp_path / "adapter", how)
    for told in refusals(tmp_path / "adapter", tmp_path):
        assert f"cannot be laid over {made / 'base'}: " in told
        assert problem in told


def test_an_adapter_of_a_larger_model_is_refused(made: Path, tmp_path: Path) -> None:
    larger = base_model(tmp_path / "larger", num_hidden_layers=3)
    adapter = save_adapter(larger, tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"8 of its weights have no place, such as .*layers\.1"):
        export_model(made / "base", tmp_path / "out", adapter=adapter)
    fits = save_adapter(made / "base", tmp_path / "fits")
    with pytest.raises(ModelError, match=r"no weights for 8, such as .*layers\.1"):
        export_model(larger, tmp_path / "out", adapter=fits)
    wide = base_model(tmp_path / "wide", hidden_size=32)
    with pytest.raises(ModelError, match="cannot be laid over"):
        export_model(wide, tmp_path / "out", adapter=fits)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["lm_head", "q_proj"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"target_modules": ["embed_tokens", "lm_head"]},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
        {"trainable_token_indices": [5, 6]},
        {},
    ],
)
def test_an_export_says_what_model_and_adapter_say(
    tmp_path: Path, options: dict[str, Any], tied: bool
) -> None:
    if not hasattr(LoraConfig(), next(reversed(options), "r")):
        pytest.skip("of a newer peft")
    base = base_model(tmp_path / "base", tie_word_embeddings=tied)
    adapter = save_adapter(base, tmp_path / "adapter", **options)
    ids = torch.tensor([[5, 6, 7, 8]])
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    laid: Any = lay_over(model, adapter).eval()
    with torch.no_grad():
        for name, weight in laid.named_parameters():
            if "modules_to_save" in name or "trainable_tokens" in name:
                weight.add_(torch.randn_like(weight))
    laid.save_pretrained(str(adapter))
    with torch.inference_mode():
        expected = laid(ids).logits
        merged: Any = AutoModelForCausalLM.from_pretrained(
            export_model(adapter, tmp_path / "out")
        ).eval()
        assert torch.allclose(merged(ids).logits, expected, atol=1e-5)
    modules = [*options.get("target_modules", []), *options.get("modules_to_save", [])]
    as_one = "ensure_weight_tying" in options
    changes_ends = "trainable_token_indices" in options or (
        not as_one and bool({"lm_head", "embed_tokens"} & {*modules})
    )
    assert merged.config.tie_word_embeddings == (tied and not changes_ends)


def test_a_part_of_the_weights_that_was_not_copied_is_named(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(made / "base", folder)
    (folder / "model.safetensors").unlink()
    model: Any = AutoModelForCausalLM.from_pretrained(made / "base")
    model.save_pretrained(folder, max_shard_size="20KB")
    first = min(folder.glob("model-*.safetensors"))
    export_model(folder, tmp_path / "whole")
    first.unlink()
    with pytest.raises(ModelError, match=rf"index.json: names {first.name}, which is not there; "):
        export_model(folder, tmp_path / "out")
    index = folder / "model.safetensors.index.json"
    index.write_text("{}")
    with pytest.raises(ModelError, match=r"index.json: does not say where the weights are"):
        export_model(folder, tmp_path / "out")


def test_an_adapter_that_cannot_be_merged_is_named(made: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    model: Any = AutoModelForCausalLM.from_pretrained(made / "base")
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(model, config).save_pretrained(str(tmp_path / "adapter"))
    assert is_adapter(str(tmp_path / "adapter"))
    with pytest.raises(ModelError, match=r"PROMPT_TUNING cannot be merged"):
        export_model(tmp_path / "adapter", tmp_path / "out")


@pytest.mark.parametrize("kind", ["base", "adapter"])
def test_a_damaged_checkpoint_is_named(made: Path, tmp_path: Path, kind: str) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(made / "base")
    if kind == "adapter":
        model = lay_over(model, made / "adapter")
    shutil.copytree(made / kind, tmp_path / "checkpoint-4")
    restore_weights(model, tmp_path / "checkpoint-4")
    (path,) = (tmp_path / "checkpoint-4").glob("*.safetensors")
    path.write_bytes(HALF(path.read_bytes()))
    with pytest.raises(ModelError, match=rf"{path.name}: is .* needed: "):
        restore_weights(model, tmp_path / "checkpoint-4")


@pytest.mark.parametrize(
    "values", [{"hidden_size": "wide"}, {"model_type": [1]}, {"dtype": "float99"}]
)
def test_a_fault_of_the_configuration_is_not_the_tokenizers(
    made: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    """The configuration is read with the tokenizer, which comes first."""
    shutil.copytree(made / "base", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_bytes(replaced(path.read_bytes(), **values))
    for told in refusals(tmp_path / "model", tmp_path):
        assert f"{path}, or what it describes" in told
        assert "tokenizer_config.json" not in told


def test_weights_of_other_shapes_are_told(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "base", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_bytes(replaced(path.read_bytes(), intermediate_size=32))
    for told in refusals(tmp_path / "model", tmp_path):
        assert "the weights have other shapes than it says" in told
        assert "report" not in told


# --- chat templates -----------------------------------------------------------------------------

TEMPLATES = {
    "raises": "{{ raise_exception('not like this') }}",
    "has an error": "{{ 1 / 0 }}",
    "asks for what is not there": "{{ messages[7]['content'].a.b }}",
    "is cut off": "{% for message in messages %}{{ mess",
    "calls itself": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "counts too far": "{% for n in range(10**9) %}{% endfor %}",
    "does not end": "{% for n in range(99999) %}{% for m in range(99999) %}{{ m }}"
    "{% endfor %}{% endfor %}",
    "gets slower": "{% for n in range(99999) %}{{ range(99999) | list | length }}{% endfor %}",
    "is one huge text": "{{ 'x' * 10**9 }}",
    "multiplies a text": "{{ 'x' * 1000000000 }}",
    "multiplies a list": "{{ [0] * 1000000000 }}",
    "fills up a text": "{{ 'x' | center(2000000000) }}",
    "formats a number": "{{ '%2000000000d' | format(1) }}",
    "doubles a text": "{% set a = namespace(t='x') %}{% for n in range(60) %}"
    "{% set a.t = a.t ~ a.t %}{% endfor %}{{ a.t | length }}",
    "repeats a long text": "{% set t = 'x' * 100000 %}{% for n in range(99999) %}{{ t }}"
    "{% endfor %}",
    "is ten million characters": "{{ 'x' * 10000000 }}",
    "calculates for ever": "{% set a = 10 ** 10 ** 9 %}{{ a }}",
    "calculates later": "{% set n = 10 %}{{ n ** n ** n }}",
    "writes for ever": "{{ lipsum(n=100000000) }}",
    "is empty": "",
    "says nothing": "{% for message in messages %}  {% endfor %}",
}


@pytest.mark.parametrize("what", TEMPLATES)
def test_a_chat_template_that_gives_no_prompt_is_named(
    made: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "MAX_TEMPLATE_S", 0.3)  # it is reached three times
    shutil.copytree(made / "base", tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(TEMPLATES[what])
    with pytest.raises(ModelError, match=r"its chat template .* gives no prompt: ") as caught:
        ask(tmp_path / "model", tmp_path / "t.jsonl")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "model") in str(caught.value)
    tokenizer = character_tokenizer()
    tokenizer.chat_template = TEMPLATES[what]
    with pytest.raises(ModelError, match="gives no prompt"):
        Template("chat", tokenizer).prompt("1 + 1")


def test_a_template_without_a_system_role_is_no_fault(tokenizer: Any) -> None:
    tokenizer.chat_template = CHAT
    for number in range(120):  # the limit is only looked after at first
        assert render_chat(tokenizer, [{"role": "user", "content": str(number)}]) == (
            f"[user]{number}\n[assistant]"
        )


@pytest.mark.parametrize(
    "template",
    [
        "**{{ messages[0]['content'] }}**",
        "{% macro a(b) %}{{ b }}{% endmacro %}{{ a(**{'b': messages[0]['content']}) }}",
        "{{ messages[0]['content'] * 2 }}",
    ],
)
def test_a_template_may_write_asterisks_and_long_texts(template: str, tokenizer: Any) -> None:
    tokenizer.chat_template = template
    question = "12 " * 300_000
    assert question in render_chat(tokenizer, [{"role": "user", "content": question}])


# --- code of the model's own ----------------------------------------------------------------------

CODE = "from pathlib import Path\nPath({place!r}).touch()\n"


@pytest.mark.parametrize("where", ["tokenizer", "config", "both"])
@pytest.mark.parametrize("known", [True, False])
def test_export_never_asks_and_never_runs_code(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, known: bool
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(made / "base", folder)
    (folder / "own.py").write_text(CODE.format(place=str(tmp_path / "ran")))
    entries: dict[str, dict[str, Any]] = {
        "tokenizer_config.json": {
            "auto_map": {"AutoTokenizer": ["own.Own", None]},
            **({} if known else {"tokenizer_class": "Own"}),
        },
        "config.json": {
            "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"},
            **({} if known else {"model_type": "own"}),
        },
    }
    for name, values in entries.items():
        if where == "both" or name.startswith(where):
            path = folder / name
            path.write_bytes(replaced(path.read_bytes(), **values))

    def answer(*_: Any) -> str:
        raise AssertionError("it was asked")

    monkeypatch.setattr("builtins.input", answer)
    try:
        call(["export", "--model", str(folder), "--output", str(tmp_path / "out")])
    except ModelError as error:
        assert not known
        assert "trust_remote_code" in str(error)
        assert "\n" not in str(error)
    else:
        assert "auto_map" not in (tmp_path / "out" / "config.json").read_text()
        assert "auto_map" not in (tmp_path / "out" / "tokenizer_config.json").read_text()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("tokenizer", [True, False])
def test_a_model_that_transformers_has_given_up_names_its_counterparts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: bool
) -> None:
    """The first Qwen, as it stands in a folder that was fetched with or without its code."""
    code = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    config = {"model_type": "qwen", "auto_map": code}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(CODE.format(place=str(tmp_path / "ran")))
    if tokenizer:
        own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(own))

    def answer(*_: Any) -> str:
        raise AssertionError("it was asked")

    monkeypatch.setattr("builtins.input", answer)
    named = Model(name=str(tmp_path))
    with pytest.raises(ModelError, match=r"Qwen/Qwen2\.5-7B") as first:
        load_tokenizer(named)
    with pytest.raises(ModelError, match=r"Qwen/Qwen2\.5-7B") as second:
        load_model(named, character_tokenizer())
    assert "\n" not in f"{first.value}{second.value}"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("kind", "value"), [("base", float("nan")), ("adapter", float("inf"))])
def test_weights_that_are_not_finite_are_named(
    made: Path, tmp_path: Path, kind: str, value: float
) -> None:
    folder = shutil.copytree(made / kind, tmp_path / kind)
    file = next(folder.glob("*.safetensors"))
    weights = load_file(file)
    name = next(key for key in weights if "up_proj" in key)
    weights[name].view(-1)[1] = value
    save_file(weights, file, {"format": "pt"})
    settings = Model(name=str(folder))
    tokenizer = load_tokenizer(Model(name=str(made / "base")))
    with pytest.raises(ModelError, match=rf"{kind}': found 1 of .* weights of .*up_proj.* NaN"):
        load_model(settings, tokenizer, purpose="ask")


def test_weights_that_torch_cannot_add_up_are_not_looked_at() -> None:
    """Those in 8 bits, as a GPU is given them."""
    layer = torch.nn.Linear(2, 2)
    eighth = layer.weight.detach().to(torch.float8_e4m3fn)
    layer.weight = torch.nn.Parameter(eighth, requires_grad=False)
    require_finite(layer, "fp8")


@pytest.mark.parametrize(
    "said",
    [
        "The global thread pool has not been initialized.: ThreadPoolBuildError { kind: IOError }",
        "can't start new thread",
    ],
)
def test_a_limit_of_threads_is_no_damaged_file(
    made: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(ModelError, match=r"starts no more threads .*ulimit -u") as refused:
        load_tokenizer(Model(name=str(made / "base")))
    assert "tokenizer_config.json" not in str(refused.value)
