"""Resumed equals uninterrupted, bit for bit, however a run was stopped."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.patience import Deadline
from helpers.processes import Forked
from helpers.recipes import tiny_recipe
from helpers.training import IMPATIENT, events, losses, run, same, stop_after, trainer, weights
from unspoken.common.interrupt import EXIT_INTERRUPTED


@pytest.mark.parametrize("positions", ["natural", "gap"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, positions: str) -> None:
    """From every checkpoint; with dropout, resets, and the gap's moved position table; before
    validations, too, which are made up for."""
    sections: dict[str, Any] = {"schedule": {"positions": positions, "delta": 16}}
    whole = run(tmp_path / "whole", **sections, train={"keep_checkpoints": 9})
    recipe = tiny_recipe(tmp_path / "parts", **sections)
    for step in (5, 6, 11, 13, 18, 23):
        with pytest.raises(SystemExit) as stopped:
            stop_after(step, recipe, tmp_path / "parts").run()
        assert stopped.value.code == EXIT_INTERRUPTED
    parts = trainer(recipe, tmp_path / "parts").run()
    assert same(weights(whole.folder), weights(parts.folder))
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert parts.state.best == whole.state.best
    assert events(tmp_path / "parts") == events(tmp_path / "whole")


def _recipe_file(folder: Path, **sections: Any) -> Path:
    recipe = tiny_recipe(folder / "run", **sections)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return path


def _start(recipe: Path) -> Forked:
    return Forked("-m", "unspoken", "run", str(recipe))


def _wait_for_step(folder: Path, step: int, process: Forked) -> None:
    path = folder / "run" / "internalized" / "metrics.jsonl"
    _wait_for_line(path, f'"step": {step}', process)


def _wait_for_line(path: Path, part: str, process: Forked) -> None:
    deadline = Deadline(120)
    while not deadline.has_passed and process.poll() is None:
        if path.exists() and part in path.read_text():
            return
        time.sleep(0.01)
    raise AssertionError(f"{part} was never reached: {process.wait()}")


@pytest.mark.integration
def test_killed_with_signal_9_and_resumed_gives_identical_weights(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    settings: dict[str, Any] = {"train": {"max_steps": 80, "checkpoint_every": 7}}
    whole = _start(_recipe_file(tmp_path / "whole", **settings)).wait()
    assert whole.returncode == 0, whole
    recipe = _recipe_file(tmp_path / "killed", **settings)
    for step in (16, 41):
        process = _start(recipe)
        _wait_for_step(tmp_path / "killed", step, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait().returncode == -signal.SIGKILL
    last = _start(recipe).wait()
    assert last.returncode == 0, last
    folders = [tmp_path / name / "run" / "internalized" for name in ("whole", "killed")]
    assert same(weights(folders[0] / "model"), weights(folders[1] / "model"))
    assert losses(folders[0]) == losses(folders[1])


@pytest.mark.integration
def test_killed_in_the_middle_of_ways_back_and_resumed_gives_identical_weights(
    tmp_path: Path,
) -> None:
    schedule = {**IMPATIENT["schedule"], "patience": 12}
    train = {**IMPATIENT["train"], "max_steps": 200, "checkpoint_every": 7}
    sections = {"schedule": schedule, "train": train}
    jobs = {}
    for name in ("whole", "killed"):
        jobs[name] = tmp_path / name / "job.json"
        jobs[name].parent.mkdir()
        jobs[name].write_text(json.dumps({"runs": [["run", 999, sections]], "wall": True}))
    assert Forked("-m", "helpers.worker", "train", str(jobs["whole"])).wait().returncode == 0
    lines = (tmp_path / "whole/run/metrics.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    steps = {each["step"] for each in told if each["event"] == "train"}
    back = [each["step"] + 1 for each in told if "back_to" in each]  # the steps after ways back
    back = [step for step in back if step in steps]  # the last one may be the end
    assert len(back) >= 2
    for step in back:
        process = Forked("-m", "helpers.worker", "train", str(jobs["killed"]))
        path = tmp_path / "killed/run/metrics.jsonl"
        _wait_for_line(path, f'"step": {step},', process)
        process.send_signal(signal.SIGKILL)
        assert process.wait().returncode == -signal.SIGKILL
    last = Forked("-m", "helpers.worker", "train", str(jobs["killed"])).wait()
    assert last.returncode == 0, last
    folders = [tmp_path / name / "run" for name in ("whole", "killed")]
    assert same(weights(folders[0] / "model"), weights(folders[1] / "model"))
    assert losses(folders[0]) == losses(folders[1])


@pytest.mark.integration
def test_sigterm_saves_and_exits_with_its_own_status(tmp_path: Path) -> None:
    recipe = _recipe_file(tmp_path, train={"max_steps": 2000, "checkpoint_every": 1000})
    process = _start(recipe)
    _wait_for_step(tmp_path, 20, process)
    process.send_signal(signal.SIGTERM)
    done = process.wait()
    assert done.returncode == EXIT_INTERRUPTED, done
    assert "the same command goes on" in done.stdout + done.stderr
    assert list((tmp_path / "run" / "internalized").glob("checkpoint-*"))


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
