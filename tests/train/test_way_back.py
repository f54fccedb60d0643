"""The loop goes the way back: weights, optimizer and level, and nothing else."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.recipes import tiny_recipe
from helpers.training import (
    IMPATIENT,
    NO_DROPOUT,
    events,
    losses,
    put_wall,
    run,
    same,
    stop_after,
    trainer,
    weights,
)
from unspoken.common.errors import TrainingError
from unspoken.data.example import Example
from unspoken.models.template import Template
from unspoken.recipe import layout
from unspoken.train import collate, loss
from unspoken.train import recovery as recovery_module
from unspoken.train.checkpoint import TrainState
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples
from unspoken.train.loop import StepwiseInternalization
from unspoken.train.recovery import Recovery, measured_examples
from unspoken.train.schedule import ALL


def impatient(**settings: Any) -> dict[str, Any]:
    """Sections of a recipe with these settings of its schedule."""
    return {**IMPATIENT, "schedule": {**IMPATIENT["schedule"], **settings}}


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """No level that has more than four tokens removed recovers."""
    monkeypatch.setattr(Recovery, "measure", Recovery.measure)  # to be put back
    put_wall()


@pytest.mark.usefixtures("wall")
def test_weights_and_moments_are_those_of_the_level_that_had_recovered(tmp_path: Path) -> None:
    """While steps, and so the data, go on."""
    seen: list[tuple[TrainState, dict[str, torch.Tensor], int]] = []

    def watch(moment: str, state: TrainState) -> None:
        if moment == "step":
            copy = {k: v.clone() for k, v in one.bare_model.state_dict().items()}
            seen.append((state, copy, len(one.optimizer.optimizer.state)))

    sections = impatient(reset_optimizer=False)
    one = trainer(tiny_recipe(tmp_path, **sections), tmp_path, watch=watch)
    result = one.run()
    after_step = {state.step: (copy, count) for state, copy, count in seen}
    ways_back = [
        after
        for (before, *_), (after, *_) in pairwise(seen)
        if one.removal.goes_back(before.schedule, after.schedule)
    ]
    assert len(ways_back) >= 2
    for state in ways_back:
        assert state.schedule.search is not None
        left_at = state.schedule.search.left_at
        assert left_at is not None
        assert left_at < state.step
        assert same(after_step[state.step][0], after_step[left_at][0])
        assert after_step[state.step][1] == after_step[left_at][1] > 0
    assert [state.step for state, *_ in seen] == list(range(result.state.step))


def test_by_steps_the_explicit_models_loss_is_logged_at_its_own_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recovery, "measure_reference", lambda *_: [9.0, 5.0, 1.0])
    sections = impatient(unit="step", start=1)
    sections["train"] = {**sections["train"], "max_steps": 3}
    run(tmp_path, **sections)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    first = next(line for line in lines if line["event"] == "recovery")
    assert (first["removed"], first["loss"]) == (3, 5.0)


@pytest.mark.usefixtures("wall")
def test_what_cannot_be_removed_ends_the_run_early_and_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tmp_path, **impatient())
    assert result.state.step < 60
    assert (result.level, result.state.schedule.stopped) == ("0004", True)
    assert result.state.all_removed_at is None
    said = capsys.readouterr().out
    assert "token 5 of 8 of the thought has not been made up for in 1 of 2 tries" in said
    assert "not internalized: 4 of 8 tokens removed; with 1 more, the loss never came" in said
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    measured = [line for line in lines if line["event"] == "recovery"]
    ways_back = [(line["removed"], line["back_to"]) for line in measured if "back_to" in line]
    # four and two at once; a single one is held longer, and undone at the end
    assert ways_back == [(7, 3), (5, 3), (5, 4)]
    assert all(line["loss"] > line["needed"] for line in measured if "back_to" in line)
    # the final model is the best one of the last level that had recovered
    assert same(weights(result.folder), weights(tmp_path / "levels" / "removed-0004"))
    assert (tmp_path / "levels" / "removed-0000").is_dir()  # and the explicit model is kept


@pytest.mark.usefixtures("wall")
def test_steps_that_end_in_a_try_lead_back_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = impatient(patience=20)
    sections["train"] = {**sections["train"], "max_steps": 80}
    result = run(tmp_path, **sections)
    assert result.state.step == 80
    assert result.level == "0004"  # one more was tried
    said = capsys.readouterr().out
    assert "not internalized: 4 of 8 tokens removed; with 1 more" in said
    assert said.endswith("; then the steps ended\n")


def test_a_student_that_writes_its_thought_is_not_waited_for(tmp_path: Path) -> None:
    explicit = run(tmp_path / "explicit", schedule={"removal": "none"})
    sections = impatient(patience=30)
    sections["train"] = {**sections["train"], "max_steps": 12}
    student = {"name": str(explicit.folder), "config": None, "tokenizer": None}
    distilled = run(tmp_path / "distilled", **sections, model=student)
    scratch = run(tmp_path / "scratch", **sections)
    sections["schedule"] = {**sections["schedule"], "start": 4}  # it never went without these four
    shorter = run(tmp_path / "shorter", **sections, model=student)
    left = [one.state.schedule.search.left_at for one in (distilled, scratch, shorter)]
    assert left[0] is not None
    assert left[1:] == [None, None]


def test_everything_goes_where_every_level_recovers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(tmp_path, **impatient(last_margin=99.0))
    assert result.level == "all"
    assert result.state.all_removed_at is not None
    assert result.state.step == result.state.all_removed_at + 6
    assert "not internalized" not in capsys.readouterr().out


@pytest.mark.parametrize("positions", ["natural", "gap"])
@pytest.mark.usefixtures("wall")
def test_resumed_through_ways_back_equals_uninterrupted(tmp_path: Path, positions: str) -> None:
    """Stopped before, in and after them; with dropout, whose random numbers go on."""
    sections = impatient(tries=3, positions=positions)
    sections["train"] = {**sections["train"], "keep_checkpoints": 1}
    whole = run(tmp_path / "whole", **sections)
    assert whole.state.schedule.search is not None
    assert whole.state.schedule.search.undone >= 3
    recipe = tiny_recipe(tmp_path / "parts", **sections)
    for step in (6, 11, whole.state.step - 5):
        with pytest.raises(SystemExit):
            stop_after(step, recipe, tmp_path / "parts").run()
    parts = trainer(recipe, tmp_path / "parts").run()
    assert same(weights(whole.folder), weights(parts.folder))
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert events(tmp_path / "parts") == events(tmp_path / "whole")
    assert parts.state.schedule == whole.state.schedule


@pytest.mark.usefixtures("wall")
def test_an_adapter_goes_back_as_well(tmp_path: Path) -> None:
    result = run(tmp_path, **impatient(), lora={"dropout": 0.0})
    assert (result.level, result.state.schedule.stopped) == ("0004", True)


@pytest.mark.usefixtures("wall")
def test_the_checkpoint_that_a_way_leads_to_is_kept_and_missed(tmp_path: Path) -> None:
    sections = impatient(patience=20)
    sections["train"] = {**sections["train"], "checkpoint_every": 2, "keep_checkpoints": 1}
    recipe = tiny_recipe(tmp_path, **sections)

    def watch(moment: str, state: TrainState) -> None:
        search = state.schedule.search
        if search is not None and search.left_at is not None and state.schedule.held == 3:
            one.stop.requested = True

    one = trainer(recipe, tmp_path, watch=watch)
    with pytest.raises(SystemExit):
        one.run()
    left_at, last = sorted(layout.checkpoint_step(path) for path in tmp_path.glob("checkpoint-*"))
    state = json.loads((tmp_path / f"checkpoint-{last}" / "state.json").read_text())
    assert state["schedule"]["search"]["left_at"] == left_at
    assert last - left_at == 4
    shutil.rmtree(tmp_path / f"checkpoint-{left_at}")
    with pytest.raises(TrainingError, match=rf"checkpoint-{left_at}: found damage.*go back to it"):
        trainer(recipe, tmp_path).run()


def test_the_losses_of_the_kept_tokens_and_of_the_answer_are_measured(tmp_path: Path) -> None:
    """Against the loss of training batches; with all tokens there, of each level's own tokens."""
    sections = impatient()
    sections["train"] = {**sections["train"], "micro_batch_size": 4, "num_valid": 7}
    one = trainer(tiny_recipe(tmp_path, **sections, model=NO_DROPOUT), tmp_path)
    recovery = one.recovery
    assert recovery is not None
    assert recovery.count == 7  # validation questions
    sizes: list[int] = []

    def note(_: Any, arguments: Any, given: dict[str, Any]) -> None:
        sizes.append(len(given["input_ids"]))

    one.bare_model.register_forward_pre_hook(note, with_kwargs=True)
    examples, everyone = recovery.examples, np.arange(recovery.count)
    one.bare_model.eval()
    reference = recovery.measure_reference(one.bare_model, 0)
    assert sizes == [4, 3]
    assert len(reference) == examples.longest_thought + 1
    assert one.removal.kept == (counts := recovery.kept_tokens()) and len(counts) == len(reference)
    for removed in (0, 3, ALL):
        gone = np.minimum(removed, examples.thought_lengths[everyone])
        kept = (examples.lengths - examples.prompt_lengths)[everyone] - gone
        whole = _token_losses(one, np.zeros_like(gone))
        own = [each[int(left_out) :].sum() for each, left_out in zip(whole, gone, strict=True)]
        assert reference[min(removed, len(reference) - 1)] == pytest.approx(np.mean(own), rel=1e-5)
        shorter = _token_losses(one, gone)
        assert [len(each) for each in shorter] == kept.tolist()
        assert counts[min(removed, len(counts) - 1)] == pytest.approx(kept.mean())
        thought = examples.thought_lengths[everyone] - gone
        pairs = list(zip(shorter, thought, strict=True))
        expected = [
            np.mean([each.sum() for each in shorter]),
            np.mean([each[int(length) :].sum() for each, length in pairs]),
        ]
        assert recovery.measure(one.bare_model, removed) == pytest.approx(expected, rel=1e-5)
    assert one.bare_model.training


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_reference_leaves_out_what_would_be_gone_from_a_thought_that_is_partly_gone(
    side: str, tmp_path: Path
) -> None:
    """Of a model that begins with two tokens removed, as `schedule.start` says."""
    sections = impatient(side=side, start=2)
    one = trainer(tiny_recipe(tmp_path, **sections, model=NO_DROPOUT), tmp_path)
    recovery = one.recovery
    assert recovery is not None
    one.bare_model.eval()
    reference = recovery.measure_reference(one.bare_model, 2)
    lengths = recovery.examples.thought_lengths[: recovery.count]
    there = _token_losses(one, np.minimum(2, lengths), side=side)
    for level, found in enumerate(reference):
        kept = []
        for nats, length in zip(there, lengths, strict=True):
            more = max(0, min(level, int(length)) - 2)
            begin = 0 if side == "left" else int(length) - 2 - more
            kept.append(nats.sum() - nats[begin : begin + more].sum())
        assert found == pytest.approx(np.mean(kept), rel=1e-5)


