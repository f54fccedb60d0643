"""Which stages of a run still hold, and what becomes of what was there; without a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState

from helpers.recipes import tiny_recipe
from unspoken.recipe.records import StageRecord
from unspoken.run.folder import RunFolder, Stage


class Run:
    """A run with one stage, which writes a text; it is started for each call."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.recipe, self.folder = tiny_recipe(folder, **sections), folder / "made"
        self.said: list[str] = []
        self.looked: list[str] = []

    def start(self, **settings: Any) -> RunFolder:
        self.said.clear()
        self.looked.clear()
        process = PartialState(cpu=True)
        run = RunFolder(self.recipe, process, progress=False, say=self.said.append, **settings)
        run.write_recipe(self.recipe)
        return run

    def open(
        self, rows: int = 3, *, stage: str = "data", damage: str = "", **settings: Any
    ) -> Stage[StageRecord]:
        def look(_: StageRecord) -> str:
            self.looked.append("damage")
            return damage

        self.run = self.start(**settings)
        return self.run.open(
            stage,
            self.folder,
            StageRecord,
            {"rows": rows},
            damage=look,
            needs=lambda: self.looked.append("needs"),
        )

    def make(self, text: str, rows: int = 3, **settings: Any) -> StageRecord:
        """Opens the stage, which must not be done, and does it."""
        stage = self.open(rows, **settings)
        assert stage.done is None
        with stage.running():
            (self.folder / "text").write_text(text)
            return stage.finish(StageRecord())

    def begin(self, text: str, rows: int = 3, **settings: Any) -> None:
        """Opens the stage and is interrupted in it."""
        with pytest.raises(KeyboardInterrupt), self.open(rows, **settings).running():
            (self.folder / "text").write_text(text)
            raise KeyboardInterrupt

    def text(self, place: str = "") -> str:
        return (self.folder.parent / place / "made" / "text").read_text()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def test_a_stage_that_is_done_is_left_alone_and_one_that_is_not_goes_on(run: Run) -> None:
    run.begin("half")
    stage = run.open()
    assert (stage.done, run.said, run.text()) == (None, ["data: goes on"], "half")
    assert run.run.did_something
    assert run.looked == ["needs"]  # of half a stage no file can be missed
    run.make("whole")
    stage = run.open()
    assert stage.done is not None and stage.done.status == "done"
    assert (run.said, run.looked, run.text()) == (["data: done"], ["damage"], "whole")
    assert not run.run.did_something


def test_other_settings_set_aside_what_was_there_and_the_old_ones_bring_it_back(run: Run) -> None:
    run.make("three")
    run.make("four", rows=4)
    assert run.said == [
        f"data: running again (rows: 3 -> 4); what was there is kept in "
        f"{run.folder.parent / 'old' / '1' / 'made'}"
    ]
    assert run.text("old/1") == "three"
    stage = run.open(3)
    assert stage.done is not None
    assert (run.text(), run.text("old/2")) == ("three", "four")
    assert run.looked == ["damage"]
    assert run.run.recipe_changed, "a report of the other settings would stay"


def test_files_that_no_stage_wrote_are_kept_for_good(run: Run) -> None:
    run.start()
    run.folder.mkdir()
    (run.folder / "text").write_text("somebody's")
    run.make("three", overwrite=True)
    assert (run.text(), run.text("old/1")) == ("three", "somebody's")
    assert run.said[0].startswith("data: running; what was there without a stage.json is kept in ")


def test_of_two_that_were_set_aside_the_one_that_is_done_comes_back(run: Run) -> None:
    run.make("done")
    run.make("other", rows=4)
    run.begin("half", start="data")  # in place of the one that is done
    run.make("other", rows=4, start="data")
    assert run.text("old/1") == "done" and run.text("old/3") == "half"
    assert run.open().done is not None
    assert run.text() == "done"


def test_half_a_stage_that_was_set_aside_goes_on(run: Run) -> None:
    run.begin("half")
    run.make("other", rows=4)
    stage = run.open()
    assert (stage.done, run.text(), run.looked) == (None, "half", ["needs"])
    assert run.said[0].startswith("data: goes on, taken back from ")


def test_a_damaged_stage_is_made_again_though_an_older_one_was_set_aside(run: Run) -> None:
    run.make("older")
    run.make("newer", start="data")
    assert run.open(damage="text is gone").done is None
    assert run.said[0].startswith("data: running again (text is gone); what was there is kept in ")
    assert not (run.folder / "text").exists()
    assert (run.text("old/1"), run.text("old/2")) == ("older", "newer")


def test_what_is_brought_back_damaged_is_set_aside_once_more(run: Run) -> None:
    run.make("three")
    run.make("four", rows=4)
    assert run.open(damage="text is gone").done is None
    assert "again (rows: 4 -> 3); " in run.said[1] and "again (text is gone); " in run.said[1]
    assert (run.text("old/2"), run.text("old/3")) == ("four", "three")


