"""Levels of removal: how much of the thought is gone, how that is spelled, where its model stands.

A level is a number of tokens (or steps) that are gone, or `ALL`. Files and records call it `0007`
or `all`, and this is its name; people call it 7, and `RUN:level-7` is its model.
"""

from __future__ import annotations

from pathlib import Path

from unspoken.recipe.layout import LEVEL, LEVELS, STAGE_FILE, has_weights
from unspoken.recipe.records import TrainingRecord

#: More than any thought has: everything is removed.
ALL = 2**30
#: What a level begins with in the name of a run's model; then its number, or "all".
SPOKEN = "level-"


def level_name(removed: int) -> str:
    """The name of a level: `0007`, or `all`."""
    return "all" if removed >= ALL else f"{removed:04d}"


def is_level(name: str) -> bool:
    """Whether this is a name that `level_name` gives."""
    return name == "all" or (name.isdecimal() and name == level_name(int(name)))


def level_number(name: str) -> int:
    """What is gone at the level of this name; the other way round than `level_name`."""
    return ALL if name == "all" else int(name)


def spoken_level(name: str) -> str:
    """A level as people call it: `7` for 0007, `all`."""
    return name.lstrip("0") or "0"


def read_level(text: str) -> str:
    """The name of the level that a person gave as 7, 0007, level-7 or all; it need not be there."""
    number = text.removeprefix(SPOKEN)
    return number.lstrip("0").zfill(4) if number.isdecimal() else number


def level_folder(training: Path, level: str) -> Path:
    """Where the best model of a level stands, by the level's name: levels/removed-0007."""
    return training / LEVELS / f"{LEVEL}{level}"


def kept_levels(training: Path) -> dict[str, Path]:
    """The folders of the levels of a training, in their order, by name."""
    found = {path.name.removeprefix(LEVEL): path for path in (training / LEVELS).glob(f"{LEVEL}*")}
    names = sorted(filter(is_level, found), key=level_number)  # a user's copy, 0007.old, is none
    return {name: found[name] for name in names if found[name].is_dir()}


def standing_model(model: Path) -> Path:
    """The folder of a run's model; of one that was removed, the level that it was made of.

    That one has the same weights. Where it was removed, too, it is the model's own folder.

    Args:
        model: folder of a training's model, or of one of its levels.
    """
    record = TrainingRecord.read(model.parent / STAGE_FILE)
    if record is None or not record.is_done or record.level is None or has_weights(model):
        return model
    level = level_folder(model.parent, record.level)
    return level if has_weights(level) else model


def trained_levels(frontier: Path, internalized: TrainingRecord) -> dict[str, TrainingRecord]:
    """The levels, by name, that were trained on from the internalized model that is there now.

    Args:
        frontier: folder of the phase, with a folder for each level.
        internalized: record of the internalized model.
    """
    stages = sorted(frontier.glob(f"*/{STAGE_FILE}"))
    folders = {stage.parent.name: stage for stage in stages}
    own = {name: TrainingRecord.read(path) for name, path in folders.items() if is_level(name)}
    return {
        name: one
        for name, one in own.items()
        if one is not None
        and one.is_done
        and one.settings.get("model", {}).get("sha256") == internalized.model_sha256
    }


def tokens_gone(trained: TrainingRecord) -> int | None:
    """Thought tokens that are gone at a training's last level; None where that is not known."""
    longest = trained.longest_thought
    if longest is None or trained.level == level_name(ALL):
        return longest
    if trained.tokens_removed is not None:
        return min(trained.tokens_removed, longest)
    # older records have the level alone, which is a number of tokens or of a thought's steps
    level, settings = int(trained.level or 0), trained.settings.get("schedule") or {}
    is_known = not level or settings.get("unit", "token") == "token"
    return min(level, longest) if is_known else None


def title_with_thought_left(removed: int | None) -> str:
    """What people are told of a model that was to be internalized and still writes some thought.

    Args:
        removed: thought tokens that are gone; None where that is not known.
    """
    return "not internalized" if removed == 0 else "partly internalized"
