"""question, thought, answer -> the three spans of text that a model reads and writes.

Prompts are rendered here and nowhere else: training, evaluation and the documented prompt of an
exported model are the same string, and `tests/models/test_template.py` holds them to it.

plain       `{question}\\n` | `{thought}\\n` | `#### {answer}`
compact     `{question}=` | `{thought}` | `#{answer}`, without spaces around digits and signs
qa          `### Question:\\n{question}\\n\\n### Answer:\\n` | `{thought}\\n` |
            `Final Answer: {answer}`
chat        the tokenizer's own chat template; the thought inside <think> where it has one
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from unspoken.common.errors import ModelError, SettingError, shorten
from unspoken.common.time_limit import memory_limit, time_limit
from unspoken.data.example import FINAL_ANSWER, Example
from unspoken.recipe.choices import name_choices
from unspoken.recipe.sections import TemplateName

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from unspoken.data.example import Example


_MAX_PROMPT = 1_000_000  # characters besides those of the messages
_TEMPLATE_BYTES = 256_000_000  # of memory that a template may take for a moment
#: Processor time that a chat template may take; it takes less than a millisecond.
MAX_TEMPLATE_S = 2.0
_rendered: Counter[str] = Counter()  # template -> prompts that it gave


class Spans(NamedTuple):
    """The text of one example in three parts; the end token follows the answer."""

    prompt: str
    thought: str
    answer: str


@dataclass(frozen=True)
class Template:
    """Renders examples; `tokenizer` is needed for `chat` only.

    Attributes:
        choices: the only answers that there are; every prompt names them after its question.
    """

    name: TemplateName = "plain"
    tokenizer: Any = None
    choices: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(TemplateName):
            raise SettingError(
                "template",
                found=shorten(self.name),
                needed=f"one of {', '.join(get_args(TemplateName))}",
                remedy="correct it",
            )
        if self.name == "chat" and getattr(self.tokenizer, "chat_template", None) is None:
            raise ModelError(
                f"template 'chat': the tokenizer {getattr(self.tokenizer, 'name_or_path', '')!r} "
                "has no chat template; use template: plain, or an instruction-tuned model"
            )

    @property
    def adds_special_tokens(self) -> bool:
        """Whether the tokenizer adds its start token to the prompt; chat has it in the text."""
        return self.name != "chat"

    def prompt(self, question: str) -> str:
        """What the model reads, for training and for asking alike."""
        question = name_choices(question, self.choices)
        if self.name == "plain":
            return f"{question}\n"
        if self.name == "compact":
            return f"{squeeze(question)}="
        if self.name == "qa":
            return f"### Question:\n{question}\n\n### Answer:\n"
        return render_chat(self.tokenizer, [{"role": "user", "content": question}])

    def spans(self, example: Example) -> Spans:
        """The spans of one example; concatenated they are what the model is trained on."""
        prompt = self.prompt(example.question)
        if self.name in ("plain", "qa"):
            thought = f"{example.thought}\n" if example.thought else ""
            marker = "####" if self.name == "plain" else FINAL_ANSWER
            return Spans(prompt, thought, f"{marker} {example.answer}")
        if self.name == "compact":
            return Spans(prompt, squeeze(example.thought), f"#{squeeze(example.answer)}")
        return Spans(prompt, self._chat_thought(prompt, example.thought), example.answer)

    def _chat_thought(self, prompt: str, thought: str) -> str:
        if not thought:
            return ""
        if "<think>" not in self.tokenizer.chat_template:
            return f"{thought}\n\n"
        opened = prompt.rstrip().endswith("<think>")  # some templates open the block themselves
        return f"{'' if opened else '<think>' + chr(10)}{thought}\n</think>\n\n"


class ChatTemplateError(ModelError):
    """A chat template that gives no text for these messages."""


def render_chat(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> str:
    """The prompt that a tokenizer's chat template makes of messages.

    A template that does not end is stopped; this is looked after for the first 100 prompts of each
    template, because it takes more time than rendering. So is one that builds a huge text.

    Raises:
        ChatTemplateError: it raises, does not end, gives no text or far too much of it.
    """
    key = str(tokenizer.chat_template)
    limits = time_limit("<template>", MAX_TEMPLATE_S) if _rendered[key] < 100 else nullcontext()
    most = _MAX_PROMPT + 10 * sum(len(str(message.get("content"))) for message in messages)
    try:
        if not _rendered[key]:
            _refuse_powers(key)
        with limits, memory_limit(_TEMPLATE_BYTES + 10 * most):
            text = tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
    except MemoryError as error:
        raise _template_error(tokenizer, "it builds a text that is far too long") from error
    except Exception as error:  # a template can raise whatever Python can
        lines = str(error).strip().splitlines()
        problem = lines[0][:200] if lines else type(error).__name__
        raise _template_error(tokenizer, problem) from error
    if not str(text).strip():
        raise _template_error(tokenizer, "its prompt is empty")
    if len(text) > most:
        raise _template_error(tokenizer, f"its prompt has {len(text):,} characters")
    _rendered[key] += 1
    return str(text)


def _refuse_powers(template: str) -> None:
    """Refuses `**` between numbers: 10**10**9 takes hours in one step, which nothing can stop."""
    from jinja2 import Environment

    before = "("
    for _, kind, text in Environment(autoescape=True).lex(template):
        if kind == "operator" and text == "**" and before not in "(,":  # (**named) are arguments
            raise ValueError("it raises a number to a power (**), which may never end")
        before = before if kind == "whitespace" else text


def _template_error(tokenizer: Any, problem: str) -> ChatTemplateError:
    return ChatTemplateError(
        f"{getattr(tokenizer, 'name_or_path', '')}: its chat template (chat_template.jinja, or in "
        f"tokenizer_config.json) gives no prompt: {problem}; needed: one that renders a question; "
        "correct it, or take another template or prompt"
    )


def squeeze(text: str) -> str:
    """`text` without the spaces that do not stand next to a letter.

    Examples:
        >>> squeeze("1 2 * 3"), squeeze("add 1 2")
        ('12*3', 'add 12')
    """
    if text.isascii() and text.lower() == text.upper():  # no letters: the fast way, same result
        return text.replace(" ", "")
    return re.sub(r"(?<![^\W\d_]) +(?![^\W\d_ ])", "", text)


def encode_prompts(
    prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, template: Template
) -> list[list[int]]:
    """Token ids of rendered prompts, as a plain `tokenizer(prompt)` gives them.

    A start token that the tokenizer adds by itself stays; an end token at the end does not.
    """
    return prompt_ids(prompts, tokenizer, special=template.adds_special_tokens)


def prompt_ids(texts: Sequence[str], tokenizer: Any, *, special: bool) -> list[list[int]]:
    """The tokens of each text that is to be gone on with: as `token_ids`, without an end token."""
    end = tokenizer.eos_token_id
    ids = token_ids(tokenizer, texts, special=special)
    return [row[:-1] if len(row) > 1 and row[-1] == end else row for row in ids]


def token_ids(tokenizer: Any, texts: Sequence[str], special: bool = False) -> list[list[int]]:
    """The tokens of each text; with `special` those that a tokenizer adds around it, too."""
    if tokenizer.is_fast:
        encodings = rust_tokenizer(tokenizer).encode_batch_fast(
            list(texts), add_special_tokens=special
        )
        return [encoding.ids for encoding in encodings]
    if not texts:  # which those written in Python refuse
        return []
    return tokenizer(
        list(texts), add_special_tokens=special, return_attention_mask=False, verbose=False
    )["input_ids"]


def unknown_signs(tokenizer: Any, text: str) -> list[str]:
    """The characters of a text that a tokenizer has no token for, each once."""
    unknown = tokenizer.unk_token_id
    if unknown is None:
        return []
    signs = list(dict.fromkeys(text))
    rows = token_ids(tokenizer, signs)
    return [sign for sign, ids in zip(signs, rows, strict=True) if unknown in ids]


def rust_tokenizer(tokenizer: Any) -> Any:
    """The Rust tokenizer itself; what transformers wraps around it takes most of the time."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return backend
