"""A Jinja chat template that renders, without unspoken, the prompt that a model was trained with.

A server that is sent one user message then asks the model exactly as `unspoken evaluate` does. What
cannot be rendered exactly is left out: a wrong template would cost accuracy, and nobody would see.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unspoken.common.errors import ModelError
from unspoken.models.template import Template, encode_prompts
from unspoken.recipe.choices import name_choices

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Rendered and encoded both ways before a template is believed.
PROBES = (
    "1 2 * 3 4",
    " 1 2  *  3 ",
    "Tom has 12 apples and buys 30 more. How many?",
    "a  1   b 2 \u00e9  \u00b2 3  _ 4   \u0664 5 \u4e8c 6 ",
    "two\nlines\n\n  and {{ braces }} 'quotes' \"double\" \\n {% raw %}",
    "\ttab ",
    "  what is it ?",
    "   ",
    "x",
)
_ONE_QUESTION = (
    "{%- if messages | length != 1 or messages[0]['role'] != 'user' -%}"
    "{{- raise_exception('this model was trained to answer one question: send one user message, "
    "and no system message') -}}"
    "{%- endif -%}"
)
# `unspoken.models.template.squeeze`: a space stays where a letter stands right before or after it.
# What the regular expression there calls a letter is alphanumeric and no decimal digit.
_SQUEEZED = (
    "{%- set pieces = messages[0]['content'].split(' ') -%}"
    "{%- for piece in pieces -%}"
    "{{- piece -}}"
    "{%- if not loop.last -%}"
    "{%- set before = piece[-1:] -%}"
    "{%- set after = loop.nextitem[:1] -%}"
    "{%- if before.isalnum() and not before.isdecimal() "
    "or after.isalnum() and not after.isdecimal() -%}"
    "{{- ' ' -}}"
    "{%- endif -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
)


def chat_template(template: Template, tokenizer: PreTrainedTokenizerBase) -> str:
    """The Jinja template; the tokenizer's own one for `chat`.

    It writes the start token itself where the tokenizer adds one to plain text, because servers
    encode what a chat template gives without adding anything.

    Raises:
        ModelError: no template gives the same token ids; the message says why.
    """
    if template.name == "chat":
        jinja = f"{_with_choices(template)}{tokenizer.chat_template}"
        if template.choices and not all(_is_same(jinja, p, template, tokenizer) for p in PROBES):
            raise ModelError("the tokenizer's chat template cannot be made to name the choices")
        return jinja
    start = json.dumps(_start(template, tokenizer))
    # Tokenizers put a space before a text, before one that has none yet, or none at all; after a
    # start token that stands in the text, some of them do not.
    spaces = ("''", "' '", "('' if prompt[:1] == ' ' else ' ')")
    for space in spaces if start != '""' else spaces[:1]:
        jinja = _jinja(template, f"{start} + {space} + prompt")
        if all(_is_same(jinja, probe, template, tokenizer) for probe in PROBES):
            return jinja
    raise ModelError(
        f"template {template.name!r} cannot be written as a chat template for this tokenizer: the "
        "text it gives is encoded differently when a server encodes it"
    )


def _with_choices(template: Template) -> str:
    """What names the choices after the question, before any chat template; it may be nothing."""
    if not template.choices:
        return ""
    line = json.dumps(name_choices("", template.choices))
    named = f"{{'role': 'user', 'content': messages[0]['content'] + {line}}}"
    return f"{_ONE_QUESTION}{{%- set messages = [{named}] -%}}"


def _jinja(template: Template, result: str) -> str:
    if template.name == "compact":
        before, question, after = "", _SQUEEZED, template.prompt("")
    else:
        mark = "\x00"
        before, _, after = template.prompt(mark).partition(mark)
        question = "{{- messages[0]['content'] -}}"
    prompt = f"{_text(before)}{question}{_text(after)}"
    return f"{_ONE_QUESTION}{{%- set prompt -%}}{prompt}{{%- endset -%}}{{{{- {result} -}}}}"


def _text(text: str) -> str:
    return "{{- " + json.dumps(text) + " -}}" if text else ""


def _start(template: Template, tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokens that the tokenizer puts before a text by itself, as text."""
    text = template.prompt("1")
    asked = encode_prompts([text], tokenizer, template)[0]
    bare = tokenizer(text, add_special_tokens=False)["input_ids"]
    return "".join(tokenizer.convert_ids_to_tokens(asked[: len(asked) - len(bare)]))


def _is_same(
    jinja: str, question: str, template: Template, tokenizer: PreTrainedTokenizerBase
) -> bool:
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}],
        chat_template=jinja,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    return list(ids) == encode_prompts([template.prompt(question)], tokenizer, template)[0]
