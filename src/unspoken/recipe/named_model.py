"""Which model is meant by a name: a folder, a GGUF file, a run's, one of a run's levels, the hub's.

`runs/quickstart` is a run's internalized model, `runs/quickstart:explicit` the one that writes its
thought, `runs/quickstart:level-7` the one with seven tokens of it removed. No torch is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError, ModelError, one_word, setting
from unspoken.common.nearby import nearest_name, nearest_path
from unspoken.recipe import layout
from unspoken.recipe.levels import (
    SPOKEN,
    kept_levels,
    level_name,
    read_level,
    spoken_level,
    standing_model,
    title_with_thought_left,
    tokens_gone,
    trained_levels,
)
from unspoken.recipe.load import load_values
from unspoken.recipe.records import TrainingRecord
from unspoken.recipe.shipped import shipped_recipes

#: Where the model of each name stands, the first one that is there.
_PLACES = {
    "explicit": (layout.EXPLICIT, layout.DISTILLED),
    **{name: (name,) for name in layout.MODELS if name not in (layout.EXPLICIT, layout.UNTRAINED)},
}
#: Where runs lie unless they are given another place.
_RUNS = Path("runs")
#: Folders between a model and its run at the most: internalized/2-gsm8k/levels/removed-0007.
_DEEPEST = 4


@dataclass(frozen=True)
class NamedModel:
    """A model that a name stands for.

    Attributes:
        source: folder, GGUF file, or name on the hub.
        title: of it, for people.
        run: the run folder that it is of, or None.
        task: that it learned, as a recipe names it; None where that is not known.
        sizes: of a multiplication, digits of both factors.
    """

    source: str
    title: str
    run: Path | None = None
    task: str | None = None
    sizes: tuple[tuple[int, int], ...] = ()


def find_model(name: str | Path, *, of_run: str = "") -> NamedModel:
    """The model that a name stands for; any name that is nothing here is one on the hub.

    Args:
        name: FOLDER, FILE.gguf, RUN, RUN:internalized, RUN:explicit, RUN:level-7, RUN:teacher,
            RUN:no_cot, RUN:distilled, or a name on the hub.
        of_run: what a run alone stands for; empty: its internalized model or, where there is none,
            the one that writes its thought.

    Raises:
        ModelError: the run has no such model, or a run alone has not finished internalizing.
    """
    text = str(name)
    path, which = _split(text)
    if _is_run(path):
        folder, title = _in_run(path, which, of_run)
        return NamedModel(str(folder), title, path, *_task(path, folder))
    run = _run_of(path) if path.is_dir() else None
    return NamedModel(text, text, run, *(_task(run, path) if run else (None, ())))


def find_run(name: str | Path) -> Path:
    """The folder of a run: this one, or the one in runs/ that is called as its recipe is.

    Raises:
        DataError: there is none.
    """
    path = _split(str(name))[0]
    if _is_run(path):
        return path
    found = "no recipe.yaml in it" if Path(name).is_dir() else "no such folder"
    raise DataError(
        f"{name}: {found}; needed: a folder that unspoken run made; "
        f"{run_remedy(name) or 'name one, such as runs/quickstart'}"
    )


def run_remedy(name: str | Path) -> str:
    """What to do about a name that no run or model has; empty where nothing is known.

    Either a run is there whose name is nearly this one, or there is a recipe that makes one.
    """
    text = str(name)
    before, colon, which = text.rpartition(":") if ":" in text else (text, "", "")
    inside = _run_of(Path(before)) if Path(before).is_dir() else None
    places = [str(inside)] if inside else [before, str(_RUNS / before)]
    near = next(filter(None, (nearest_path(place, _is_run) for place in places)), "")
    recipe = Path(before).name
    told = [f"did you mean {near}{colon}{which}?"] if near else []
    if recipe in shipped_recipes() and not Path(before).exists():
        told += [f"make it first: unspoken run {recipe}"]
    return " Or ".join(told)


def command_to_finish(run: Path) -> str:
    """The command that goes on with a run."""
    return f"unspoken run {one_word(str(run / layout.RECIPE_FILE))}"


def models_of(run: Path) -> list[str]:
    """The names of the models that a run has: internalized, explicit, level-0, level-1, all."""
    names = [name for name in _PLACES if _folder_of(run, name) is not None]
    return [*names, *(f"{SPOKEN}{spoken_level(level)}" for level in _levels(run))]


def last_phase(run: Path, name: str) -> Path:
    """A folder of a run, such as internalized/ or data/, or what it has of the last phase in it.

    Phases that an earlier recipe had do not count.
    """
    places = [run / name / key for key, _ in reversed(_phases(run))]
    return next(filter(Path.is_dir, places), run / name)


def _phases(run: Path) -> list[tuple[str, dict[str, Any]]]:
    """The key of each phase of a run's recipe, empty of a single one, and its settings of data."""
    return _phases_in(load_values(run / layout.RECIPE_FILE)[0])


