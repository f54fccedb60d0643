from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, events, losses, run, same, trainer, weights
from unspoken.common.errors import ModelError, RecipeError, TrainingError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.data.tasks.multiplication import examples
from unspoken.models.load import load_model, load_tokenizer
from unspoken.models.template import Template
from unspoken.train.encode import encode_examples
from unspoken.train.loop import StepwiseInternalization


def test_accumulating_gives_the_same_losses_as_one_large_batch(tmp_path: Path) -> None:
    run(tmp_path / "whole", model=NO_DROPOUT)
    run(tmp_path / "parts", model=NO_DROPOUT, train={"micro_batch_size": 2})
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=2e-5)


def test_same_seed_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    first = run(tmp_path / "a")
    again = run(tmp_path / "b")
    other = run(tmp_path / "c", seed=1)
    assert same(weights(first.folder), weights(again.folder))
    assert not same(weights(first.folder), weights(other.folder))


@pytest.mark.parametrize("positions", ["natural", "gap"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, positions: str) -> None:
    """From every checkpoint; with dropout, resets, and the gap's moved position table; before
    validations, too, which are made up for."""
    sections: dict[str, Any] = {"schedule": {"positions": positions, "delta": 16}}
    whole = run(tmp_path / "whole", **sections, train={"keep_checkpoints": 9})
    recipe = tiny_recipe(tmp_path / "parts", **sections)
    for stop_after in (5, 6, 11, 13, 18, 23):
        part = trainer(recipe, tmp_path / "parts")
        step = part._step

        def stopping(state: Any, part: Any = part, step: Any = step, last: int = stop_after) -> Any:
            part.stop.requested = state.step >= last
            return step(state)

        part._step = stopping  # type: ignore[method-assign]
        with pytest.raises(SystemExit) as stopped:
            part.run()
        assert stopped.value.code == EXIT_INTERRUPTED
    parts = trainer(recipe, tmp_path / "parts").run()
    assert same(weights(whole.folder), weights(parts.folder))
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert parts.state.best == whole.state.best
    assert events(tmp_path / "parts") == events(tmp_path / "whole")


def test_a_validation_that_a_signal_cuts_off_is_made_again(tmp_path: Path) -> None:
    """Which may take longer than there is between SIGTERM and SIGKILL."""
    sections: dict[str, Any] = {"schedule": {"delta": 16}, "evaluate": {"batch_size": 2}}
    whole = run(tmp_path / "whole", **sections)
    recipe = tiny_recipe(tmp_path / "parts", **sections)
    num_cut_off = 0

    def stopped_in_its_next_validation() -> bool:
        part = trainer(recipe, tmp_path / "parts")
        measure, made_up_for = part._measure, num_cut_off == 0

        def stopping(removed: int) -> Any:
            nonlocal made_up_for
            part.stop.requested = made_up_for
            made_up_for = True
            return measure(removed)

        part._measure = stopping  # type: ignore[method-assign]
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


def _recipe_file(folder: Path, **sections: Any) -> Path:
    recipe = tiny_recipe(folder / "run", **sections)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return path


def _start(recipe: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "unspoken", "run", str(recipe)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )


def _wait_for_step(folder: Path, step: int, process: subprocess.Popen[str]) -> None:
    path = folder / "run" / "internalized" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and f'"step": {step}' in path.read_text():
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was never reached: {process.communicate()[0]}")


@pytest.mark.slow
def test_killed_with_signal_9_and_resumed_gives_identical_weights(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    settings: dict[str, Any] = {"train": {"max_steps": 300, "checkpoint_every": 7}}
    whole = _start(_recipe_file(tmp_path / "whole", **settings))
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output
    recipe = _recipe_file(tmp_path / "killed", **settings)
    for step in (16, 151):
        process = _start(recipe)
        _wait_for_step(tmp_path / "killed", step, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    last = _start(recipe)
    output, _ = last.communicate(timeout=300)
    assert last.returncode == 0, output
    folders = [tmp_path / name / "run" / "internalized" for name in ("whole", "killed")]
    assert same(weights(folders[0] / "model"), weights(folders[1] / "model"))
    assert losses(folders[0]) == losses(folders[1])


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_its_own_status(tmp_path: Path) -> None:
    recipe = _recipe_file(tmp_path, train={"max_steps": 2000, "checkpoint_every": 1000})
    process = _start(recipe)
    _wait_for_step(tmp_path, 20, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED, output
    assert "the same command goes on" in output
    assert list((tmp_path / "run" / "internalized").glob("checkpoint-*"))


def test_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    broken = trainer(recipe, tmp_path)
    step = broken._step

    def poisoned(state: Any) -> Any:
        if state.step == 8:
            with torch.no_grad():
                next(broken.bare_model.parameters()).fill_(float("nan"))
        return step(state)

    broken._step = poisoned  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"step 9: the loss is nan.*checkpoint-6"):
        broken.run()
    kept = sorted(tmp_path.glob("checkpoint-*"))
    assert [folder.name for folder in kept] == ["checkpoint-6"]
    assert all(torch.isfinite(tensor).all() for tensor in weights(kept[0]).values())


def test_gradient_that_is_not_finite_is_never_saved(tmp_path: Path) -> None:
    broken = trainer(tiny_recipe(tmp_path), tmp_path)
    step = broken._step

    def poisoned(state: Any) -> Any:
        figures = step(state)
        return figures._replace(gradient_norm=float("nan")) if state.step == 11 else figures

    broken._step = poisoned  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"step 12: the gradient norm is nan.*checkpoint-6"):
        broken.run()


def test_best_model_of_every_level_is_kept_and_the_last_one_is_final(tmp_path: Path) -> None:
    result = run(
        tmp_path, schedule={"removal": "adaptive", "loss_below": 99.0, "window": 2, "delta": 5}
    )
    levels = sorted(folder.name for folder in (tmp_path / "levels").iterdir())
    assert levels == ["removed-0000", "removed-0005", "removed-all"]
    assert result.level == "all"
    assert same(weights(result.folder), weights(tmp_path / "levels" / "removed-all"))


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


def test_fixed_number_of_steps_for_a_baseline(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, schedule={"removal": "all"})
    result = trainer(recipe, tmp_path, num_steps=7).run()
    assert result.state.step == 7
    assert result.level == "all"


def test_bf16_keeps_fp32_weights_and_optimizer_state(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, train={"precision": "bf16", "max_steps": 3})
    mixed = trainer(recipe, tmp_path)
    result = mixed.run()
    assert {tensor.dtype for tensor in weights(result.folder).values()} == {torch.float32}
    moments = [state["exp_avg"] for state in mixed.optimizer.state.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}


def test_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path / "plain", model=NO_DROPOUT)
    run(tmp_path / "saving", model=NO_DROPOUT, train={"gradient_checkpointing": True})
    assert losses(tmp_path / "saving") == pytest.approx(losses(tmp_path / "plain"), abs=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="fp16 is fine on a GPU")
def test_fp16_on_a_cpu_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.precision.*bf16"):
        run(tmp_path, train={"precision": "fp16"})


def test_examples_longer_than_the_models_positions_are_refused(tmp_path: Path) -> None:
    short = {**NO_DROPOUT, "config": {**NO_DROPOUT["config"], "n_positions": 8}}
    with pytest.raises(ModelError, match=r"data.max_length=8"):
        run(tmp_path, model=short)


def test_gap_is_refused_where_it_could_not_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"prompts of one length.*positions: natural"):
        run(tmp_path, data={"digits": [[2, 2], [1, 2]]}, schedule={"positions": "gap"})
    llama = {
        "tokenizer": "characters",
        "config": {
            "model_type": "llama",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
    }
    with pytest.raises(ModelError, match=r"llama has none.*positions: natural"):
        run(tmp_path, model=llama, schedule={"positions": "gap"})


def test_gap_needs_the_left_side(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"schedule.side: left.*found token and right"):
        run(tmp_path, schedule={"positions": "gap", "side": "right"})


def test_accuracy_as_criterion_needs_validation_questions(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, schedule={"removal": "adaptive", "accuracy_above": 0.5})
    tokenizer = load_tokenizer(recipe.model)
    data = examples([(2, 2)], 50, 0, 0)["train"]
    template = Template("compact")
    with pytest.raises(RecipeError, match=r"schedule.accuracy_above.*data.valid"):
        StepwiseInternalization(
            load_model(recipe.model, tokenizer),
            tokenizer,
            template,
            recipe,
            train=encode_examples(data, tokenizer, template),
            folder=tmp_path,
        )


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


def test_a_tracker_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: (name != "wandb" and find(name, *rest)) or None,
    )
    with pytest.raises(
        RecipeError, match=r"wandb is not installed; pip install 'unspoken\[wandb\]'"
    ):
        run(tmp_path, train={"trackers": ["wandb"]})


def test_tensorboard_gets_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra unspoken[tensorboard] is not installed")
    run(tmp_path, train={"trackers": ["tensorboard"]})
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_a_last_level_that_was_lost_is_saved_again(tmp_path: Path) -> None:
    """As a job may leave it whose files were being copied when it was stopped."""
    first = run(tmp_path, schedule={"delta": 40}, train={"checkpoint_every": 24})
    expected, checkpoint = weights(first.folder), tmp_path / "checkpoint-24"
    shutil.rmtree(tmp_path / "model")
    shutil.rmtree(tmp_path / "levels" / "removed-all")
    state = json.loads((checkpoint / "state.json").read_text())
    del state["best"]["all"]
    (checkpoint / "state.json").write_text(json.dumps(state))
    again = run(tmp_path, schedule={"delta": 40}, train={"checkpoint_every": 24})
    assert same(weights(again.folder), expected)
    assert "all" in again.state.best
