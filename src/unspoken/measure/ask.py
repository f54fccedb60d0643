"""One model, loaded, that is asked as people ask: `unspoken ask`, and `unspoken.load` in Python."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from unspoken import recipe
from unspoken.common.caller import leaves_as_found
from unspoken.common.errors import (
    DataError,
    ModelError,
    SettingError,
    setting,
    settings_of,
    shorten,
)
from unspoken.data.notation import Notation, in_plain_signs, notation_of
from unspoken.measure.answers import read_answer, split_answer
from unspoken.measure.choices import read_choice
from unspoken.measure.decode import Completion, Decoder
from unspoken.models.card import DEFAULT_LIMIT, ModelCard
from unspoken.models.load import complete_tokenizer, load_model, load_tokenizer
from unspoken.models.local import local_folder
from unspoken.models.template import Template, encode_prompts, unknown_signs
from unspoken.recipe.arguments import takes_arguments
from unspoken.recipe.named_model import NamedModel, find_model
from unspoken.recipe.sections import DtypeName, TemplateName

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Symbols of an alphabet that a message shows.
_MOST_SYMBOLS = 120


@dataclass(frozen=True)
class WrittenAnswer:
    """What a model answered to one question, or has written of it so far.

    Attributes:
        question: as it was put to the model.
        written: everything that the model wrote, without the end token.
        answer: in it, as people write it; empty where there is none.
        thought: what stands before the answer.
        num_tokens: written; the end token counts.
        seconds: for reading the question and writing this.
        stopped: whether the model ended by itself.
        right_answer: where the task can be worked out.
    """

    question: str
    written: str = ""
    answer: str = ""
    thought: str = ""
    num_tokens: int = 0
    seconds: float = 0.0
    stopped: bool = False
    right_answer: str | None = None

    @property
    def correct(self) -> bool | None:
        """Whether the answer is right; None where that cannot be worked out."""
        return None if self.right_answer is None else self.answer == self.right_answer

    def __str__(self) -> str:
        return self.answer


def describe_cost(num_tokens: int, seconds: float) -> str:
    """What writing took, for people: 7 tokens, 5.8 ms."""
    return f"{num_tokens} token{'' if num_tokens == 1 else 's'}, {1_000 * seconds:,.1f} ms"


@dataclass
class LoadedModel:
    """A model with its tokenizer and the way in which it is asked.

    Attributes:
        model, tokenizer, template: as they were trained together.
        title: of it, for people.
        notation: how people write what its task writes.
        max_new_tokens: limit per answer.
        folder: that it comes from; None for one that was given as an object.

    Examples:
        >>> load("runs/quickstart").ask("123*45").answer  # doctest: +SKIP
        '5535'
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    template: Template
    title: str = ""
    notation: Notation = field(default_factory=Notation)
    max_new_tokens: int = DEFAULT_LIMIT
    folder: Path | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Its fields alone: what it has to write with is made anew."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    def __post_init__(self) -> None:
        tokenizer: Any = self.tokenizer
        own, self._is_warm = self.model.generation_config, False
        ends: Any = getattr(own, "eos_token_id", None)
        ends = ends or complete_tokenizer(tokenizer, self.model).eos_token_id
        self._decoder = Decoder(
            self.model,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
            batch_size=1,
        )

    def __repr__(self) -> str:
        return f"LoadedModel({self.title!r}, template {self.template.name!r})"

    def ask(self, question: str, *, raw: bool = False) -> WrittenAnswer:
        """The answer to a question, once it is whole; arguments and errors as in `write`."""
        return deque(self.write(question, raw=raw), maxlen=1).pop()

    def write(self, question: str, *, raw: bool = False) -> Iterator[WrittenAnswer]:
        """Yields the answer as far as it is written, token by token, and at last the whole.

        Args:
            question: as people write it.
            raw: the question is put to the model, and its answer taken, as they stand.

        Raises:
            DataError: the task has no such question, or the model no tokens or positions for it.
        """
        own, prompt = self._put(question, raw=raw)
        right = None if raw else self.notation.solve(question)
        reply, begin = WrittenAnswer(own, right_answer=right), time.perf_counter()
        for completion in self._decoder.write(prompt, self.max_new_tokens):
            seconds = time.perf_counter() - begin
            reply = self._as_far_as(reply, completion, seconds)
            yield reply
            begin = time.perf_counter() - seconds  # what the reader does meanwhile does not count
        yield self._whole(reply, raw=raw)

    def warm_up(self, question: str, *, raw: bool = False) -> None:
        """Asks for two tokens, once, so that the first question is not slower than the others."""
        if self._is_warm:
            return
        for _ in self._decoder.write(self._put(question, raw=raw)[1], 2):
            pass
        self._is_warm = True

    def _as_far_as(self, reply: WrittenAnswer, found: Completion, seconds: float) -> WrittenAnswer:
        tokenizer: Any = self.tokenizer
        return replace(
            reply,
            written=tokenizer.decode(found.token_ids, skip_special_tokens=True),
            num_tokens=found.num_tokens,
            seconds=seconds,
            stopped=found.stopped,
        )

    def _whole(self, reply: WrittenAnswer, *, raw: bool) -> WrittenAnswer:
        """The reply with the answer that is in it."""
        if raw:
            return replace(reply, answer=reply.written.strip())
        thought, answer = split_answer(reply.written) or ("", "")
        if not answer and reply.stopped:
            answer, _ = read_answer(reply.written)
        if answer and self.template.choices:
            answer = read_choice(reply.written, self.template.choices).label
        own = self.notation.to_person(answer) if answer else None
        return replace(reply, answer=own or "", thought=thought.strip())

    def _put(self, question: str, *, raw: bool) -> tuple[str, list[int]]:
        """The question as it is put to the model, and the token ids of its prompt.

        Where the tokenizer has no token for some sign, the question is put in plain signs, if
        there are tokens for these.
        """
        if not isinstance(question, str):
            raise DataError(
                f"question: found {shorten(question)}; needed: one text; ask one at a time, or "
                "many with unspoken.evaluate"
            )
        if not question.strip():
            raise DataError("question: found an empty one; needed: some text; type a question")
        own = question if raw else self.notation.to_task(question)
        forms = [own] if raw or own.isascii() else [own, in_plain_signs(own)]
        unknown: Any = self.tokenizer.unk_token_id
        prompts = [self._encode(form) for form in forms]
        for form, ids in zip(forms, prompts, strict=True):
            if unknown is None or unknown not in ids:
                return form, ids
        self._refuse_unknown(question, self.template.prompt(own))
        return own, prompts[0]

    def _encode(self, question: str) -> list[int]:
        """Token ids of the prompt."""
        text = self.template.prompt(question)
        return encode_prompts([text], self.tokenizer, self.template)[0]

    def _refuse_unknown(self, question: str, text: str) -> None:
        """Raises DataError for signs that the tokenizer has no token for, if there are any."""
        strange = unknown_signs(self.tokenizer, text)
        if not strange:
            return
        found = " ".join("a space" if sign == " " else sign for sign in strange[:20])
        vocabulary: dict[str, int] = self.tokenizer.get_vocab()
        single = sorted((token for token in vocabulary if len(token) == 1), key=vocabulary.get)  # pyright: ignore
        shown = "".join(token for token in single if not token.isspace())
        known = shown if len(single) <= _MOST_SYMBOLS else "that it knows"
        raise DataError(
            f"question: found {shorten(question)} with {found}, for which {self.title or 'the'} "
            f"model has no token; needed: signs {known}; ask with these alone"
        )


