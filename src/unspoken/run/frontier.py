"""The frontier of a run: levels of removal trained until they are good, measured, and chosen from.

Training keeps the best model of each level on its way down, and leaves a level as soon as the
schedule lets it. A level that is to be used is trained from the other end: the internalized model,
in a copy, learns to write that much of the thought again, for a fixed number of steps in which the
learning rate falls to 0. It keeps what it calculates without writing, so it needs far fewer steps
than the level as it was left (docs/choosing.md has figures).

All levels answer the validation questions, by which one is chosen, and take turns in being timed.
The test questions are asked of chosen levels only, and of each once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from unspoken.common.errors import DataError, SettingError, setting
from unspoken.common.locks import locked
from unspoken.parallel.world import join_processes
from unspoken.recipe import layout
from unspoken.recipe.evaluation_records import Choice, Choices, Evaluation
from unspoken.recipe.levels import ALL, kept_levels, level_name, level_number
from unspoken.recipe.named_model import command_to_finish
from unspoken.recipe.plan import PlannedFrontier
from unspoken.recipe.records import TrainingRecord
from unspoken.report.read.frontier import Level, read_levels, require_levels, test_evaluation
from unspoken.run.data import Splits
from unspoken.run.folder import RunFolder
from unspoken.run.latency import time_levels
from unspoken.run.left_models import left_weights
from unspoken.run.measure import ask, asking_settings, is_to_be_asked, model_in
from unspoken.run.student import train_stage


def frontier_stage(run: RunFolder, frontier: PlannedFrontier, splits: Splits) -> None:
    """Trains the levels that a recipe asks for, and measures all of them by validation."""
    if not frontier.num_levels:
        return
    for name in run.on_main(lambda: names_to_train(run.path, frontier)):
        _train_level(run, frontier, splits, name)
    if splits.valid is None:
        run.say("frontier: there are no validation questions, so its levels are not measured")
        return
    _validate(run, frontier, splits)


def _validate(run: RunFolder, frontier: PlannedFrontier, splits: Splits) -> list[Level]:
    """All levels, with their answers to the validation questions and the times of some of them."""
    for level in run.on_main(lambda: read_levels(run.path, frontier)):
        measure_level(run, frontier, splits, level, "valid")
    levels = run.on_main(lambda: read_levels(run.path, frontier))
    time_levels(run, frontier, levels, splits.held_out["valid"])
    return run.on_main(lambda: read_levels(run.path, frontier))


def names_to_train(run: Path, frontier: PlannedFrontier) -> list[str]:
    """The levels between the whole thought and the internalized model, as evenly apart as can be.

    The first one is among them where no other model writes its whole thought. Steps of a thought
    are not counted in a record, so with unit `step` those levels are taken that were kept.

    Args:
        run: the run folder.
        frontier: of the phase.
    """
    record = TrainingRecord.read(run / frontier.source / layout.STAGE_FILE)
    if record is None or record.level is None:
        return []
    first = [] if frontier.explicit is not None else [level_name(0)]
    if frontier.recipe.schedule.unit == "token":
        gone = level_number(record.level)
        end = record.longest_thought or 0 if gone == ALL else gone
        between = [level_name(removed) for removed in range(1, end)]
    else:
        ends = (level_name(0), level_name(ALL), record.level)
        between = [name for name in kept_levels(run / frontier.source) if name not in ends]
    return [*first, *spread(between, frontier.num_levels)]


def spread(names: Sequence[str], count: int) -> list[str]:
    """So many of the names, as far from each other as from both ends.

    Example:
        >>> spread(["0001", "0002", "0003", "0004", "0005"], 2)
        ['0002', '0004']
        >>> spread(["0001", "0004"], 5), spread(["0001", "0002", "0003"], 1)
        (['0001', '0004'], ['0002'])
    """
    if count >= len(names):
        return list(names)
    distance = (len(names) + 1) / (count + 1)
    return [names[math.floor(number * distance + 0.5) - 1] for number in range(1, count + 1)]


def _train_level(run: RunFolder, frontier: PlannedFrontier, splits: Splits, name: str) -> None:
    start = run.on_main(lambda: TrainingRecord.read(run.path / frontier.source / layout.STAGE_FILE))
    if start is None:
        return
    recipe, place = frontier.at(name), run.path / frontier.source / layout.MODEL
    train_stage(
        run,
        "frontier",
        recipe.model_copy(update={"model": model_in(place, recipe.model)}),
        splits,
        run.path / frontier.folder / name,
        started_from=start,
    )


def measure_level(
    run: RunFolder, frontier: PlannedFrontier, splits: Splits, level: Level, split: str
) -> None:
    """Asks a level's model the questions of a split, where it has not answered them already.

    All processes call this.

    Args:
        run, frontier, splits: of the run; the split is there.
        level: of the frontier.
        split: `valid` or `test`.
    """
    recipe, file = frontier.recipe, level.folder / layout.VALIDATION_FILE
    if split == "test":
        file = test_evaluation(level.folder, level.model)
    settings = {
        "model_sha256": run.on_main(lambda: _asked_weights(level, file)),
        **asking_settings(recipe, splits, split),
    }
    if level.num_steps is None:  # what run the level is from; a trained model says it itself
        source = TrainingRecord.read(run.path / frontier.source / layout.STAGE_FILE)
        settings["training_sha256"] = None if source is None else source.model_sha256
    if is_to_be_asked(run, file, settings, level.model):
        model, questions = model_in(level.model, recipe.model), splits.held_out[split]
        title = f"{split} {level.name}"
        ask(run, recipe, model, questions, file, settings=settings, title=title)


def _asked_weights(level: Level, file: Path) -> str | None:
    """The hash of a level's weights; of removed ones that no record names, as they were asked.

    Args:
        level: of the frontier.
        file: with its evaluation, if it has been asked; what run it is of is compared as well.
    """
    is_gone = level.num_steps is None and not layout.has_weights(level.model)
    known = Evaluation.read(file) if is_gone else None
    return left_weights(level.model) if known is None else known.settings.get("model_sha256")


def choose_in_run(
    folder: Path,
    frontier: PlannedFrontier,
    *,
    within: float | None = None,
    tokens: float | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[list[Level], Level | None]:
    """All levels with their validation, and the one that is chosen by it, with its test.

    What is not measured yet is measured now, and the choice is kept in the run folder. In a folder
    that cannot be written, such as another's, it is made of what is there.

    Args:
        folder: of the run.
        frontier: of the phase.
        within: the cheapest level that is at most so many percentage points below the best.
        tokens: the best level that writes at most so many tokens a question.
        progress: show bars.
        say: gets a line for each model that is asked.

    Returns:
        The levels, whole thought first; the chosen one, None without `within` and `tokens`.

    Raises:
        DataError: the run has no levels, or no validation questions.
        SettingError: both rules are given, one has no sense, or no level writes so few tokens.
    """
    _require_rule(within, tokens)  # before minutes of measuring
    splits = _splits_of(folder, frontier)
    recipe = frontier.recipe.model_copy(update={"output": folder})
    run = RunFolder(recipe, join_processes(), progress=progress, say=say)
    if not layout.can_be_written(folder):
        levels = require_levels(run.path, frontier)
        if not any(level.validation for level in levels):
            layout.require_writable(folder)
        say(f"{folder}: cannot be written, so nothing more is measured, and no choice is kept")
        if (choice := pick(levels, within=within, tokens=tokens)) is None:
            return levels, None
        chosen = next(level for level in levels if level.name == choice.level)
        return levels, replace(chosen, choices=(choice,))
    with locked(folder / layout.LOCKED):
        return _choose(run, frontier, splits, within=within, tokens=tokens)


def _choose(
    run: RunFolder,
    frontier: PlannedFrontier,
    splits: Splits,
    *,
    within: float | None,
    tokens: float | None,
) -> tuple[list[Level], Level | None]:
    """`choose_in_run`, with the run folder locked."""
    require_levels(run.path, frontier)
    levels = _validate(run, frontier, splits)
    choice = pick(levels, within=within, tokens=tokens)
    if choice is None:
        return levels, None
    file = run.path / frontier.folder / layout.CHOICES_FILE
    (Choices.read(file) or Choices()).having(choice).write(file)
    chosen = next(level for level in levels if level.name == choice.level)
    if splits.test is not None:
        measure_level(run, frontier, splits, chosen, "test")
    levels = read_levels(run.path, frontier)
    return levels, next(level for level in levels if level.name == choice.level)


def _splits_of(run: Path, frontier: PlannedFrontier) -> Splits:
    """The questions of a phase, as the run made them."""
    folder = run / layout.DATA / frontier.key
    splits = Splits.read(folder, run)
    if splits is None:
        raise DataError(
            f"{folder / layout.STAGE_FILE}: not there; needed: a run whose data are made; finish "
            f"it first: {command_to_finish(run)}"
        )
    if splits.valid is None:
        raise DataError(
            f"{run}: found no validation questions; needed: some, because a model that is chosen "
            f"by the test questions looks better than it is; give {setting('data.valid')} or "
            f"{setting('data.num_valid')} and run again"
        )
    return splits


def pick(
    levels: Sequence[Level], *, within: float | None = None, tokens: float | None = None
) -> Choice | None:
    """The level that a rule chooses by validation; arguments as in `choose_level`.

    Raises:
        DataError: the validation questions have no gold answers.
        SettingError: both rules are given, one has no sense, or no level writes so few tokens.
    """
    if within is None and tokens is None:
        return None
    _require_rule(within, tokens)
    known = _known_figures(levels)
    if within is not None:
        least = max(accuracy for accuracy, _, _ in known) - within / 100
        good = [one for one in known if one[0] >= least - 1e-9]
        return Choice("within", within, min(good, key=lambda one: (one[1], -one[0]))[2])
    limit = float(tokens or 0)
    short = [one for one in known if one[1] <= limit]
    if not short:
        fewest = min(mean for _, mean, _ in known)
        raise SettingError(
            "tokens",
            found=f"{limit:g}",
            needed=f"at least {math.ceil(10 * fewest) / 10:g}: the shortest answers of this run "
            f"have {fewest:g}",
            remedy="raise it",
        )
    return Choice("tokens", limit, max(short, key=lambda one: (one[0], -one[1]))[2])


def _require_rule(within: float | None, tokens: float | None) -> None:
    """Refuses rules that no levels could be chosen by, whatever is measured of them."""
    if within is not None and tokens is not None:
        raise SettingError(
            "within",
            found=f"{within:g} with {setting('tokens', f'{tokens:g}')}",
            needed="one of the two",
            remedy="leave one out",
        )
    if tokens is not None and not 0 < tokens < math.inf:
        raise SettingError(
            "tokens", found=f"{tokens:g}", needed="a finite number, above 0", remedy="correct it"
        )
    if within is not None and not 0 <= within <= 100:
        raise SettingError(
            "within", found=f"{within:g}", needed="0 to 100 points", remedy="correct it"
        )


def _known_figures(levels: Sequence[Level]) -> list[tuple[float, float, str]]:
    """Accuracy and tokens by validation, and the name, of the levels that have them."""
    measured = [(level.validation, level.name) for level in levels]
    known = [
        (one.accuracy, one.mean_tokens, name)
        for one, name in measured
        if one is not None and one.accuracy is not None and one.mean_tokens is not None
    ]
    if not known:
        raise DataError(
            "the validation questions have no gold answers, so no level can be chosen by them; "
            "needed: answers; add them and run again"
        )
    return known
