"""How fast the models of a run are: all of them in one pass at its end, taking turns.

Each question is asked of one model after the other, so that what else the machine does meets all of
them alike (`unspoken.measure.latency`). Models that another engine asks are not timed: a server has
a network and other users, and its own way of decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unspoken.common.interrupt import EXIT_INTERRUPTED, StopRequest, end_if_asked
from unspoken.common.progress import AnswersBar
from unspoken.data.example import Example, read_questions
from unspoken.measure.evaluate import EvaluateOptions, load_single_questions
from unspoken.measure.latency import SingleQuestions, take_turns
from unspoken.recipe import Recipe
from unspoken.recipe.layout import EVALUATION_FILE, LATENCY, LATENCY_FILE, MODEL, TEACHER, UNTRAINED
from unspoken.recipe.plan import OnlyMeasured, Phase, Plan, Training
from unspoken.recipe.records import Evaluation, Latency, SingleAnswers
from unspoken.run.data import Splits
from unspoken.run.folder import RunFolder
from unspoken.run.measure import model_in, untrained_limit
from unspoken.run.settings import changes

Loaders = dict[str, Callable[[], SingleQuestions]]
Models = dict[str, Training | OnlyMeasured]


def latency_stage(
    run: RunFolder, planned: Plan, splits: list[Splits], *, progress: bool = True
) -> None:
    """Times the models of every phase, and writes a latency.json for each.

    All processes call this; the main one times, while the others wait.

    Args:
        run, planned: of the run.
        splits: of each phase.
        progress: show a bar.
    """
    for phase in planned.phases:
        measured = splits[phase.number].measured
        if measured is not None and phase.recipe.evaluate.num_latency:
            _time_phase(run, planned, phase, measured[1], progress=progress)


def _time_phase(
    run: RunFolder, planned: Plan, phase: Phase, questions: Path, *, progress: bool
) -> None:
    """Times the models of one phase, if that is not done."""
    end_if_asked()
    folder, wanted = run.path / LATENCY / phase.key, phase.recipe.evaluate
    models: Models = {
        one.name: one
        for one in (*planned.trainings, *planned.only_measured)
        if one.phase == phase.number
    }

    settings = run.on_main(
        lambda: {
            "models": _evaluated(run, models),
            "num_latency": wanted.num_latency,
            "latency_seconds": wanted.latency_seconds,
        }
    )
    if run.on_main(lambda: _holds(run, folder, settings)):
        return
    run.did_something = True
    run.say(f"latency{f' ({phase.key})' if phase.key else ''}: running")

    def make() -> bool:
        if (folder / LATENCY_FILE).exists():
            run.set_aside(folder / LATENCY_FILE)
        examples = read_questions(questions, limit=wanted.limit)[: wanted.num_latency]
        loaders = {
            name: _loader(run, one, examples)
            for name, one in models.items()
            if name in settings["models"]
        }
        record = _take_turns(loaders, len(examples), phase.recipe, settings, progress=progress)
        if record is not None:
            record = replace(record, not_timed=_not_timed(planned))
            record.write(folder / LATENCY_FILE)
        return record is None

    if run.on_main(make):
        run.say("stopped by a signal; the same command times the models anew")
        raise SystemExit(EXIT_INTERRUPTED)


def _evaluated(run: RunFolder, models: Models) -> dict[str, Any]:
    """The settings of their evaluations, of those that have one."""
    found = {
        name: Evaluation.read(run.path / one.folder / EVALUATION_FILE)
        for name, one in models.items()
    }
    return {name: one.settings for name, one in found.items() if one is not None}


def _not_timed(planned: Plan) -> dict[str, str]:
    """The teacher, where another engine asks it."""
    teaching = planned.teaching
    if teaching is None or not teaching.is_asked_the_test:
        return {}
    engine = teaching.settings.engine
    return {TEACHER: f"whose answers come from engine {engine}, in its own way and at its own time"}


def _holds(run: RunFolder, folder: Path, settings: dict[str, Any]) -> bool:
    """Whether these models were timed, and nobody wants it done again; or there are none."""
    if not settings["models"]:
        return True
    known = Latency.read(folder / LATENCY_FILE)
    return (
        not run.is_forced(LATENCY) and known is not None and not changes(known.settings, settings)
    )


def _take_turns(
    loaders: Loaders,
    number: int,
    recipe: Recipe,
    settings: dict[str, Any],
    *,
    progress: bool,
) -> Latency | None:
    """The times of these models; None where a signal came first."""
    begin = time.perf_counter()
    shown = "latency" if progress else None
    with AnswersBar(number * len(loaders), 0, shown, "answer") as bar, StopRequest() as stop:
        taken = take_turns(
            loaders,
            number,
            recipe.evaluate.latency_seconds,
            bar=bar,
            stopping=lambda: stop.requested,
        )
        if stop.heed():
            return None
    return Latency(
        settings=settings,
        models={
            name: SingleAnswers(
                seconds=[asked.seconds for asked in answers],
                num_tokens=[asked.num_tokens for asked in answers],
            )
            for name, answers in taken.models.items()
        },
        turns=taken.turns,
        wall_seconds=round(time.perf_counter() - begin, 3),
    )


def _loader(
    run: RunFolder, one: Training | OnlyMeasured, examples: list[Example]
) -> Callable[[], SingleQuestions]:
    """A function that loads a model as it is evaluated."""
    recipe, evaluated = one.recipe, Evaluation.read(run.path / one.folder / EVALUATION_FILE)
    dtype = (evaluated.dtype if evaluated else None) or recipe.evaluate.dtype
    model, template = model_in(run.path / one.folder / MODEL, recipe.model), None
    limit = recipe.evaluate.max_new_tokens
    if isinstance(one, OnlyMeasured) and one.name == UNTRAINED:
        model, template = recipe.model, recipe.template
        limit = untrained_limit(recipe, run.path / one.source / MODEL)

    def load() -> SingleQuestions:
        import torch

        torch.manual_seed(recipe.seed)  # of weights that are drawn, the same as training's
        options = EvaluateOptions(limit, num_latency=len(examples), choices=recipe.data.choices)
        return load_single_questions(model, examples, options, template=template, dtype=dtype)

    return load
