"""A run folder that came back from S3, and what is published of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.container import model_folder
from unspoken.launch.container.files import final_model, publish
from unspoken.launch.container.job import ContainerError
from unspoken.launch.container.whole_folders import WholeFolders


def test_the_last_phase_is_the_final_model(tmp_path: Path) -> None:
    distilled = model_folder(tmp_path / "distilled" / "model")
    assert final_model(tmp_path) == distilled
    for name in ("1-small", "2-large", "10-last"):
        model_folder(tmp_path / "internalized" / name / "model")
    assert final_model(tmp_path) == tmp_path / "internalized" / "10-last" / "model"
    whole = model_folder(tmp_path / "internalized" / "model")
    assert final_model(tmp_path) == whole
    with pytest.raises(ContainerError, match="left no internalized or distilled model"):
        final_model(tmp_path / "nowhere")


def test_publishing_leaves_out_what_is_old(tmp_path: Path) -> None:
    run, root = tmp_path / "run", tmp_path / "ml"
    model_folder(run / "internalized" / "model")
    (run / "internalized" / "metrics.jsonl").write_text("{}\n")
    (run / "old" / "1" / "internalized").mkdir(parents=True)
    (run / "old" / "1" / "internalized" / "metrics.jsonl").write_text("{}\n")
    (run / "report.html").write_text("page")
    publish(run, root)
    assert (root / "model" / "model.safetensors").read_text() == "weights"
    data = root / "output" / "data"
    found = sorted(p.relative_to(data).as_posix() for p in data.rglob("*") if p.is_file())
    assert found == ["internalized/metrics.jsonl", "report.html"]


def checkpoint(folder: Path, step: int, *levels: str) -> Path:
    best = {level: {"accuracy": 1.0} for level in levels}
    state = json.dumps({"step": step, "best": best})
    path = folder / f"checkpoint-{step}"
    return model_folder(path, **{"training.pt": "moments", "state.json": state})


def test_checkpoints_that_came_back_incomplete_are_set_aside(tmp_path: Path) -> None:
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    stage = run / "internalized"
    model_folder(stage / "levels" / "removed-0000")
    model_folder(stage / "levels" / "removed-0001")
    for step, levels in ((10, ("0000",)), (20, ("0000", "0001")), (30, ("0000",))):
        checkpoint(stage, step, *levels)
    WholeFolders(run, notes).note()
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == []
    (stage / "checkpoint-30" / "training.pt").unlink()
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == [
        "internalized/checkpoint-30"
    ]
    assert sorted(path.name for path in stage.glob("checkpoint-*")) == [
        "checkpoint-10",
        "checkpoint-20",
    ]
    assert (tmp_path / "aside" / "internalized" / "checkpoint-30" / "state.json").is_file()


def test_a_checkpoint_that_was_written_again_is_whole(tmp_path: Path) -> None:
    """Its validation was still due when it was written first."""
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    checkpoint(run / "internalized", 10)
    state = run / "internalized" / "checkpoint-10" / "state.json"
    after = state.read_text()
    state.write_text(f"{after}{' ' * 50}")
    watched = WholeFolders(run, notes)
    watched.note()
    state.write_text(after)
    watched.note()
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == []


def test_checkpoints_forget_a_level_that_came_back_incomplete(tmp_path: Path) -> None:
    """They stay, and so does training; the next validation at this level keeps a model again."""
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    stage = run / "internalized"
    for level in ("0000", "0001"):
        model_folder(stage / "levels" / f"removed-{level}", **{"valid.json": "{}"})
    for step in (10, 20):
        checkpoint(stage, step, "0000", "0001")
    WholeFolders(run, notes).note()
    (stage / "levels" / "removed-0000" / "valid.json").write_text("{ }")
    names = ["internalized/levels/removed-0000"]
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == names
    for step in (10, 20):
        state = json.loads((stage / f"checkpoint-{step}" / "state.json").read_text())
        assert state == {"step": step, "best": {"0001": {"accuracy": 1.0}}}
    again = WholeFolders(run, notes).set_aside_broken(tmp_path / "aside")
    assert again == [], "a checkpoint that was changed counts as whole"
    assert [path.name for path in (stage / "levels").iterdir()] == ["removed-0001"]


def test_what_came_too_late_for_a_note_counts_if_it_has_everything(tmp_path: Path) -> None:
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    checkpoint(run / "internalized", 10)
    assert WholeFolders(run, notes).set_aside_broken(tmp_path / "aside") == []
    (run / "internalized" / "checkpoint-10" / "training.pt").unlink()
    gone = WholeFolders(run, notes).set_aside_broken(tmp_path / "aside")
    assert gone == ["internalized/checkpoint-10"]


def test_a_stage_that_is_done_without_a_whole_model_runs_again(tmp_path: Path) -> None:
    run, notes = tmp_path / "run", tmp_path / "whole.json"
    model = model_folder(run / "distilled" / "model")
    (run / "distilled" / "stage.json").write_text('{"status": "done"}')
    WholeFolders(run, notes).note()
    (model / "model.safetensors").unlink()
    WholeFolders(run, notes).set_aside_broken(tmp_path / "aside")
    assert not (run / "distilled").exists()
    assert (tmp_path / "aside" / "distilled" / "stage.json").is_file()