def test_a_run_begins_again_at_a_stage_and_at_those_after_it(run: Run) -> None:
    run.make("first")
    assert run.open(start="distil").done is not None
    for stage in ("distil", "report"):
        run.make("again", stage=stage, start="distil")
        assert f"{stage}: running again (as asked); " in run.said[0]


def test_nothing_moves_where_something_is_missing_that_a_stage_needs(run: Run) -> None:
    run.make("three")

    def fail() -> None:
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        run.start().open("data", run.folder, StageRecord, {"rows": 4}, needs=fail)
    assert run.text() == "three"


def test_a_stage_that_another_run_has_done_is_taken_over(tmp_path: Path) -> None:
    there = Run(tmp_path / "there")
    here = Run(tmp_path / "here", from_run=str(tmp_path / "there"))
    there.begin("half")
    assert here.open().done is None, "half a stage is another run's own"
    there.make("whole")
    assert here.open(rows=4).done is None
    assert here.open().done is not None
    assert here.said == [f"data: done, taken over from {tmp_path / 'there'}"]
    assert here.text() == there.text() == "whole"
    record = json.loads((there.folder / "stage.json").read_text())
    (there.folder / "stage.json").write_text(json.dumps({**record, "version": 99}))
    other = Run(tmp_path / "other", from_run=str(tmp_path / "there"))
    assert other.open().done is None, "a newer unspoken's"


def test_what_is_written_on_to_traces_that_were_taken_over_is_in_one_run_alone(
    tmp_path: Path,
) -> None:
    there = Run(tmp_path / "there")
    here = Run(tmp_path / "here", from_run=str(tmp_path / "there"))
    there.make("trace", stage="generate")
    assert here.open(stage="generate").done is not None
    with (here.folder / "text").open("a") as traces:
        traces.write(", another")
    assert (here.text(), there.text()) == ("trace, another", "trace")


@pytest.mark.parametrize("stage", ["teacher", "generate", "data"])
def test_a_teachers_stage_that_a_run_beside_this_one_has_is_told_once(
    tmp_path: Path, stage: str
) -> None:
    for name in ("one", "two"):
        Run(tmp_path / name).make("long", stage=stage)
    here = Run(tmp_path / "here")
    here.open(rows=4, stage=stage)
    assert not any("note" in line for line in here.said)
    here.open(stage=stage)
    notes = [line for line in here.said if line.startswith("note: made will be made again")]
    assert len(notes) == (0 if stage == "data" else 1)
    assert all(f"{tmp_path / 'one'} has the same" in note for note in notes)


def test_the_time_of_a_stage_is_that_of_all_its_runs_but_what_a_kill_cut_off(run: Run) -> None:
    run.begin("half")
    path = run.folder / "stage.json"
    record = json.loads(path.read_text())
    assert (record["status"], record["paused"], record["cut_off"]) == ("running", True, False)
    path.write_text(json.dumps({**record, "seconds": 1000.0}))
    record = run.make("whole").to_json()
    assert 1000 <= record["seconds"] < 4600 and not record["cut_off"] and record["finished"]
    assert record["peak_memory_bytes"]["host"] > 0
    path.write_text(json.dumps({**record, "status": "running", "paused": False}))
    run.begin("after a kill")
    assert run.make("whole").cut_off, "though the last interruption was no kill"


def test_a_stage_that_is_done_stays_so_where_what_follows_it_is_interrupted(run: Run) -> None:
    stage = run.open()
    with pytest.raises(KeyboardInterrupt), stage.running():
        stage.finish(StageRecord())
        raise KeyboardInterrupt
    assert run.open().done is not None


def test_the_recipe_of_a_run_is_written_where_it_changed_and_a_users_own_is_kept(
    run: Run,
) -> None:
    assert run.start().recipe_changed
    assert not run.start().recipe_changed
    saved = run.folder.parent / "recipe.yaml"
    saved.write_text(f"{saved.read_text()}# changed\n")
    assert run.start().recipe_changed
    assert not (run.folder.parent / "old").exists(), "it was one that unspoken wrote"
    saved.write_text("name: mine\n")
    assert run.start(overwrite=True).recipe_changed
    assert (run.folder.parent / "old" / "1" / "recipe.yaml").read_text() == "name: mine\n"


def test_what_a_kill_left_of_a_record_is_nobodys_file(run: Run) -> None:
    run.start()
    run.folder.mkdir()
    (run.folder / ".stage.json.0a1b2c3d.tmp").write_text("{")
    run.make("three")
    assert run.said == ["data: running"]
    assert sorted(path.name for path in run.folder.iterdir()) == ["stage.json", "text"]
