"""Checkpoints that are damaged: the older whole one is taken, with a warning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import tiny_recipe
from helpers.training import losses, run, same, stop_after, trainer, weights
from unspoken.common.errors import ModelError
from unspoken.run.resume import resume_from
from unspoken.train.checkpoint import damage_of
from unspoken.train.loop import TrainResult


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _move_step(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "step": 3}))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "state cut": lambda folder: _cut(folder / "state.json"),
    "state gone": lambda folder: (folder / "state.json").unlink(),
    "state no object": lambda folder: (folder / "state.json").write_text("[3]"),
    "state of another step": lambda folder: _move_step(folder / "state.json"),
    "tensors cut": lambda folder: _cut(folder / "training.pt"),
    "tensors no archive": lambda folder: (folder / "training.pt").write_bytes(b"x" * 50),
    "weights cut": lambda folder: _cut(folder / "model.safetensors"),
    "weights gone": lambda folder: (folder / "model.safetensors").unlink(),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return run(tmp_path_factory.mktemp("damaged") / "whole")


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_taken(
    name: str, whole: TrainResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "parts"
    recipe = tiny_recipe(folder)
    with pytest.raises(SystemExit):
        stop_after(13, recipe, folder).run()
    newest = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))[-1]
    assert damage_of(newest) is None
    DAMAGES[name](newest)
    assert damage_of(newest)
    parts = trainer(recipe, folder).run()
    assert f"{newest}: damaged" in caplog.text
    assert (folder / f"{newest.name}.damaged-1").is_dir()
    assert same(weights(parts.folder), weights(whole.folder))


def test_a_folder_in_a_checkpoint_may_have_another_size_elsewhere(tmp_path: Path) -> None:
    """Tokenizers with several chat templates have one; its size is the file system's."""
    stopping = stop_after(3, tiny_recipe(tmp_path), tmp_path)
    stopping.checkpoints.tokenizer.chat_template = {"default": "a", "tool_use": "b"}  # type: ignore
    with pytest.raises(SystemExit):
        stopping.run()
    templates = tmp_path / "checkpoint-4" / "additional_chat_templates"
    assert (templates / "tool_use.jinja").is_file()
    for number in range(400):
        (templates / f"{number:060}").touch()
    assert damage_of(templates.parent) is None


def test_where_every_checkpoint_is_damaged_training_begins_anew(
    whole: TrainResult, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    recipe = tiny_recipe(folder)
    with pytest.raises(SystemExit):
        stop_after(13, recipe, folder).run()
    for checkpoint in folder.glob("checkpoint-*"):
        _cut(checkpoint / "training.pt")
    assert same(weights(trainer(recipe, folder).run().folder), weights(whole.folder))


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a training with the checkpoints of steps 12 and 14."""
    with pytest.raises(SystemExit):
        stop_after(13, tiny_recipe(tmp_path / "run"), tmp_path / "run").run()
    return tmp_path / "run"


def test_an_older_checkpoint_is_not_looked_at_where_the_newest_is_whole(
    stopped: Path, whole: TrainResult, caplog: pytest.LogCaptureFixture
) -> None:
    DAMAGES["tensors cut"](stopped / "checkpoint-12")
    finished = trainer(tiny_recipe(stopped), stopped).run()
    assert "damaged" not in caplog.text
    assert not [name for name in _names(stopped) if "damaged" in name]
    assert same(weights(finished.folder), weights(whole.folder))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*checkpoint-*"))


def test_an_older_checkpoint_whose_state_is_damaged_ends_no_training(
    stopped: Path, whole: TrainResult
) -> None:
    """It did at the next checkpoint, which asks each one that stays what it may go back to."""
    DAMAGES["state cut"](stopped / "checkpoint-12")
    finished = trainer(tiny_recipe(stopped, train={"keep_checkpoints": 3}), stopped).run()
    assert same(weights(finished.folder), weights(whole.folder))


@pytest.mark.parametrize("name", ["tensors cut", "weights gone"])
def test_a_damaged_checkpoint_that_is_named_changes_nothing(name: str, stopped: Path) -> None:
    """The newer ones had been renamed, it was set aside, and training began anew."""
    DAMAGES[name](stopped / "checkpoint-12")
    before = _names(stopped)
    with pytest.raises(ModelError, match=r"checkpoint-12: .*damage.*name another, or leave it out"):
        resume_from(stopped / "checkpoint-12", stopped, {})
    assert _names(stopped) == before


def test_a_checkpoint_can_be_gone_on_from_twice(stopped: Path) -> None:
    for _ in range(2):
        resume_from(stopped / "checkpoint-12", stopped, {})
        with pytest.raises(SystemExit):
            stop_after(13, tiny_recipe(stopped), stopped).run()
    resume_from(stopped / "checkpoint-12", stopped, {})
    kept = ["newer-checkpoint-14", "newer-checkpoint-14.2", "newer-checkpoint-14.3"]
    assert _names(stopped) == ["checkpoint-12", *kept]


def test_a_checkpoint_from_elsewhere_knows_levels_that_are_not_here(
    stopped: Path, whole: TrainResult, tmp_path: Path
) -> None:
    """No model was better than the lost one, and training failed at its very end, for good."""
    state = stopped / "checkpoint-14" / "state.json"
    values = json.loads(state.read_text())
    figures = {"step": 1, "accuracy": 1.0, "tokens": 1.0}
    state.write_text(json.dumps({**values, "best": {**values["best"], "0002": figures}}))
    other = tmp_path / "other"
    other.mkdir()
    resume_from(stopped / "checkpoint-14", other, {})
    finished = trainer(tiny_recipe(other), other).run()
    assert finished.level == "0002"
    assert same(weights(finished.folder), weights(whole.folder))
    assert losses(other) == losses(whole.folder.parent)[14:]
