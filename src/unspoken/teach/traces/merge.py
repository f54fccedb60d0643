"""Shards of traces -> one file, every sample once and in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from unspoken.common.errors import DataError
from unspoken.common.files import AnyPath, atomic_output, refuse_existing
from unspoken.common.locks import locked
from unspoken.teach.engines.budget import Unanswered
from unspoken.teach.traces.file import Line, TraceFile
from unspoken.teach.traces.replaced import drop_replaced, keeping_replaced, set_aside
from unspoken.teach.traces.settings import (
    TracePlan,
    read_settings,
    unanswered_path,
    write_settings,
)


class MergeSummary(NamedTuple):
    """What was merged: samples in the output, and those that are missing."""

    num_samples: int
    missing: tuple[str, ...]


def merge_traces(
    inputs: Sequence[AnyPath],
    output: AnyPath,
    *,
    allow_missing: bool = False,
    overwrite: bool = False,
) -> MergeSummary:
    """Merges files of `generate_traces` into one that it would continue as its own.

    Args:
        inputs: the shards, or files of different questions; all of the same settings. A torn last
            line is removed from them.
        output: another file.
        allow_missing: write what is there although samples are missing.
        overwrite: replace the output.

    Raises:
        DataError: settings differ, two files answer one sample differently, or samples are
            missing: the message names them.
        OutputExistsError: if the output exists and `overwrite` is false.
    """
    paths = [Path(path) for path in inputs]
    if not paths:
        raise DataError("merge: found no input; needed: files of traces; name them")
    refuse_existing([output], overwrite=overwrite, inputs=paths)
    settings, plan = _merge_settings(paths)
    where = _locate_samples(paths)
    missing = _list_missing(plan, where)
    if missing and not allow_missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise DataError(
            f"{len(missing)} samples are missing: {', '.join(missing[:10])}{more}; needed: every "
            "sample of every shard; run unspoken generate or unspoken shard for these shards "
            "again, or name the files that are missing here"
        )
    with locked(Path(output)), keeping_replaced(Path(output)):
        if overwrite and Path(output).exists():  # else a kill would leave it with other settings
            set_aside(Path(output))
        write_settings(Path(output), settings, plan)
        # beside it stands what all files together may have been charged without a reply
        different = {path.resolve(): path for path in paths}.values()
        parts = [Unanswered(unanswered_path(path)) for path in different]
        Unanswered(unanswered_path(output)).replace_by(parts)
        _write_sorted(where, output)
        drop_replaced(Path(output))
    return MergeSummary(len(where), tuple(missing))


def _merge_settings(paths: list[Path]) -> tuple[dict[str, Any], TracePlan]:
    """The settings that the files have in common, and the plan that they fulfil together.

    Raises:
        DataError: their settings differ, or how many samples of a question they hold.
    """
    first, plan = read_settings(paths[0])
    plans = [plan]
    for path in paths[1:]:
        settings, other = read_settings(path)
        if differing := [key for key in {*first, *settings} if first.get(key) != settings.get(key)]:
            raise DataError(
                f"{path}: was made with other settings than {paths[0]} "
                f"({', '.join(sorted(differing))}); needed: the same; make one of them again"
            )
        if other.num_samples_per_question != plan.num_samples_per_question:
            raise DataError(
                f"{path}: has {other.num_samples_per_question} samples per question, {paths[0]} "
                f"{plan.num_samples_per_question}; needed: the same; complete the one with fewer"
            )
        plans.append(other)
    start = min(each.start_index for each in plans)
    end = max(each.start_index + each.num_questions for each in plans)
    return first, replace(plan, start_index=start, num_questions=end - start, shard=(1, 1))


def _locate_samples(paths: list[Path]) -> dict[str, tuple[Path, Line]]:
    """Finds where each sample stands, by id.

    Raises:
        DataError: a file is not there, or two hold different texts of one sample.
    """
    where: dict[str, tuple[Path, Line]] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file; needed: a file of traces; correct the path")
        with locked(path), TraceFile(path) as file:
            for name, line in file.lines.items():
                if name not in where:
                    where[name] = (path, line)
                elif _read_raw(*where[name]) != _read_raw(path, line):
                    raise DataError(
                        f"{path}: id {name!r} is in {where[name][0]}, too, with another text; "
                        "needed: one trace for one id; leave one of the files out"
                    )
    return where


def _read_raw(path: Path, line: Line) -> bytes:
    with path.open("rb") as file:
        file.seek(line.offset)
        return file.read(line.length)


def _list_missing(plan: TracePlan, where: dict[str, tuple[Path, Line]]) -> list[str]:
    """Lists what the plan names and no file has, by id, or by index where an id is not known."""
    found = {line.rank for _, line in where.values()}
    names = {line.index: name.rpartition("#")[0] for name, (_, line) in where.items()}
    return [
        f"{names.get(index, index)}#{sample}"
        for index in plan.indices()
        for sample in range(plan.num_samples_per_question)
        if (index, sample) not in found
    ]


def _write_sorted(where: dict[str, tuple[Path, Line]], output: AnyPath) -> None:
    """Writes all samples into one file, in the order of questions and samples."""
    files = {path: path.open("rb") for path in {path for path, _ in where.values()}}
    try:
        with atomic_output(output) as merged:
            for path, line in sorted(where.values(), key=lambda pair: pair[1].rank):
                files[path].seek(line.offset)
                merged.write(files[path].read(line.length))
    finally:
        for file in files.values():
            file.close()
