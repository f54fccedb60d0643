"""The best model of each level."""

from __future__ import annotations

from pathlib import Path

from helpers.training import run, same, weights


def test_best_model_of_every_level_is_kept_and_the_last_one_is_final(tmp_path: Path) -> None:
    result = run(
        tmp_path, schedule={"removal": "adaptive", "loss_below": 99.0, "window": 2, "delta": 5}
    )
    levels = sorted(folder.name for folder in (tmp_path / "levels").iterdir())
    assert levels == ["removed-0000", "removed-0005", "removed-all"]
    assert result.level == "all"
    assert same(weights(result.folder), weights(tmp_path / "levels" / "removed-all"))
