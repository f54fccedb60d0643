"""The teacher: whether it can be asked, what it will write at the most, and what that costs."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from unspoken.check.data import Sample
from unspoken.check.learner import Learner, build
from unspoken.check.student import steps_line, training_of
from unspoken.check.writing import Asking, lines_of_cost, lines_written, request_for
from unspoken.common.errors import DataError, ModelError, RecipeError, settings_of
from unspoken.data.example import Example
from unspoken.data.overlap import QuestionIndex
from unspoken.models.card import ModelCard
from unspoken.models.local import base_folder, local_folder
from unspoken.models.template import Template
from unspoken.recipe import Recipe, Teacher
from unspoken.recipe.plan import plan
from unspoken.teach.engines import Engine
from unspoken.teach.engines.make import IN_RECIPE, EngineOptions, make_engine
from unspoken.teach.engines.openai import DEFAULT_KEY, OpenAIEngine
from unspoken.teach.engines.worked import solution
from unspoken.teach.prompts import PromptWriter, make_prompt_writer
from unspoken.train.checkpoint import model_card

_DEFAULT_LIMIT = 512  # tokens, for a teacher whose unspoken.json says nothing


def check_teacher(recipe: Recipe, teacher: Teacher, sample: Sample) -> Generator[str, None, Sample]:
    """Yields what is known of the teacher; returns what the student learns from at the most.

    Raises:
        UnspokenError: the teacher cannot be asked as the recipe stands; the message says what to
            do.
    """
    _require_pattern(recipe)
    total, share = sample.num_train, teacher.num_train or 0
    if total and total <= share:
        raise DataError(
            f"teacher.num_train: found {share}, but there are {total} training examples; needed: "
            "some that are left for the teacher to be asked; lower it"
        )
    # of a task there may be fewer here than the teacher learns from; any of them do then
    questions = list(sample.examples[share:] or sample.examples)
    asking = Asking(questions, total - share, 0, None, None)
    if total:
        yield f"teacher is asked: {total - share:,} questions, {_gold(recipe, teacher, questions)}"
    yield from _warnings(recipe, sample)
    teaching = plan(recipe).teaching
    if teaching is not None and teaching.training is not None:
        learner = yield from _from_scratch(recipe, teacher, teaching.training.recipe, sample)
        if learner is not None:
            asking = replace(asking, limit=_scratch_limit(recipe, teacher, learner))
    elif teacher.engine == "worked":
        _require_solutions(recipe, teacher, questions)
        yield "teacher: worked solutions; no model is asked and no tokens are paid for"
    elif teacher.engine == "openai":
        asking = yield from _server(teacher, asking)
    else:
        asking = yield from _folder(teacher, asking)
    if asking.limit is not None and not teacher.from_scratch and teacher.evaluate:
        limits = [n for n in (sample.num_asked, recipe.evaluate.limit) if n is not None]
        asking = replace(asking, num_test=min(limits, default=0))
    if total and asking.limit is not None:
        yield from lines_written(teacher, asking)
        if teacher.engine == "openai":
            yield from lines_of_cost(recipe, teacher, asking)
    return _kept(recipe, teacher, sample, asking)


def _kept(recipe: Recipe, teacher: Teacher, sample: Sample, asking: Asking) -> Sample:
    """One example for each trace, as if all were kept."""
    per_question = min(
        teacher.samples_per_question, recipe.vet.max_per_question or teacher.samples_per_question
    )
    known = any(one.thought for one in asking.questions)
    if not known and teacher.engine == "worked":  # as `unspoken.teach.engines.worked` solves them
        known = True
        asking = replace(asking, questions=[_solved(one) for one in asking.questions])
    own = known and (teacher.from_scratch or teacher.engine == "worked")
    return replace(
        sample,
        examples=asking.questions,
        num_train=asking.num_questions * per_question,
        thoughts="learned" if own else "stand-in" if known else "none",
    )


def _solved(question: Example) -> Example:
    from unspoken.measure.answers import split_answer

    thought, answer = split_answer(solution(request_for(0, question, None))) or ("", "")
    return replace(question, thought=thought, answer=question.answer or answer)


def _warnings(recipe: Recipe, sample: Sample) -> Iterator[str]:
    """What the traces may be dropped for, or may not fit, whatever the teacher writes."""
    if recipe.schedule.positions == "gap" and recipe.vet.pattern is None:
        yield (
            "warning: schedule.positions: gap needs thoughts of one length, and vet.pattern is "
            "empty; a teacher that writes others stops the run after it was asked; set vet.pattern"
        )
    files = [path for path in sample.files if path.suffix != ".txt"]
    if files:
        index = QuestionIndex(files, recipe.vet.overlap)
        found = sum(index.find(one.question) is not None for one in sample.examples)
        if found:
            yield (
                f"warning: {found:,} questions are like one that models are measured with "
                "(vet.overlap), so their traces will be dropped; leave them out and save the tokens"
            )


def _require_pattern(recipe: Recipe) -> None:
    try:
        re.compile(recipe.vet.pattern or "")
    except re.error as error:
        raise RecipeError(
            f"vet.pattern: found {recipe.vet.pattern!r}, which is no regular expression ({error}); "
            "needed: one that matches a whole thought; correct it"
        ) from None


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
            f"vet.majority: found it with {some} of the questions answered and one sample of each, "
            "so that no vote is possible; needed: more samples; set teacher.samples_per_question, "
            "such as 5, and teacher.temperature, such as 0.7"
        )
    return f"{some} with a gold answer: the majority of samples decides the others"


def _from_scratch(
    recipe: Recipe, teacher: Teacher, learning: Recipe, sample: Sample
) -> Generator[str, None, Learner | None]:
    """What the teacher's own training is, as `unspoken run` does it."""
    share = teacher.num_train or 0
    lessons = list(sample.examples[:share])
    for line, one in enumerate(lessons, start=1):
        if not (one.answer and (one.thought or recipe.data.allow_empty_thoughts)):
            raise DataError(
                f"{recipe.data.train}:{line}: found no {'thought' if one.answer else 'answer'}; "
                f"needed: worked solutions in the first {share} lines, from which a teacher from "
                "scratch learns (teacher.num_train); add them, or name a trained teacher with "
                "teacher.model.name"
            )
    own = replace(sample, examples=lessons, num_train=share, thoughts="learned")
    lines = build(learning, own)
    while True:  # its lines, marked as the teacher's
        try:
            yield f"[teacher] {next(lines)}"
        except StopIteration as end:
            learner: Learner | None = end.value
            break
    count = share if learner is None else round(share * learner.share)
    yield f"[teacher] {steps_line(training_of('teacher', learning, count))}"
    return learner


