"""What a run sets aside in its old/, without a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from unspoken.run.old import OldFolder


def linked_stage(tmp_path: Path) -> tuple[Path, Path]:
    """A run's stage that is a relative link, as one made to save room; and what it leads to."""
    large, stage = tmp_path / "large disk" / "model", tmp_path / "run" / "internalized"
    large.mkdir(parents=True)
    (large / "stage.json").write_text("{}")
    stage.parent.mkdir()
    stage.symlink_to(Path("..") / "large disk" / "model")
    return stage, large


def test_a_link_that_is_set_aside_leads_to_the_same(tmp_path: Path) -> None:
    stage, large = linked_stage(tmp_path)
    old = OldFolder(tmp_path / "run", replace=False)
    old.take(stage)
    assert not stage.is_symlink()
    assert old.places(stage) == [tmp_path / "run" / "old" / "1" / "internalized"]
    assert old.places(stage)[0].resolve() == large.resolve()


@pytest.mark.parametrize("replace", [False, True])
def test_what_came_in_its_place_may_be_set_aside_in_the_same_run(
    tmp_path: Path, replace: bool
) -> None:
    """Data with other settings make place for the same ones as now, which turn out damaged."""
    run, stage = tmp_path / "run", tmp_path / "run" / "data"
    old = OldFolder(run, replace=replace)
    for text in ("first", "second"):
        stage.mkdir(parents=True)
        (stage / "stage.json").write_text(text)
        old.take(stage)
    kept = [(place / "stage.json").read_text() for place in old.places(stage)]
    assert kept == ["second", "first"]


def test_what_is_to_be_replaced_is_looked_at_before_what_is_kept(tmp_path: Path) -> None:
    run, stage = tmp_path / "run", tmp_path / "run" / "data"
    for replace, text in ((True, "replaced"), (False, "kept")):
        stage.mkdir(parents=True)
        (stage / "stage.json").write_text(text)
        OldFolder(run, replace=replace).take(stage)
    places = OldFolder(run, replace=False).places(stage)
    assert [(place / "stage.json").read_text() for place in places] == ["replaced", "kept"]


def test_of_a_link_that_is_replaced_the_link_goes(tmp_path: Path) -> None:
    stage, large = linked_stage(tmp_path)
    old = OldFolder(tmp_path / "run", replace=True)
    old.take(stage)
    old.drop_replaced(stage)
    assert not (tmp_path / "run" / "old").exists()
    assert (large / "stage.json").exists()


def test_a_kill_while_it_is_removed_leaves_no_half_of_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a record and without a model would be taken back as done."""
    run, stage = tmp_path / "run", tmp_path / "run" / "internalized"
    (stage / "model").mkdir(parents=True)
    (stage / "stage.json").write_text("{}")

    def half(path: Path, *, ignore_errors: bool = False) -> None:
        if (path / "model").exists():
            remove(path / "model")
            raise KeyboardInterrupt
        remove(path, ignore_errors=ignore_errors)

    remove = shutil.rmtree
    old = OldFolder(run, replace=True)
    old.take(stage)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", half)
        with pytest.raises(KeyboardInterrupt):
            old.drop_replaced(stage)
    assert list((run / "old").rglob("stage.json"))  # half of it is there
    assert not any(place.exists() for place in old.places(stage))
    OldFolder(run, replace=False).drop_replaced(stage)
    assert not (run / "old").exists()
