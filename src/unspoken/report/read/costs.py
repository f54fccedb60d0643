"""What each stage of a run with a teacher took: time, tokens, memory, disk, money."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from unspoken.recipe import layout
from unspoken.recipe.evaluation_records import Evaluation
from unspoken.recipe.plan import Plan
from unspoken.recipe.records import StageRecord, TracesRecord, TrainingRecord, VettedRecord

Number = TypeVar("Number", int, float)
#: Folder of each stage in the order of the run, and what the stage is called.
_LABELS = {
    layout.TEACHER: "train the teacher",
    layout.TRACES: "generate",
    layout.VETTED: "vet",
    layout.DISTILLED: "distil",
    layout.INTERNALIZED: "internalize",
    layout.EXPLICIT: "explicit baseline",
    layout.AT_ONCE: "at once baseline",
    layout.NO_COT: "no CoT baseline",
    layout.FRONTIER: "frontier",
}


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
        num_taken_over: traces of an earlier run, whose time `seconds` leaves out.
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
    num_taken_over: int = 0


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
    every = [name for name in _LABELS if name != layout.FRONTIER]
    names = [name for name in every if planned is None or _is_stage(name, planned)]
    found = [cost for name in names if (cost := _read_cost(folder / name, recipe)) is not None]
    if all(one.cost is None for one in found if one.name == layout.TRACES):
        found = [replace(one, cost=None) for one in found]  # no prices: asking again has none
    if planned is not None and any(one.num_levels for one in planned.frontiers):
        found += _frontier(folder / layout.FRONTIER)
    return [*found, *_measuring(folder, currency_of(recipe), models)]


def _is_stage(name: str, planned: Plan) -> bool:
    """Whether the recipe trains or makes what is in this folder."""
    if name in (layout.TRACES, layout.VETTED):
        return planned.teaching is not None
    return any(training.name == name for training in planned.trainings)


def currency_of(recipe: dict[str, Any]) -> str:
    """The currency of the recipe's prices."""
    return (recipe.get("costs") or {}).get("currency") or "USD"


def charged(
    record: TracesRecord | VettedRecord, recipe: dict[str, Any]
) -> tuple[float | None, str]:
    """What the teacher's tokens in a stage cost, and in what currency.

    A cost in stage.json is what was charged. Without one, the recipe's prices count, which may
    have been written down after the teacher was asked.

    Examples:
        >>> prices = {"price_prompt": 1.0, "price_completion": 4.0}
        >>> record = TracesRecord(num_prompt_tokens=500_000, num_tokens=250_000)
        >>> charged(record, {"teacher": prices})
        (1.5, 'USD')
    """
    known, unpriced, currency = record.cost, record.cost is None, None
    if isinstance(record, TracesRecord):
        currency = record.currency
    elif known == 0 and record.num_asked_again:
        unpriced = True  # asked again without prices is charged 0.0; at a price of 0 it stays so
    computed = _at_prices(record, recipe.get("teacher") or {}) if unpriced else None
    if computed is not None:
        return computed, currency_of(recipe)
    return known, currency or currency_of(recipe)


def _at_prices(record: TracesRecord | VettedRecord, teacher: dict[str, Any]) -> float | None:
    """The tokens at the recipe's prices, or None where one of these is not known."""
    prompt, completion = teacher.get("price_prompt"), teacher.get("price_completion")
    if prompt is None or completion is None or teacher.get("engine") == "worked":
        return None
    if record.num_prompt_tokens is None or record.num_tokens is None:
        return None
    return (record.num_prompt_tokens * prompt + record.num_tokens * completion) / 1e6


def _read_cost(folder: Path, recipe: dict[str, Any]) -> StageCost | None:
    """What the stage in a folder took, or None where it has not begun."""
    path = folder / layout.STAGE_FILE
    if folder.name == layout.TRACES:
        record = TracesRecord.read(path)
        return record and _cost_of_traces(record, folder, recipe)
    if folder.name == layout.VETTED:
        record = VettedRecord.read(path)
        return record and _cost_of_vetting(record, folder, recipe)
    record = TrainingRecord.read(path)
    return record and _cost_of_training(record, folder.name)


