"""Greedy decoding in batches: token ids of prompts -> token ids of completions.

The one decoder of tacit. It is transformers' own `generate`, fed with prompts of like length
together, padded on the left; batched and single decoding give the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

if TYPE_CHECKING:
    import torch


class Completion(NamedTuple):
    """What was written for one prompt.

    Attributes:
        token_ids: without padding and without the end token.
        stopped: whether the end token came within the limit.
    """

    token_ids: list[int]
    stopped: bool

    @property
    def num_tokens(self) -> int:
        """Tokens written; the end token counts, it costs a step like the others."""
        return len(self.token_ids) + int(self.stopped)


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    eos_token_id: int,
    pad_token_id: int,
    max_new_tokens: int,
    batch_size: int = 64,
    progress: str | None = None,
) -> list[Completion]:
    """The greedy completion of each prompt, in the order of the prompts.

    Args:
        model: a transformers causal language model; it is put into evaluation mode meanwhile.
        prompts: token ids, without padding.
        eos_token_id: ends a completion.
        pad_token_id: fills shorter prompts on the left.
        max_new_tokens: limit per completion.
        batch_size: prompts at once; the longest prompts come first, so that a batch that does
            not fit into memory fails at once and not after an hour.
        progress: description of a progress bar; None shows none.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
    completions: list[Completion | None] = [None] * len(prompts)
    training = model.training
    model.eval()
    try:
        with tqdm(total=len(prompts), desc=progress, disable=progress is None, leave=False) as bar:
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                rows = _generate(
                    model, [prompts[i] for i in chosen], eos_token_id, pad_token_id, max_new_tokens
                )
                for index, row in zip(chosen, rows, strict=True):
                    completions[index] = _completion(row, eos_token_id)
                bar.update(len(chosen))
    finally:
        model.train(training)
    return [completion for completion in completions if completion is not None]


def _generate(
    model: Any, prompts: list[Sequence[int]], end: int, pad: int, max_new_tokens: int
) -> list[list[int]]:
    import torch
    from transformers import GenerationConfig

    longest = max(len(prompt) for prompt in prompts)
    rows = [[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    input_ids: torch.Tensor = torch.tensor(rows, device=model.device)  # (B, T)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=end, pad_token_id=pad
    )
    with torch.inference_mode():
        output = model.generate(
            input_ids,
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=config,
        )
    return output[:, longest:].tolist()


def _completion(row: list[int], end: int) -> Completion:
    """Cuts at the end token; what follows is padding."""
    if end in row:
        return Completion(row[: row.index(end)], True)
    return Completion(row, False)
