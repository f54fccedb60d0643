"""A local model as the teacher: batched generation with transformers.

Prompts are sorted by length, longest first, and cut into chunks of some batches. A chunk is
always formed of the same requests, done or not, so that a run that was interrupted computes
exactly what an uninterrupted one does: other company in a batch can change the last bit of a
logit, and with it a token.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unspoken import recipe
from unspoken.common.errors import ModelError, SettingError, setting, settings_of
from unspoken.measure.decode import Completion, Decoder, Draws, OutOfMemoryError, StopTexts
from unspoken.measure.sampling import Sampling
from unspoken.models.card import ModelCard
from unspoken.models.fingerprint import fingerprint
from unspoken.models.load import dtype_for_asking, load_model, load_tokenizer, num_positions
from unspoken.models.local import base_folder, is_local, local_folder
from unspoken.models.template import ChatTemplateError, Template, prompt_ids, render_chat
from unspoken.recipe.sections import DtypeName
from unspoken.teach.engines import (
    EngineError,
    Prompt,
    Reply,
    Request,
    Style,
    Usage,
    reply_text,
    without_system,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: A chunk has so many batches: rows that end early leave their places to others of the chunk.
_BATCHES_OF_A_CHUNK = 4

#: What a recipe calls the settings of a model, and what they are called here.
_NAMES = {
    "model.name": "teacher_dir",
    "model.attn_implementation": "attn_implementation",
    "model.quantization": "quantization",
    "model.trust_remote_code": "trust_remote_code",
}


class TransformersEngine:
    """Answers with a causal language model in this process; loads it when the first is asked."""

    name: str = "transformers"

    def __init__(
        self,
        load_model: Callable[[], PreTrainedModel | PeftModel],
        tokenizer: PreTrainedTokenizerBase,
        *,
        model: str = "",
        style: Style = "plain",
        template: Template | None = None,
        batch_size: int = 64,
        identity: dict[str, Any] | None = None,
    ) -> None:
        """An engine for any model; `transformers_engine` makes one for a folder.

        Args:
            load_model: returns the model; called when it is needed.
            tokenizer: the model's.
            model: its name, for people.
            style: how prompts are put.
            template: renders the questions in style trained.
            batch_size: prompts at once; it is halved when memory runs out.
            identity: what tells this model from another one, for `settings`.
        """
        if batch_size < 1:
            raise SettingError(
                "batch_size", found=batch_size, needed="at least 1", remedy="correct it"
            )
        self.model = model
        self.style: Style = style
        self.tokenizer: Any = tokenizer
        self.batch_size = batch_size
        self._load_model = load_model
        self._model: PreTrainedModel | PeftModel | None = None
        self.template = template
        self._identity = identity or {"model": model}
        self._decoder: Decoder | None = None

    def settings(self) -> dict[str, Any]:
        """The model's identity; the batch size only changes how fast it is."""
        return {"engine": self.name, **self._identity}

    def cost(self, usage: Usage) -> float | None:
        """None: what a machine costs is not known here."""
        return None

    def encode(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """The token ids of each prompt, as the model reads them."""
        texts = [self._text(prompt) for prompt in prompts]
        encoded = {
            special: iter(
                prompt_ids(
                    [text for text, adds in texts if adds == special],
                    self.tokenizer,
                    special=special,
                )
            )
            for special in (False, True)
        }
        return [next(encoded[special]) for _, special in texts]

    def _text(self, prompt: Prompt) -> tuple[str, bool]:
        """What the model reads, and whether the tokenizer is to add its special tokens."""
        if self.style == "trained" and self.template is not None:
            return self.template.prompt(prompt.text), self.template.adds_special_tokens
        if prompt.messages:
            return self._chat_text(prompt), False
        return prompt.text, True

    def _chat_text(self, prompt: Prompt) -> str:
        try:
            return render_chat(self.tokenizer, prompt.messages)
        except ChatTemplateError:  # no system role
            return render_chat(self.tokenizer, without_system(prompt.messages))

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        skip: Collection[int],
        used: Usage,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None] = lambda num_tokens: None,
    ) -> Iterator[tuple[int, Reply]]:
        """Yields replies, longest prompts first; see `Engine.generate`.

        Raises:
            EngineError: not even one prompt fits into memory.
            ModelError: a prompt is longer than the model can read, or the model is not there.
        """
        if len(skip) >= len(requests):
            return
        prompts = self.encode([request.prompt for request in requests])
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
        size = _BATCHES_OF_A_CHUNK * self.batch_size
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            if all(number in skip for number in chunk):
                continue
            if stopping():
                return
            chosen = [(requests[number], prompts[number]) for number in chunk]
            replies = self._chunk(chosen, sampling, stopping, wrote)
            answered = zip(chunk, replies, strict=False)  # fewer where it is stopped
            yield from ((number, reply) for number, reply in answered if number not in skip)

    def _chunk(
        self,
        chosen: Sequence[tuple[Request, list[int]]],
        sampling: Sampling,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Iterator[Reply]:
        """Yields the replies of one chunk, in its order, as soon as those before are there."""
        decoder = self._loaded_decoder()
        for request, prompt in chosen:
            self._require_positions(request, len(prompt))
        draws = None
        if sampling.temperature > 0:
            seeds = [request.seed for request, _ in chosen]
            draws = Draws(sampling.temperature, sampling.top_p, seeds)
        completions = decoder.stream(
            [prompt for _, prompt in chosen],
            sampling.max_new_tokens,
            draws=draws,
            stop=StopTexts(sampling.stop, self.tokenizer),
            stopping=stopping,
            wrote=wrote,
        )
        early: dict[int, Completion] = {}
        number = 0
        try:
            for place, completion in completions:
                early[place] = completion
                while number in early:
                    yield self._reply(early.pop(number), len(chosen[number][1]), sampling)
                    number += 1
        except OutOfMemoryError as error:
            request, _ = chosen[error.index]
            raise EngineError(f"{request.place}: {error.args[0]}") from error

    def _loaded_decoder(self) -> Decoder:
        """What writes with the model; it remembers how many rows fit into memory."""
        if self._decoder is None:
            self._decoder = Decoder(
                self.loaded_model(),
                eos_token_id=self.end_tokens(),
                pad_token_id=self.tokenizer.pad_token_id,
                batch_size=self.batch_size,
            )
        return self._decoder

    def loaded_model(self) -> PreTrainedModel | PeftModel:
        """The model, loaded if it is not there yet."""
        if self._model is None:
            self._model = self._load_model()
        return self._model

    def _require_positions(self, request: Request, num_prompt_tokens: int) -> None:
        """Checks that the model can read the prompt and write a token after it."""
        limit = num_positions(self.loaded_model())
        if limit is not None and num_prompt_tokens >= limit:
            raise ModelError(
                f"{request.place}: found a prompt of {num_prompt_tokens} tokens; needed: "
                f"fewer than {limit}, which is what {self.model or 'the model'} can read; shorten "
                f"the question or {setting('few_shot')}, or take it out"
            )

    def end_tokens(self) -> list[int]:
        """The tokenizer's end token, and those that the model's generation settings name."""
        named = getattr(self.loaded_model().generation_config, "eos_token_id", None)
        ids = [named] if isinstance(named, int) else list(named or [])
        return list(dict.fromkeys([self.tokenizer.eos_token_id, *ids]))

    def _reply(self, completion: Completion, num_prompt_tokens: int, sampling: Sampling) -> Reply:
        text = self.tokenizer.decode(completion.token_ids, skip_special_tokens=True)
        return Reply(
            text=reply_text(text, sampling.stop),
            num_prompt_tokens=num_prompt_tokens,
            num_tokens=completion.num_tokens,
            stopped=completion.stopped,
            finish_reason="stop" if completion.stopped else "length",
        )


def transformers_engine(
    teacher_dir: str | Path,
    *,
    prompt: Literal["auto", "chat", "plain", "trained"] = "auto",
    revision: str | None = None,
    tokenizer_name: str | None = None,
    attn_implementation: str | None = None,
    batch_size: int = 64,
    dtype: DtypeName = "auto",
    quantization: Literal["nf4"] | None = None,
    trust_remote_code: bool = False,
) -> TransformersEngine:
    """The engine for a model folder, or for a hub name that was downloaded before.

    Its arguments are options of `unspoken.teach.engines.make.EngineOptions`. An adapter's folder
    has its base on this machine; a tokenizer may be a GGUF file, too.

    Raises:
        ModelError: it is not there, or cannot be asked in this way.
    """
    folder = local_folder(str(teacher_dir), "teacher_dir", revision=revision)
    base = base_folder(folder, "teacher_dir")
    # an adapter may have come without a tokenizer: then its base's
    own = base is None or (folder / "tokenizer_config.json").is_file()
    model = recipe.Model(
        name=str(folder),
        tokenizer=tokenizer_name or (None if own else str(base)),
        revision=revision,
        attn_implementation=attn_implementation,
        quantization=quantization,
        trust_remote_code=trust_remote_code,
        local_files_only=True,
    )
    names = {**_NAMES, "model.tokenizer": "tokenizer" if tokenizer_name else "teacher_dir"}
    with settings_of(names):
        tokenizer = load_tokenizer(model)
    card = ModelCard.read(folder)
    style: Style = prompt if prompt != "auto" else _own_style(tokenizer, card)
    _require_style(style, tokenizer, card, teacher_dir)
    if dtype == "auto" and quantization is None:
        dtype = _own_dtype(model)

    def load() -> PreTrainedModel | PeftModel:
        with settings_of(names):
            return load_model(model, tokenizer, purpose="ask", dtype=dtype, spread=True)

    return TransformersEngine(
        load,
        tokenizer,
        model=str(teacher_dir),
        style=style,
        template=Template(card.template, tokenizer, card.choices)
        if card and style == "trained"
        else None,
        batch_size=batch_size,
        identity=_identity(model, folder, base, dtype, tokenizer_name),
    )


def _identity(
    model: recipe.Model, folder: Path, base: Path | None, dtype: str, tokenizer_name: str | None
) -> dict[str, Any]:
    """What tells one way of asking from another; what nobody gave is left out, as it always was."""
    found = {"teacher": fingerprint(folder), "dtype": dtype, "quantization": model.quantization}
    if base is not None:
        found["base"] = fingerprint(base)
    if tokenizer_name is not None:
        named = " ".join(filter(None, [tokenizer_name, model.revision]))
        local = is_local(tokenizer_name)
        found["tokenizer"] = fingerprint(Path(tokenizer_name)) if local else named
    if model.attn_implementation is not None:
        found["attn_implementation"] = model.attn_implementation
    return found


def _own_dtype(model: recipe.Model) -> Literal["auto", "bfloat16"]:
    """auto, or bfloat16 on a CPU that is faster in it: other traces than float32's."""
    import torch

    with settings_of(_NAMES):
        on_cpu = not torch.cuda.is_available()
        return "bfloat16" if on_cpu and dtype_for_asking(model) == "bfloat16" else "auto"


def _require_style(
    style: Style,
    tokenizer: PreTrainedTokenizerBase,
    card: ModelCard | None,
    teacher_dir: str | Path,
) -> None:
    if style == "trained" and card is None:
        raise ModelError(
            f"{setting('prompt', 'trained')}: {teacher_dir} has no unspoken.json; needed: a model "
            f"that unspoken trained; give {setting('prompt', 'chat')} or plain"
        )
    if style == "chat" and tokenizer.chat_template is None:
        raise ModelError(
            f"{setting('prompt', 'chat')}: the tokenizer of {teacher_dir} has no chat template; "
            f"needed: an instruction-tuned model; give {setting('prompt', 'plain')}"
        )


def _own_style(tokenizer: PreTrainedTokenizerBase, card: ModelCard | None) -> Style:
    if card is not None:
        return "trained"
    return "chat" if tokenizer.chat_template is not None else "plain"
