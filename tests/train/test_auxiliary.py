"""The auxiliary loss: which removed tokens states are to know, and what training makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, logged, losses, run, same, stop_after, trainer, weights
from unspoken.data.example import Example
from unspoken.models.load import load_tokenizer
from unspoken.models.template import Template
from unspoken.recipe import Model
from unspoken.train.auxiliary import MOST, Auxiliary, Removed, draw_first, removed_tokens
from unspoken.train.collate import IGNORE, collate
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples

KNOWN: dict[str, Any] = {"removal": "linear", "delta": 4, "per": "epoch", "auxiliary_loss": 1.0}


def dataset(*thoughts: str) -> CoTDataset:
    """Examples with these thoughts, a token a letter, and an answer of two."""
    tokenizer = load_tokenizer(
        Model(name=None, config={"model_type": "gpt2"}, tokenizer="characters")
    )
    examples = [Example(f"q{number}", each, "ab") for number, each in enumerate(thoughts)]
    return encode_examples(examples, tokenizer, Template("compact", tokenizer))


def asked(data: CoTDataset, gone: list[int], first: float = 0.0, side: Any = "left") -> Removed:
    indices = np.arange(len(data))
    removed = np.array(gone)
    batch = collate(data, indices, removed, side=side)
    start = np.full(len(data), first)
    found = removed_tokens(data, indices, removed, batch, start, side=side)
    assert found is not None
    return found


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_state_is_asked_for_every_token_that_is_gone(side: Any) -> None:
    data = dataset("wxyz", "abcd")
    found = asked(data, [3, 1], side=side)
    for row, gone in enumerate([3, 1]):
        begin = int(data.starts[row] + data.prompt_lengths[row])
        places = range(gone) if side == "left" else range(4 - gone, 4)
        there = {place: int(data.tokens[begin + place]) for place in places}
        learned = found.tokens[row] != IGNORE
        num_labels = int(data.lengths[row] - data.prompt_lengths[row]) - gone
        assert learned.any(axis=1).sum() == num_labels
        for column in np.flatnonzero(learned.any(axis=1)):
            some = learned[column]
            pairs = zip(
                found.places[row, column][some], found.tokens[row, column][some], strict=True
            )
            assert {int(place): int(token) for place, token in pairs} == there
        assert found.count[row] == gone


def test_states_take_turns_where_more_is_gone_than_one_is_asked_for() -> None:
    data = dataset("z" * (2 * MOST))
    found = asked(data, [2 * MOST], first=0.5)
    assert found.places[0, 0].tolist() == list(range(MOST, 2 * MOST))
    assert found.places[0, 1].tolist() == list(range(MOST))
    assert found.count.tolist() == [MOST]


def test_nothing_is_asked_for_where_nothing_is_gone() -> None:
    data = dataset("wxyz", "abcd")
    indices, gone = np.arange(2), np.zeros(2, dtype=np.int64)
    batch = collate(data, indices, gone)
    assert removed_tokens(data, indices, gone, batch, np.zeros(2), side="left") is None
    some = asked(data, [2, 0])
    assert (some.tokens[1] == IGNORE).all()


def test_draws_follow_from_seed_and_step() -> None:
    assert np.array_equal(draw_first(1, 2, 8), draw_first(1, 2, 8))
    assert not np.array_equal(draw_first(1, 2, 8), draw_first(1, 3, 8))


class Output(torch.nn.Module):
    """A model with states that can be set, (B, C, D), and an output layer."""

    def __init__(self, states: torch.Tensor, vocabulary: int) -> None:
        super().__init__()
        self.states = torch.nn.Parameter(states)
        self.layer = torch.nn.Linear(states.shape[-1], vocabulary)

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.layer

    def forward(self) -> torch.Tensor:
        return self.layer(self.states)


@pytest.mark.parametrize("vocabulary", [11, 1200])
def test_one_state_can_know_several_tokens(vocabulary: int) -> None:
    torch.manual_seed(0)
    model: Any = Output(torch.zeros(1, 2, 96), vocabulary)
    auxiliary = Auxiliary(model, longest=6)
    tokens = np.array([[[1, 2, 3, 3, 9, 10], [5, 4, 1, 0, IGNORE, IGNORE]]])
    places = np.broadcast_to(np.arange(6), (1, 2, 6))
    wanted = Removed(places, tokens, np.array([6])).tensors("cpu")
    optimizer = torch.optim.Adam([model.states], lr=0.1)
    found = []
    for _ in range(60):
        own, loss = auxiliary.losses(lambda: model().sum() * 0 + 3.0, wanted)
        assert own.item() == 3.0
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    guess = np.log(min(vocabulary, 512)) * 10 / 6
    assert found[0] == pytest.approx(guess, rel=1e-5)
    assert found[-1] < 0.05 * guess


def test_a_loss_has_to_call_the_model() -> None:
    model: Any = Output(torch.zeros(1, 1, 4), 3)
    auxiliary = Auxiliary(model, longest=1)
    zero = np.zeros((1, 1, 1), dtype=np.int64)
    wanted = Removed(zero, zero, np.ones(1, dtype=np.int64)).tensors("cpu")
    model()  # its states are not those of the loss
    with pytest.raises(ValueError, match="call the model"):
        auxiliary.losses(lambda: torch.zeros(()), wanted)
    auxiliary.losses(model, wanted)
    auxiliary.close()
    with pytest.raises(ValueError, match="call the model"):
        auxiliary.losses(model, wanted)


def test_training_with_it_is_another_and_reports_the_loss_of_the_text_alone(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"model": NO_DROPOUT, "train": {"log_every": 1, "max_steps": 12}}
    without = {**KNOWN, "auxiliary_loss": 0.0}
    run(tmp_path / "plain", schedule=without, **sections)
    run(tmp_path / "known", schedule=KNOWN, **sections)
    plain, known = losses(tmp_path / "plain"), losses(tmp_path / "known")
    assert known[0] == plain[0]
    assert known[-1] == pytest.approx(plain[-1], rel=0.2)
    assert known != plain
    assert not logged(tmp_path / "plain", "auxiliary_loss")
    beside = logged(tmp_path / "known", "auxiliary_loss")
    assert len(beside) == len(known)
    assert beside[0] == 0.0 < beside[-1]  # nothing is gone yet; all is


def test_micro_batches_change_nothing(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"model": NO_DROPOUT, "schedule": {**KNOWN, "start": 3}}
    train = {"log_every": 1, "max_steps": 6}
    run(tmp_path / "whole", train=train, **sections)
    run(tmp_path / "parts", train={**train, "micro_batch_size": 2}, **sections)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=2e-5)


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, model=NO_DROPOUT, schedule={**KNOWN, "start": 2})
    whole = trainer(recipe, tmp_path / "whole", num_steps=8).run()
    with pytest.raises(SystemExit):
        stop_after(4, recipe, tmp_path / "parts", num_steps=8).run()
    parts = trainer(recipe, tmp_path / "parts", num_steps=8).run()
    assert same(weights(parts.folder), weights(whole.folder))
