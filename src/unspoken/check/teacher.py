"""The teacher: whether it can be asked, what it will write at the most, and what that costs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from unspoken.check.data import Sample
from unspoken.check.estimate import Estimate, Steps
from unspoken.check.finding import Finding
from unspoken.check.learner import Learner, build_learner
from unspoken.check.offline import is_here
from unspoken.check.student import count_trainings, describe_length
from unspoken.check.writing import Asking, count_cost, count_written, make_request
from unspoken.common.errors import (
    DataError,
    ModelError,
    RecipeError,
    UnspokenError,
    setting,
    settings_of,
)
from unspoken.data.example import Example
from unspoken.data.jsonl import kind_of_name
from unspoken.data.overlap import QuestionIndex
from unspoken.models.card import ModelCard
from unspoken.models.load import num_positions
from unspoken.models.local import base_folder, local_folder, way_to_get
from unspoken.models.template import Template
from unspoken.recipe import Model, Recipe, Teacher
from unspoken.recipe.layout import TEACHER
from unspoken.recipe.plan import Teaching, Training
from unspoken.recipe.teacher import MAX_NEW_TOKENS, OF_LOCAL_MODEL, split_command
from unspoken.run.data import require_left_to_ask
from unspoken.teach.engines import Engine
from unspoken.teach.engines.make import IN_RECIPE, EngineOptions, connect, make_engine
from unspoken.teach.engines.openai import DEFAULT_KEY
from unspoken.teach.engines.worked import solution
from unspoken.teach.prompts import PromptWriter, make_prompt_writer
from unspoken.train.checkpoint import model_card

_LOOPBACK = "http://127.0.0.1/v1"  # of a server that is not there yet


def check_teacher(
    recipe: Recipe, teaching: Teaching, sample: Sample, estimate: Estimate | None
) -> Generator[Finding, None, Sample]:
    """Yields what is known of the teacher; returns what the student learns from at the most.

    `estimate` gets the time that it takes; None: this machine is not timed.

    Raises:
        UnspokenError: the teacher cannot be asked as the recipe stands; the message says what to
            do.
    """
    teacher, is_known = teaching.settings, sample.num_train > 0
    asking = replace(_asking(teacher, sample), choices=recipe.data.choices)
    if is_known:
        asked = f"{asking.num_questions:,} questions, {_gold(recipe, teacher, asking.questions)}"
        yield Finding("teacher", f"teacher is asked: {asked}")
    yield from _warnings(recipe, sample)
    asking = yield from _check_engine(recipe, teaching, sample, asking, estimate)
    if is_known and asking.limit is not None:
        if teaching.is_asked_the_test:
            limits = [n for n in (sample.num_asked, recipe.evaluate.limit) if n is not None]
            asking = replace(asking, num_test=min(limits, default=0))
        if estimate is not None:
            _time(estimate, recipe, teaching, sample, asking)
        yield from count_written(teacher, asking)
        if teacher.engine == "openai":
            yield from count_cost(recipe, teacher, asking)
    return _keep_all(recipe, teaching, sample, asking)


def _asking(teacher: Teacher, sample: Sample) -> Asking:
    """The questions that a teacher is asked; raises DataError where none are left for that."""
    total, share = sample.num_train, teacher.num_train or 0
    if total:
        require_left_to_ask(total, share)
    # of a task there may be fewer here than the teacher learns from; any of them do then
    questions = list(sample.examples[share:] or sample.examples)
    return Asking(questions, total - share, 0, None, None)


def _check_engine(
    recipe: Recipe,
    teaching: Teaching,
    sample: Sample,
    asking: Asking,
    estimate: Estimate | None,
) -> Generator[Finding, None, Asking]:
    """Yields who is asked; returns how, with the limit of a trace where tokens are counted."""
    teacher = teaching.settings
    if teaching.training is not None:
        learner = yield from _check_training(recipe, teacher, teaching.training, sample, estimate)
        if learner is None:
            return asking
        limit = _scratch_limit(recipe, teacher, learner)
        return replace(asking, limit=limit, learner=learner)
    if teacher.engine == "openai":
        return (yield from _check_server(teacher, asking))
    if teacher.engine == "transformers":
        return (yield from _check_folder(teacher, asking))
    _require_solutions(recipe, teacher, asking.questions)
    text = "teacher: worked solutions; no model is asked and no tokens are paid for"
    yield Finding("teacher", text)
    return asking


def _keep_all(recipe: Recipe, teaching: Teaching, sample: Sample, asking: Asking) -> Sample:
    """One example for each trace, as if all were kept."""
    teacher = teaching.settings
    per_question = min(
        teacher.samples_per_question, recipe.vet.max_per_question or teacher.samples_per_question
    )
    known = any(one.thought for one in asking.questions)
    if not known and teacher.engine == "worked":  # as `unspoken.teach.engines.worked` solves them
        known = True
        asking = replace(asking, questions=[_solve(one) for one in asking.questions])
    own = known and (teaching.training is not None or teacher.engine == "worked")
    return replace(
        sample,
        examples=asking.questions,
        num_train=asking.num_questions * per_question,
        thoughts="learned" if own else "stand-in" if known else "none",
    )


def _solve(question: Example) -> Example:
    """The question with the solution that unspoken works out."""
    from unspoken.measure.answers import split_answer

    thought, answer = split_answer(solution(make_request(0, question, None))) or ("", "")
    return replace(question, thought=thought, answer=question.answer or answer)


def _warnings(recipe: Recipe, sample: Sample) -> Iterator[Finding]:
    """Yields what the traces may be dropped for, or may not fit, whatever the teacher writes."""
    if recipe.schedule.positions == "gap" and recipe.vet.pattern is None:
        yield Finding(
            "warning",
            "warning: schedule.positions: gap needs thoughts of one length, and vet.pattern is "
            "empty; a teacher that writes others stops the run after it was asked; set vet.pattern",
        )
    files = [path for path in sample.files if kind_of_name(path) != ".txt"]
    if files:
        index = QuestionIndex(files, recipe.vet.overlap)
        found = sum(index.find(one.question) is not None for one in sample.examples)
        if found:
            yield Finding(
                "warning",
                f"warning: {found:,} questions are like one that models are measured with "
                "(vet.overlap), so their traces will be dropped; leave them out and save "
                "the tokens",
            )


def _gold(recipe: Recipe, teacher: Teacher, questions: list[Example]) -> str:
    """How the answers will be judged; raises RecipeError where none could be kept."""
    num_gold = sum(bool(one.answer) for one in questions)
    if num_gold == len(questions):
        return "all with gold answers: right traces are kept"
    some = f"{num_gold:,} of {len(questions):,}" if num_gold else "none"
    if not recipe.vet.majority:
        return (
            f"{some} with a gold answer: traces of the others are kept unverified "
            "(vet.majority=true keeps those that most samples agree with)"
        )
    if teacher.samples_per_question + teacher.retries < 2:
        raise RecipeError(
            f"{setting('vet.majority')}: found it with {some} of the questions answered and one "
            "sample of each, so that no vote is possible; needed: more samples; set "
            f"{setting('teacher.samples_per_question')}, such as 5, and "
            f"{setting('teacher.temperature')}, such as 0.7"
        )
    return f"{some} with a gold answer: the majority of samples decides the others"


def _check_training(
    recipe: Recipe,
    teacher: Teacher,
    training: Training,
    sample: Sample,
    estimate: Estimate | None,
) -> Generator[Finding, None, Learner | None]:
    """Yields what the training of a teacher from scratch takes; returns what learns there."""
    share = teacher.num_train or 0
    lessons = list(sample.examples[:share])
    for line, one in enumerate(lessons, start=1):
        if not (one.answer and (one.thought or recipe.data.allow_empty_thoughts)):
            raise DataError(
                f"{recipe.data.train}:{line}: found no {'thought' if one.answer else 'answer'}; "
                f"needed: worked solutions in the first {share} lines, from which a teacher from "
                f"scratch learns ({setting('teacher.num_train')}); add them, or name a trained "
                f"teacher with {setting('teacher.model.name')}"
            )
    own = replace(sample, examples=lessons, num_train=share, thoughts="learned")
    learner = yield from _mark(build_learner(training.recipe, own), TEACHER)
    count = share if learner is None else round(share * learner.share)
    (counted,) = count_trainings([training], count)
    yield Finding("steps", describe_length(counted), TEACHER)
    if estimate is not None and learner is not None:
        num = counted.num_steps
        estimate.add_training(training, Steps(num, num, num), learner, sample.num_valid or 0)
        estimate.add_answers(
            TEACHER, training.recipe, learner, sample.num_asked, _num_written(learner)
        )
    return learner


def _time(
    estimate: Estimate, recipe: Recipe, teaching: Teaching, sample: Sample, asking: Asking
) -> None:
    """Adds the time of what the teacher writes."""
    teacher = teaching.settings
    if teacher.engine == "worked":
        return
    if teacher.engine == "openai" or teacher.model is None:
        estimate.unknown.append("the teacher's traces: how fast a server writes is not measured")
        return
    own = {"model": teacher.model, "lora": None}
    asked = recipe.model_copy(update=own) if teaching.training is None else teaching.training.recipe
    learner = asking.learner
    if learner is None:
        try:
            learner = _mute(build_learner(asked, sample))
        except UnspokenError as error:
            estimate.unknown.append(f"the teacher's traces: {error}")
            return
    limit = asking.limit or MAX_NEW_TOKENS
    if learner is None:
        estimate.unknown.append("the teacher's traces: its model is not here")
        return
    is_known = learner.thoughts != "none"
    estimate.add_traces(
        asked,
        learner,
        num_traces=asking.num_questions * teacher.samples_per_question + asking.num_test,
        num_tokens=_num_written(learner) if is_known else limit / 2,
        limit=limit,
    )


def _num_written(learner: Learner) -> float:
    """Tokens of a thought and its answer, on average."""
    return float((learner.dataset.thought_lengths + learner.dataset.answer_lengths).mean())


def _mute(findings: Generator[Finding, None, Learner | None]) -> Learner | None:
    """What a generator returns; its findings are left out."""
    while True:
        try:
            next(findings)
        except StopIteration as end:
            return end.value


def _mark(
    findings: Generator[Finding, None, Learner | None], part: str
) -> Generator[Finding, None, Learner | None]:
    """Yields findings as those of a part of the run; returns what their generator returns."""
    while True:
        try:
            yield replace(next(findings), part=part)
        except StopIteration as end:
            return end.value


def _scratch_limit(recipe: Recipe, teacher: Teacher, learner: Learner) -> int:
    """Tokens of a trace that the unspoken.json of a teacher from scratch will allow."""
    template = Template(recipe.template, learner.tokenizer, recipe.data.choices)
    card = model_card(learner.dataset, learner.tokenizer, template, removed=0, step=0)
    positions = num_positions(learner.model)
    fits = card.max_new_tokens
    if positions is not None:
        fits = min(fits, positions - int(learner.dataset.prompt_lengths.max()))
    return teacher.max_new_tokens or fits


def _require_solutions(recipe: Recipe, teacher: Teacher, questions: list[Example]) -> None:
    if teacher.model is not None:
        raise RecipeError(
            f"{setting('teacher.model')}: found it with {setting('teacher.engine', 'worked')}, "
            "which asks no model; leave it out"
        )
    make_prompt_writer("none", teacher.system_prompt, teacher.few_shot)
    for index, question in enumerate(questions):
        if not (recipe.data.task != "jsonl" or question.thought):
            solution(make_request(index, question, None))


def _check_folder(teacher: Teacher, asking: Asking) -> Generator[Finding, None, Asking]:
    """A local teacher; that it is not here is said, and not an error."""
    model = teacher.model
    if model is None:  # the recipe has been refused before
        return asking
    name = str(model.name)
    limit = teacher.max_new_tokens
    try:
        folder = local_folder(name, "teacher.model.name", revision=model.revision)
        base_folder(folder, "teacher.model.name")
        _require_tokenizer(model)
    except ModelError as error:
        yield Finding("unknown here", f"teacher: not known here: {error}")
        return replace(asking, limit=limit or MAX_NEW_TOKENS)
    card = ModelCard.read(folder)
    options = EngineOptions(
        teacher_dir=name,
        prompt=teacher.prompt,
        **model.model_dump(include=set(OF_LOCAL_MODEL) - {"quantization"}),
    )
    with settings_of(IN_RECIPE):
        engine = make_engine("transformers", options)
    yield Finding("teacher", f"teacher: {name}, in {folder}, asked in style {engine.style}")
    return replace(
        asking,
        limit=limit or (card.max_new_tokens if card is not None else MAX_NEW_TOKENS),
        writer=_writer(engine, teacher, asking),
    )


def _require_tokenizer(model: Model) -> None:
    """Raises ModelError where a teacher's tokenizer, if it is not its own, is not here."""
    name = model.tokenizer
    if name not in (None, "characters") and not is_here(name, model.revision, weights=False):
        raise ModelError(
            f"{setting('teacher.model.tokenizer', name)}: no such folder, and no such tokenizer "
            "was downloaded before; needed: one on this machine; correct it, or leave it out for "
            "the model's own"
        )


