"""(examples, removed) -> Batch: the only place where thought tokens are removed.

Training calls it itself with the count of this very step. A collator inside a DataLoader would
see a count that is two steps old, and with workers a stale one for ever, because batches are
prefetched. There is no loop over rows: one gather builds the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

    from unspoken.train.dataset import CoTDataset

#: Labels with this value are not in the loss; the value that torch's cross_entropy ignores.
IGNORE = -100


@dataclass(frozen=True)
class Batch:
    """Right-padded arrays of one micro-batch.

    Attributes:
        input_ids: int64, (B, T).
        labels: int64, (B, T): the token itself where it is learned, else `IGNORE`. Not shifted.
        position_ids: int64, (B, T) where a gap was left, else None: 0, 1, 2, ...
        label_columns: int64, (C,): columns whose logits predict a label in some row.
    """

    input_ids: np.ndarray
    labels: np.ndarray
    position_ids: np.ndarray | None
    label_columns: np.ndarray

    def tensors(self, device: torch.device | str) -> dict[str, torch.Tensor]:
        """The model's arguments, on `device`.

        Padding stands on the right of a causal model, so no mask is needed. Where positions have
        gaps a mask of ones is given: without one, transformers reads a jump in `position_ids` as
        the border between packed sequences and hides the prompt from the rest.
        """
        import torch

        # labels of the columns after label_columns: what these logits predict
        arrays = {"input_ids": self.input_ids, "position_ids": self.position_ids}
        arrays |= {"logits_to_keep": self.label_columns}
        arrays |= {"labels": self.labels[:, self.label_columns + 1]}
        inputs = on_device(
            {name: each for name, each in arrays.items() if each is not None}, device
        )
        if self.position_ids is not None:
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        return inputs


def on_device(arrays: dict[str, np.ndarray], device: torch.device | str) -> dict[str, torch.Tensor]:
    """Arrays of one dtype as tensors on `device`: one copy, for which nobody waits."""
    import torch

    together = torch.from_numpy(np.concatenate([array.ravel() for array in arrays.values()]))
    if torch.device(device).type == "cuda":
        together = together.pin_memory().to(device, non_blocking=True)
    parts = together.to(device).split([array.size for array in arrays.values()])
    pairs = zip(arrays.items(), parts, strict=True)
    return {name: part.view(array.shape) for (name, array), part in pairs}


def first_removed(
    thought: np.ndarray, gone: np.ndarray, side: Literal["left", "right"]
) -> np.ndarray:
    """Where what goes begins in each thought, (B,) int64: the tokens from there on, `gone` of them.

    What a level removes is among what the next one removes: adaptive removal counts on it.

    Args:
        thought: int64, (B,): tokens of the whole thought.
        gone: int64, (B,): how many of them go.
        side: which ones go first.
    """
    return np.zeros_like(thought) if side == "left" else thought - gone


def collate(
    dataset: CoTDataset,
    indices: np.ndarray,
    removed: np.ndarray,
    *,
    side: Literal["left", "right"] = "left",
    positions: Literal["natural", "gap"] = "natural",
) -> Batch:
    """The batch of these examples with `removed[i]` tokens of each thought gone.

    Args:
        dataset: encoded spans.
        indices: int, (B,): which examples.
        removed: int, (B,): how many tokens; more than there are removes all. Where a schedule
            counts steps, `CoTDataset.tokens_removed` says how many tokens they are.
        side: `left` removes the first ones (the paper), `right` the last ones.
        positions: `natural`: later tokens move up; `gap`: they keep the position that they had.

    Examples:
        prompt `a b`, thought `x y z`, answer `c`; removed 1 from the left gives
        input_ids `a b y z c`, labels `-100 -100 y z c`, positions 0..4, or 0 1 3 4 5 with a gap.
    """
    prompt = dataset.prompt_lengths[indices].astype(np.int64)  # (B,)
    thought = dataset.thought_lengths[indices].astype(np.int64)
    answer = dataset.answer_lengths[indices].astype(np.int64)
    gone = np.minimum(removed, thought)  # (B,)
    kept = thought - gone
    lengths = prompt + kept + answer
    cut = prompt + first_removed(thought, gone, side)  # (B,) column where tokens are left out

    columns = np.arange(int(lengths.max()), dtype=np.int64)[None, :]  # (1, T)
    source = np.where(columns < cut[:, None], columns, columns + gone[:, None])  # (B, T)
    inside = columns < lengths[:, None]
    flat = dataset.starts[indices][:, None] + np.where(inside, source, 0)
    # Padding repeats the row's first token: a causal model never sees what follows a row, and
    # transformers warns, and waits for the GPU, where it finds the padding token without a mask.
    input_ids = dataset.tokens[flat].astype(np.int64)
    learned = inside & (columns >= prompt[:, None])
    return Batch(
        input_ids=input_ids,
        labels=np.where(learned, input_ids, IGNORE),
        position_ids=np.where(inside, source, 0) if positions == "gap" else None,
        label_columns=np.flatnonzero(learned.any(axis=0)) - 1,
    )
