"""Runs that are started again: what is done anew, and what becomes of what was there."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import WEIGHTS, read, run, tiny_recipe, write_sums
from unspoken.common.errors import ModelError, RecipeError, UnspokenError
from unspoken.recipe import recipe_from
from unspoken.run.run import run_recipe

pytestmark = pytest.mark.integration


def test_changed_settings_run_again_and_what_was_there_is_kept(tmp_path: Path) -> None:
    folder = run(tiny_recipe(tmp_path / "run"))
    model = Path("internalized") / "model" / "model.safetensors"
    weights = (folder / model).read_bytes()
    data = (folder / "data" / "train.jsonl").stat().st_mtime_ns
    changed = tiny_recipe(tmp_path / "run", train={"learning_rate": 5e-3})
    said: list[str] = []
    run_recipe(changed, progress=False, say=said.append)
    assert any("train.learning_rate: 0.001 -> 0.005" in line for line in said)
    assert said[0] == "data: done"
    assert (folder / "data" / "train.jsonl").stat().st_mtime_ns == data
    assert (folder / "old" / "1" / model).read_bytes() == weights
    assert (folder / model).read_bytes() != weights
    run_recipe(tiny_recipe(tmp_path / "run"), overwrite=True, progress=False)
    assert (folder / model).read_bytes() == weights
    assert [path.name for path in (folder / "old").iterdir()] == ["1"]


@pytest.mark.parametrize(
    ("train", "quantization", "said"),
    [
        ({"trackers": ["wandb"]}, None, "train.trackers: wandb is not installed"),
        ({"optimizer": "adamw_8bit"}, None, "train.optimizer: found adamw_8bit without"),
        ({"precision": "fp16"}, None, "train.precision: found fp16 on a machine without a GPU"),
        ({}, "nf4", "model.quantization: found nf4 without bitsandbytes"),
    ],
)
def test_what_the_machine_lacks_is_said_before_the_first_stage(
    train: dict[str, Any],
    quantization: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A teacher had worked for hours by then."""
    missing, find = ("wandb", "bitsandbytes"), importlib.util.find_spec
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name in missing else find(name, *rest),
    )
    recipe = tiny_recipe(tmp_path / "run", train=train)
    model = recipe.model.model_copy(update={"quantization": quantization})
    with pytest.raises(UnspokenError, match=re.escape(said)):
        run_recipe(recipe.model_copy(update={"model": model}), progress=False)
    assert not (tmp_path / "run" / "data").exists()


def test_a_run_that_is_done_needs_no_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny_recipe(tmp_path / "run", train={"max_steps": 2}))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "wandb" else find(name, *rest),
    )
    run(tiny_recipe(tmp_path / "run", train={"max_steps": 2, "trackers": ["wandb"]}))


def test_a_stage_that_failed_as_it_began_leaves_nothing_to_keep(tmp_path: Path) -> None:
    """Each try with other data left an old/N with nothing but a stage.json in it."""
    own, folder = tmp_path / "own.jsonl", tmp_path / "run"
    data = {"task": "jsonl", "train": str(own)}
    for bad in ("{", '{"question": "1+1="}'):
        own.write_text(f"{bad}\n")
        with pytest.raises(UnspokenError):
            run_recipe(tiny_recipe(folder, data=data), progress=False)
        assert [path.name for path in (folder / "data").iterdir()] == ["stage.json"]
    assert not (folder / "old").exists()
    (folder / "data" / "notes.txt").write_text("mine")
    own.write_text("[]\n")
    with pytest.raises(UnspokenError):
        run_recipe(tiny_recipe(folder, data=data), progress=False)
    assert (folder / "old" / "1" / "data" / "notes.txt").read_text() == "mine"


def test_overwriting_costs_nothing_before_the_new_stage_is_done(tmp_path: Path) -> None:
    """A setting that is refused, or a model that is not there, cost the finished stage."""
    folder = run(tiny_recipe(tmp_path / "run"))
    before = (folder / "internalized" / WEIGHTS).read_bytes()
    answers = (folder / "internalized" / "predictions.jsonl").read_bytes()
    kept = folder / "old" / "replaced-1" / "internalized"
    said: list[str] = []
    for bad in ({"alphabet": "0123456789"}, {"config": {"model_type": "gtp2"}}):
        with pytest.raises(UnspokenError):
            run_recipe(
                tiny_recipe(tmp_path / "run", model=bad),
                overwrite=True,
                progress=False,
                say=said.append,
            )
        assert (kept / WEIGHTS).read_bytes() == before
        assert (kept / "predictions.jsonl").read_bytes() == answers
    assert any(f"is kept in {kept} until this is done" in line for line in said)
    other = tiny_recipe(tmp_path / "run", train={"learning_rate": 5e-3})
    run_recipe(other, overwrite=True, progress=False)
    assert (folder / "internalized" / WEIGHTS).read_bytes() != before
    assert not (folder / "old").exists()
    asked = tiny_recipe(
        tmp_path / "run", train={"learning_rate": 5e-3}, evaluate={"max_new_tokens": 3}
    )
    run_recipe(asked, overwrite=True, progress=False)  # figures and times are replaced, too
    assert not (folder / "old").exists()


