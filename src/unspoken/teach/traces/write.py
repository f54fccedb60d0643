"""questions -> traces: what an engine writes for each question, kept record by record.

Each sample has an id, so a run that was interrupted, also by kill -9, skips what is done. Beside
the output stands OUTPUT.settings.json with everything that decides what is written; a run with
other settings is refused. When all is done the file is brought into the order of the questions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError, OutputExistsError, setting
from unspoken.common.files import AnyPath
from unspoken.common.interrupt import StopRequest
from unspoken.common.locks import locked
from unspoken.common.progress import AnswersBar
from unspoken.data.example import extract_gold
from unspoken.data.questions import index_ids, place_of, read_questions_from
from unspoken.measure.grade import gold_choice
from unspoken.measure.sampling import Sampling, seed_of
from unspoken.parallel.world import read_world
from unspoken.teach.engines import Engine, Reply, Request, Usage
from unspoken.teach.engines.budget import Unanswered
from unspoken.teach.prompts import PromptWriter, make_prompt_writer
from unspoken.teach.traces.earlier import TAKEN_OVER, take_over
from unspoken.teach.traces.file import TraceFile
from unspoken.teach.traces.replaced import drop_replaced, keeping_replaced, set_aside
from unspoken.teach.traces.replies import checked_replies, require_all
from unspoken.teach.traces.settings import (
    Selection,
    TracePlan,
    list_settings,
    read_settings,
    require_same_settings,
    unanswered_path,
    write_settings,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GenerateSummary:
    """What a run did, and what its file holds now.

    Attributes:
        output: the file.
        num_wanted: samples that were asked for.
        num_done_before: of them, already in the file, or taken over.
        num_written: by this run.
        num_missing: still, where the run was interrupted.
        num_torn_bytes: of a torn last line that was removed.
        num_prompt_tokens, num_tokens: of all records in the file; None where a server does not
            tell them of each.
        tokens_per_s: written by this run, where that is known.
        seconds: that it took.
        cost: of all records and of requests that may have been charged without a reply, where
            prices are known.
        interrupted: whether a signal ended it.
        num_retries: tries of this run after the first ones, where a server had to be asked again.
        num_taken_over: of all records in the file, those that earlier files had.
        num_left_out: questions before `start_index` without a trace, where others before it have
            one: an interrupted run leaves such gaps.
    """

    output: Path
    num_wanted: int
    num_done_before: int
    num_written: int
    num_missing: int
    num_torn_bytes: int
    num_prompt_tokens: int | None
    num_tokens: int | None
    tokens_per_s: float | None
    seconds: float
    cost: float | None
    interrupted: bool
    num_retries: int = 0
    num_taken_over: int = 0
    num_left_out: int = 0


def generate_traces(
    engine: Engine,
    questions: AnyPath | Sequence[Mapping[str, Any]],
    output: AnyPath,
    *,
    sampling: Sampling | None = None,
    samples_per_question: int = 1,
    start_index: int = 0,
    num_samples: int | None = None,
    shard: tuple[int, int] = (1, 1),
    system_prompt: str | None = None,
    few_shot: AnyPath | None = None,
    choices: tuple[str, ...] | None = None,
    overwrite: bool = False,
    keep_whole: bool = False,
    earlier: Sequence[Path] = (),
    progress: str | None = None,
) -> GenerateSummary:
    """Has an engine answer questions; the traces are in `output`, also those of earlier runs.

    A record has id, question, cot, answer (the gold one, where there is one), index,
    num_prompt_tokens, num_tokens, stopped, finish_reason, engine and model, and the further
    fields of its question, such as category. SIGTERM and Ctrl-C end the run after the next token,
    or after what a server is answering.

    Args:
        engine: answers.
        questions: where `read_questions_from` finds them, or records as it returns them: with
            question and, if known, answer and id.
        output: JSONL; a file of the same settings is continued.
        sampling: default greedy, up to 512 tokens.
        samples_per_question: each gets its own id; more than one needs a temperature.
        start_index: of the first question.
        num_samples: so many questions from there; None is all.
        shard: (i, n) answers every n-th question, beginning with the i-th, i from 1.
        system_prompt: in place of the default instruction.
        few_shot: JSONL with solved questions that are shown first.
        choices: the only answers that there are, which prompts name.
        overwrite: begin anew, unless the file is what the same call left half done: that was paid
            for, and is continued. What was there is kept in OUTPUT.replaced/ until the new file is
            whole.
        keep_whole: with `overwrite`, a file of the same call that is whole is kept, too: as a
            share of what is not.
        earlier: other files of traces. What they have for these questions, made with the same
            settings, is taken over in place of asking, and marked `taken_over`. An engine that
            looks at more than the question is always asked.
        progress: description of a progress bar; None shows none.

    Raises:
        DataError: the questions, or the file that is to be continued, cannot be used.
        OutputExistsError: the file was written with other settings.
        SettingError: a setting that makes no sense.
        EngineError: the engine cannot go on; what is done is kept.
    """
    selection = Selection(start_index, num_samples, samples_per_question, shard)
    writer = make_prompt_writer(engine.style, system_prompt, few_shot, choices)
    sampling = replace(sampling or Sampling(), stop=writer.stop)
    sampling.require_samples(samples_per_question, "samples_per_question")
    records, where = _read_records(questions, choices)
    plan = selection.plan(len(records))
    requests = _make_requests(records, plan, writer, sampling, where)
    settings = list_settings(engine, writer, sampling)
    path = Path(output)
    with locked(path), keeping_replaced(path):
        if overwrite and path.is_file():
            num_done = _count_done(path, requests, settings, plan, names=records)
            if num_done is None or (num_done == len(requests) and not keep_whole):
                set_aside(path)
        require_same_settings(path, settings)
        note = partial(write_settings, path, settings, plan)
        if not path.exists():  # they are there before any trace is
            note()
        known = earlier if engine.style != "none" else ()
        earlier_replies = partial(take_over, known, requests, settings)
        done = _complete(
            engine, requests, sampling, path, note,
            plan=plan, names=records, earlier=earlier_replies, progress=progress,
        )  # fmt: skip
        if not done.num_missing:
            drop_replaced(path)
        return done


def _read_records(
    questions: AnyPath | Sequence[Mapping[str, Any]], choices: Sequence[str] | None
) -> tuple[dict[str, tuple[int, Mapping[str, Any]]], Callable[[int], str]]:
    """Number and record of each question by its id, and where the question of a number stands.

    Raises:
        DataError: they cannot be read, two have one id, or a gold answer is none of the choices.
    """
    if isinstance(questions, str) or not isinstance(questions, Sequence):
        questions = read_questions_from(questions, may_name=False)
    where = place_of(questions)
    _require_choices(questions, choices, where)
    indices = index_ids(questions, where)
    return {name: (index, questions[index]) for name, index in indices.items()}, where


def _count_done(
    path: Path,
    requests: list[Request],
    settings: dict[str, Any],
    plan: TracePlan,
    *,
    names: Collection[str],
) -> int | None:
    """How many of the requests a file answers that the same call began; None for another's file."""
    try:
        require_same_settings(path, settings)
        if read_settings(path)[1] != plan:
            return None
        with TraceFile(path) as file:
            return len(_find_done(file, requests, names))
    except (DataError, OutputExistsError):
        return None


