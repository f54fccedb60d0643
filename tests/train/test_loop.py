"""The loop: what ends it, and what it refuses to save."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, events, logged, losses, run, same, trainer, weights
from unspoken.common.errors import TrainingError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.data.example import Example
from unspoken.models.template import Template
from unspoken.train.checkpoint import TrainState, model_card, random_state, restore_random_state
from unspoken.train.collate import IGNORE
from unspoken.train.encode import encode_examples
from unspoken.train.loss import negative_log_likelihood
from unspoken.train.schedule import ALL


def test_same_seed_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    first = run(tmp_path / "a")
    again = run(tmp_path / "b")
    other = run(tmp_path / "c", seed=1)
    assert same(weights(first.folder), weights(again.folder))
    assert not same(weights(first.folder), weights(other.folder))


def test_a_validation_that_a_signal_cuts_off_is_made_again(tmp_path: Path) -> None:
    """Which may take longer than there is between SIGTERM and SIGKILL."""
    sections: dict[str, Any] = {"schedule": {"delta": 16}, "evaluate": {"batch_size": 2}}
    whole = run(tmp_path / "whole", **sections)
    recipe = tiny_recipe(tmp_path / "parts", **sections)
    num_cut_off = 0

    def stopped_in_its_next_validation() -> bool:
        made_up_for = num_cut_off == 0

        def watch(moment: str, state: TrainState) -> None:
            nonlocal made_up_for
            if moment == "validation":
                if made_up_for:
                    part.stop.requested = True
                made_up_for = True

        part = trainer(recipe, tmp_path / "parts", watch=watch)
        try:
            part.run()
        except SystemExit as stopped:
            assert stopped.code == EXIT_INTERRUPTED
            return True
        return False

    while stopped_in_its_next_validation():
        num_cut_off += 1
    assert num_cut_off == [event for _, event in events(tmp_path / "whole")].count("valid") > 2
    parts = trainer(recipe, tmp_path / "parts").run()
    assert same(weights(whole.folder), weights(parts.folder))
    assert events(tmp_path / "parts") == events(tmp_path / "whole")


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)

    def poison(moment: str, state: TrainState) -> None:
        if moment == "step" and state.step == 8:
            with torch.no_grad():
                next(broken.bare_model.parameters()).fill_(float("nan"))

    broken = trainer(recipe, tmp_path, watch=poison)
    with pytest.raises(TrainingError, match=r"step 9: the loss is nan.*checkpoint-6; lower [^,]*$"):
        broken.run()
    kept = sorted(tmp_path.glob("checkpoint-*"))
    assert [folder.name for folder in kept] == ["checkpoint-6"]
    assert all(torch.isfinite(tensor).all() for tensor in weights(kept[0]).values())


def test_gradient_that_is_not_finite_is_never_saved(tmp_path: Path) -> None:
    def poison(moment: str, state: TrainState) -> None:
        if moment == "step" and state.step == 11:
            next(broken.bare_model.parameters()).register_hook(lambda found: found * float("nan"))

    broken = trainer(tiny_recipe(tmp_path), tmp_path, watch=poison)
    with pytest.raises(TrainingError, match=r"step 12: the gradient norm is nan.*checkpoint-6"):
        broken.run()
    kept = sorted(tmp_path.glob("checkpoint-*"))
    assert [folder.name for folder in kept] == ["checkpoint-6"]


def test_run_ends_after_settling_and_the_rate_decays(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        schedule={"removal": "adaptive", "loss_below": 99.0, "window": 1, "delta": 5},
        train={"settle_steps": 6},
    )
    assert result.state.all_removed_at is not None
    assert result.state.step == result.state.all_removed_at + 6
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    rates = [line["learning_rate"] for line in lines if line["event"] == "train"][-6:]
    assert rates == pytest.approx([1e-3 * (1 - i / 6) for i in range(6)])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_is_no_longer_than_the_norm_to_which_gradients_are_clipped(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By plain gradient descent, whose step is the learning rate times the gradient."""
    monkeypatch.setattr("unspoken.parallel.precision.require_precision", lambda *_: None)
    clipped = {"max_grad_norm": 0.01, "learning_rate": 0.5, "weight_decay": 0.0}
    train = {"optimizer": "sgd", "precision": precision, "warmup_steps": 0, **clipped}
    one = trainer(tiny_recipe(tmp_path, model=NO_DROPOUT, train=train), tmp_path)
    before = [weight.detach().clone() for weight in one.bare_model.parameters()]
    figures = one.step(TrainState())
    assert figures.gradient_norm > 0.1, "before clipping"
    moved = [
        (weight.detach() - old).pow(2).sum()
        for weight, old in zip(one.bare_model.parameters(), before, strict=True)
    ]
    assert float(torch.stack(moved).sum().sqrt()) == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_a_card_has_room_for_the_longest_thought_that_is_left_and_the_longest_answer(
    tokenizer: Any,
) -> None:
    some = [Example("1", "1 + 1", "2"), Example("2", "1", "100000")]
    dataset = encode_examples(some, tokenizer, Template("compact"))
    thought, answer = int(dataset.thought_lengths.max()), int(dataset.answer_lengths.max())
    assert answer > dataset.answer_lengths.min()
    for removed, kept in ((0, thought), (2, thought - 2), (99, 0)):
        card = model_card(dataset, tokenizer, Template("compact"), removed, step=3)
        assert card.max_new_tokens == kept + answer + 8
        assert card.removed == (None if removed == 99 else removed)