@takes_arguments()
@leaves_as_found()
def load(
    name: str | Path,
    *,
    of_run: str = "",
    template: TemplateName | None = None,
    max_new_tokens: int | None = None,
    dtype: str | torch.dtype = "float32",
    local_files_only: bool = False,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """A model that can be asked, from a run, one of its levels, a folder, a GGUF file or the hub.

    Args:
        name: as `unspoken.recipe.named_model.find_model` takes it, such as runs/quickstart,
            runs/quickstart:explicit or runs/quickstart:level-7.
        of_run: what a run alone stands for, such as explicit.
        template: default: what the model's unspoken.json says, else chat for a tokenizer with a
            chat template, else plain.
        max_new_tokens: limit per answer; default: what unspoken.json says, else 256.
        dtype: of the weights: float32, bfloat16, float16, or torch's own of this name; auto: as
            they were saved, on a CPU what is fastest.
        local_files_only: never touch the network; a name on the hub is one that was downloaded.
        trust_remote_code: run Python code that came with the model.

    Raises:
        ModelError: there is no such model, or it cannot be loaded.
    """
    kind = str(dtype).removeprefix("torch.")
    if kind not in get_args(DtypeName):
        raise SettingError(
            "dtype",
            found=shorten(dtype),
            needed=f"one of {', '.join(get_args(DtypeName))}",
            remedy="correct it",
        )
    named = find_model(name, of_run=of_run)
    if local_files_only:
        named = replace(named, source=str(local_folder(named.source)))
    settings = recipe.Model(
        name=named.source, local_files_only=local_files_only, trust_remote_code=trust_remote_code
    )
    with settings_of({"model.name": "model"}):
        tokenizer = load_tokenizer(settings, purpose="ask")
        model = load_model(settings, tokenizer, purpose="ask", dtype=kind)
    return with_card(model, tokenizer, named, template, max_new_tokens)


def with_card(
    model: Any,
    tokenizer: Any,
    named: NamedModel,
    template: TemplateName | None = None,
    max_new_tokens: int | None = None,
) -> LoadedModel:
    """A model and its tokenizer, asked as the unspoken.json in the model's folder says.

    Args:
        model, tokenizer: loaded.
        named: where they come from.
        template, max_new_tokens: in place of what unspoken.json says.
    """
    card = ModelCard.read(named.source)
    has_chat = getattr(tokenizer, "chat_template", None) is not None
    default: TemplateName = "chat" if has_chat else "plain"
    choices = card.choices if card else None
    form = Template(template or (card.template if card else default), tokenizer, choices)
    example = _question_of(card.example_prompt, form) if card else ""
    task, sizes = named.task, named.sizes
    if card is not None and card.task is not None:
        task, sizes = card.task, card.digits
    if max_new_tokens is not None and max_new_tokens < 1:
        raise SettingError(
            "max_new_tokens", found=max_new_tokens, needed="at least 1", remedy="raise it"
        )
    limit = max_new_tokens or (card.max_new_tokens if card else DEFAULT_LIMIT)
    place = Path(named.source)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        template=form,
        title=named.title,
        notation=notation_of(task, sizes, example),
        max_new_tokens=limit,
        folder=place if place.exists() else None,
    )