def _require_choices(
    questions: Sequence[Mapping[str, Any]],
    choices: Sequence[str] | None,
    where: Callable[[int], str],
) -> None:
    """Refuses gold answers that are none of the choices, before a teacher is asked for money."""
    for index, record in enumerate(questions if choices else ()):
        gold = record.get("answer")
        if choices and isinstance(gold, str) and gold.strip():
            gold_choice(gold, choices, f"{where(index)}: answer")


def _complete(
    engine: Engine,
    requests: list[Request],
    sampling: Sampling,
    path: Path,
    note: Callable[[], None],
    *,
    plan: TracePlan,
    names: Collection[str],
    earlier: Callable[..., Iterator[tuple[int, Reply]]],
    progress: str | None,
) -> GenerateSummary:
    """Answers what is missing, and sorts the file once it is whole; it is this process's own.

    Calls `note` once what is there turned out to be of these questions, and then `earlier`, with
    the numbers of requests that are `done`, for replies that need not be asked for.
    """
    file, retried_before = TraceFile(path), _count_retries(engine)
    begin = time.perf_counter()
    with file, StopRequest(is_launched=read_world().is_launched) as stop:
        if file.num_torn_bytes:
            logger.warning(
                "%s: its last line was torn (%d bytes); it is removed and written again",
                path, file.num_torn_bytes,
            )  # fmt: skip
        done = _find_done(file, requests, names)
        note()
        for number, reply in earlier(done=frozenset(done)):
            request = requests[number]
            record = {**_make_record(request, reply, engine), TAKEN_OVER: True}
            file.add(record, request.index, request.sample)
            done.add(number)
        before, unanswered = file.used, Unanswered(unanswered_path(path))
        if hasattr(engine, "unanswered"):
            engine.unanswered = unanswered  # pyright: ignore[reportAttributeAccessIssue]
        used = unanswered.added_to(file.used)
        _add_replies(
            engine, requests, sampling, file, done=done, used=used, stop=stop, progress=progress
        )
        num_missing = sum(request.id not in file.lines for request in requests)
        interrupted = num_missing > 0 and stop.heed()
        if not interrupted:
            require_all(num_missing, len(requests), engine.name)
    if not num_missing:
        file.sort()
    seconds = time.perf_counter() - begin
    written = file.used.num_tokens - before.num_tokens
    return GenerateSummary(
        output=path,
        num_wanted=len(requests),
        num_done_before=len(done),
        num_written=len(requests) - num_missing - len(done),
        num_missing=num_missing,
        num_torn_bytes=file.num_torn_bytes,
        num_prompt_tokens=file.num_prompt_tokens,
        num_tokens=file.num_tokens,
        tokens_per_s=None if file.num_tokens is None else written / seconds,
        seconds=seconds,
        cost=engine.cost(unanswered.added_to(file.used)),
        interrupted=interrupted,
        num_retries=_count_retries(engine) - retried_before,
        num_taken_over=file.num_taken_over,
        num_left_out=_count_left_out(file, plan),
    )


