"""CoTDataset: examples as spans of token ids, prompt | thought | answer, in contiguous arrays.

Encoded once: the cache is keyed by the content of the data file, the tokenizer and the template,
written atomically, and memory-mapped, so a million examples cost little memory and several
processes share it. Which examples form step t follows from (seed, t) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np


@dataclass(frozen=True, eq=False)
class CoTDataset:
    """Encoded examples; n of them, N tokens in all.

    `unspoken.train.encode` makes it: `encode_examples` of examples, `encode_file` of a file.

    Attributes:
        tokens: (N,) uint16 or int32, every example's prompt, thought and answer with end token.
        starts: (n,) int64, where each example begins in `tokens`.
        prompt_lengths, thought_lengths, answer_lengths: (n,) int32, tokens in each span.
        step_ends: (S,) int32, for unit `step`: 0 and then the thought tokens up to the end of
            each step, one example after the other.
        step_starts: (n + 1,) int64, where each example begins in `step_ends`.
        rows: (n,) int64, the number of the example in its file; over-long ones are left out.
        num_dropped: examples left out because they were longer than `max_length`.
    """

    tokens: np.ndarray
    starts: np.ndarray
    prompt_lengths: np.ndarray
    thought_lengths: np.ndarray
    answer_lengths: np.ndarray
    step_ends: np.ndarray
    step_starts: np.ndarray
    rows: np.ndarray
    num_dropped: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, (n,) int32."""
        return self.prompt_lengths + self.thought_lengths + self.answer_lengths

    @property
    def longest_thought(self) -> int:
        """Tokens in the longest thought."""
        return int(self.thought_lengths.max())

    @property
    def most_steps(self) -> int:
        """Steps (lines or equations) in the thought that has most."""
        return int((self.step_starts[1:] - self.step_starts[:-1]).max()) - 1

    def longest(self, unit: Literal["token", "step"]) -> int:
        """What there is to remove of the longest thought, in a schedule's unit."""
        return self.longest_thought if unit == "token" else self.most_steps

    def tokens_removed(
        self,
        indices: np.ndarray,
        removed: np.ndarray,
        *,
        side: Literal["left", "right"] = "left",
        unit: Literal["token", "step"] = "token",
    ) -> np.ndarray:
        """How many tokens go when `removed` tokens or steps go, (B,) int64; at most all."""
        thought = self.thought_lengths[indices].astype(np.int64)
        if unit == "token":
            return np.minimum(removed, thought)
        if not len(self.step_ends):
            raise ValueError("removal by step needs a dataset that was encoded with steps=True")
        first = self.step_starts[indices]
        num_steps = self.step_starts[indices + 1] - first - 1
        gone = np.minimum(removed, num_steps)
        if side == "left":
            return self.step_ends[first + gone].astype(np.int64)
        return thought - self.step_ends[first + num_steps - gone]

    def steps_per_epoch(self, batch_size: int) -> int:
        """Optimizer steps in one pass; the rest of less than a batch waits for the next pass."""
        return max(1, len(self) // batch_size)

    def batch_indices(
        self, step: int, batch_size: int, seed: int, group_by_length: bool = True
    ) -> np.ndarray:
        """Which examples form optimizer step `step`, (batch_size,) int64.

        A pure function of its arguments, whatever number of processes asks.
        """
        epoch, position = divmod(step, self.steps_per_epoch(batch_size))
        order = self._order(epoch, batch_size, seed, group_by_length)
        chosen = order[position * batch_size : (position + 1) * batch_size]
        if len(chosen) < batch_size:  # fewer examples than one batch: go round
            chosen = np.resize(order, batch_size)
        return chosen

    @lru_cache(maxsize=2)  # noqa: B019  (one dataset per run; its arrays are what memory holds)
    def _order(self, epoch: int, batch_size: int, seed: int, group: bool) -> np.ndarray:
        """A permutation of all examples; grouped, batches within a window have like lengths."""
        random = np.random.default_rng([seed, epoch, 0x0DE2])
        order = random.permutation(len(self))
        lengths = self.lengths
        if not group or lengths.min() == lengths.max() or len(self) < 2 * batch_size:
            return order
        num_batches = len(self) // batch_size
        order = order[: num_batches * batch_size]
        window = 32 * batch_size
        batches: list[np.ndarray] = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[np.argsort(lengths[part], kind="stable")].reshape(-1, batch_size)
            batches.append(part[random.permutation(len(part))])
        return np.concatenate(batches).ravel()

    def prompts(self, indices: Sequence[int] | np.ndarray | None = None) -> list[list[int]]:
        """Token ids of the prompts, what a model is asked with."""
        chosen = range(len(self)) if indices is None else indices
        return [
            self.tokens[self.starts[i] : self.starts[i] + self.prompt_lengths[i]].tolist()
            for i in chosen
        ]
