"""A local model as the teacher: batched generation with transformers.

Prompts are sorted by length, longest first, and cut into chunks of the batch size. A chunk is
always formed of the same requests, done or not, so that a run that was interrupted computes
exactly what an uninterrupted one does: other company in a batch can change the last bit of a
logit, and with it a token.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unspoken import recipe
from unspoken.common.errors import ModelError, SettingError, setting, settings_of
from unspoken.measure.decode import Completion, Draws, StopTexts, decode
from unspoken.measure.sampling import Sampling
from unspoken.models.card import ModelCard
from unspoken.models.fingerprint import fingerprint
from unspoken.models.load import load_model, load_tokenizer, num_positions
from unspoken.models.local import base_folder, local_folder
from unspoken.models.template import Template
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

logger = logging.getLogger(__name__)

#: What a recipe calls the settings of a model, and what they are called here.
_NAMES = {
    "model.name": "teacher_dir",
    "model.tokenizer": "teacher_dir",
    "model.quantization": "quantization",
    "model.trust_remote_code": "trust_remote_code",
}


class TransformersEngine:
    """Answers with a causal language model in this process; loads it when the first is asked."""

    name: str = "transformers"
    num_retries: int = 0

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
        self._template = template
        self._identity = identity or {"model": model}
        self._fits = batch_size

    def settings(self) -> dict[str, Any]:
        """The model's identity; the batch size only changes how fast it is."""
        return {"engine": self.name, **self._identity}

    def cost(self, usage: Usage) -> float | None:
        """None: what a machine costs is not known here."""
        return None

    def encode(self, prompt: Prompt) -> list[int]:
        """The prompt's token ids, as the model reads them."""
        if self.style == "trained" and self._template is not None:
            text, special = self._template.prompt(prompt.text), self._template.adds_special_tokens
        elif prompt.messages:
            text, special = self._chat_text(prompt), False
        else:
            text, special = prompt.text, True
        ids = list(self.tokenizer(text, add_special_tokens=special)["input_ids"])
        # Some tokenizers add an end token, after which there is nothing left to say.
        return ids[:-1] if len(ids) > 1 and ids[-1] == self.tokenizer.eos_token_id else ids

    def _chat_text(self, prompt: Prompt) -> str:
        from jinja2 import TemplateError

        apply = self.tokenizer.apply_chat_template
        options = {"tokenize": False, "add_generation_prompt": True}
        try:
            return str(apply(list(prompt.messages), **options))
        except TemplateError:  # no system role
            return str(apply(list(without_system(prompt.messages)), **options))

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        skip: Collection[int],
        used: Usage,
        stopping: Callable[[], bool],
    ) -> Iterator[tuple[int, Reply]]:
        """Yields replies, longest prompts first; see `Engine.generate`.

        Raises:
            EngineError: not even one prompt fits into memory.
            ModelError: a prompt is longer than the model can read, or the model is not there.
        """
        if len(skip) >= len(requests):
            return
        prompts = [self.encode(request.prompt) for request in requests]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
        for start in range(0, len(order), self.batch_size):
            chunk = order[start : start + self.batch_size]
            if all(number in skip for number in chunk):
                continue
            if stopping():
                return
            chosen = [(requests[number], prompts[number]) for number in chunk]
            replies = self._chunk(chosen, sampling)
            answered = zip(chunk, replies, strict=True)
            yield from ((number, reply) for number, reply in answered if number not in skip)

    def _chunk(
        self, chosen: list[tuple[Request, list[int]]], sampling: Sampling
    ) -> Iterator[Reply]:
        """Yields the replies of one chunk, in as large batches as memory allows."""
        start = 0
        while start < len(chosen):
            part = chosen[start : start + self._fits]
            completions = self._attempt(part, sampling)
            if completions is None:
                self._halve(part)
                continue
            start += len(part)
            for (_, prompt), completion in zip(part, completions, strict=True):
                yield self._reply(completion, len(prompt), sampling)

    def _attempt(
        self, part: list[tuple[Request, list[int]]], sampling: Sampling
    ) -> list[Completion] | None:
        """The completions, or None where memory ran out."""
        model = self.loaded_model()
        for request, prompt in part:
            self._require_positions(request, len(prompt))
        draws = None
        if sampling.temperature > 0:
            seeds = [request.seed for request, _ in part]
            draws = Draws(sampling.temperature, sampling.top_p, seeds)
        try:
            return decode(
                model,
                [prompt for _, prompt in part],
                eos_token_id=self.end_tokens(),
                pad_token_id=self.tokenizer.pad_token_id,
                max_new_tokens=sampling.max_new_tokens,
                draws=draws,
                stop=StopTexts(sampling.stop, self.tokenizer),
            )
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            return None  # leaving the block frees what the traceback holds

    def loaded_model(self) -> PreTrainedModel | PeftModel:
        """The model, loaded if it is not there yet."""
        if self._model is None:
            self._model = self._load_model()
        return self._model

    def _halve(self, part: list[tuple[Request, list[int]]]) -> None:
        import torch

        longest = max(len(prompt) for _, prompt in part)
        if len(part) == 1:
            raise EngineError(
                f"question {part[0][0].index}: memory ran out with this prompt of {longest} tokens "
                f"alone; needed: a smaller model, {setting('dtype', 'bfloat16')}, "
                f"{setting('quantization', 'nf4')}, fewer {setting('max_new_tokens')} or a shorter "
                "prompt; what is done is kept"
            )
        self._fits = -(-len(part) // 2)
        logger.warning(
            "memory ran out with %d prompts of up to %d tokens; going on with %d at once",
            len(part), longest, self._fits,
        )  # fmt: skip
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _require_positions(self, request: Request, num_prompt_tokens: int) -> None:
        """Checks that the model can read the prompt and write a token after it."""
        limit = num_positions(self.loaded_model())
        if limit is not None and num_prompt_tokens >= limit:
            raise ModelError(
                f"question {request.index}: found a prompt of {num_prompt_tokens} tokens; needed: "
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


def _out_of_memory(error: RuntimeError) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def transformers_engine(
    teacher_dir: str | Path,
    *,
    prompt: Literal["auto", "chat", "plain", "trained"] = "auto",
    batch_size: int = 64,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    quantization: Literal["nf4"] | None = None,
    trust_remote_code: bool = False,
) -> TransformersEngine:
    """The engine for a model folder, or for a hub name that was downloaded before.

    Args:
        teacher_dir: the folder of a model, or of a PEFT adapter whose base is on this machine.
        prompt: auto is trained for a model that unspoken trained, chat where the tokenizer has a
            chat template, else plain.
        batch_size: prompts at once.
        dtype: of the weights; auto is what they were saved in on a GPU, float32 on a CPU.
        quantization: nf4 loads the weights in 4 bits.
        trust_remote_code: run Python code that came with the model.

    Raises:
        ModelError: it is not there, or cannot be asked in this way.
    """
    folder = local_folder(str(teacher_dir), "teacher_dir")
    base = base_folder(folder, "teacher_dir")
    # an adapter may have come without a tokenizer: then its base's
    own = base is None or (folder / "tokenizer_config.json").is_file()
    model = recipe.Model(
        name=str(folder),
        tokenizer=None if own else str(base),
        quantization=quantization,
        trust_remote_code=trust_remote_code,
        local_files_only=True,
    )
    with settings_of(_NAMES):
        tokenizer = load_tokenizer(model)
    card = ModelCard.read(folder)
    style: Style = prompt if prompt != "auto" else _own_style(tokenizer, card)
    _require_style(style, tokenizer, card, teacher_dir)
    identity = {"teacher": fingerprint(folder), "dtype": dtype, "quantization": quantization}
    if base is not None:
        identity["base"] = fingerprint(base)

    def load() -> PreTrainedModel | PeftModel:
        with settings_of(_NAMES):
            return load_model(model, tokenizer, purpose="ask", dtype=dtype, spread=True)

    return TransformersEngine(
        load,
        tokenizer,
        model=str(teacher_dir),
        style=style,
        template=Template(card.template, tokenizer) if card and style == "trained" else None,
        batch_size=batch_size,
        identity=identity,
    )


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
