"""A look into the models of a tiny run: everything that it has is found, shown and repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import tiny_recipe, write_sums
from unspoken.cli.main import call
from unspoken.common.errors import DataError
from unspoken.data.example import read_examples
from unspoken.recipe.diagnosis_record import Diagnosis
from unspoken.recipe.plan import plan
from unspoken.report import write_report
from unspoken.report.read.frontier import read_frontier
from unspoken.report.read.run import read_run
from unspoken.run import sizes
from unspoken.run.data import iter_split_questions, make_data
from unspoken.run.diagnose import diagnose_run
from unspoken.run.run import run_recipe
from unspoken.run.sizes import questions_of_sizes

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["natural", "gap"])
def finished(tmp_path_factory: pytest.TempPathFactory, request: Any) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    recipe = tiny_recipe(
        folder,
        distil={"max_steps": 8, "settle_steps": None},
        schedule={"delta": 40, "positions": request.param},
        baselines={"no_cot": True},
    )
    run_recipe(recipe, progress=False)
    return folder


@pytest.fixture
def few_of_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions of other sizes: how many there are is a test of its own."""
    monkeypatch.setattr(sizes, "NUM_OF_SIZE", 10)


@pytest.fixture(scope="module")
def diagnosed(finished: Path) -> Path:
    """The run, looked into while its test questions were hidden."""
    held_out = finished / "data" / "test.jsonl"
    aside = held_out.rename(held_out.with_name("hidden"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "NUM_OF_SIZE", 10)
        call(["diagnose", str(finished), "--limit", "10"])
    aside.rename(held_out)
    return finished


@pytest.mark.usefixtures("few_of_each_size")
def test_a_diagnosis_has_all_four_parts_and_reads_no_test_question(diagnosed: Path) -> None:
    found = Diagnosis.read(diagnosed / "diagnosis" / "diagnosis.json")
    assert found is not None
    levels = sorted(path.name for path in (diagnosed / "internalized" / "levels").iterdir())
    assert [f"removed-{one.level}" for one in found.digits] == levels
    assert all(set(one.places) == {"0", "1", "2", "3"} for one in found.digits)
    assert found.probes is not None
    models = {(one.model, one.where) for one in found.probes.probes}
    assert models == {
        (model, where)
        for model in ("explicit", "internalized", "no_cot")
        for where in ("prompt", "answer")
    }
    for probe in found.probes.probes:
        assert len(probe.shares) == 2  # the embeddings and the one layer
        assert all(len(layer) == len(found.probes.targets) for layer in probe.shares)
    assert {one.size for one in found.sizes} == {"1 x 2", "2 x 1", "2 x 2", "2 x 3", "3 x 2"}
    assert {one.size for one in found.sizes if one.is_trained} == {"2 x 2"}
    assert [one.model for one in found.again] == ["explicit", "internalized"]
    page = (diagnosed / "report.html").read_text()
    assert "Diagnosis" in page
    assert "Numbers of other sizes" in page
    values = json.loads((diagnosed / "report.json").read_text())
    assert values["phases"][0]["diagnosis"]["probes"]["num_tested"] == 10
    assert diagnose_run(diagnosed, read_frontier(diagnosed), limit=10) == found


def test_its_pictures_are_drawn(diagnosed: Path) -> None:
    write_report(diagnosed)
    for name in ("digits", "probes", "again"):
        assert (diagnosed / "plots" / f"{name}.png").stat().st_size > 5_000


def test_of_another_model_than_the_one_that_is_there_nothing_is_shown(diagnosed: Path) -> None:
    assert read_run(diagnosed).phases[0].diagnosis is not None
    file = diagnosed / "diagnosis" / "diagnosis.json"
    written = file.read_text()
    file.write_text(json.dumps({**json.loads(written), "model_sha256": "0" * 64}))
    assert read_run(diagnosed).phases[0].diagnosis is None
    file.write_text(written)


@pytest.mark.parametrize(
    ("data", "trained", "others"),
    [
        pytest.param(
            {"digits": [[2, 1], [2, 2]], "num_train": 3000, "num_valid": 60},
            {"2 x 1": 16, "2 x 2": 44},
            {"1 x 1": 81, "1 x 2": 200, "2 x 3": 200, "3 x 1": 200, "3 x 2": 200},
            id="multiplication",
        ),
        pytest.param(
            {"task": "arithmetic", "num_train": 3000, "num_valid": 60, "difficulty": "medium"},
            {"medium": 60},
            {"easy": 198, "hard": 200},
            id="arithmetic",
        ),
    ],
)
def test_no_size_is_asked_by_questions_that_were_learned_from(
    tmp_path: Path, data: dict[str, Any], trained: dict[str, int], others: dict[str, int]
) -> None:
    recipe = tiny_recipe(tmp_path, data=data)
    splits, _ = make_data(recipe, tmp_path / "data", {})
    assert splits.valid is not None
    valid = read_examples(splits.valid, limit=500, allow_empty_thought=True)
    found, notes = questions_of_sizes(recipe, valid, splits.train)
    assert notes == []
    asked = {size: (is_trained, examples) for size, is_trained, examples in found}
    counts = {size: (is_trained, len(examples)) for size, (is_trained, examples) in asked.items()}
    assert counts == {
        **{size: (True, count) for size, count in trained.items()},
        **{size: (False, count) for size, count in others.items()},
    }
    learned = set(iter_split_questions(splits.train))
    assert not [
        one for _, examples in asked.values() for one in examples if one.question in learned
    ]


def test_a_size_without_questions_is_told_and_left_out(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, data={"digits": [[2, 1]]})
    found, notes = questions_of_sizes(recipe, [], tmp_path / "train.jsonl")
    assert [one.size for one in found] == ["1 x 1", "2 x 2", "3 x 1"]
    assert notes == ["2 x 1: none of the validation questions is of it."]


def test_validation_questions_need_no_thoughts(tmp_path: Path) -> None:
    train = write_sums(tmp_path / "train.jsonl", range(20))
    valid = tmp_path / "valid.jsonl"
    valid.write_text("".join(f'{{"question": "9{n}+9=", "answer": {99 + n}}}\n' for n in range(4)))
    data = {"task": "jsonl", "digits": [], "train": str(train), "valid": str(valid)}
    few = {"train": {"max_steps": 2, "evaluate_every": 2}, "evaluate": {"num_latency": 0}}
    folder = tmp_path / "run"
    run_recipe(tiny_recipe(folder, data=data, **few), progress=False)
    found = diagnose_run(folder, read_frontier(folder))
    assert found.notes[0].startswith("The validation questions have no thoughts; probes")
    assert [one.model for one in found.again] == ["explicit", "internalized"]


def test_before_there_is_a_model_it_says_so(tmp_path: Path) -> None:
    frontier = plan(tiny_recipe(tmp_path)).frontiers[0]
    with pytest.raises(DataError, match="finish the run first"):
        diagnose_run(tmp_path, frontier)
