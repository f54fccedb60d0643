"""The loss over chunks of logits: torch's own, in less memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.training import NO_DROPOUT, losses, run, same, weights
from unspoken.train import loss as loss_module
from unspoken.train.collate import IGNORE
from unspoken.train.loss import cross_entropy_of_each, summed_cross_entropy

VOCABULARY = 37
Way = Callable[[torch.Tensor], torch.Tensor]


def plain(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")


def hidden_and_labels(rows: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 8, generator=random).to(dtype).requires_grad_()
    labels = torch.randint(VOCABULARY, (rows,), generator=random)
    labels[::3] = IGNORE
    return hidden, labels


def head(dtype: torch.dtype) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return (5 * torch.randn(VOCABULARY, 8, generator=random)).to(dtype).requires_grad_()


def loss_and_gradients(
    loss: Any, rows: int, dtype: torch.dtype, after: Way, factor: float
) -> tuple[torch.Tensor, ...]:
    """Of one loss function: its value, and the gradients of what the logits come from."""
    (hidden, labels), weight = hidden_and_labels(rows, dtype), head(dtype)
    value = loss(after(F.linear(hidden, weight)), labels)
    (value * factor).backward()
    assert hidden.grad is not None and weight.grad is not None
    return value.detach(), hidden.grad, weight.grad


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "CHUNK", 4 * VOCABULARY + 1)  # four rows


@pytest.mark.parametrize("rows", [5, 8, 23])
@pytest.mark.parametrize(
    "after",
    [
        pytest.param(lambda logits: logits, id="plain"),
        pytest.param(lambda logits: logits * 0.25, id="scaled"),
        pytest.param(lambda logits: torch.tanh(logits / 10) * 10, id="soft-capped"),
    ],
)
def test_chunks_give_torchs_loss_and_gradients(small_chunks: None, rows: int, after: Way) -> None:
    chunked = loss_and_gradients(summed_cross_entropy, rows, torch.float32, after, 0.37)
    whole = loss_and_gradients(plain, rows, torch.float32, after, 0.37)
    for mine, theirs in zip(chunked, whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("factor", [2**-12, 1.0, 2**12])
def test_gradients_are_rounded_once_with_their_factor_in(
    small_chunks: None, dtype: torch.dtype, factor: float
) -> None:
    """Or fp16 would lose those of unlikely tokens, whatever the scaler does."""
    after: Way = lambda logits: logits  # noqa: E731
    chunked = loss_and_gradients(summed_cross_entropy, 23, dtype, after, factor)
    whole = loss_and_gradients(plain, 23, dtype, after, factor)
    torch.testing.assert_close(chunked[0], whole[0], rtol=1e-6, atol=0)
    for mine, theirs in zip(chunked[1:], whole[1:], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=1e-6 * factor)


def test_few_logits_are_computed_in_one_go_to_the_bit() -> None:
    one, other = (
        loss_and_gradients(loss, 23, torch.float32, lambda logits: logits, 0.37)
        for loss in (summed_cross_entropy, plain)
    )
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def test_rows_without_a_label_count_nothing_even_where_they_are_infinite(
    small_chunks: None,
) -> None:
    logits = torch.zeros(12, VOCABULARY)
    logits[3] = -torch.inf
    logits[3, 5] = 1.0
    labels = torch.full((12,), 1)
    labels[3] = IGNORE
    leaf = logits.requires_grad_()
    value = summed_cross_entropy(leaf * 1.0, labels)
    value.backward()
    assert value.item() == pytest.approx(11 * torch.log(torch.tensor(VOCABULARY)).item(), rel=1e-6)
    assert leaf.grad is not None and not leaf.grad[3].any()


def test_a_model_that_needs_its_logits_once_more_is_told(small_chunks: None) -> None:
    """exp's gradient is its own output, which is overwritten: an error, no wrong gradient."""
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss_and_gradients(summed_cross_entropy, 23, torch.float32, torch.exp, 1.0)


class Largest(TorchDispatchMode):
    """Notes the largest number of fp32 values that any operation within the block gives."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.dtype == torch.float32:
            self.numel = max(self.numel, found.numel())
        return found


def test_fp32_values_are_of_one_chunk_only(small_chunks: None) -> None:
    hidden, labels = hidden_and_labels(23, torch.bfloat16)
    weight = head(torch.bfloat16)
    with Largest() as largest:
        summed_cross_entropy(F.linear(hidden, weight), labels).backward()
    assert largest.numel == 4 * VOCABULARY


@pytest.mark.parametrize("columns", [1, 3, 9])
def test_the_loss_of_each_token_is_torchs_and_takes_a_chunk(
    small_chunks: None, columns: int
) -> None:
    """To the bit where columns are whole; those of parts may be summed in another order."""
    random = torch.Generator().manual_seed(columns)
    logits = torch.randn(5, columns, VOCABULARY, generator=random).to(torch.bfloat16)
    labels = torch.randint(VOCABULARY, (5, columns), generator=random)
    labels[::2, -1] = IGNORE
    whole = logits.float().transpose(1, 2)
    expected = F.cross_entropy(whole, labels, ignore_index=IGNORE, reduction="none")
    with Largest() as largest:
        found = cross_entropy_of_each(logits, labels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert torch.equal(found, expected) or columns == 9
    assert largest.numel <= 4 * VOCABULARY


@pytest.mark.parametrize(
    "section",
    [
        {"train": {"micro_batch_size": 4}},
        {"train": {"gradient_checkpointing": True}},
        {"lora": {"r": 2, "target_modules": ["c_attn"]}},
    ],
    ids=["micro-batches", "checkpointing", "lora"],
)
def test_training_in_chunks_is_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any]
) -> None:
    arguments = {"model": NO_DROPOUT, "schedule": {"delta": 16}, **section}
    whole = run(tmp_path / "whole", **arguments)
    monkeypatch.setattr(loss_module, "CHUNK", 100)
    chunked = run(tmp_path / "chunked", **arguments)
    assert losses(chunked.folder.parent) == pytest.approx(losses(whole.folder.parent), abs=1e-5)
    if "lora" not in section:
        assert not same(weights(chunked.folder), weights(whole.folder)), "other sums, so it was"
