"""Shards of traces become one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.engines import FakeEngine
from unspoken.common.errors import DataError, OutputExistsError
from unspoken.teach.engines.worked import WorkedEngine
from unspoken.teach.traces.merge import merge_traces
from unspoken.teach.traces.settings import settings_path
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
    assert (summary.num_samples, summary.num_doubled, summary.missing) == (20, 7, ())
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