@pytest.mark.parametrize(("side", "gone"), [("left", [0, 3, 8]), ("right", [0, 5, 8])])
def test_by_steps_what_a_level_keeps_follows_from_the_side(
    side: str, gone: list[int], tmp_path: Path
) -> None:
    """Of two summands, of 3 and 5 tokens."""
    one = trainer(tiny_recipe(tmp_path, **impatient(unit="step", side=side)), tmp_path)
    assert one.recovery is not None
    kept = one.recovery.kept_tokens()
    assert [kept[0] - each for each in kept] == gone


def test_another_order_of_removal_is_one_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The middle of a thought first: what is learned and what is measured follow."""

    def middle(thought: np.ndarray, gone: np.ndarray, side: str) -> np.ndarray:
        return (thought - gone) // 2

    for module in (collate, recovery_module):
        monkeypatch.setattr(module, "first_removed", middle)
    one = trainer(tiny_recipe(tmp_path, **impatient(start=2), model=NO_DROPOUT), tmp_path)
    assert one.recovery is not None
    one.bare_model.eval()
    reference = one.recovery.measure_reference(one.bare_model, 2)
    lengths = one.recovery.examples.thought_lengths[: one.recovery.count].astype(int)
    gone = np.minimum(2, lengths)
    there = _token_losses(one, gone, firsts=middle(lengths, gone, ""))
    for level, found in enumerate(reference):
        more = np.minimum(np.maximum(level, 2), lengths) - gone
        begins = middle(lengths, gone + more, "")
        kept = [nats.sum() - nats[begin : begin + count].sum()
                for nats, begin, count in zip(there, begins, more, strict=True)]  # fmt: skip
        assert found == pytest.approx(np.mean(kept), rel=1e-5)


def test_what_is_measured_are_validation_questions_with_thoughts_of_the_students_kind(
    tmp_path: Path, tokenizer: Any
) -> None:
    """Else examples of the training, as where every validation question is longer than those."""
    template = Template("compact")
    train = encode_examples([Example("12", "1 + 2", "3")], tokenizer, template)
    fits, bare, long = (
        Example("34", "3 + 4", "7"),
        Example("1", "", "3"),
        Example("1", "9" * 40, "3"),
    )

    def measured(valid: list[Example], **sections: Any) -> CoTDataset:
        recipe = tiny_recipe(tmp_path, **sections)
        return measured_examples(recipe, valid, train, tokenizer, template)

    own = measured([bare, fits, long])
    assert (len(own), own.num_dropped) == (1, 1)
    assert measured([]) is measured([bare]) is measured([long]) is train
    assert len(measured([fits], teacher={"engine": "worked"})) == 1
    assert measured([fits], teacher={"engine": "transformers", "model": {"name": "gpt2"}}) is train
    assert not len(own.step_ends)
    assert len(measured([fits], schedule={"unit": "step"}).step_ends)


def test_what_is_measured_takes_the_memory_of_a_chunk_and_is_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(tiny_recipe(tmp_path, **IMPATIENT), tmp_path)
    assert one.recovery is not None
    ask = [one.recovery.measure, one.recovery.measure_reference]
    whole = [each(one.bare_model, 3) for each in ask]
    monkeypatch.setattr(loss, "CHUNK", 5 * one.bare_model.config.vocab_size)
    sizes: list[int] = []
    torchs = torch.nn.functional.cross_entropy

    def noted(values: torch.Tensor, *rest: Any, **settings: Any) -> torch.Tensor:
        sizes.append(values.numel())
        return torchs(values, *rest, **settings)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", noted)
    assert [each(one.bare_model, 3) for each in ask] == whole
    assert 0 < max(sizes) <= loss.CHUNK


def _token_losses(
    one: StepwiseInternalization,
    gone: np.ndarray,
    side: str = "left",
    firsts: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Of each validation question, one by one and without any of the loop's functions."""
    assert one.recovery is not None
    examples, found = one.recovery.examples, []
    for index, left_out in enumerate(gone):
        begin, prompt = int(examples.starts[index]), int(examples.prompt_lengths[index])
        tokens = examples.tokens[begin : begin + int(examples.lengths[index])].tolist()
        first = prompt
        if side == "right":
            first += int(examples.thought_lengths[index] - left_out)
        if firsts is not None:
            first += int(firsts[index])
        ids = torch.tensor([tokens[:first] + tokens[first + int(left_out) :]])
        with torch.no_grad():
            logits = one.bare_model(input_ids=ids).logits
        scores = logits.log_softmax(-1)[0, prompt - 1 : -1]
        found.append(-scores.gather(1, ids[0, prompt:, None])[:, 0].numpy())
    return found