def _question_of(prompt: str, template: Template) -> str:
    """The question in a prompt of this template; empty for one that cannot be taken apart."""
    try:
        before, _, after = template.prompt("\0").partition("\0")
    except ModelError:
        return ""
    is_whole = prompt.startswith(before) and prompt.endswith(after)
    return prompt[len(before) : len(prompt) - len(after)] if is_whole else ""


def take_turns(
    models: Sequence[LoadedModel], question: str, *, raw: bool = False
) -> Iterator[list[WrittenAnswer]]:
    """Yields the replies of several models to one question, as far as each is at the same time.

    Each has the machine to itself while it writes a token, and the one that has taken least time
    goes on: so the replies stand to each other as if each model had a machine of its own.

    Args:
        models: two or more.
        question, raw: as in `LoadedModel.write`.

    Raises:
        DataError: one of them cannot be asked this question.
    """
    for model in models:
        model.warm_up(question, raw=raw)
    replies = [WrittenAnswer(question) for _ in models]
    writing = {number: model.write(question, raw=raw) for number, model in enumerate(models)}
    while writing:
        number = min(writing, key=lambda each: replies[each].seconds)
        reply = next(writing[number], None)
        if reply is None:
            del writing[number]
        else:
            replies[number] = reply
            yield list(replies)


def require_answer(reply: WrittenAnswer, model: LoadedModel) -> str:
    """The answer of a whole reply.

    Raises:
        ModelError: there is none; the message has what was written.
    """
    if reply.answer:
        return reply.answer
    end = "" if reply.stopped else f", and did not stop within {model.max_new_tokens} tokens"
    raise ModelError(
        f"{model.title}: wrote {shorten(reply.written, 200)}{end}, in which there is no answer; "
        f"needed: one; ask another model, or see it as it stands with {setting('raw', True)}"
    )
