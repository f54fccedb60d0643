"""The models of a run for every budget: its levels of removal, and what is known of each.

The frontier of a run goes from the model that writes its whole thought to the one that writes none
of it. Levels in between are there as training left them, or trained on (`unspoken.run.frontier`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from unspoken.common.errors import DataError, SettingError
from unspoken.measure.predictions import with_latencies
from unspoken.recipe import layout, load_recipe
from unspoken.recipe.evaluation_records import Choice, Choices, Evaluation, Latency
from unspoken.recipe.levels import (
    kept_levels,
    level_name,
    level_number,
    read_level,
    standing_model,
    trained_levels,
)
from unspoken.recipe.named_model import command_to_finish
from unspoken.recipe.plan import PlannedFrontier, plan
from unspoken.recipe.records import TrainingRecord


@dataclass(frozen=True)
class Level:
    """One model that may be chosen.

    Attributes:
        name: of its level of removal: `0007`, or `all`.
        folder: in the frontier, for what is measured of it.
        model: folder of the model.
        num_steps: for which it was trained at this level until it was good; None: it was left as
            soon as the schedule went on.
        validation, test: what was measured, or None; the test is asked of chosen ones only.
        choices: the rules that chose it.
        seconds: for validation questions that it was asked one at a time, all levels taking turns,
            so that the n-th of one belongs to the n-th of another; empty: it was not timed so.
        turns: as `Latency` has it.
    """

    name: str
    folder: Path
    model: Path
    num_steps: int | None = None
    validation: Evaluation | None = None
    test: Evaluation | None = None
    choices: tuple[Choice, ...] = ()
    seconds: tuple[float, ...] = ()
    turns: list[int] | None = None


def read_levels(run: Path, frontier: PlannedFrontier) -> list[Level]:
    """The models of a run that may be chosen, the whole thought first.

    Args:
        run: the run folder.
        frontier: of the phase, as the run's plan has it.
    """
    internalized = run / frontier.source
    record = TrainingRecord.read(internalized / layout.STAGE_FILE)
    if record is None or not record.is_done:
        return []
    models: dict[str, tuple[Path, TrainingRecord | None]] = {
        name: (path, None) for name, path in kept_levels(internalized).items()
    }
    models[str(record.level)] = (internalized / layout.MODEL, record)
    if frontier.explicit is not None:
        place = run / frontier.explicit
        explicit = TrainingRecord.read(place / layout.STAGE_FILE)
        if explicit is not None and explicit.is_done:
            models[level_name(0)] = (place / layout.MODEL, explicit)
    if frontier.num_levels:  # else they are an earlier recipe's
        place = run / frontier.folder
        trained = trained_levels(place, record)
        models |= {name: (place / name / layout.MODEL, own) for name, own in trained.items()}
    choices = Choices.read(run / frontier.folder / layout.CHOICES_FILE) or Choices()
    levels = [
        _read_level(run / frontier.folder / name, model, trained, record.model_sha256, choices)
        for name, (model, trained) in models.items()
    ]
    latency = Latency.read(run / frontier.folder / layout.LATENCY_FILE)
    timed = levels if latency is None else [_with_latency(level, latency) for level in levels]
    return sorted(timed, key=lambda level: level_number(level.name))


def _with_latency(level: Level, latency: Latency) -> Level:
    """The level with what its turns took, if it is still the one that was timed then."""
    if level.validation is None or not latency.is_of(level.name, level.validation):
        return level
    seconds = tuple(latency.models[level.name].seconds)
    validation = with_latencies(level.validation, seconds)
    return replace(level, validation=validation, seconds=seconds, turns=latency.turns)


def _read_level(
    folder: Path,
    model: Path,
    trained: TrainingRecord | None,
    internalized: str | None,
    choices: Choices,
) -> Level:
    """A level, with what was measured of these very weights.

    Args:
        folder: of the level in the frontier.
        model: folder of its model.
        trained: at this level, until it was good.
        internalized: SHA-256 of the internalized model's weights, which says what run a level that
            was not trained on is from.
        choices: of all levels.
    """
    files = {"valid": folder / layout.VALIDATION_FILE, "test": test_evaluation(folder, model)}
    known: dict[str, Evaluation | None] = dict.fromkeys(files)
    for split, file in files.items():
        found = Evaluation.read(file)
        key, digest = "training_sha256", internalized
        if trained is not None:
            key, digest = "model_sha256", trained.model_sha256
        if found is not None and found.split == split and found.settings.get(key) == digest:
            known[split] = found
    return Level(
        name=folder.name,
        folder=folder,
        model=model,
        num_steps=None if trained is None else trained.state.step,
        validation=known["valid"],
        test=known["test"],
        choices=tuple(one for one in choices.choices if one.level == folder.name),
    )


def test_evaluation(folder: Path, model: Path) -> Path:
    """Where the test of a level's model stands: beside a model that the run tests anyway.

    Args:
        folder: of the level in the frontier.
        model: folder of its model.
    """
    beside = model.parent / layout.EVALUATION_FILE
    is_own = model.name == layout.MODEL and model.parent != folder
    return beside if is_own else folder / layout.EVALUATION_FILE


def read_frontier(run: Path) -> PlannedFrontier:
    """The frontier of a run's last phase.

    Raises:
        DataError: it is no run folder, or removes no thought bit by bit.
        RecipeError: its recipe.yaml cannot be used.
    """
    planned = plan(load_recipe(run / layout.RECIPE_FILE))
    if not planned.frontiers:
        raise DataError(
            f"{run}: found no levels of removal; needed: the folder of a run that internalizes bit "
            "by bit; give another"
        )
    return planned.frontiers[-1]


def require_levels(run: Path, frontier: PlannedFrontier) -> list[Level]:
    """`read_levels`, of a run that has some.

    Raises:
        DataError: the training that they are of is not finished.
    """
    levels = read_levels(run, frontier)
    if not levels:
        raise DataError(
            f"{run / frontier.source}: found no finished training; needed: an internalized "
            f"model and its levels; finish the run first: {command_to_finish(run)}"
        )
    return levels


def find_level_model(run: Path, frontier: PlannedFrontier, name: str) -> Path:
    """The model folder of a level of a run.

    Raises:
        DataError: the run is not finished.
        SettingError: there is no such level.
    """
    levels = {level.name: level.model for level in require_levels(run, frontier)}
    wanted = read_level(name)
    if wanted not in levels:
        known = ", ".join(levels)
        raise SettingError("level", found=name, needed=f"one of {known}", remedy="correct it")
    return standing_model(levels[wanted])
