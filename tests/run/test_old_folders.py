"""Run folders that another version of unspoken wrote: read, or refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import tiny_recipe
from unspoken.common.errors import DataError
from unspoken.recipe.evaluation_records import Evaluation
from unspoken.recipe.records import StageRecord, TrainingRecord
from unspoken.recipe.sections import Schedule
from unspoken.report import write_report
from unspoken.run.run import run_recipe
from unspoken.run.settings import MEASURING, changes

pytestmark = pytest.mark.integration


def change_records(folder: Path, **values: Any) -> None:
    """Rewrites every record as another version would have: None removes a field."""
    for path in [*folder.rglob("stage.json"), *folder.rglob("evaluation.json")]:
        known = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({k: v for k, v in known.items() if v is not None}))


def test_records_without_a_version_are_those_of_a_run_that_is_done(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", train={"max_steps": 4})
    run_recipe(recipe, progress=False)
    change_records(tmp_path / "run", version=None, a_field_of_then=1)
    trained = TrainingRecord.read(tmp_path / "run" / "internalized" / "stage.json")
    assert trained is not None
    assert not MEASURING & trained.settings["schedule"].keys()  # which were not there before
    write_report(tmp_path / "run")
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append)
    assert said[-1].startswith("nothing to do")
    change_records(tmp_path / "run", version=99)
    with pytest.raises(DataError, match=r"stage.json: version: found 99; needed: at most 1.*or"):
        run_recipe(recipe, progress=False)
    with pytest.raises(DataError, match=r"version: found 99"):
        write_report(tmp_path / "run")


def test_what_an_older_record_did_not_say_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"num_questions": 4, "num_correct": 3, "accuracy": 0.75}))
    known = Evaluation.read(path)
    assert known is not None
    assert (known.num_graded, known.split, known.seconds) == (4, "test", None)
    path.write_text('{"status": "done", "state": {"step": 3}, "model_sha256": "ab"}')
    training = TrainingRecord.read(path)
    assert training is not None and training.is_done and training.state.step == 3
    path.write_text('{"status": "half"}')
    with pytest.raises(DataError, match=r"evaluation.json: status: .*remove the file"):
        StageRecord.read(path)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = TrainingRecord(status="done", settings={"seed": 1}, level="0007", num_train=3)
    record.write(tmp_path / "stage.json")
    assert TrainingRecord.read(tmp_path / "stage.json") == record
    assert TrainingRecord.read(tmp_path / "absent.json") is None


@pytest.mark.parametrize(
    ("schedule", "stands_for"),
    [
        ({"removal": "none"}, 4.0),
        ({"removal": "linear"}, 4.0),
        ({"removal": "adaptive", "loss_below": 0.2}, 4.0),
        ({"removal": "adaptive"}, 1.0),
    ],
)
def test_smoothing_auto_is_what_it_stands_for_in_runs_from_before_there_was_such_a_word(
    schedule: dict[str, Any], stands_for: float
) -> None:
    """Or a run of then would train all its models once more, to the same end."""
    new = {"schedule": Schedule(**schedule).model_dump(mode="json")}

    def of_then(number: float) -> dict[str, Any]:
        return {"schedule": {**new["schedule"], "smoothing": number}}

    assert new["schedule"]["smoothing"] == "auto"
    assert changes(new, new) == changes(of_then(stands_for), new) == []
    assert changes(of_then(2.0), new) == [f"schedule.smoothing: 2.0 -> {stands_for}"]
