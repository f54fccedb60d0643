"""The plan of every shipped recipe, and that all who use a plan have the same one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import RECIPES
from helpers.recipes import tiny_recipe
from unspoken.check.student import count_trainings
from unspoken.common.errors import RecipeError
from unspoken.recipe import load_recipe
from unspoken.recipe.plan import Plan, plan
from unspoken.recipe.records import TrainingRecord, TrainingState
from unspoken.report.read.missing import planned_models
from unspoken.run import run as running

#: Of each training: folder, what it starts from, and the trainings that say its steps.
DISTILLED = ("distilled", None, ())
FROM_DISTILLED = ("internalized", "distilled", ())
STAGED = [DISTILLED, FROM_DISTILLED, ("no_cot", None, ("internalized", "distilled"))]
COMPARED = [
    ("internalized", None, ()),
    ("explicit", None, ("internalized",)),
    ("no_cot", None, ("internalized",)),
]
EXPECTED: dict[str, list[tuple[str, str | None, tuple[str, ...]]]] = {
    "curriculum-gpt2-medium": [
        ("internalized/1-2x2-to-3x3", None, ()),
        ("internalized/2-4x4", "internalized/1-2x2-to-3x3", ()),
        ("internalized/3-5x5", "internalized/2-4x4", ()),
        ("internalized/4-gsm8k", "internalized/3-5x5", ()),
    ],
    "distill-qwen": [DISTILLED, FROM_DISTILLED],
    "gsm8k-gpt2": COMPARED,
    "gsm8k-mistral-7b": COMPARED,
    "multiplication-4x4-scratch": COMPARED,
    "multiplication-9x9-gpt2": COMPARED,
    "quickstart": [("teacher", None, ()), *STAGED],
    "smollm2-distil": [DISTILLED],
    "smollm2-gpu": [DISTILLED, FROM_DISTILLED],
    "smollm2-self": [DISTILLED],
    "smollm2-think": [*STAGED[:2], ("at_once", "distilled", ("internalized",)), STAGED[2]],
    "think-qwen3": STAGED,
}


def trainings_of(planned: Plan) -> list[tuple[str, str | None, tuple[str, ...]]]:
    return [
        (
            one.folder.as_posix(),
            one.starts_from and one.starts_from.as_posix(),
            tuple(folder.as_posix() for folder in one.as_many_steps_as),
        )
        for one in planned.trainings
    ]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_shipped_recipe_trains(path: Path) -> None:
    assert trainings_of(plan(load_recipe(path))) == EXPECTED[path.stem]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_run_trains_what_check_counts_and_the_report_expects(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(path)
    planned = plan(recipe)
    trained: dict[Path, int | None] = {}

    def train(run: Any, stage: str, recipe: Any, splits: Any, folder: Path, **rest: Any) -> Any:
        trained[folder] = rest["num_steps"]
        return TrainingRecord(state=TrainingState(step=10))

    monkeypatch.setattr(running, "train_and_measure", train)
    run: Any = type("Run", (), {"path": Path("runs")})()
    splits: Any = [None] * len(planned.phases)
    running.train_students(run, planned, splits)
    counted = count_trainings(planned.students, 1_000)
    assert [Path("runs") / one.training.folder for one in counted] == list(trained)
    steps = {one.training.folder: one.num_steps for one in counted}
    for one in planned.students:
        exact = sum(steps[folder] for folder in one.as_many_steps_as)
        assert not exact or steps[one.folder] == exact
        number = 10 * len(one.as_many_steps_as) or None
        assert trained[Path("runs") / one.folder] == number, "as many as those really took"
    measured = {one.name for one in (*planned.trainings, *planned.only_measured)}
    assert set(planned_models(planned, Path("runs"))) - {"teacher"} == measured - {"teacher"}


def test_settings_are_named_where_the_user_wrote_them(tmp_path: Path) -> None:
    taught = tiny_recipe(tmp_path, teacher={"engine": "worked"}, distil={"batch_size": 8})
    distil, internalize = plan(taught).trainings
    assert distil.key("batch_size") == "distil.batch_size"
    assert distil.key("optimizer") == internalize.key("optimizer") == "train.optimizer"
    several = tiny_recipe(tmp_path, phases=[{"name": "a", "train": {"max_steps": 1}}])
    (only,) = plan(several).trainings
    assert (only.folder, only.key("max_steps")) == (
        Path("internalized"),
        "phases[0].train.max_steps",
    )
    assert only.key("batch_size") == "train.batch_size"


def test_an_adapter_of_a_model_that_is_kept_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"lora: found it with model\.config, .* leave lora out"):
        plan(tiny_recipe(tmp_path, lora={}))
    named = {"name": "gpt2", "config": None, "tokenizer": None, "alphabet": None}
    assert plan(tiny_recipe(tmp_path, lora={}, model=named)).students


def test_who_teaches_and_who_is_only_measured(tmp_path: Path) -> None:
    worked = plan(tiny_recipe(tmp_path, teacher={"engine": "worked"}, distil={}))
    assert worked.teaching is not None
    assert not worked.teaching.is_asked_the_test
    assert worked.models == ("distilled", "internalized")
    asked = {"model": {"name": "big"}}
    baselines = {"no_cot": True, "untrained": True}
    planned = plan(tiny_recipe(tmp_path, teacher=asked, distil={}, baselines=baselines))
    assert planned.models == ("teacher", "distilled", "internalized", "no_cot", "untrained")
    (untrained,) = planned.only_measured
    assert (untrained.folder, untrained.source) == (Path("untrained"), Path("distilled"))
    assert (
        str(planned) == "teacher (big), distilled, internalized, no_cot, untrained (only measured)"
    )
    phases = [{"name": "a"}, {"name": "b", "template": "qa"}]
    before = {"explicit": "before_removal", "untrained": True}
    measured = plan(tiny_recipe(tmp_path, phases=phases, baselines=before)).only_measured
    assert [(one.folder, one.source) for one in measured] == [
        (Path(name) / key, Path("internalized") / key)
        for name in ("explicit", "untrained")
        for key in ("1-a", "2-b")
    ]
    assert [one.recipe.template for one in measured] == ["compact", "qa", "compact", "qa"]


def test_distilling_alone_says_how_long_the_baselines_are(tmp_path: Path) -> None:
    sections = {"distil": {}, "internalize": False, "baselines": {"no_cot": True}}
    planned = plan(tiny_recipe(tmp_path, **sections))
    assert trainings_of(planned) == [DISTILLED, ("no_cot", None, ("distilled",))]


@pytest.mark.integration
def test_plan_and_what_launchers_ask_need_no_torch() -> None:
    code = (
        "import sys, unspoken.recipe.plan, unspoken.check.offline, unspoken.launch.slurm.submit;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
