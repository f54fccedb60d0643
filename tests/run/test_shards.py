from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.recipes import tiny_recipe
from unspoken.cli.main import main
from unspoken.common.errors import DataError, RecipeError
from unspoken.common.locks import locked
from unspoken.run import shards
from unspoken.run.run import run_recipe
from unspoken.run.shards import merge, prepare, write_shard

pytestmark = pytest.mark.integration

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
    told: list[str] = []
    prepare(shared, progress=False, say=told.append)
    assert told[-1] == "generate: prepared"
    for number in (3, 1, 2):
        write_shard(shared, (number, 3), progress=False)
    shares = sorted((tmp_path / "shared/traces/shards").glob("traces-*.jsonl"))
    assert [len(path.read_text().splitlines()) for path in shares] == [20, 20, 20]
    merge(shared, 3)
    assert not (tmp_path / "shared/traces/shards").exists()
    said = said_by_run(shared)
    assert said[:3] == ["data: done", "generate: goes on", "vet: running"]
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
    parts = (tmp_path / "run/traces/shards").glob("*.seconds.json")
    paid = sum(json.loads(path.read_text())["seconds"] for path in parts)
    merge(recipe, 2)
    stage = json.loads((tmp_path / "run/traces/stage.json").read_text())
    assert stage["seconds"] == pytest.approx(paid, abs=0.01)
    assert paid > 0
    said: list[str] = []
    with pytest.raises(DataError, match="none of 20 traces was kept"):  # after four steps
        run_recipe(recipe, progress=False, say=said.append)
    assert said == ["data: done", "teacher: done", "generate: goes on", "vet: running"]
    assert model.stat().st_mtime_ns == before


def test_damaged_seconds_of_a_share_are_named(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", **WORKED)
    prepare(recipe, progress=False)
    write_shard(recipe, (1, 2), progress=False)
    write_shard(recipe, (2, 2), progress=False)
    one, other = sorted((tmp_path / "run/traces/shards").glob("*.seconds.json"))
    one.write_text('{"seconds": "long"}')
    with pytest.raises(DataError, match=rf"{one}: seconds: .*remove the file and run again"):
        merge(recipe, 2)
    one.unlink()
    other.write_text('{"seconds": 7.5}')  # from before it had a version
    merge(recipe, 2)
    stage = json.loads((tmp_path / "run/traces/stage.json").read_text())
    assert stage["seconds"] == pytest.approx(7.5, abs=0.01)


def test_a_missing_share_is_named(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", **WORKED)
    prepare(recipe, progress=False)
    write_shard(recipe, (1, 2), progress=False)
    wanted = (
        r"traces-00002-of-00002.*share 2/2 has not been written.*unspoken shard RECIPE --shard 2/2"
    )
    with pytest.raises(DataError, match=wanted):
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


def test_what_a_kill_left_of_a_merge_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path / "run", **WORKED)
    prepare(recipe, progress=False)
    write_shard(recipe, (1, 1), progress=False)
    with monkeypatch.context() as patched:
        patched.setattr(shards.shutil, "rmtree", lambda *_, **__: None)
        merge(recipe, 1)
    assert (tmp_path / "run/traces/shards").exists()
    assert "there already" in merge(recipe, 1)
    assert not (tmp_path / "run/traces/shards").exists()
    assert said_by_run(recipe)[:2] == ["data: done", "generate: goes on"]


def test_preparing_and_merging_wait_for_no_run_in_the_same_folder(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run", **WORKED)
    with locked(tmp_path / "run" / "run"), pytest.raises(DataError, match="is writing to it"):
        prepare(recipe, progress=False)
    prepare(recipe, progress=False)
    with locked(tmp_path / "run" / "run"):
        write_shard(recipe, (1, 1), progress=False)  # shares are written at the same time
        with pytest.raises(DataError, match="is writing to it"):
            merge(recipe, 1)
    merge(recipe, 1)


def test_a_server_is_shared_by_what_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = {
        "engine": "openai",
        "base_url": "http://localhost:9/v1",
        "model": {"name": "large"},
        "concurrency": 8,
        "requests_per_minute": 60,
        "max_cost": 16,
        "price_prompt": 1,
        "price_completion": 1,
    }
    recipe = tiny_recipe(tmp_path / "run", **{**WORKED, "teacher": server})
    seen: list[Any] = []
    monkeypatch.setattr(shards, "open_prepared", lambda share, **_: seen.append(share.teacher))
    write_shard(recipe, (1, 16), at_once=4)
    write_shard(recipe, (1, 16))
    write_shard(recipe, (1, 2), at_once=4)
    found = [(one.concurrency, one.requests_per_minute, one.max_cost) for one in seen]
    assert found == [(2, 15, 1), (1, 3.75, 1), (4, 30, 8)]


@pytest.mark.parametrize("flags", [["--merge", "0"], ["--merge=-1"]])
def test_no_shares_cannot_be_merged(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    values = tiny_recipe(tmp_path / "run", **WORKED).model_dump(mode="json")
    recipe.write_text(yaml.safe_dump(values))
    with pytest.raises(SystemExit) as caught:
        main(["shard", str(recipe), *flags])
    assert caught.value.code == 2
    assert "error: --merge: found" in capsys.readouterr().err
