"""The best model of each level."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.recipes import tiny_recipe
from helpers.training import run, same, trainer, weights


def test_best_model_of_every_level_is_kept_and_the_last_one_is_final(tmp_path: Path) -> None:
    result = run(
        tmp_path, schedule={"removal": "adaptive", "loss_below": 99.0, "window": 2, "delta": 5}
    )
    levels = sorted(folder.name for folder in (tmp_path / "levels").iterdir())
    assert levels == ["removed-0000", "removed-0005", "removed-all"]
    assert result.level == "all"
    assert same(weights(result.folder), weights(tmp_path / "levels" / "removed-all"))


@pytest.mark.parametrize(
    ("delta", "every", "kept"),
    [
        (1, 3, ["0000", "0003", "0006", "all"]),
        (2, 3, ["0000", "0004", "0006", "all"]),  # removal jumps over 3
        (4, 3, ["0000", "0004", "all"]),
        (2, 0, ["0000", "all"]),
        (5, 1, ["0000", "0005", "all"]),
    ],
)
@pytest.mark.parametrize("with_questions", [True, False])
def test_the_first_level_of_every_so_many_is_kept_also_where_removal_jumps(
    tmp_path: Path, delta: int, every: int, kept: list[str], with_questions: bool
) -> None:
    schedule = {"removal": "adaptive", "loss_below": 99.0, "window": 1, "delta": delta}
    train = {"level_every": every, "max_steps": 14}
    recipe = tiny_recipe(tmp_path, schedule=schedule, train=train)
    trainer(recipe, tmp_path, **({} if with_questions else {"valid": ()})).run()
    levels = sorted(folder.name for folder in (tmp_path / "levels").iterdir())
    assert levels == [f"removed-{name}" for name in kept]
