"""Checkpoints that are damaged: the older whole one is taken, with a warning."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import tiny_recipe
from helpers.training import run, same, stop_after, trainer, weights
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
