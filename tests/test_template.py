from __future__ import annotations

from typing import Any

import pytest

from tacit.dataset import encode_examples, encode_prompts
from tacit.errors import ModelError
from tacit.example import Example
from tacit.template import Template, squeeze

EXAMPLE = Example("1 2 * 3", "4 + 5", "6 3")
CHAT = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_spans_of_the_plain_and_the_compact_template() -> None:
    assert tuple(Template("plain").spans(EXAMPLE)) == ("1 2 * 3\n", "4 + 5\n", "#### 6 3")
    assert tuple(Template("compact").spans(EXAMPLE)) == ("12*3=", "4+5", "#63")
    assert Template("plain").spans(Example("q", "", "1")).thought == ""


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


@pytest.mark.parametrize("name", ["plain", "compact", "chat"])
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
