from __future__ import annotations

from typing import Any

import pytest

from unspoken.common.errors import ModelError, SettingError
from unspoken.data.example import Example
from unspoken.models.chat_template import chat_template
from unspoken.models.template import Template, encode_prompts, squeeze
from unspoken.train.encode import encode_examples

EXAMPLE = Example("1 2 * 3", "4 + 5", "6 3")
CHAT = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_spans_of_the_plain_and_the_compact_template() -> None:
    assert tuple(Template("plain").spans(EXAMPLE)) == ("1 2 * 3\n", "4 + 5\n", "#### 6 3")
    assert tuple(Template("compact").spans(EXAMPLE)) == ("12*3=", "4+5", "#63")
    assert Template("plain").spans(Example("q", "", "1")).thought == ""


def test_the_qa_template_is_the_documented_format() -> None:
    example = Example("What is 15% of 240?", "Step 1: 0.15 * 240 = 36", "36")
    assert "".join(Template("qa").spans(example)) == (
        "### Question:\nWhat is 15% of 240?\n\n### Answer:\nStep 1: 0.15 * 240 = 36\n"
        "Final Answer: 36"
    )
    assert Template("qa").spans(Example("q", "", "1")).thought == ""


def test_chat_uses_the_tokenizers_template_and_think_where_it_has_it(tokenizer: Any) -> None:
    tokenizer.chat_template = CHAT
    assert tuple(Template("chat", tokenizer).spans(EXAMPLE)) == (
        "<user>1 2 * 3<assistant>",
        "4 + 5\n\n",
        "6 3",
    )
    tokenizer.chat_template = CHAT + "{# <think> #}"
    assert Template("chat", tokenizer).spans(EXAMPLE).thought == "<think>\n4 + 5\n</think>\n\n"
    tokenizer.chat_template = CHAT.replace("<assistant>", "<assistant><think>\n")
    assert Template("chat", tokenizer).spans(EXAMPLE).thought == "4 + 5\n</think>\n\n"


def test_chat_without_a_chat_template_says_what_to_do(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="template: plain"):
        Template("chat", tokenizer)


@pytest.mark.parametrize("name", ["plain", "compact", "qa", "chat"])
def test_training_and_asking_give_the_same_prompt_tokens(tokenizer: Any, name: Any) -> None:
    tokenizer.chat_template = CHAT
    template = Template(name, tokenizer)
    trained = encode_examples([EXAMPLE], tokenizer, template).prompts()
    asked = encode_prompts([template.prompt(EXAMPLE.question)], tokenizer, template)
    documented = tokenizer(
        template.prompt(EXAMPLE.question), add_special_tokens=template.adds_special_tokens
    )["input_ids"]
    assert trained == asked == [documented]


def test_squeeze_keeps_spaces_between_words() -> None:
    assert squeeze("what is 1 2 * 3 ?") == "what is 12*3?"
    assert squeeze("( 1 2 ) + 3") == "(12)+3"


@pytest.fixture
def byte_pair_tokenizer() -> Any:
    """Like those of the hub: byte-level pairs, a start token that it adds by itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    texts = ["Tom has 12 apples and buys 30 more.", "<<12+30=42>> <<42*2=84>>", "#### 84"]
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def test_byte_pairs_with_start_and_end_tokens_of_their_own(byte_pair_tokenizer: Any) -> None:
    example = Example("Tom has 12 apples.", "<<12+30=42>> <<42*2=84>>", "84 \u00e9")
    dataset = encode_examples([example], byte_pair_tokenizer, Template("plain"))
    text = byte_pair_tokenizer.decode(dataset.tokens)
    assert text == "<s>Tom has 12 apples.\n<<12+30=42>> <<42*2=84>>\n#### 84 \u00e9</s>"
    assert int((dataset.tokens == 0).sum()) == 1
    assert int((dataset.tokens == 1).sum()) == 1
    prompt, thought = int(dataset.prompt_lengths[0]), dataset.step_ends.tolist()
    first_step = byte_pair_tokenizer.decode(dataset.tokens[prompt : prompt + thought[1]])
    assert (first_step, dataset.most_steps) == ("<<12+30=42>>", 2)


def test_choices_are_named_after_the_question_and_part_of_what_is_cached(tokenizer: Any) -> None:
    queues = ("billing", "login")
    assert Template("plain", choices=queues).prompt("q?") == "q?\nChoices: billing, login\n"
    assert Template("plain", choices=("a, b", "c")).prompt("q?") == "q?\nChoices: a, b | c\n"
    lengths = [
        encode_examples([EXAMPLE], tokenizer, Template("plain", choices=one)).prompt_lengths
        for one in (None, queues)
    ]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("name", ["plain", "compact", "qa", "chat"])
def test_an_exported_chat_template_names_the_choices_itself(tokenizer: Any, name: Any) -> None:
    tokenizer.chat_template = CHAT
    template = Template(name, tokenizer, ("billing", "login"))
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "I cannot log in."}],
        chat_template=chat_template(template, tokenizer),
        add_generation_prompt=True,
        tokenize=False,
    )
    assert text == template.prompt("I cannot log in.")
    assert "Choices: billing, login" in text


def test_a_template_that_there_is_not_is_said() -> None:
    name: Any = "alpaca"
    with pytest.raises(SettingError, match="template: found 'alpaca'; needed: one of plain, comp"):
        Template(name)
