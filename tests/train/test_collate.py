from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from unspoken.data.example import Example
from unspoken.models.template import Template
from unspoken.train.collate import IGNORE, collate
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples

EXAMPLES = [
    Example("1 * 2", "3 + 4 5 + 6", "2"),
    Example("11 * 2", "9", "22"),
    Example("1 * 222", "7 + 8", "222"),
]


@pytest.fixture
def dataset(tokenizer: Any) -> CoTDataset:
    return encode_examples(EXAMPLES, tokenizer, Template("compact"))


def one_by_one(
    dataset: CoTDataset,
    index: int,
    removed: int,
    side: Literal["left", "right"],
    gap: bool,
) -> tuple[list[int], list[int], list[int]]:
    """The obvious way, for one row: ids, labels, positions."""
    start = int(dataset.starts[index])
    p, m, a = (
        int(lengths[index])
        for lengths in (dataset.prompt_lengths, dataset.thought_lengths, dataset.answer_lengths)
    )
    ids = dataset.tokens[start : start + p + m + a].tolist()
    positions = list(range(len(ids)))
    removed = min(removed, m)
    cut = slice(p, p + removed) if side == "left" else slice(p + m - removed, p + m)
    del ids[cut], positions[cut]
    labels = [IGNORE] * p + ids[p:]
    return ids, labels, positions if gap else list(range(len(ids)))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("positions", ["natural", "gap"])
@pytest.mark.parametrize("removed", [[0, 0, 0], [1, 0, 2], [3, 1, 9], [99, 99, 99]])
def test_equals_removing_row_by_row(
    dataset: CoTDataset,
    side: Literal["left", "right"],
    positions: Literal["natural", "gap"],
    removed: list[int],
) -> None:
    indices = np.array([0, 1, 2])
    batch = collate(dataset, indices, np.array(removed), side=side, positions=positions)
    for row, index in enumerate(indices):
        ids, labels, places = one_by_one(
            dataset, int(index), removed[row], side, positions == "gap"
        )
        size = len(ids)
        assert batch.input_ids[row, :size].tolist() == ids
        assert batch.labels[row, :size].tolist() == labels
        assert (batch.input_ids[row, size:] == ids[0]).all()
        assert (batch.labels[row, size:] == IGNORE).all()
        if batch.position_ids is not None:
            assert batch.position_ids[row, :size].tolist() == places
    assert (batch.position_ids is not None) == (positions == "gap")


def test_nothing_removed_is_the_identity(dataset: CoTDataset) -> None:
    batch = collate(dataset, np.array([2]), np.array([0]))
    start, size = int(dataset.starts[2]), int(dataset.lengths[2])
    assert batch.input_ids[0].tolist() == dataset.tokens[start : start + size].tolist()


def test_label_columns_predict_every_label_and_nothing_before(dataset: CoTDataset) -> None:
    batch = collate(dataset, np.array([0, 1, 2]), np.array([2, 0, 1]))
    learned = np.flatnonzero((batch.labels != IGNORE).any(axis=0))
    assert (batch.label_columns + 1).tolist() == learned.tolist()
    inputs = batch.tensors("cpu")
    assert int((inputs["labels"] != IGNORE).sum()) == (batch.labels != IGNORE).sum()


def test_end_token_is_learned_although_it_pads(tokenizer: Any) -> None:
    tokenizer.pad_token = tokenizer.eos_token
    dataset = encode_examples(EXAMPLES, tokenizer, Template("compact"))
    batch = collate(dataset, np.arange(3), np.zeros(3, dtype=int))
    assert (batch.labels == tokenizer.eos_token_id).sum(axis=1).tolist() == [1, 1, 1]


def test_steps_are_removed_whole(dataset: CoTDataset, tokenizer: Any) -> None:
    def thought(removed: int, side: Literal["left", "right"]) -> str:
        index, steps = np.array([0]), np.array([removed])
        tokens = dataset.tokens_removed(index, steps, side=side, unit="step")
        batch = collate(dataset, index, tokens, side=side)
        text = tokenizer.decode(batch.input_ids[0], skip_special_tokens=True)
        return text.removeprefix("1*2=").removesuffix("#2")

    assert [thought(n, "left") for n in range(5)] == ["3+45+6", "+45+6", "+6", "", ""]
    assert [thought(n, "right") for n in range(5)] == ["3+45+6", "3+45", "3", "", ""]


def test_gap_comes_with_a_mask_or_transformers_sees_packed_sequences(
    dataset: CoTDataset,
) -> None:
    natural = collate(dataset, np.arange(3), np.ones(3, dtype=int))
    gap = collate(dataset, np.arange(3), np.ones(3, dtype=int), positions="gap")
    assert "attention_mask" not in natural.tensors("cpu")
    assert bool(gap.tensors("cpu")["attention_mask"].all())
