"""Decoding a batch: token ids of prompts -> token ids of completions.

The one decoder of unspoken. It is transformers' own `generate`, fed with prompts padded on the
left; batched and single decoding give the same tokens, drawn ones too. Callers cut what is asked
into batches, prompts of like length together: here is no order and no size of batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from unspoken.common.errors import DataError
from unspoken.models.load import num_positions

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Completion(NamedTuple):
    """What was written for one prompt.

    Attributes:
        token_ids: without padding and without the end token.
        stopped: whether the end token, or a stop text, came within the limit.
        num_end_tokens: 1 if an end token was written, else 0.
    """

    token_ids: list[int]
    stopped: bool
    num_end_tokens: int | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens written; the end token counts, it costs a step like the others."""
        end = int(self.stopped) if self.num_end_tokens is None else self.num_end_tokens
        return len(self.token_ids) + end


class StopTexts(NamedTuple):
    """Texts that end a completion, and the tokenizer that finds them.

    The completion holds them; whoever reads it as text cuts them off.
    """

    texts: tuple[str, ...]
    tokenizer: PreTrainedTokenizerBase


class Draws(NamedTuple):
    """How tokens are drawn instead of taking the likeliest.

    Attributes:
        temperature: above 0.
        top_p: only the likeliest tokens with this much probability together.
        seeds: one for each prompt: what is drawn for it depends on no other prompt.
    """

    temperature: float
    top_p: float
    seeds: Sequence[int]


def decode(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    *,
    eos_token_id: int | Sequence[int],
    pad_token_id: int,
    max_new_tokens: int,
    draws: Draws | None = None,
    stop: StopTexts | None = None,
) -> list[Completion]:
    """The completion of each prompt, all in one batch.

    Args:
        model: a causal language model; it is put into evaluation mode meanwhile.
        prompts: token ids, without padding; at least one.
        eos_token_id: ends a completion; several end it as well.
        pad_token_id: fills shorter prompts on the left.
        max_new_tokens: limit per completion.
        draws: temperature and seeds; None is greedy.
        stop: texts that end a completion, too.

    Raises:
        DataError: a prompt leaves no position for an answer.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    ends = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
    longest = max(len(prompt) for prompt in prompts)
    rows = [[pad_token_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    config = GenerationConfig(
        max_new_tokens=_limit(model, longest, max_new_tokens),
        do_sample=False,
        eos_token_id=ends[0] if len(ends) == 1 else ends,
        pad_token_id=pad_token_id,
    )
    extra: dict[str, Any] = {}
    if draws is not None:
        extra["logits_processor"] = LogitsProcessorList([_Sampler(draws)])  # pyright: ignore
    criterion = _StopCriterion(stop, longest, len(prompts)) if stop and stop.texts else None
    if criterion is not None:
        extra["stopping_criteria"] = StoppingCriteriaList([criterion])  # pyright: ignore
    generate: Any = model.generate
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            output = generate(
                torch.tensor(rows, device=model.device),  # (B, T)
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=config,
                **extra,
            )
    finally:
        model.train(training)
    ended = criterion.ended if criterion else [None] * len(prompts)
    written = output[:, longest:].tolist()
    return [_completion(row, ends, end) for row, end in zip(written, ended, strict=True)]


def _limit(model: PreTrainedModel | PeftModel, longest: int, max_new_tokens: int) -> int:
    """`max_new_tokens`, or as many as there are positions for after the longest prompt."""
    limit = num_positions(model)
    if limit is None:
        return max_new_tokens
    if longest >= limit:
        raise DataError(
            f"a prompt has {longest} tokens; the model has {limit} positions and needs one for the "
            "answer; leave the question out or take a model with more positions"
        )
    return min(max_new_tokens, limit - longest)


def _completion(row: list[int], ends: list[int], ended: int | None) -> Completion:
    """Cuts at the end token, or after `ended` tokens; what follows is padding."""
    place = next((i for i, token in enumerate(row) if token in ends), len(row))
    if ended is not None and ended <= place:
        return Completion(row[:ended], True, 0)
    if place < len(row):
        return Completion(row[:place], True)
    return Completion(row, False)


class _Sampler:
    """Makes the likeliest token a drawn one, so that greedy decoding samples.

    The token with the largest score + Gumbel noise is distributed as the softmax of the scores
    (the Gumbel-max trick). Each row has its own generator, so batches do not matter.
    """

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, T) tokens and (B, V) scores -> (B, V) scores with noise."""
        import torch

        if not self.generators:
            self.generators = [
                torch.Generator(scores.device).manual_seed(seed) for seed in self.draws.seeds
            ]
        scores = scores.float() / self.draws.temperature
        if self.draws.top_p < 1:
            ordered, tokens = scores.sort(dim=-1, descending=True)
            before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
            ordered = ordered.masked_fill(before >= self.draws.top_p, float("-inf"))
            scores = torch.empty_like(scores).scatter_(-1, tokens, ordered)
        noise = torch.empty_like(scores)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()


class _StopCriterion:
    """Ends a row whose text holds a stop text, and notes after how many tokens.

    A token has at least one byte, so a stop text lies within as many tokens as it has bytes; some
    more are read, since a tokenizer may write the first of them without its space.
    """

    def __init__(self, stop: StopTexts, start: int, num_rows: int) -> None:
        self.stop = stop
        self.start = start
        self.last_signs = {text[-1] for text in stop.texts} | {"\ufffd"}  # or a part of one
        self.may_end: dict[int, bool] = {}
        self.window = max(len(text.encode()) for text in stop.texts) + 8
        self.ended: list[int | None] = [None] * num_rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """(B, T) tokens -> (B,) whether a row is done."""
        import torch

        written = input_ids.shape[1] - self.start
        tail = input_ids[:, max(self.start, input_ids.shape[1] - self.window) :].tolist()
        for row, tokens in enumerate(tail):
            if self.ended[row] is None and self._may_end(tokens[-1]):
                text = self.stop.tokenizer.decode(tokens, skip_special_tokens=True)
                if any(each in text for each in self.stop.texts):
                    self.ended[row] = written
        done = [ended is not None for ended in self.ended]
        return torch.tensor(done, device=input_ids.device)

    def _may_end(self, token: int) -> bool:
        """Whether a stop text can end with this token; most tokens need no further look."""
        if token not in self.may_end:
            text = self.stop.tokenizer.decode([token], skip_special_tokens=True)
            self.may_end[token] = not self.last_signs.isdisjoint(text)
        return self.may_end[token]
