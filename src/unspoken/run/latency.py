"""How fast the models of a run are: all of them in one pass at its end, taking turns.

Each question is asked of one model after the other, so that what else the machine does meets all of
them alike (`unspoken.measure.latency`). Models that another engine asks are not timed: a server has
a network and other users, and its own way of decoding.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from unspoken.common.interrupt import EXIT_INTERRUPTED, StopRequest, end_if_asked
from unspoken.common.progress import AnswersBar
from unspoken.data.example import Example, read_questions
from unspoken.measure.evaluate import EvaluateOptions, load_single_questions
from unspoken.measure.latency import SingleQuestions, take_turns
from unspoken.recipe import Model, Recipe
from unspoken.recipe.evaluation_records import Evaluation, Latency, SingleAnswers
from unspoken.recipe.layout import EVALUATION_FILE, LATENCY, LATENCY_FILE, MODEL, TEACHER, UNTRAINED
from unspoken.recipe.plan import OnlyMeasured, Phase, Plan, PlannedFrontier, Training
from unspoken.recipe.sections import TemplateName
from unspoken.report.read.frontier import Level
from unspoken.run.data import Splits
from unspoken.run.folder import RunFolder
from unspoken.run.left_models import restore_model
from unspoken.run.measure import model_in, untrained_limit
from unspoken.run.settings import changes

Loaders = dict[str, Callable[[], SingleQuestions]]
Models = dict[str, Training | OnlyMeasured]


def latency_stage(run: RunFolder, planned: Plan, splits: list[Splits]) -> None:
    """Times the models of every phase, and writes a latency.json for each.

    All processes call this; the main one times, while the others wait.

    Args:
        run, planned: of the run.
        splits: of each phase.
    """
    for phase in planned.phases:
        measured = splits[phase.number].measured
        if measured is not None and phase.recipe.evaluate.num_latency:
            _time_phase(run, planned, phase, measured[1])


def time_levels(
    run: RunFolder, frontier: PlannedFrontier, levels: Sequence[Level], questions: Path
) -> None:
    """Times the levels of a frontier, and writes a latency.json beside them.

    All processes call this; the main one times, while the others wait.

    Args:
        run, frontier: of the run.
        levels: of the frontier; those without a validation are left out.
        questions: file of the validation questions.
    """
    evaluated = {level.name: level.validation for level in levels if level.validation is not None}
    places = {level.name: level.model for level in levels}

    def load(name: str, examples: list[Example]) -> SingleQuestions:
        model = model_in(places[name], frontier.recipe.model)
        return _load(model, frontier.recipe, examples, evaluated[name].dtype)

    if frontier.recipe.evaluate.num_latency:
        settings = {name: one.settings for name, one in evaluated.items()}
        place = _Place(run.path / frontier.folder, str(frontier.folder), questions, places, {})
        _time(run, place, frontier.recipe, settings, load)


def _time_phase(run: RunFolder, planned: Plan, phase: Phase, questions: Path) -> None:
    """Times the models of one phase, if that is not done."""
    end_if_asked()
    models: Models = {
        one.name: one
        for one in (*planned.trainings, *planned.only_measured)
        if one.phase == phase.number
    }

    def load(name: str, examples: list[Example]) -> SingleQuestions:
        return _load_as_evaluated(run, models[name], examples)

    evaluated = run.on_main(lambda: _evaluated(run, models))
    folders = {
        name: run.path / one.folder / MODEL for name, one in models.items() if name != UNTRAINED
    }
    not_timed = _not_timed(planned)
    place = _Place(run.path / LATENCY / phase.key, phase.key, questions, folders, not_timed)
    _time(run, place, phase.recipe, evaluated, load)


class _Place(NamedTuple):
    """Where some models are timed: the folder of their latency.json, a name, their questions.

    `models` has the folders of those that were trained, `not_timed` others, and why they are not
    timed.
    """

    folder: Path
    name: str
    questions: Path
    models: dict[str, Path]
    not_timed: dict[str, str]


def _time(
    run: RunFolder,
    place: _Place,
    recipe: Recipe,
    evaluated: dict[str, Any],
    load: Callable[[str, list[Example]], SingleQuestions],
) -> None:
    """Times models, if that is not done; removed ones keep their times until others are timed.

    Args:
        run, recipe, place: of the run, the phase and its models.
        evaluated: the settings of each model's evaluation, by name.
        load: loads the model of a name, to be asked these questions.
    """
    wanted, file = recipe.evaluate, place.folder / LATENCY_FILE
    settings = {
        "models": evaluated,
        "num_latency": wanted.num_latency,
        "latency_seconds": wanted.latency_seconds,
    }
    if run.on_main(lambda: _holds(run, file, settings)):
        run.drop_replaced(file)  # what a kill left
        return
    removed = run.on_main(lambda: _removed(run, place, evaluated))
    evaluated = {name: one for name, one in evaluated.items() if name not in removed}
    settings["models"] = evaluated
    if removed and run.on_main(lambda: _holds(run, file, settings)):
        return
    run.did_something = True
    run.say(f"latency{f' ({place.name})' if place.name else ''}: running")

    def make() -> bool:
        if file.exists():
            run.old.take(file)
        examples = read_questions(place.questions, limit=wanted.limit)[: wanted.num_latency]
        loaders = {name: functools.partial(load, name, examples) for name in evaluated}
        record = _take_turns(run, loaders, len(examples), recipe, settings)
        if record is not None:
            replace(record, not_timed={**place.not_timed, **removed}).write(file)
            run.old.drop_replaced(file)
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


def _removed(run: RunFolder, place: _Place, names: Iterable[str]) -> dict[str, str]:
    """Of these models those that are not there any more, as `_Place.not_timed` has others."""
    folders = {name: place.models[name] for name in names if name in place.models}
    gone = [name for name, folder in folders.items() if not restore_model(run, folder)]
    return dict.fromkeys(gone, "whose model was removed")


def _holds(run: RunFolder, file: Path, settings: dict[str, Any]) -> bool:
    """Whether these models were timed, and nobody wants it done again; or there are none."""
    if not settings["models"]:
        return True
    known = Latency.read(file)
    return (
        not run.is_forced(LATENCY) and known is not None and not changes(known.settings, settings)
    )


def _take_turns(
    run: RunFolder, loaders: Loaders, number: int, recipe: Recipe, settings: dict[str, Any]
) -> Latency | None:
    """The times of these models; None where a signal came first."""
    begin = time.perf_counter()
    shown = run.bar("latency")
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


def _load_as_evaluated(
    run: RunFolder, one: Training | OnlyMeasured, examples: list[Example]
) -> SingleQuestions:
    """A model of a phase, as it was evaluated."""
    recipe, evaluated = one.recipe, Evaluation.read(run.path / one.folder / EVALUATION_FILE)
    dtype = evaluated.dtype if evaluated else None
    if isinstance(one, OnlyMeasured) and one.name == UNTRAINED:
        limit = untrained_limit(run, one)
        own = recipe.template
        return _load(recipe.model, recipe, examples, dtype, limit=limit, template=own)
    return _load(model_in(run.path / one.folder / MODEL, recipe.model), recipe, examples, dtype)


def _load(
    model: Model,
    recipe: Recipe,
    examples: list[Example],
    dtype: str | None,
    *,
    limit: int | None = None,
    template: TemplateName | None = None,
) -> SingleQuestions:
    """A model that is to be asked these questions; None: as the recipe or its card says."""
    import torch

    torch.manual_seed(recipe.seed)  # of weights that are drawn, the same as training's
    options = EvaluateOptions(
        limit or recipe.evaluate.max_new_tokens,
        num_latency=len(examples),
        choices=recipe.data.choices,
    )
    dtype = dtype or recipe.evaluate.dtype
    return load_single_questions(model, examples, options, template=template, dtype=dtype)