def _writer(engine: Engine, teacher: Teacher, asking: Asking) -> PromptWriter:
    return make_prompt_writer(engine.style, teacher.system_prompt, teacher.few_shot, asking.choices)


def _check_server(teacher: Teacher, asking: Asking) -> Generator[Finding, None, Asking]:
    """A teacher on a server, which is not contacted; of the key only whether there is one."""
    keys = {"concurrency", "requests_per_minute", "max_cost", "price_prompt"}
    options: dict[str, Any] = teacher.model_dump(include=keys | {"price_completion", "prompt"})
    has_key = bool(os.environ.get(teacher.api_key_env or DEFAULT_KEY, "").strip())
    if has_key:
        options["api_key_env"] = teacher.api_key_env
    name = "" if teacher.model is None else teacher.model.name or ""
    base_url = _LOOPBACK if teacher.serve is not None else teacher.base_url
    with settings_of(IN_RECIPE):
        engine = connect(EngineOptions(base_url=base_url, model=name, **options))
    if teacher.serve is not None:
        yield from _check_command(teacher.serve, name)
        where = "on a server that the run starts"
    else:
        where = f"at {engine.server.shown} (not contacted)"
    yield Finding("teacher", f"teacher: {name} {where}, asked in style {engine.style}")
    yield Finding("teacher", f"teacher.api_key_env: {_key(teacher.api_key_env, has_key)}")
    limit = teacher.max_new_tokens or MAX_NEW_TOKENS
    return replace(asking, limit=limit, writer=_writer(engine, teacher, asking))


def _check_command(command: str, name: str) -> Iterator[Finding]:
    """Whether this machine has what serves, and the model for it."""
    program = split_command(command)[0]
    found = shutil.which(program)
    if found is None:
        yield Finding(
            "unknown here",
            f"teacher.serve: not known here: found no program {program}; needed on the machine "
            "that runs this: one that is on PATH; install it there, or correct the command",
        )
    else:
        yield Finding("teacher", f"teacher.serve: {found}")
    if not is_here(name, None, weights=True):
        yield Finding(
            "unknown here",
            f"teacher.model.name: not known here: {name} is no folder here, and not in the cache "
            f"of the hub; correct it, or {way_to_get(name, teacher=True)}; a server may also fetch "
            "it by itself",
        )


def _key(variable: str | None, has_key: bool) -> str:
    """Which key a server gets, for people, and never the key itself."""
    if variable is not None and has_key:
        return f"{variable} is set"
    if variable is not None:
        return f"{variable} is not set here; export {variable}=... before the run"
    if has_key:
        return f"empty, so the key in {DEFAULT_KEY} is sent"
    return f"empty, and {DEFAULT_KEY} is not set, so no key is sent"
