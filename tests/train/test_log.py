"""What a run tells."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from helpers.training import run
from unspoken.common.errors import RecipeError


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