def _count_left_out(file: TraceFile, plan: TracePlan) -> int:
    """Questions before the plan's first one without a trace, where others before it have one."""
    if plan.shard != (1, 1):
        return 0
    before = {line.index for line in file.lines.values() if line.index < plan.start_index}
    return plan.start_index - len(before) if before else 0


def _add_replies(
    engine: Engine,
    requests: list[Request],
    sampling: Sampling,
    file: TraceFile,
    *,
    done: Collection[int],
    used: Usage,
    stop: StopRequest,
    progress: str | None,
) -> None:
    """Adds what the engine replies to the requests that are not done, until a signal comes."""
    retried_before = _count_retries(engine)
    with AnswersBar(len(requests), len(done), progress, "trace", leave=True) as bar:
        replies = engine.generate(
            requests,
            sampling,
            skip=done,
            used=used,
            stopping=lambda: stop.requested,
            wrote=bar.add_tokens,
        )
        try:
            for request, reply in checked_replies(replies, requests, file.lines, engine.name):
                file.add(_make_record(request, reply, engine), request.index, request.sample)
                retries = _count_retries(engine) - retried_before
                bar.note = f", {retries:,} retries" if retries else ""
                bar.add_answers()
        finally:
            if isinstance(replies, Generator):  # an error holds it: it would go on asking
                replies.close()


def _count_retries(engine: Engine) -> int:
    """How often an engine had to try again so far; most never do, and have no such number."""
    return getattr(engine, "num_retries", 0)


def shard_path(output: AnyPath, shard: tuple[int, int]) -> Path:
    """The file of one shard: traces.jsonl is traces-00003-of-00016.jsonl for (3, 16)."""
    output = Path(output)
    if shard == (1, 1):
        return output
    return output.with_name(f"{output.stem}-{shard[0]:05d}-of-{shard[1]:05d}{output.suffix}")


def _make_requests(
    records: dict[str, tuple[int, Mapping[str, Any]]],
    plan: TracePlan,
    writer: PromptWriter,
    sampling: Sampling,
    where: Callable[[int], str],
) -> list[Request]:
    chosen = plan.indices()
    requests = []
    for name, (index, record) in records.items():
        if index not in chosen:
            continue
        prompt = writer(record["question"])
        for sample in range(plan.num_samples_per_question):
            full = f"{name}#{sample}"
            seed = seed_of(sampling.seed, full)
            requests.append(Request(full, index, sample, record, prompt, seed, where(index)))
    return requests


def _make_record(request: Request, reply: Reply, engine: Engine) -> dict[str, Any]:
    """One line of the file."""
    record: dict[str, Any] = {"id": request.id, "question": request.question, "cot": reply.text}
    if "answer" in request.record:
        record["answer"] = extract_gold(request.record["answer"])
    leave = {*record, "thought", TAKEN_OVER}  # where the questions are traces themselves
    record |= {k: v for k, v in request.record.items() if k not in leave}
    return record | {
        "index": request.index,
        "num_prompt_tokens": reply.num_prompt_tokens,
        "num_tokens": reply.num_tokens,
        "stopped": reply.stopped,
        "finish_reason": reply.finish_reason,
        "engine": engine.name,
        "model": engine.model,
    }


def _find_done(file: TraceFile, requests: list[Request], names: Collection[str]) -> set[int]:
    """Finds the requests that the file answers already, by number.

    Raises:
        DataError: the file answers other questions than those that there are.
    """
    for full, line in file.lines.items():
        if full.rpartition("#")[0] not in names:
            raise DataError(
                _say_changed(file.path, full, f"(index {line.index}) that is not there")
            )
    done = set()
    for number, request in enumerate(requests):
        line = file.lines.get(request.id)
        if line is None:
            continue
        if line.key != hash(request.question) or line.rank != (request.index, request.sample):
            raise DataError(_say_changed(file.path, request.id, "that has changed or moved"))
        done.add(number)
    return done


def _say_changed(path: Path, name: str, how: str) -> str:
    return (
        f"{path}: id {name!r} belongs to a question {how} in the input; needed: the questions it "
        "was begun with (more may follow them); give those, another "
        f"{setting('output')}, or {setting('overwrite', True)}"
    )
