from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import tiny_recipe
from tacit.errors import DataError, RecipeError
from tacit.pipeline import run_recipe
from tacit.pipeline.shards import merge, prepare, write_shard

SCRATCH: dict[str, Any] = {
    "teacher": {
        "num_train": 400,
        "model": {"tokenizer": "characters", "config": {"model_type": "gpt2", "n_layer": 1,
                  "n_head": 2, "n_embd": 16, "n_positions": 64}},
        "train": {"max_steps": 4, "batch_size": 16, "num_valid": 4, "threads": 1},
        "evaluate": False,
        "batch_size": 7,
    },
    "data": {"num_train": 420},
}  # fmt: skip
WORKED: dict[str, Any] = {
    "teacher": {"engine": "worked"},
    "data": {"num_train": 60},
    "distil": {"max_steps": 4},
    "train": {"max_steps": 4},
}


def said_by_run(recipe: Any) -> list[str]:
    said: list[str] = []
    run_recipe(recipe, progress=False, say=said.append)
    return said


def test_shares_are_joined_and_the_run_goes_on(tmp_path: Path) -> None:
    shared, whole = (tiny_recipe(tmp_path / name, **WORKED) for name in ("shared", "whole"))
    prepare(shared, progress=False)
    for number in (3, 1, 2):
        write_shard(shared, (number, 3), progress=False)
    shares = sorted((tmp_path / "shared/traces/shards").glob("traces-*.jsonl"))
    assert [len(path.read_text().splitlines()) for path in shares] == [20, 20, 20]
    merge(shared, 3)
    said = said_by_run(shared)
    assert said[:3] == ["data: done", "generate: goes on", "vet: runs"]
    said_by_run(whole)
    found, expected = (tmp_path / name / "traces/traces.jsonl" for name in ("shared", "whole"))
    assert found.read_bytes() == expected.read_bytes()
    # a launch that is repeated after that finds nothing to do
    prepare(shared, progress=False)
    assert write_shard(shared, (1, 3), progress=False) is None
    assert "there already" in merge(shared, 3)
    assert said_by_run(shared)[:2] == ["data: done", "generate: done"]


def test_a_teacher_from_scratch_is_trained_once_for_all_shares(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", **SCRATCH)
    prepare(recipe, progress=False)
    model = tmp_path / "run/teacher/model/model.safetensors"
    before = model.stat().st_mtime_ns
    for number in (1, 2):
        assert write_shard(recipe, (number, 2), progress=False)
    merge(recipe, 2)
    stage = json.loads((tmp_path / "run/traces/stage.json").read_text())
    parts = (tmp_path / "run/traces/shards").glob("*.seconds.json")
    paid = sum(json.loads(path.read_text())["seconds"] for path in parts)
    assert stage["seconds"] == pytest.approx(paid, abs=0.01)
    assert paid > 0
    said: list[str] = []
    with pytest.raises(DataError, match="none of 20 traces was kept"):  # after four steps
        run_recipe(recipe, progress=False, say=said.append)
    assert said == ["data: done", "teacher: done", "generate: goes on", "vet: runs"]
    assert model.stat().st_mtime_ns == before


def test_a_missing_share_is_named(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", **WORKED)
    prepare(recipe, progress=False)
    write_shard(recipe, (1, 2), progress=False)
    with pytest.raises(DataError, match="traces-00002-of-00002"):
        merge(recipe, 2)
    assert not (tmp_path / "run/traces/traces.jsonl").exists()


def test_a_share_needs_what_was_prepared_for_this_recipe(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--prepare first"):
        write_shard(tiny_recipe(tmp_path / "run", **WORKED), (1, 2))
    prepare(tiny_recipe(tmp_path / "run", **WORKED), progress=False)
    with pytest.raises(DataError, match="other settings"):
        write_shard(tiny_recipe(tmp_path / "run", **{**WORKED, "seed": 5}), (1, 2))
    with pytest.raises(RecipeError, match="section teacher"):
        prepare(tiny_recipe(tmp_path / "run"))


def test_traces_of_an_interrupted_run_are_neither_lost_nor_paid_twice(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", **WORKED)
    prepare(recipe, progress=False)
    write_shard(recipe, (1, 1), progress=False)
    merge(recipe, 1)
    traces = tmp_path / "run/traces/traces.jsonl"
    lines = traces.read_text().splitlines(keepends=True)
    traces.write_text("".join(lines[:10]))
    with pytest.raises(DataError, match="without --array"):
        prepare(recipe, progress=False)
    assert traces.read_text() == "".join(lines[:10])