def test_by_steps_the_longest_thought_that_is_left_tells_how_many_tokens_are_gone(
    tmp_path: Path,
) -> None:
    sizes = {"digits": [[2, 2], [2, 3]]}  # two steps, and three
    one = trainer(tiny_recipe(tmp_path, data=sizes, schedule={"unit": "step"}), tmp_path)
    everyone = np.arange(len(one.train))
    assert one.train.thought_lengths.min() < one.train.longest_thought
    for steps in (0, 1, 2, ALL):
        gone = one.train.tokens_removed(everyone, np.full(len(everyone), steps), unit="step")
        left = max(one.train.thought_lengths - gone)
        assert one.checkpoints.tokens_gone(steps) == one.train.longest_thought - left


def test_random_numbers_of_every_kind_go_on_from_where_a_checkpoint_left_them(
    tmp_path: Path,
) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), np.random.standard_normal(), torch.rand(()).item()

    np.random.standard_normal()  # of two that are drawn, the second one is kept
    torch.save(random_state(), tmp_path / "random.pt")
    drawn = draw()
    assert drawn != draw()
    restore_random_state(torch.load(tmp_path / "random.pt", weights_only=True))
    assert draw() == drawn


def test_fixed_number_of_steps_for_a_baseline(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, schedule={"removal": "all"})
    result = trainer(recipe, tmp_path, num_steps=7).run()
    assert result.state.step == 7
    assert result.level == "all"


def test_where_everything_is_gone_from_the_start_a_training_is_as_long_as_it_says(
    tmp_path: Path,
) -> None:
    """Steps to settle are counted from the last removal: it would end after two."""
    train = {"max_steps": 6, "settle_steps": 2, "log_every": 1}
    result = run(tmp_path, schedule={"removal": "all"}, train=train)
    assert result.state.step == 6
    assert logged(tmp_path, "learning_rate") == pytest.approx([1e-3] * 5 + [0.5e-3])


def test_a_loss_of_ones_own_is_learned_from(tmp_path: Path) -> None:
    def with_entropy(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss, and a term that keeps the model from being sure."""
        logits = model(**{**inputs, "labels": None}, use_cache=False).logits  # (B, C, V)
        learned = inputs["labels"] != IGNORE
        rows = logits[learned].log_softmax(-1)
        nll = -rows.gather(1, inputs["labels"][learned][:, None]).sum()
        return nll + 0.5 * (rows.exp() * rows).sum()

    recipe = tiny_recipe(tmp_path, model=NO_DROPOUT, train={"log_every": 1})
    trainer(recipe, tmp_path / "plain", num_steps=3).run()
    trainer(recipe, tmp_path / "own", num_steps=3, loss=with_entropy).run()
    trainer(recipe, tmp_path / "same", num_steps=3, loss=negative_log_likelihood).run()
    assert losses(tmp_path / "own")[0] < losses(tmp_path / "plain")[0]
    assert losses(tmp_path / "same") == losses(tmp_path / "plain")


def test_gradients_that_a_notebook_has_switched_off_change_nothing(tmp_path: Path) -> None:
    run(tmp_path / "on", model=NO_DROPOUT)
    with torch.no_grad():
        run(tmp_path / "off", model=NO_DROPOUT)
        assert not torch.is_grad_enabled()
    assert losses(tmp_path / "off") == losses(tmp_path / "on")


def test_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "plain", model=NO_DROPOUT)
    run(tmp_path / "saving", model=NO_DROPOUT, train={"gradient_checkpointing": True})
    assert losses(tmp_path / "saving") == pytest.approx(losses(tmp_path / "plain"), abs=1e-6)


def test_a_model_without_spare_positions_can_still_be_asked(tmp_path: Path) -> None:
    exact = {**NO_DROPOUT, "config": {**NO_DROPOUT["config"], "n_positions": 20}}
    assert run(tmp_path, model=exact, train={"max_steps": 2}).state.step == 2


def test_label_logits_give_the_loss_of_the_whole_sequence(tmp_path: Path) -> None:
    """Against transformers' own loss, computed from all logits."""
    recipe = tiny_recipe(tmp_path, model=NO_DROPOUT, schedule={"removal": "none"})
    one = trainer(recipe, tmp_path)
    indices = one.train.batch_indices(0, 16, recipe.seed)
    rows = one.train.prompts(range(len(one.train)))
    total = count = 0.0
    for index in indices:
        start, length = int(one.train.starts[index]), int(one.train.lengths[index])
        ids = torch.tensor([one.train.tokens[start : start + length].tolist()])
        labels = ids.clone()
        labels[:, : len(rows[index])] = -100
        learned = int((labels != -100).sum())
        with torch.no_grad():
            loss = one.bare_model(input_ids=ids, labels=labels).loss
        total += float(loss) * learned
        count += learned
    one.run()
    assert losses(tmp_path)[0] == pytest.approx(total / count, abs=1e-5)


def test_threads_are_those_of_the_training_alone(tmp_path: Path) -> None:
    """Those of the first one stayed for the trainings and evaluations after it."""
    torch.set_num_threads(2)
    try:
        seen: list[int] = []
        recipe = tiny_recipe(tmp_path, train={"max_steps": 2, "threads": 1})
        trainer(recipe, tmp_path, watch=lambda *_: seen.append(torch.get_num_threads())).run()
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
