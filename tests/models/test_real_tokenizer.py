"""Where spans of text meet, a BPE tokenizer may merge; what is trained is what is asked.

A small tokenizer with merges, and the real one of SmolLM2 where its package can be had.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from helpers.gguf_files import CHAT_TEMPLATE, SPECIAL, bpe_tokenizer, tiny_llama, write_gguf
from helpers.real_model import find_smollm2
from unspoken.data.example import Example
from unspoken.data.tasks.arithmetic import generate
from unspoken.measure.grade import grade
from unspoken.models.card import ModelCard
from unspoken.models.chat_template import PROBES, chat_template
from unspoken.models.export.folder import export_model
from unspoken.models.gguf import SUFFIX
from unspoken.models.load import load_model, load_tokenizer, save_model
from unspoken.models.template import Template, encode_prompts
from unspoken.recipe import Model
from unspoken.recipe.sections import TemplateName
from unspoken.teach.engines.transformers import transformers_engine
from unspoken.teach.prompts import make_prompt_writer
from unspoken.train.collate import IGNORE, collate
from unspoken.train.encode import encode_examples

NAMES: list[TemplateName] = ["plain", "compact", "qa", "chat"]
EXAMPLES = [
    question.example
    for level in ("easy", "hard")
    for question in generate(60, 1, difficulty=level)["train"]
]
EXAMPLES += [
    Example("Two\nlines?", "First  this.\n\n  Then\tthat.", "-1/2"),
    Example(" blanks ", " a thought that begins and ends with one ", " 7"),
    Example("caf\u00e9?", "x", "'yes'"),
]
#: Where spans begin and end with what a tokenizer likes to merge.
ODD = [
    Example("What is 1 + 2?", thought, answer)
    for thought in (" 1 + 2 = 3", "1 + 2 = 3 ", "\n1 + 2\n", "\n\n  3\n\n", "\t3\t", "3", "=")
    for answer in ("3", " 3", "  3", "-3", "+3", "\u22123", "\u00b2", "\u00e9t\u00e9", "(3)", "\n3")
]
EXAMPLES += ODD


def merging_tokenizer() -> Any:
    """A Rust tokenizer that cuts nothing, so that tokens merge wherever spans meet."""
    names: list[TemplateName] = ["plain", "compact", "qa"]
    texts = ["".join(Template(name).spans(one)) for name in names for one in EXAMPLES[::5]]
    return bpe_tokenizer(600, cuts_words=False, text="".join(texts))


def save_merging(folder: Path) -> Path:
    """A model with this tokenizer."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=merging_tokenizer(),
        unk_token=SPECIAL[0], bos_token=SPECIAL[1], eos_token=SPECIAL[2], pad_token=SPECIAL[2],
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    tiny_llama(vocabulary=600).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(
    scope="module",
    params=[
        "tiny",
        "merging",
        pytest.param("smollm2", marks=[pytest.mark.integration, pytest.mark.network]),
    ],
)
def name(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a model with a BPE tokenizer and a chat template."""
    folder = tmp_path_factory.mktemp("model")
    if request.param == "smollm2":
        return str(find_smollm2(folder))
    if request.param == "merging":
        return str(save_merging(folder / "tiny-merging"))
    return str(write_gguf(folder / "tiny.gguf"))


@pytest.fixture(scope="module")
def bpe(name: str) -> Any:
    return load_tokenizer(Model(name=name))


@pytest.fixture(scope="module")
def loaded(name: str, bpe: Any) -> Any:
    """The model; unpacking the weights of a large GGUF file takes longer than all that is asked."""
    return load_model(Model(name=name), bpe).eval()


@pytest.fixture(scope="module")
def unpacked(name: str, bpe: Any, loaded: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model; that of a large GGUF file as a plain folder, which is read in no time."""
    if not name.endswith(SUFFIX) or Path(name).stat().st_size < 1 << 20:
        return name
    folder = tmp_path_factory.mktemp("unpacked")
    loaded.save_pretrained(folder)
    bpe.save_pretrained(folder)
    return str(folder)


def cuts_words(tokenizer: Any) -> bool:
    """Whether a text is cut before it is merged, as GPT-2's and SmolLM2's is."""
    return "merging" not in str(tokenizer.name_or_path)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("template", NAMES)
def test_a_prompt_and_what_follows_are_the_tokens_of_the_whole(
    bpe: Any, template: TemplateName
) -> None:
    """With the thought and without: so the model continues what it reads when it is asked."""
    if not cuts_words(bpe):
        pytest.skip("its tokens merge there; the next test says what is done about it")
    rendered = Template(template, bpe)
    for example in EXAMPLES[:120]:
        prompt, thought, answer = rendered.spans(example)
        asked = encode_prompts([prompt], bpe, rendered)[0]
        for completion in (thought, answer):
            assert asked + ids_of(bpe, completion) == ids_of(bpe, prompt + completion)


@pytest.mark.parametrize("template", NAMES[:3])
def test_a_tokenizer_that_cuts_nothing_merges_over_borders(template: TemplateName) -> None:
    """So that what the other tests say of it is not said of nothing."""
    tokenizer = merging_tokenizer()
    rendered = Template(template)

    def count(text: str) -> int:
        return len(tokenizer.encode(text).ids)

    spans = [rendered.spans(example) for example in EXAMPLES]
    assert any(count("".join(each)) < sum(map(count, each)) for each in spans)


@pytest.mark.parametrize("template", NAMES)
@pytest.mark.parametrize("removed", [0, 1, 10_000])
def test_no_token_lies_in_two_spans(bpe: Any, template: TemplateName, removed: int) -> None:
    """A text that merges over a border is cut there, in training as when it is asked.

    Whatever is removed, the prompt's tokens are those that are asked, and the answer is whole.
    """
    rendered = Template(template, bpe)
    dataset = encode_examples(EXAMPLES, bpe, rendered)
    rows = torch.arange(len(EXAMPLES)).numpy()
    batch = collate(dataset, rows, rows * 0 + removed, positions="natural")
    tensors = batch.tensors("cpu")
    asked = encode_prompts([rendered.prompt(one.question) for one in EXAMPLES], bpe, rendered)
    for row, example in enumerate(EXAMPLES):
        read = tensors["input_ids"][row].tolist()
        assert read[: len(asked[row])] == asked[row]
        labels = [token for token in tensors["labels"][row].tolist() if token != IGNORE]
        assert labels[-1] == bpe.eos_token_id
        written = bpe.decode(labels[:-1])
        spans = rendered.spans(example)
        whole = spans.thought + spans.answer
        assert written == (whole if removed == 0 else whole[len(whole) - len(written) :])
        assert written.endswith(spans.answer)


@pytest.mark.parametrize("template", NAMES)
def test_a_server_renders_the_tokens_of_training(bpe: Any, template: TemplateName) -> None:
    rendered = Template(template, bpe)
    jinja = chat_template(rendered, bpe)
    for question in (*PROBES, *(example.question for example in EXAMPLES)):
        served = bpe.apply_chat_template(
            [{"role": "user", "content": question}],
            chat_template=jinja, add_generation_prompt=True, tokenize=True, return_dict=False,
        )  # fmt: skip
        assert served == encode_prompts([rendered.prompt(question)], bpe, rendered)[0]


@pytest.mark.parametrize("template", NAMES)
def test_an_exported_folder_is_asked_as_training_did(
    unpacked: str, bpe: Any, template: TemplateName, tmp_path: Path
) -> None:
    """By transformers alone: its tokenizer, its chat template, and the prompt of unspoken.json."""
    if "tiny" not in unpacked and template in ("plain", "compact"):
        pytest.skip("of the large model two templates are enough")
    rendered = Template(template, bpe)
    card = ModelCard(
        template, removed=None, max_new_tokens=8, step=1,
        example_prompt=rendered.prompt("What is 1 + 2?"),
    )  # fmt: skip
    save_model(load_model(Model(name=unpacked), bpe), bpe, tmp_path / "model", card)
    export_model(tmp_path / "model", tmp_path / "served", dtype="float32")
    served: Any = AutoTokenizer.from_pretrained(tmp_path / "served")
    for example in [*EXAMPLES[::20], *ODD[:1]]:
        asked = served.apply_chat_template(
            [{"role": "user", "content": example.question}],
            add_generation_prompt=True, tokenize=True, return_dict=False,
        )  # fmt: skip
        assert asked == encode_prompts([rendered.prompt(example.question)], bpe, rendered)[0]
    stated = json.loads((tmp_path / "served" / "unspoken.json").read_text())["example_prompt"]
    special = rendered.adds_special_tokens
    assert (
        served(stated, add_special_tokens=special)["input_ids"]
        == encode_prompts([stated], bpe, rendered)[0]
    )


def test_the_chat_templates_own_system_prompt_is_trained_asked_and_served(
    unpacked: str, bpe: Any
) -> None:
    """Where no other is given; a teacher's own instruction stands in its place."""
    own = "You add." if "tiny" in unpacked else "named SmolLM"
    prompt = Template("chat", bpe).prompt("What is 1 + 2?")
    assert own in prompt
    engine = transformers_engine(unpacked)
    bare = make_prompt_writer("chat", system_prompt="")("What is 1 + 2?")
    asked = encode_prompts([prompt], bpe, Template("chat", bpe))[0]
    assert engine.encode([bare]) == [asked]
    instructed = bpe.decode(engine.encode([make_prompt_writer("chat")("What is 1 + 2?")])[0])
    assert own not in instructed
    assert "step-by-step" in instructed


def test_what_is_saved_says_the_same(loaded: Any, bpe: Any, tmp_path: Path) -> None:
    """Logits, ids and greedy answers; the weights stay tied."""
    card = ModelCard("qa", removed=0, max_new_tokens=8, step=0, example_prompt="1")
    save_model(loaded, bpe, tmp_path, card)
    saved = Model(name=str(tmp_path))
    tokenizer: Any = load_tokenizer(saved)
    texts = [example.question for example in EXAMPLES]
    assert tokenizer(texts)["input_ids"] == bpe(texts)["input_ids"]
    assert tokenizer.special_tokens_map == bpe.special_tokens_map
    assert tokenizer.chat_template == bpe.chat_template
    plain = load_model(saved, tokenizer).eval()
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    prompt = tokenizer(Template("chat", tokenizer).prompt("Say 7."), return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(loaded(**prompt).logits, plain(**prompt).logits)
    assert torch.equal(*(one.generate(**prompt, max_new_tokens=8) for one in (loaded, plain)))


def test_answers_of_the_real_words_are_read(bpe: Any) -> None:
    """What a model writes, decoded from the tokens of training, is graded right."""
    rendered = Template("qa", bpe)
    for example in EXAMPLES[:120]:
        spans = rendered.spans(example)
        written = bpe.decode([*ids_of(bpe, spans.thought), *ids_of(bpe, spans.answer)])
        assert grade(written, example.answer).correct