def _cost_of_traces(record: TracesRecord, folder: Path, recipe: dict[str, Any]) -> StageCost:
    cost, currency = charged(record, recipe)
    stage, taken = _cost_of_stage(record, folder.name), record.num_taken_over
    notes = [stage.note] * bool(stage.note) + [f"{taken:,} traces are earlier ones"] * bool(taken)
    return replace(
        stage,
        num_tokens=record.num_tokens,
        tokens_per_s=None if record.cut_off or taken else record.tokens_per_s,
        num_taken_over=taken,
        note=", ".join(notes),
        num_prompt_tokens=record.num_prompt_tokens,
        size_bytes=_size(folder / layout.TRACES_FILE),
        cost=cost,
        currency="" if cost is None else currency,
    )


def _cost_of_vetting(record: VettedRecord, folder: Path, recipe: dict[str, Any]) -> StageCost:
    stage = _cost_of_stage(record, folder.name)
    stage = replace(stage, size_bytes=_size(folder / layout.DATASET_FILE))
    if not record.num_asked_again:
        return stage
    cost, currency = charged(record, recipe)
    return replace(
        stage,
        num_tokens=record.num_tokens,
        num_prompt_tokens=record.num_prompt_tokens,
        cost=cost,
        currency="" if cost is None else currency,
    )


def _cost_of_training(record: TrainingRecord, name: str) -> StageCost:
    num_tokens, seconds = record.state.num_tokens or None, record.state.seconds
    is_whole = not record.cut_off
    return replace(
        _cost_of_stage(record, name),
        num_tokens=num_tokens,
        tokens_per_s=num_tokens / seconds if num_tokens and seconds and is_whole else None,
        size_bytes=record.model_bytes,
        base_bytes=record.base_bytes,
    )


def _frontier(folder: Path) -> list[StageCost]:
    """All levels that were trained on as one stage; nothing where none has begun."""
    paths = sorted(folder.glob(f"*/{layout.STAGE_FILE}"))
    records = [one for path in paths if (one := TrainingRecord.read(path)) is not None]
    if not records:
        return []
    costs = [_cost_of_training(one, layout.FRONTIER) for one in records]
    steps = sum(one.state.step or 0 for one in records)
    return [
        replace(
            costs[0],
            done=all(one.done for one in costs),
            seconds=_sum_of_all(one.seconds for one in costs),
            num_tokens=_sum_of_all(one.num_tokens for one in costs),
            tokens_per_s=None,
            host_bytes=max(one.host_bytes or 0 for one in costs) or None,
            gpu_bytes=max(one.gpu_bytes or 0 for one in costs) or None,
            size_bytes=_sum_of_all(one.size_bytes for one in costs),
            note=f"{len(costs)} level{'s' * (len(costs) > 1)}, {steps:,} steps",
            cut_off=any(one.cut_off for one in costs),
        )
    ]


def _cost_of_stage(record: StageRecord, name: str) -> StageCost:
    """What every stage tells."""
    notes = ["so far"] * (not record.is_done) + ["time before a kill is missing"] * record.cut_off
    return StageCost(
        name=name,
        label=_LABELS[name],
        done=record.is_done,
        seconds=record.seconds,
        host_bytes=record.peak_memory_bytes.host,
        gpu_bytes=record.peak_memory_bytes.gpu,
        note=", ".join(notes),
        cut_off=record.cut_off,
    )


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _measuring(folder: Path, currency: str, models: Collection[str]) -> list[StageCost]:
    """All evaluations as one stage, of those that say how long they took."""
    paths = [folder / name / layout.EVALUATION_FILE for name in layout.MODELS if name in models]
    known = [one for path in paths if (one := Evaluation.read(path)) is not None]
    timed = [one for one in known if one.seconds is not None]
    if not timed:
        return []
    seconds = sum(one.seconds or 0.0 for one in timed)
    num_tokens = _sum_of_all(one.num_tokens for one in timed)
    spent = [one.cost for one in timed if one.cost is not None]  # the teacher's
    note = f"{len(timed)} models" if len(timed) > 1 else "1 model"
    if len(timed) < len(known):
        note = f"{len(timed)} of {len(known)} models timed"
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


def _sum_of_all(counts: Iterable[Number | None]) -> Number | Literal[0] | None:
    """The sum, or None where one is not known."""
    every = list(counts)
    return None if None in every else sum(filter(None, every))