def _phases_in(values: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """`_phases`, of a recipe that was read."""
    phases = values.get("phases") or [{}]
    names = [str(phase.get("name", values.get("name"))) for phase in phases]
    keys = [layout.phase_key(number, name) for number, name in enumerate(names)]
    data = values.get("data") or {}
    found = [{**data, **(phase.get("data") or {})} for phase in phases]
    return list(zip(keys if len(keys) > 1 else [""], found, strict=True))


def _split(text: str) -> tuple[Path, str]:
    """The path and what follows its last colon, where that names a model of a run."""
    before, colon, after = text.rpartition(":")
    is_of_run = bool(colon) and not Path(text).exists()
    place = Path(before if is_of_run else text)
    for path in (place, _RUNS / place):  # the name of a recipe is that of its run
        if _is_run(path) and (path == place or not place.exists()):
            return path, after if is_of_run else ""
    return Path(text), ""


def _is_run(path: Path) -> bool:
    return (path / layout.RECIPE_FILE).is_file()


def _run_of(folder: Path) -> Path | None:
    """The run that a model's folder lies in."""
    parents = list(folder.absolute().parents)[:_DEEPEST]
    return next((parent for parent in parents if _is_run(parent)), None)


def _in_run(run: Path, which: str, otherwise: str) -> tuple[Path, str]:
    """The folder of a run's model, and its name."""
    if not which and not otherwise:
        _require_whole(run)
    names = [which] if which else [otherwise] if otherwise else [layout.INTERNALIZED, "explicit"]
    for name in names:
        folder = _folder_of(run, name)
        if folder is not None:
            return folder, _title(run, name)
    there = models_of(run)
    is_level = read_level(names[0]).isdecimal()  # which is no slip of the fingers
    near = None if is_level else nearest_name(names[0], there)
    remedy = f"did you mean {run}:{near}? Or" if near else f"name one of them as {run}:NAME, or"
    raise ModelError(
        f"{setting('model', f'{run}:{which}' if which else str(run))}: the run has no such model "
        f"({names[0]}); it has {', '.join(there) or 'no finished model'}; {remedy} finish the run, "
        f"where it is not done: {command_to_finish(run)}"
    )


def _title(run: Path, name: str) -> str:
    """The name of a run's model for people; it does not claim what did not happen."""
    if name != layout.INTERNALIZED:
        return name
    record = TrainingRecord.read(last_phase(run, name) / layout.STAGE_FILE)
    if record is None or record.level is None:
        return name
    gone = tokens_gone(record)
    return name if gone == record.longest_thought else title_with_thought_left(gone)


def _require_whole(run: Path) -> None:
    """Refuses a run alone where it was begun to internalize: what is meant is not there yet."""
    training = last_phase(run, layout.INTERNALIZED)
    is_last = training == run / layout.INTERNALIZED / _phases(run)[-1][0]
    model = standing_model(training / layout.MODEL)
    if (is_last and model.is_dir()) or not any(training.glob("*")):
        return
    record = TrainingRecord.read(training / layout.STAGE_FILE)
    is_gone = is_last and record is not None and record.is_done
    there = ", ".join(f"{run}:{name}" for name in models_of(run)) or "none"
    if is_gone:
        raise ModelError(
            f"{setting('model', run)}: {model} is not there any more; needed: the run's "
            "internalized model; put the folder back, train it again with "
            f"{command_to_finish(run)} --from internalize, or name one of the models that it has: "
            f"{there}"
        )
    raise ModelError(
        f"{setting('model', run)}: the run has not finished internalizing; needed: its "
        f"internalized model; finish it with {command_to_finish(run)}, or name one "
        f"of the models that it has so far: {there}"
    )


def _folder_of(run: Path, name: str) -> Path | None:
    """The folder of a run's model, where it is finished; of several phases, the last one's."""
    if name.startswith(SPOKEN):
        return _levels(run).get(read_level(name))
    for place in _PLACES.get(name, ()):
        model = standing_model(last_phase(run, place) / layout.MODEL)
        if model.is_dir():
            return model
    return _levels(run).get(level_name(0)) if name == "explicit" else None


def _levels(run: Path) -> dict[str, Path]:
    """The levels of a run's internalized model: as training left them, or trained on."""
    training = last_phase(run, layout.INTERNALIZED)
    levels = kept_levels(training)
    record = TrainingRecord.read(training / layout.STAGE_FILE)
    if record is not None and record.is_done:
        place = last_phase(run, layout.FRONTIER)
        levels |= {name: place / name / layout.MODEL for name in trained_levels(place, record)}
    return {level: levels[level] for level in sorted(levels)}


def _task(run: Path, folder: Path) -> tuple[str | None, tuple[tuple[int, int], ...]]:
    """What the model in a folder of a run learned, as the run's recipe says."""
    values, _ = load_values(run / layout.RECIPE_FILE)
    parts = folder.absolute().relative_to(run.absolute()).parts
    learned = (own for key, own in _phases_in(values) if not key or key in parts)
    data = next(learned, values.get("data") or {})  # a teacher belongs to none of several phases
    task = data.get("task")
    digits = data.get("digits") if task == "multiplication" else None
    return task, tuple((int(first), int(second)) for first, second in digits or ())
