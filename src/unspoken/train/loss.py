"""The loss of a batch: -log P of its label tokens, without fp32 copies of all logits at once.

GPT-2 small with 32 examples of 266 label columns has 428 million logits. The straightforward way
holds them in bf16, in fp32, as log-probabilities and as gradients: 6 GB, moved through memory
several times. Here they stand in memory once, in the dtype the model gives them in; fp32 values
are of one chunk of rows, and the gradient takes the place of the logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from unspoken.train.collate import IGNORE

#: Logits whose fp32 values are in memory at once: 64 MiB. Fewer are computed in one go.
CHUNK = 2**24


def negative_log_likelihood(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum over the batch's label tokens of -log P(token), a scalar; the paper's loss.

    Args:
        model: called with `inputs`, labels left out.
        inputs: as `Batch.tensors` gives them; labels (B, C) of the columns in logits_to_keep.
    """
    arguments = {name: tensor for name, tensor in inputs.items() if name != "labels"}
    logits = model(**arguments, use_cache=False).logits  # (B, C, V)
    return summed_cross_entropy(logits.flatten(0, 1), inputs["labels"].flatten())


def summed_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """torch's cross_entropy in fp32, summed, a scalar; to the bit where `CHUNK` is not exceeded.

    Args:
        logits: (N, V), in any dtype; overwritten in the backward pass where they are more.
        labels: int64, (N,); rows with `IGNORE` do not count.
    """
    if logits.numel() <= CHUNK:
        return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
    return loss_of_each(logits, labels).sum()


def loss_of_each(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The same, of each row, (N,); 0 where the label is `IGNORE`."""
    if logits.numel() <= CHUNK:
        return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="none")
    losses: Any = _InChunks.apply(logits, labels)
    return losses


def cross_entropy_of_each(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """torch's cross_entropy in fp32 of each token, (B, C); in a few chunks' memory.

    It is torch's to the bit where a row fits into a chunk, so that removal decides by the same last
    digits as without chunks: the vocabulary is the second dimension, as torch has it, because it
    sums in another order where it is the last. Parts of a row may differ by rounding (AVX2).

    Args:
        logits: (B, C, V), in any dtype, without a gradient.
        labels: int64, (B, C); the loss is 0 where they are `IGNORE`.
    """
    num_rows, num_columns, vocabulary = logits.shape
    rows = max(1, CHUNK // (num_columns * vocabulary))
    columns = max(1, CHUNK // vocabulary)
    found = torch.empty(labels.shape, dtype=torch.float32, device=labels.device)
    for row in range(0, num_rows, rows):
        for column in range(0, num_columns, columns):
            part = slice(row, row + rows), slice(column, column + columns)
            values = logits[part].float().transpose(1, 2)  # (rows, V, columns)
            found[part] = F.cross_entropy(
                values, labels[part], ignore_index=IGNORE, reduction="none"
            )
    return found


class _InChunks(torch.autograd.Function):
    """Cross entropy over chunks of rows.

    The gradient is made in the backward pass, where its factor is known: in fp16, gradients of
    unlikely tokens would be 0 without the scaler's. What the model computed last must not need its
    own output for its gradient (a matrix product, a factor and a soft cap do not); torch raises an
    error otherwise, since the logits are overwritten.
    """

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(logits, labels)
        targets = labels.clamp_min(0)[:, None]  # (N, 1), any token where there is no label
        found = [
            torch.log_softmax(logits[rows], -1, dtype=torch.float32).gather(1, targets[rows])
            for rows in _chunks(logits)
        ]
        return -torch.cat(found)[:, 0].masked_fill(labels == IGNORE, 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, labels = ctx.saved_tensors
        targets = labels.clamp_min(0)[:, None]
        factors = gradients[0].masked_fill(labels == IGNORE, 0.0)[:, None]
        for rows in _chunks(logits):
            gradient, target = logits[rows].softmax(-1, dtype=torch.float32), targets[rows]
            gradient.scatter_(1, target, gradient.gather(1, target) - 1)
            torch.mul(gradient, factors[rows], out=logits[rows])
        return logits, None


def _chunks(logits: torch.Tensor) -> Iterator[slice]:
    """Rows of at most `CHUNK` logits together, or one row."""
    size = max(1, CHUNK // logits.shape[1])
    return (slice(start, start + size) for start in range(0, len(logits), size))
