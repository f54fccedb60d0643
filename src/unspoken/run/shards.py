"""The generate stage of a run in shares, for machines that work at the same time.

`prepare` comes first, in one job: the data, a teacher from scratch, and the stage's stage.json.
Then `write_shard` for each share, at any time and anywhere that sees the run folder; it writes
nothing but its own files in traces/shards/. `merge` joins them into what `unspoken run` would have
written up to there, so that `unspoken run` finds the stage half done with nothing left to ask.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError, RecipeError
from unspoken.common.interrupt import carry_signals_over
from unspoken.common.locks import locked
from unspoken.parallel.world import join_processes, leave_processes
from unspoken.recipe import Recipe, Teacher, layout
from unspoken.recipe.plan import plan
from unspoken.recipe.records import DataRecord, ShareRecord, TracesRecord, TrainingRecord
from unspoken.run.data import Splits, data_settings, data_stage
from unspoken.run.folder import Record, RunFolder
from unspoken.run.settings import changes
from unspoken.run.student import train_teacher
from unspoken.run.teacher import Asker, TeacherStages, trace_settings
from unspoken.teach.traces.merge import merge_traces
from unspoken.teach.traces.settings import read_settings, settings_path
from unspoken.teach.traces.together import shares_folder
from unspoken.teach.traces.write import GenerateSummary, shard_path


def prepare(
    recipe: Recipe, *, progress: bool = True, say: Callable[[str], None] = lambda text: None
) -> None:
    """Makes what every share needs, and opens the stage; several processes may do it together.

    Args:
        recipe: with a section teacher.
        progress: show bars.
        say: gets one line for each stage.

    Raises:
        DataError: traces of an interrupted run are there already; `unspoken run` has to finish it.
            Or another process works in the run folder.
        UnspokenError: for everything else that the user can mend.
        SystemExit: with EXIT_INTERRUPTED after SIGTERM or SIGINT, when all is saved.
    """
    teacher = _teacher_of(recipe)
    process = join_processes()
    run = RunFolder(recipe, process, progress=progress, say=say)
    with contextlib.ExitStack() as stack:
        stack.enter_context(carry_signals_over())
        if process.is_main_process:
            stack.enter_context(locked(run.path / layout.LOCKED))
        splits = data_stage(run, recipe, run.path / layout.DATA)
        teaching = plan(recipe).teaching
        trained = train_teacher(run, teaching and teaching.training, splits)
        stages = TeacherStages(run, Asker(recipe, teacher, trained), splits)
        stage = stages.open_generate(begins="prepared")
        if stage.done is None:
            if process.is_main_process:
                _refuse_part(stage.folder / layout.TRACES_FILE)
            with stage.running():
                pass  # so that the settings are there, and unspoken run goes on in this folder
    leave_processes(process)


def write_shard(
    recipe: Recipe, shard: tuple[int, int], *, at_once: int | None = None, progress: bool = True
) -> GenerateSummary | None:
    """Writes one share of the traces, or goes on with it; None where they are there as a whole.

    Args:
        recipe: as `prepare` had it.
        shard: (i, n), every n-th question from the i-th on, i from 1.
        at_once: shares that are written at the same time; None: all n of them.
        progress: show a bar.

    Raises:
        DataError: `prepare` was not run, or with other settings.
        UnspokenError: for everything else that the user can mend.
    """
    teacher = _teacher_of(recipe)
    share = teacher.model_copy(update=_part_of_limits(teacher, shard[1], at_once))
    target = _share_path(recipe, shard)
    log = shard_path(target.with_name(layout.SERVER_LOG), shard)
    share_recipe = recipe.model_copy(update={"teacher": share})
    opened = open_prepared(share_recipe, progress=progress, log=log)
    if opened is None:
        return None
    asker, splits, _ = opened
    seconds = _seconds_of(_seconds_path(target))
    with asker:
        summary = asker.ask(
            splits.train,
            target,
            share.temperature,
            shard=shard,
            earlier=asker.earlier(layout.TRACES_FILE, target),
            bar=progress,
        )
    ShareRecord(seconds=round(seconds + summary.seconds, 3)).write(_seconds_path(target))
    return summary


def merge(recipe: Recipe, count: int) -> str:
    """Joins all shares of `count` into the traces of the run; returns what was done, for people.

    Once all traces are in one file, the shares are removed.

    Raises:
        DataError: a share is missing or not whole; the message names the traces. Or another
            process works in the run folder.
    """
    folder = recipe.folder / layout.TRACES
    with locked(recipe.folder / layout.LOCKED):
        opened, done = open_prepared(recipe), "all traces are there already"
        if opened is not None:
            shares = [_share_path(recipe, (number, count)) for number in range(1, count + 1)]
            _require_shares(shares)
            # as long as the shares together: so long were machines paid for
            seconds = sum(_seconds_of(_seconds_path(path)) for path in shares)
            prepared = replace(opened[2], seconds=round(seconds, 3))
            prepared.write(folder / layout.STAGE_FILE)
            target = folder / layout.TRACES_FILE
            merged = merge_traces(shares, target, overwrite=True)
            done = f"{merged.num_samples:,} traces of {count} shares are joined in {target}"
        shutil.rmtree(folder / layout.SHARDS, ignore_errors=True)
    return f"generate: {done}"


def _require_shares(shares: list[Path]) -> None:
    count = len(shares)
    for number, path in enumerate(shares, start=1):
        if not settings_path(path).exists():  # the first of its files
            raise DataError(
                f"{path}: share {number}/{count} has not been written; needed: all {count} shares; "
                f"write it: unspoken shard RECIPE --shard {number}/{count}"
            )


def _share_path(recipe: Recipe, shard: tuple[int, int]) -> Path:
    """The traces of a share; those of the only one have a name of their own, too."""
    return shard_path(recipe.folder / layout.TRACES / layout.SHARDS / layout.TRACES_FILE, shard)


def open_prepared(
    recipe: Recipe, *, progress: bool = True, log: Path | None = None
) -> tuple[Asker, Splits, TracesRecord] | None:
    """The stage as `prepare` left it; None where its traces are there as a whole.

    Reads only: the files that all of the run shares are others' to write.

    Raises:
        DataError: it is not there, or belongs to other settings.
    """
    teacher, run = _teacher_of(recipe), recipe.folder
    data = _require_record(run / layout.DATA, DataRecord, data_settings(recipe))
    splits = Splits.from_record(data, run)
    trained = None
    if teacher.from_scratch:
        trained = _require_record(run / layout.TEACHER, TrainingRecord, None)
    asker = Asker(recipe, teacher, trained, progress=progress, log=log)
    folder, settings = run / layout.TRACES, trace_settings(asker, splits)
    record = _require_record(folder, TracesRecord, settings, done=False)
    return None if record.is_done or _is_whole(folder) else (asker, splits, record)


def _require_record(
    folder: Path, kind: type[Record], settings: dict[str, Any] | None, *, done: bool = True
) -> Record:
    """The record of a stage that `prepare` left; with these settings, where some are given."""
    path = folder / layout.STAGE_FILE
    record = kind.read(path)
    is_same = settings is None or (record is not None and not changes(record.settings, settings))
    if record is None or not is_same or (done and not record.is_done):
        found = "no such file" if record is None else "not done" if is_same else "other settings"
        raise DataError(
            f"{path}: found {found}; needed: what this recipe's shares have in common; run "
            "unspoken shard RECIPE --prepare first, with the same settings"
        )
    return record


def _teacher_of(recipe: Recipe) -> Teacher:
    if recipe.teacher is None:
        raise RecipeError(
            "teacher: missing, so there are no traces to share out; needed: a recipe with a "
            "section teacher; add it, or give the recipe to unspoken run"
        )
    return recipe.teacher


def _part_of_limits(teacher: Teacher, count: int, at_once: int | None) -> dict[str, Any]:
    """What a server may be asked and paid by one of `count` shares."""
    running = min(count, at_once or count)
    if teacher.serve is not None:  # each share has a server of its own
        running = 1
    limits: dict[str, Any] = {"concurrency": max(1, teacher.concurrency // running)}
    if teacher.requests_per_minute is not None:
        limits["requests_per_minute"] = teacher.requests_per_minute / running
    if teacher.max_cost is not None:
        limits["max_cost"] = teacher.max_cost / count
    return limits


def _refuse_part(path: Path) -> None:
    """Traces that no share knows of would be written a second time."""
    began_alone = path.exists() and path.stat().st_size and not _is_whole(path.parent)
    if began_alone or shares_folder(path).exists():
        raise DataError(
            f"{path}: there are traces of a run that was interrupted; needed: none, or all, before "
            "they are shared out; let unspoken run write the others (without --array), or move "
            f"{path.parent} away"
        )


def _is_whole(folder: Path) -> bool:
    """Whether every trace of the stage is in its file."""
    path = folder / layout.TRACES_FILE
    if not path.exists():
        return False
    plan = read_settings(path)[1]
    with path.open("rb") as file:
        return sum(1 for _ in file) >= plan.num_questions * plan.num_samples_per_question


def _seconds_path(share: Path) -> Path:
    return share.with_suffix(".seconds.json")


def _seconds_of(path: Path) -> float:
    record = ShareRecord.read(path)
    return record.seconds if record else 0.0