def _scratch_limit(recipe: Recipe, teacher: Teacher, learner: Learner) -> int:
    """Tokens that its unspoken.json will allow a trace."""
    template = Template(recipe.template, learner.tokenizer)
    card = model_card(learner.dataset, learner.tokenizer, template, removed=0, step=0)
    room = getattr(learner.model.config, "max_position_embeddings", None)
    longest = int(learner.dataset.prompt_lengths.max())
    fits = card.max_new_tokens if room is None else min(card.max_new_tokens, room - longest)
    return teacher.max_new_tokens or fits


def _require_solutions(recipe: Recipe, teacher: Teacher, questions: list[Example]) -> None:
    if teacher.model is not None:
        raise RecipeError(
            "teacher.model: found it with teacher.engine worked, which asks no model; leave it out"
        )
    make_prompt_writer("none", teacher.system_prompt, teacher.few_shot)
    for index, question in enumerate(questions):
        if not (recipe.data.task != "jsonl" or question.thought):
            solution(request_for(index, question, None))


def _folder(teacher: Teacher, asking: Asking) -> Generator[str, None, Asking]:
    """A local teacher; that it is not here is said, and not an error."""
    model = teacher.model
    name = "" if model is None else str(model.name)
    limit = teacher.max_new_tokens
    try:
        folder = local_folder(name, "teacher.model.name")
        base_folder(folder, "teacher.model.name")
    except ModelError as error:
        yield f"teacher: not known here: {error}"
        return replace(asking, limit=limit or _DEFAULT_LIMIT)
    card = ModelCard.read(folder)
    options = EngineOptions(
        teacher_dir=name,
        prompt=teacher.prompt,
        trust_remote_code=model is not None and model.trust_remote_code,
    )
    with settings_of(IN_RECIPE):
        engine = make_engine("transformers", options)
    yield f"teacher: {name}, in {folder}, asked in style {engine.style}"
    return replace(
        asking,
        limit=limit or (card.max_new_tokens if card is not None else _DEFAULT_LIMIT),
        writer=_writer(engine, teacher),
    )


def _writer(engine: Engine, teacher: Teacher) -> PromptWriter:
    return make_prompt_writer(engine.style, teacher.system_prompt, teacher.few_shot)


def _server(teacher: Teacher, asking: Asking) -> Generator[str, None, Asking]:
    """A teacher on a server, which is not contacted; of the key only whether there is one."""
    keys = {"base_url", "concurrency", "requests_per_minute", "max_cost", "price_prompt"}
    options: dict[str, Any] = teacher.model_dump(include=keys | {"price_completion", "prompt"})
    has_key = bool(os.environ.get(teacher.api_key_env or DEFAULT_KEY, "").strip())
    if has_key:
        options["api_key_env"] = teacher.api_key_env
    name = None if teacher.model is None else teacher.model.name
    with settings_of(IN_RECIPE):
        engine = make_engine("openai", EngineOptions(model=name, **options))
    where = engine.server.shown if isinstance(engine, OpenAIEngine) else ""
    yield f"teacher: {name} at {where} (not contacted), asked in style {engine.style}"
    if teacher.api_key_env is not None:
        yield f"teacher.api_key_env: {teacher.api_key_env} is " + (
            "set" if has_key else f"not set here; export {teacher.api_key_env}=... before the run"
        )
    elif has_key:
        yield f"teacher.api_key_env: empty, so the key in {DEFAULT_KEY} is sent"
    else:
        yield f"teacher.api_key_env: empty, and {DEFAULT_KEY} is not set, so no key is sent"
    limit = teacher.max_new_tokens or _DEFAULT_LIMIT
    return replace(asking, limit=limit, writer=_writer(engine, teacher))