def test_what_overwriting_set_aside_is_taken_back(tmp_path: Path) -> None:
    folder = run(tiny_recipe(tmp_path / "run"))
    made = (folder / "internalized" / WEIGHTS).stat().st_mtime_ns
    bad = tiny_recipe(tmp_path / "run", model={"config": {"model_type": "gtp2"}})
    with pytest.raises(UnspokenError, match="cannot build"):
        run_recipe(bad, overwrite=True, progress=False)
    run_recipe(tiny_recipe(tmp_path / "run"), overwrite=True, progress=False)
    assert (folder / "internalized" / WEIGHTS).stat().st_mtime_ns == made
    assert not (folder / "old").exists()


def test_what_a_kill_kept_from_being_removed_goes_with_the_next_run(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", train={"max_steps": 4})
    folder = run(recipe)
    kept = folder / "old" / "replaced-1"
    for name in ("data/stage.json", "internalized/evaluation.json", "latency/latency.json"):
        (kept / name).parent.mkdir(parents=True)
        (kept / name).write_text("{}")
    (folder / "old" / "replaced-2").mkdir()
    run(recipe)
    assert len(list(kept.iterdir())) == 3  # nobody asked for it
    run_recipe(recipe, overwrite=True, progress=False)
    assert not (folder / "old").exists()


def test_files_of_a_stage_that_no_record_tells_of_are_kept(tmp_path: Path) -> None:
    folder = run(tiny_recipe(tmp_path / "run", train={"max_steps": 4}))
    weights = (folder / "internalized" / WEIGHTS).read_bytes()
    (folder / "internalized" / "stage.json").unlink()
    (folder / "internalized" / "notes.txt").write_text("mine")
    other = tiny_recipe(tmp_path / "run", train={"max_steps": 4, "learning_rate": 5e-3})
    run_recipe(other, overwrite=True, progress=False)
    kept = folder / "old" / "1" / "internalized"
    assert (kept / WEIGHTS).read_bytes() == weights
    assert (kept / "notes.txt").read_text() == "mine"
    assert not (folder / "internalized" / "notes.txt").exists()


def test_from_a_stage_runs_it_and_all_after_it_again(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", baselines=True)
    run(recipe)
    said: list[str] = []
    run_recipe(recipe, start="baselines", progress=False, say=said.append)
    assert said[:2] == ["data: done", "internalize: done"]
    assert [line.split(":")[0] for line in said if "(as asked)" in line] == [
        "baselines (explicit)",
        "baselines (no_cot)",
    ]
    with pytest.raises(RecipeError, match=r"from: found 'traning'.*internalize"):
        run_recipe(recipe, start="traning", progress=False)


def test_settings_that_change_nothing_may_differ(tmp_path: Path) -> None:
    run(tiny_recipe(tmp_path / "run"))
    run(tiny_recipe(tmp_path / "run", train={"log_every": 7, "keep_checkpoints": 1}))


def test_settings_that_no_longer_decide_do_not_count_in_an_old_run(tmp_path: Path) -> None:
    """Runs from before: these two stood in stage.json. Nor do they where it was set aside."""
    run(tiny_recipe(tmp_path, train={"max_steps": 4}))
    stage = tmp_path / "internalized" / "stage.json"
    values = json.loads(stage.read_text())
    values["settings"]["train"] |= {"micro_batch_size": 3, "gradient_checkpointing": True}
    stage.write_text(json.dumps(values))
    measured = tmp_path / "internalized" / "evaluation.json"
    figures = json.loads(measured.read_text())
    figures["settings"]["evaluate"]["num_latency"] = 50
    measured.write_text(json.dumps(figures))
    timed = measured.stat().st_mtime_ns
    before = stage.stat().st_mtime_ns
    run(tiny_recipe(tmp_path, train={"max_steps": 4}))
    assert stage.stat().st_mtime_ns == before
    assert measured.stat().st_mtime_ns == timed
    run(tiny_recipe(tmp_path, train={"max_steps": 5}))
    run(tiny_recipe(tmp_path, train={"max_steps": 4}))
    assert stage.stat().st_mtime_ns == before


def test_a_changed_data_file_runs_everything_again(tmp_path: Path) -> None:
    values = tiny_recipe(tmp_path / "run").model_dump(mode="json")
    train = write_sums(tmp_path / "train.jsonl", range(90))
    values["data"] = {"task": "jsonl", "train": str(train)}
    folder = run(recipe_from(values))
    write_sums(tmp_path / "train.jsonl", range(95))
    run(recipe_from(values))
    assert read(folder / "internalized" / "stage.json")["num_train"] == 86
    assert read(folder / "old" / "1" / "internalized" / "stage.json")["num_train"] == 81


def test_a_mistake_costs_no_trained_model(tmp_path: Path) -> None:
    """Settings that fail set the model aside; with the right ones it is taken back."""
    folder = run(tiny_recipe(tmp_path / "run"))
    model = folder / "internalized" / "model" / "model.safetensors"
    before = model.stat().st_mtime_ns
    with pytest.raises(UnspokenError, match="cannot build"):
        run(tiny_recipe(tmp_path / "run", model={"config": {"model_type": "gtp2"}}))
    said: list[str] = []
    run_recipe(tiny_recipe(tmp_path / "run"), progress=False, say=said.append)
    assert any("internalize: done, taken back from" in line for line in said)
    assert model.stat().st_mtime_ns == before


def test_a_run_folder_may_be_moved(tmp_path: Path) -> None:
    phases = [{"name": "a"}, {"name": "b", "schedule": {"delta": 80}}]
    folder = run(tiny_recipe(tmp_path / "run", phases=phases))
    folder.rename(tmp_path / "moved")
    said: list[str] = []
    run_recipe(tiny_recipe(tmp_path / "moved", phases=phases), progress=False, say=said.append)
    assert not any("running" in line for line in said)


def test_a_trained_baseline_is_not_overwritten_by_a_borrowed_one(tmp_path: Path) -> None:
    train = {"explicit": "train", "no_cot": False}
    folder = run(tiny_recipe(tmp_path / "run", baselines=train))
    weights = (folder / "explicit" / "model" / "model.safetensors").read_bytes()
    run(tiny_recipe(tmp_path / "run", baselines={**train, "explicit": "before_removal"}))
    assert (folder / "explicit" / "model" / "model.safetensors").read_bytes() != weights
    kept = folder / "old" / "1" / "explicit" / "model" / "model.safetensors"
    assert kept.read_bytes() == weights


def test_what_a_done_stage_lost_is_noticed(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", train={"max_steps": 4})
    folder = run(recipe)
    answers, train = folder / "internalized" / "predictions.jsonl", folder / "data" / "train.jsonl"
    whole, examples = answers.read_bytes(), train.read_bytes()
    made = (folder / "internalized" / WEIGHTS).stat().st_mtime_ns
    answers.write_bytes(whole[:100])
    train.write_bytes(b"")
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append)
    assert f"data: running again ({train} was changed)" in said[0]
    assert "evaluate (internalized): running" in said
    assert (answers.read_bytes(), train.read_bytes()) == (whole, examples)
    assert (folder / "internalized" / WEIGHTS).stat().st_mtime_ns == made

    (folder / "internalized" / WEIGHTS).write_bytes(b"")
    with pytest.raises(ModelError, match=r"internalized/model: found 0 bytes.*needed: .* put the"):
        run(recipe)
    run_recipe(recipe, start="internalize", progress=False)
    assert (folder / "internalized" / WEIGHTS).stat().st_size > 0


@pytest.mark.parametrize("lost", [f"internalized/{WEIGHTS}", "data/train.jsonl"])
def test_what_is_taken_over_is_whole(tmp_path: Path, lost: str) -> None:
    """A stage of another run, or one that was set aside, is looked at as one that is here."""
    there = run(tiny_recipe(tmp_path / "there", train={"max_steps": 4}))
    (there / lost).rename(tmp_path / "lost")
    if "model" in lost:  # one that was removed altogether is another matter
        (there / lost).write_bytes(b"")
    recipe = tiny_recipe(tmp_path / "here", train={"max_steps": 4}, from_run=str(there))
    said: list[str] = []
    if "model" in lost:
        with pytest.raises(ModelError, match=r"here/internalized/model: found 0 bytes of weights"):
            run_recipe(recipe, progress=False, say=said.append)
        run_recipe(recipe, progress=False, start="internalize", say=said.append)
    else:
        run_recipe(recipe, progress=False, say=said.append)
        assert said[0].startswith("data: done, taken over from")
        assert said[1].startswith("data: running again (") and "train.jsonl is missing" in said[1]
    assert (tmp_path / "here" / lost).exists()
