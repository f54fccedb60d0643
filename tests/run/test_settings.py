from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import tiny_recipe
from unspoken.recipe import recipe_from
from unspoken.recipe.levels import level_folder
from unspoken.run.run import run_recipe
from unspoken.run.settings import changes

VALID = {"train": "a", "valid": "b"}


def training(
    train: dict[str, Any],
    schedule: dict[str, Any] | None = None,
    *,
    data: dict[str, str] | None = None,
    num_steps: int | None = None,
) -> dict[str, Any]:
    """What stage.json has of a training, as far as it is compared here."""
    return {
        "schedule": {"removal": "linear", **(schedule or {})},
        "train": {"max_steps": 100, "evaluate_every": 10, "num_valid": 5, **train},
        "data": data or {"train": "a"},
        "num_steps": num_steps,
    }


def test_without_validation_questions_how_often_it_validates_decides_nothing() -> None:
    old = training({})
    assert changes(old, training({"evaluate_every": 3, "num_valid": 7})) == []
    assert changes(old, training({"evaluate_every": 3, "learning_rate": 1})) == [
        "train.learning_rate: None -> 1"
    ]
    assert changes(old, training({"evaluate_every": 3}, data=VALID)) == [
        "data.valid: None -> b",
        "train.evaluate_every: 10 -> 3",
    ]


@pytest.mark.parametrize("schedule", [{"removal": "none"}, {"loss_below": 0.1}, {}])
def test_where_the_best_of_several_models_is_chosen_it_decides(schedule: dict[str, Any]) -> None:
    old = training({}, schedule, data=VALID)
    assert changes(old, training({"evaluate_every": 3}, schedule, data=VALID)) == [
        "train.evaluate_every: 10 -> 3"
    ]
    assert changes(old, training({"num_valid": 3}, schedule, data=VALID)) == [
        "train.num_valid: 5 -> 3"
    ]


def test_removal_that_measures_keeps_the_levels_that_it_validated() -> None:
    """Those that it undid among them, so there it decides without questions, too."""
    schedule: dict[str, Any] = {"removal": "adaptive"}
    assert changes(training({}, schedule), training({"evaluate_every": 3}, schedule)) == [
        "train.evaluate_every: 10 -> 3"
    ]
    schedule["loss_below"] = 0.1
    assert changes(training({}, schedule), training({"evaluate_every": 3}, schedule)) == []


def test_a_first_validation_after_the_end_decides_nothing() -> None:
    def of(every: int, num_steps: int | None = None) -> dict[str, Any]:
        return training({"evaluate_every": every}, data=VALID, num_steps=num_steps)

    assert changes(of(100), of(1_000)) == []
    assert changes(of(99), of(1_000)) == ["train.evaluate_every: 99 -> 1000"]
    assert changes(of(1_000), of(30)) == ["train.evaluate_every: 1000 -> 30"]
    assert changes(of(1_000, num_steps=20), of(30, num_steps=20)) == []
    assert changes(of(100, num_steps=200), of(150, num_steps=200)) == [
        "train.evaluate_every: 100 -> 150"
    ]


def test_of_a_single_level_every_one_is_kept() -> None:
    for removal in ("none", "all"):
        schedule = {"removal": removal}
        assert changes(training({}, schedule), training({"level_every": 3}, schedule)) == []
    assert changes(training({}), training({"level_every": 3})) == ["train.level_every: None -> 3"]


def test_a_run_of_before_a_setting_came_is_not_trained_again() -> None:
    now = {"schedule": {"removal": "adaptive", "margin": 2.5, "margin_per_token": 0.14}}
    before = {"schedule": {"removal": "adaptive", "margin": 2.5}}
    assert not changes(before, now) and not changes(now, now)
    now["schedule"]["margin_per_token"] = 0.0  # as it was trained
    assert not changes(before, now)
    now["schedule"]["margin_per_token"] = 0.3
    assert changes(before, now) == ["schedule.margin_per_token: None -> 0.3"]
    assert not changes({"schedule": {"removal": "all"}}, {"schedule": {"removal": "all"}})


def test_settings_of_other_stages_are_compared_as_they_are() -> None:
    assert changes({"train": "a"}, {"train": "b"}) == ["train: a -> b"]
    assert changes(None, {"train": "b"})


@pytest.mark.integration
def test_a_finished_stage_is_kept_and_would_have_been_the_same(tmp_path: Path) -> None:
    def recipe(name: str, every: int) -> Any:
        values = tiny_recipe(
            tmp_path / name,
            schedule={"delta": 1},
            distil={"max_steps": 8},
            train={"max_steps": 16, "evaluate_every": every, "num_valid": every},
        ).model_dump(mode="json", exclude_unset=True)
        files = {"train": str(train), "test": str(test), "num_valid": 0}
        values["data"] = {"task": "jsonl", **files}
        return recipe_from(values)

    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    for file, numbers in ((train, range(20)), (test, range(60, 64))):
        lines = [
            {"question": f"{n} + 1 =", "thought": f"{n} , {n + 1}", "answer": str(n + 1)}
            for n in numbers
        ]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said: list[str] = []
    run_recipe(recipe("run", 12), progress=False)
    run_recipe(recipe("run", 3), progress=False, say=said.append)
    assert said[1:3] == ["distil: done", "internalize: done"]
    stage = json.loads((tmp_path / "run" / "internalized" / "stage.json").read_text())
    assert stage["settings"]["train"]["evaluate_every"] == 12  # as it was trained
    run_recipe(recipe("other", 3), progress=False)
    one, other = (tmp_path / name / "internalized" for name in ("run", "other"))
    names = sorted(path.name for path in (one / "levels").iterdir())
    assert len(names) > 1
    assert names == sorted(path.name for path in (other / "levels").iterdir())
    for folder in [Path("model"), *(level_folder(Path(), name[8:]) for name in names)]:
        weights = [(root / folder / "model.safetensors").read_bytes() for root in (one, other)]
        assert weights[0] == weights[1]
