"""What each stage of a run with a teacher took: time, tokens, memory, disk, money."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unspoken.recipe.layout import TRACES, VETTED
from unspoken.recipe.plan import Plan
from unspoken.report.read.files import read_json
from unspoken.report.read.prices import charged, currency_of

#: Folder of each stage in the order of the run, and what the stage is called.
_STAGES = {
    "teacher": "train the teacher",
    "traces": "generate",
    "vetted": "vet",
    "distilled": "distil",
    "internalized": "internalize",
    "explicit": "explicit baseline",
    "no_cot": "no CoT baseline",
}
_MEASURED = ("teacher", "distilled", "explicit", "internalized", "no_cot", "untrained")


@dataclass(frozen=True)
class StageCost:
    """One stage; None is what was not measured.

    Attributes:
        name: of its folder, or `evaluate`: all measuring taken together.
        label: for people.
        done: whether the stage is finished; else the figures may still grow.
        seconds: wall time, over all the runs that worked on it.
        num_tokens, tokens_per_s: written, or trained on.
        num_prompt_tokens: that the teacher read.
        host_bytes, gpu_bytes: peak memory of the process.
        size_bytes: of the files or weights that the stage left.
        base_bytes: of the base model's weights, where the stage left an adapter.
        cost, currency: what the teacher's tokens were charged.
        note: what a reader must know about the figures.
        cut_off: a kill came in between, and `seconds` leaves out what was before it.
    """

    name: str
    label: str
    done: bool
    seconds: float | None = None
    num_tokens: int | None = None
    tokens_per_s: float | None = None
    num_prompt_tokens: int | None = None
    host_bytes: int | None = None
    gpu_bytes: int | None = None
    size_bytes: int | None = None
    base_bytes: int | None = None
    cost: float | None = None
    currency: str = ""
    note: str = ""
    cut_off: bool = False


def read_costs(
    folder: Path, recipe: dict[str, Any], planned: Plan | None, models: Collection[str]
) -> list[StageCost]:
    """The stages of a run folder that have begun, in the order of the run.

    Args:
        folder: of a run without phases; with several, nothing of them is found.
        recipe: of the run.
        planned: what it was to do, where that is known.
        models: that it asks for; an earlier recipe may have left others.
    """
    names = [name for name in _STAGES if planned is None or _is_stage(name, planned)]
    stages = {name: read_json(folder / name / "stage.json") for name in names}
    found = [
        _cost(folder, name, _STAGES[name], stage, recipe)
        for name, stage in stages.items()
        if stage is not None
    ]
    if all(one.cost is None for one in found if one.name == "traces"):
        found = [replace(one, cost=None) for one in found]  # no prices: asking again has none
    return [*found, *_measuring(folder, currency_of(recipe), models)]


def _is_stage(name: str, planned: Plan) -> bool:
    """Whether the recipe trains or makes what is in this folder."""
    if name in (TRACES, VETTED):
        return planned.teaching is not None
    return any(training.name == name for training in planned.trainings)


def _cost(
    folder: Path, name: str, label: str, stage: dict[str, Any], recipe: dict[str, Any]
) -> StageCost:
    memory = stage.get("peak_memory_bytes") or {}
    state = stage.get("state") or {}
    num_tokens, tokens_per_s = stage.get("num_tokens"), stage.get("tokens_per_s")
    cost, currency = charged(stage, recipe) if name in ("traces", "vetted") else (None, "")
    read, cut_off = stage.get("num_prompt_tokens"), bool(stage.get("cut_off"))
    notes = ["so far"] if stage.get("status") != "done" else []
    if name == "vetted" and not stage.get("num_asked_again"):
        num_tokens = cost = read = None  # nobody was asked
    if state.get("num_tokens"):
        num_tokens = state["num_tokens"]
        tokens_per_s = num_tokens / state["seconds"] if state.get("seconds") else None
    size = stage.get("model_bytes")
    if name == "traces":
        size = _size([folder / name / "traces.jsonl"])
    elif name == "vetted":
        size = _size([folder / name / "dataset.jsonl"])
    return StageCost(
        name=name,
        label=label,
        done=stage.get("status") == "done",
        seconds=stage.get("seconds"),
        num_tokens=num_tokens,
        tokens_per_s=None if cut_off else tokens_per_s,
        num_prompt_tokens=read,
        host_bytes=memory.get("host"),
        gpu_bytes=memory.get("gpu"),
        size_bytes=size,
        base_bytes=stage.get("base_bytes"),
        cost=cost,
        currency="" if cost is None else currency,
        note=", ".join([*notes, *["time before a kill is missing"] * cut_off]),
        cut_off=cut_off,
    )


def _size(paths: Sequence[Path]) -> int | None:
    sizes = [path.stat().st_size for path in paths if path.is_file()]
    return sum(sizes) if sizes else None


def _measuring(folder: Path, currency: str, models: Collection[str]) -> list[StageCost]:
    """All evaluations as one stage, of those that say how long they took."""
    paths = [folder / name / "evaluation.json" for name in _MEASURED if name in models]
    known = [values for values in map(read_json, paths) if values is not None]
    timed = [values for values in known if values.get("seconds") is not None]
    if not timed:
        return []
    seconds = sum(values["seconds"] for values in timed)
    counts = [values["num_tokens"] for values in timed if values.get("num_tokens") is not None]
    num_tokens = sum(counts) if len(counts) == len(timed) else None
    spent = [values["cost"] for values in timed if values.get("cost") is not None]  # the teacher's
    models = f"{len(timed)} models" if len(timed) > 1 else "1 model"
    note = models if len(timed) == len(known) else f"{len(timed)} of {len(known)} models timed"
    return [
        StageCost(
            name="evaluate",
            label="evaluate",
            done=True,
            seconds=seconds,
            num_tokens=num_tokens,
            tokens_per_s=num_tokens / seconds if num_tokens and seconds else None,
            cost=sum(spent) if spent else None,
            currency=currency if spent else "",
            note=note,
        )
    ]
