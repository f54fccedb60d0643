"""Shards of traces become one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.engines import QUESTIONS, FakeEngine
from unspoken.common.errors import DataError, OutputExistsError
from unspoken.recipe.records import UnansweredRecord
from unspoken.teach.engines.worked import WorkedEngine
from unspoken.teach.traces import merge
from unspoken.teach.traces.merge import merge_traces
from unspoken.teach.traces.replaced import replaced_folder
from unspoken.teach.traces.settings import settings_path, unanswered_path
from unspoken.teach.traces.together import trace_files
from unspoken.teach.traces.write import generate_traces, shard_path


def test_shards_merge_into_what_one_run_writes(tmp_path: Path) -> None:
    whole, merged = tmp_path / "whole.jsonl", tmp_path / "merged.jsonl"
    parts = [shard_path(tmp_path / "part.jsonl", (i, 3)) for i in (1, 2, 3)]
    assert parts[0].name == "part-00001-of-00003.jsonl"
    engine = WorkedEngine()
    questions = [{"question": f"{n % 10} * {n // 10 + 1}"} for n in range(20)]
    generate_traces(engine, questions, whole)
    for number, path in enumerate(parts, start=1):
        generate_traces(engine, questions, path, shard=(number, 3))
    with pytest.raises(DataError, match=r"7 samples are missing: 1#0, 4#0, 7#0"):
        merge_traces([parts[0], parts[2]], merged)
    summary = merge_traces([parts[2], parts[0], parts[1], parts[1]], merged)
    assert merged.read_bytes() == whole.read_bytes()
    assert (summary.num_samples, summary.missing) == (20, ())
    assert generate_traces(engine, questions, merged).num_written == 0
    with pytest.raises(OutputExistsError):
        merge_traces(parts, merged)
    some = merge_traces(parts[:2], merged, allow_missing=True, overwrite=True)
    assert (some.num_samples, len(some.missing)) == (14, 6)
    changed = parts[1].read_text().replace("Final Answer:", "Answer:")
    copy = tmp_path / "copy.jsonl"
    copy.write_text(changed)
    settings_path(copy).write_bytes(settings_path(parts[1]).read_bytes())
    with pytest.raises(DataError, match="with another text"):
        merge_traces([*parts, copy], tmp_path / "conflict.jsonl")
    other = tmp_path / "other.jsonl"
    generate_traces(FakeEngine(), questions, other)
    with pytest.raises(DataError, match="other settings than"):
        merge_traces([parts[0], other], tmp_path / "mixed.jsonl")


def test_what_shards_were_charged_without_a_reply_is_added_up(tmp_path: Path) -> None:
    merged = tmp_path / "merged.jsonl"
    parts = [shard_path(tmp_path / "part.jsonl", (i, 3)) for i in (1, 2, 3)]
    for number, path in enumerate(parts, start=1):
        generate_traces(FakeEngine(), QUESTIONS, path, shard=(number, 3))
        if number > 1:
            lost = UnansweredRecord(num_prompt_tokens=number, num_tokens=10 * number)
            lost.write(unanswered_path(path))
    for _ in range(2):  # again after a kill between both files, say: as much
        merge_traces([*parts, parts[2]], merged, overwrite=True)
        found = UnansweredRecord.read(unanswered_path(merged))
        assert found == UnansweredRecord(num_prompt_tokens=5, num_tokens=50)
    assert generate_traces(FakeEngine(), QUESTIONS, merged).cost == 1.0 + 0.5
    for path in parts:
        unanswered_path(path).unlink(missing_ok=True)
    merge_traces(parts, merged, overwrite=True)
    assert not unanswered_path(merged).exists()


def test_a_merge_that_ends_midway_leaves_old_traces_their_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, part = tmp_path / "traces.jsonl", tmp_path / "part.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    generate_traces(FakeEngine(teacher="new"), QUESTIONS, part)
    before = output.read_bytes(), settings_path(output).read_bytes()

    def end(*_: Any, **__: Any) -> Any:
        assert not output.exists()  # as a kill would leave it
        raise DataError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(DataError, match="disk is full"):
        patch.setattr(merge, "atomic_output", end)
        merge_traces([part], output, overwrite=True)
    assert (output.read_bytes(), settings_path(output).read_bytes()) == before
    merge_traces([part], output, overwrite=True)
    assert output.read_bytes() == part.read_bytes()
    assert not replaced_folder(output).exists()


def test_nothing_is_left_of_traces_without_their_files(tmp_path: Path) -> None:
    output = tmp_path / "answers.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    UnansweredRecord(num_tokens=100).write(unanswered_path(output))
    for path in trace_files(output):
        path.unlink(missing_ok=True)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
