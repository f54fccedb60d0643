"""What a run tells."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from pathlib import Path

import pytest

from helpers.processes import alone
from helpers.recipes import tiny_recipe
from helpers.training import run
from unspoken.common.errors import RecipeError
from unspoken.recipe import Train, dump_recipe
from unspoken.train.log import require_trackers


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


def test_a_folder_of_a_trackers_logs_is_not_taken_for_the_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as wandb/, where Python looks for modules in the working directory, too."""
    (tmp_path / "some_tracker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    train = Train.model_construct(trackers=["some_tracker"])
    with pytest.raises(RecipeError, match="some_tracker is not installed"):
        require_trackers(train)


def test_tensorboard_gets_the_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra unspoken[tensorboard] is not installed")
    run(tmp_path, train={"trackers": ["tensorboard"]})
    assert list(tmp_path.rglob("events.out.tfevents.*"))


@pytest.mark.integration
def test_weights_and_biases_gets_the_figures_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="the extra unspoken[wandb] is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    run(tmp_path / "run", train={"trackers": ["wandb"]})
    (log,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    written = log.read_bytes()
    for name in (b"train/loss", b"train/removed", b"valid/accuracy", b"schedule.removal"):
        assert name in written


@pytest.mark.integration
def test_trackio_gets_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio", reason="the extra unspoken[trackio] is not installed")
    environment = {"TRACKIO_DIR": str(tmp_path / "trackio")}  # which is read when it is imported
    job = tmp_path / "recipe.yaml"
    recipe = tiny_recipe(tmp_path / "run", train={"trackers": ["trackio"]})
    job.write_text(dump_recipe(recipe))
    done = alone("-m", "unspoken", "run", str(job), **environment)
    assert done.returncode == 0, done.stderr
    database = sqlite3.connect(tmp_path / "trackio" / "unspoken.db")
    rows = [json.loads(row) for (row,) in database.execute("select metrics from metrics")]
    assert sum("train/loss" in row for row in rows) >= 24
    assert any("valid/accuracy" in row for row in rows)
