"""Run folders that another version of unspoken wrote: read, or refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import tiny_recipe
from unspoken.common.errors import DataError
from unspoken.recipe.records import Evaluation, StageRecord, TrainingRecord
from unspoken.report import write_report
from unspoken.run.run import run_recipe
from unspoken.run.settings import MEASURING

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
