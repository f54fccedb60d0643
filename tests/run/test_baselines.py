"""The baseline that loses its whole thought at once: from what, and for how many steps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import read, tiny_recipe
from unspoken.common.errors import RecipeError
from unspoken.recipe.plan import plan
from unspoken.report.read.run import read_run
from unspoken.report.show.table import make_table
from unspoken.run.run import run_recipe

AT_ONCE = {"at_once": True}


def test_the_plan_starts_it_from_the_model_that_writes_its_thought(tmp_path: Path) -> None:
    staged = plan(tiny_recipe(tmp_path, distil={"max_steps": 8}, baselines=AT_ONCE))
    alone = plan(tiny_recipe(tmp_path, baselines=AT_ONCE))
    assert staged.models == ("distilled", "internalized", "at_once")
    assert alone.models == ("internalized", "at_once")
    for planned, start, before in ((staged, "distilled", False), (alone, "internalized", True)):
        own = planned.trainings[-1]
        assert (str(own.starts_from), own.before_removal) == (start, before)
        assert [str(folder) for folder in own.as_many_steps_as] == ["internalized"]
        assert own.recipe.schedule.removal == "all"


@pytest.mark.parametrize(
    "sections",
    [
        {"schedule": {"removal": "all"}},
        {"schedule": {"removal": "none"}},
        {"schedule": {"start": 2}},
        {"distil": {"max_steps": 8}, "internalize": False},
    ],
)
def test_it_is_refused_where_there_is_nothing_to_compare_it_with(
    tmp_path: Path, sections: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError, match=r"baselines\.at_once: .*; leave"):
        tiny_recipe(tmp_path, baselines=AT_ONCE, **sections)


@pytest.mark.integration
def test_from_the_distilled_student_for_the_internalized_ones_steps(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path / "run",
        distil={"max_steps": 8},
        train={"max_steps": 6},
        baselines={"at_once": True, "no_cot": True},
    )
    run_recipe(recipe, progress=False)
    stage = read(tmp_path / "run" / "at_once" / "stage.json")
    assert (stage["started_from"], stage["state"]["step"], stage["level"]) == (
        "distilled",
        6,
        "all",
    )
    assert stage["settings"]["num_steps"] == 6
    assert read(tmp_path / "run" / "no_cot" / "stage.json")["state"]["step"] == 8 + 6
    result = read_run(tmp_path / "run")
    own = result.phases[0].variants["at_once"]
    assert (own.total_steps, own.tokens_left, own.status) == (14, 0, "measured")
    assert not result.missing
    report = read(tmp_path / "run" / "report.json")
    assert report["phases"][0]["comparisons"]["internalized_at_once"]["num_questions"] == 30
    assert "all at once" in (tmp_path / "run" / "report.html").read_text()
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append)
    assert said[-1].startswith("nothing to do")


@pytest.mark.integration
@pytest.mark.parametrize("positions", ["natural", "gap"])
def test_from_the_internalized_runs_own_model_before_any_removal(
    tmp_path: Path, positions: str
) -> None:
    schedule = {"delta": 40, "positions": positions}
    recipe = tiny_recipe(tmp_path / "run", schedule=schedule, baselines=AT_ONCE)
    run_recipe(recipe, progress=False)
    before = read(tmp_path / "run" / "internalized" / "levels" / "removed-0000" / "valid.json")
    stage = read(tmp_path / "run" / "at_once" / "stage.json")
    assert stage["started_from"] == "internalized/levels/removed-0000"
    assert stage["state"]["step"] + before["step"] == 24
    told = make_table(read_run(tmp_path / "run").phases[0])
    (steps,) = [row for group in told for row in group.rows if row.label == "Optimizer steps"]
    assert [cell.detail for cell in steps.cells] == ["", "after writing the thought"]
    shutil.rmtree(tmp_path / "run" / "internalized" / "levels")  # to have room on the disk
    own = read_run(tmp_path / "run").phases[0].variants["at_once"]
    assert own.total_steps == 24
