"""The page's tables: one column a model, so that they fit a phone; and what the stages took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from unspoken.recipe import layout
from unspoken.recipe.evaluation_records import Evaluation, Share
from unspoken.recipe.records import TrainingRecord
from unspoken.report.read.costs import StageCost
from unspoken.report.read.results import PhaseResult, VariantResult
from unspoken.report.show import numbers

Found = TypeVar("Found")
#: Stages whose tokens are written and not trained on.
_NOT_TRAINED = (layout.TRACES, layout.VETTED, "evaluate")


@dataclass(frozen=True)
class Cell:
    """One figure; `detail` stands below it, smaller. `bar` is a share of 1 to draw, or None."""

    text: str
    detail: str = ""
    bar: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """One figure of all models; `note` explains it."""

    label: str
    note: str
    cells: list[Cell]


@dataclass(frozen=True)
class Group:
    """Rows that belong together."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class CostsTable:
    """Titles of the columns, and a label and cells for each stage.

    `has_training` says whether some of the rates are of trainings.
    """

    titles: list[str]
    rows: list[tuple[str, list[Cell]]]
    has_training: bool


def make_table(phase: PhaseResult) -> list[Group]:
    """The rows that have at least one figure, in groups; columns as in `phase.shown`."""
    groups = [
        ("Answers", _measured_rows(phase, _ANSWERS)),
        ("Tokens written", _measured_rows(phase, _WRITING)),
        ("Speed", _speed(phase)),
        ("Training", _training(phase)),
    ]
    known = [(title, [row for row in rows if _any_known(row.cells)]) for title, rows in groups]
    return [Group(title, rows) for title, rows in known if rows]


def _any_known(cells: Sequence[Cell]) -> bool:
    return any(cell.text != numbers.DASH for cell in cells)


def _accuracy(measured: Evaluation) -> Cell:
    interval = measured.interval
    detail = "" if interval is None else numbers.percent_range(interval, between="–")
    return Cell(numbers.percent(measured.accuracy), detail, measured.accuracy, interval)


def _batched(measured: Evaluation) -> Cell:
    size = "" if measured.batch_size is None else f"batches of {measured.batch_size}"
    return Cell(numbers.rate(measured.examples_per_s), size)


#: Rows of what was measured: label, note, and the cell or its text.
_MeasuredRow = tuple[str, str, Callable[[Evaluation], Cell | str]]
_ANSWERS: list[_MeasuredRow] = [
    ("Right answers", "with 95 % interval", _accuracy),
    ("Undecided", "count as wrong", lambda one: numbers.whole(one.num_undecided or None)),
    (
        "Right digits",
        "of answers that are numbers",
        lambda one: numbers.percent(one.digit_accuracy),
    ),
]
_WRITING: list[_MeasuredRow] = [
    ("Per question", "mean, end token included", lambda one: numbers.mean(one.mean_tokens)),
    ("Never stopped", "cut off by the limit", lambda one: numbers.percent(one.unstopped)),
]
_SPEED: list[_MeasuredRow] = [
    ("Questions/s, batched", "", _batched),
    ("Latency, median", "one question", lambda one: numbers.duration(one.latency_p50_s)),
    ("Latency, 95th percentile", "", lambda one: numbers.duration(one.latency_p95_s)),
]


def _measured_rows(phase: PhaseResult, rows: Sequence[_MeasuredRow]) -> list[Row]:
    measured = [variant.measured for variant in phase.shown]
    return [Row(label, note, _cells(measured, cell)) for label, note, cell in rows]


def _cells(found: Sequence[Found | None], cell: Callable[[Found], Cell | str]) -> list[Cell]:
    """One cell for each model; a dash where nothing was found of it."""
    cells = [numbers.DASH if one is None else cell(one) for one in found]
    return [one if isinstance(one, Cell) else Cell(one) for one in cells]


def _speed(phase: PhaseResult) -> list[Row]:
    single = [
        Cell(
            numbers.rate(variant.measured and variant.measured.examples_per_s_single),
            _against_writer(phase, variant.name),
        )
        for variant in phase.shown
    ]
    alone = Row("Questions/s, one at a time", _how_timed(phase), single)
    return [alone, *_measured_rows(phase, _SPEED)]


def _how_timed(phase: PhaseResult) -> str:
    """What a question per second is, where models took turns, and what a ratio is against."""
    writer = phase.writer.name
    has_ratio = any(v.name != writer and phase.speed_ratio(v.name) is not None for v in phase.shown)
    told = [
        "1 / median; models took turns" if phase.latency is not None else "",
        f"× against {_short(phase)}" if has_ratio else "",
    ]
    return "; ".join(filter(None, told))


def _short(phase: PhaseResult) -> str:
    """The name of the model that writes its thought, in a narrow column."""
    writer = phase.writer
    return "explicit" if writer.name == layout.EXPLICIT else writer.label


def _against_writer(phase: PhaseResult, name: str) -> str:
    """How much faster a model is than the one that writes its thought, as a detail of a cell."""
    ratio, writer = phase.speed_ratio(name), phase.writer
    if ratio is None or name == writer.name:
        return ""
    if ratio.interval is not None and not ratio.is_a_difference:
        return f"no difference from {_short(phase)} measured"
    return numbers.times(ratio.value, ratio.interval, between="–")


def _training(phase: PhaseResult) -> list[Row]:
    left = [Cell(numbers.whole(variant.tokens_left)) for variant in phase.shown]
    trained = [variant.trained for variant in phase.shown]
    rows: list[tuple[str, str, Callable[[TrainingRecord], Cell | str]]] = [
        ("Time", "validation not counted", lambda one: numbers.wall_time(one.state.seconds)),
        ("Examples", "", _examples),
        ("Parameters", "", _size),
        ("Precision", "of the arithmetic", lambda one: one.precision or numbers.DASH),
        ("Peak memory", "of the process up to then", _memory),
    ]
    return [
        Row("Optimizer steps", "", [_steps(variant) for variant in phase.shown]),
        Row("Thought tokens left", "at the most", left),
        *(Row(label, note, _cells(trained, cell)) for label, note, cell in rows),
    ]


def _steps(variant: VariantResult) -> Cell:
    detail = "of the internalized run" if variant.borrowed and variant.last_step else ""
    if variant.status == "training" and variant.last_step:
        detail = "so far"
    steps = numbers.whole(variant.last_step)
    if variant.steps_before and variant.last_step:
        is_distilled = variant.started_from == layout.DISTILLED
        after = "after distilling" if is_distilled else "after writing the thought"
        return Cell(f"{numbers.whole(variant.steps_before)} + {steps}", detail or after)
    return Cell(steps, detail)


def _examples(trained: TrainingRecord) -> Cell:
    dropped = f"{trained.num_dropped:,} too long" if trained.num_dropped else ""
    return Cell(numbers.whole(trained.num_train), dropped)


def _size(trained: TrainingRecord) -> Cell:
    own = trained.num_trained_parameters
    part = own is not None and own != trained.num_parameters
    detail = f"{numbers.parameters(own)} trained" if part else ""
    return Cell(numbers.parameters(trained.num_parameters), detail)


def _memory(trained: TrainingRecord) -> Cell:
    peak = trained.peak_memory_bytes
    if peak.gpu is not None:
        return Cell(numbers.memory(peak.gpu), "GPU")
    return Cell(numbers.memory(peak.host), "" if peak.host is None else "host")


def make_categories(phase: PhaseResult) -> list[Row]:
    """Right answers by category, columns as in `phase.shown`; empty where none are known."""
    known = [(variant.measured.categories if variant.measured else None) for variant in phase.shown]
    names = dict.fromkeys(name for categories in known for name in categories or {})
    return [
        Row(name, "", [_category((categories or {}).get(name)) for categories in known])
        for name in names
    ]


def _category(share: Share | None) -> Cell:
    if share is None:
        return Cell(numbers.DASH)
    counts = f"{share.num_correct:,} of {share.num_graded:,}"
    return Cell(numbers.percent(share.accuracy), counts)


def make_costs_table(costs: Sequence[StageCost]) -> CostsTable:
    """The stages in their order; empty where no stage has begun."""
    columns: list[tuple[str, Callable[[StageCost], Cell]]] = [
        ("Wall time", lambda one: Cell(numbers.wall_time(one.seconds), one.note)),
        ("Tokens", _tokens_of_stage),
        ("Tokens/s", lambda one: Cell(numbers.rate(one.tokens_per_s))),
        ("Peak memory, host", lambda one: Cell(numbers.memory(one.host_bytes))),
        ("Peak memory, GPU", lambda one: Cell(numbers.memory(one.gpu_bytes))),
        ("Left on disk", _size_of_stage),
        ("Price of the tokens", lambda one: Cell(numbers.money(one.cost, one.currency))),
    ]
    every = [(title, [cell(one) for one in costs]) for title, cell in columns]
    known = [(title, cells) for title, cells in every if _any_known(cells)]
    rows = [(one.label, [cells[number] for _, cells in known]) for number, one in enumerate(costs)]
    has_training = any(one.tokens_per_s and one.name not in _NOT_TRAINED for one in costs)
    return CostsTable([title for title, _ in known], rows if known else [], has_training)


def _tokens_of_stage(one: StageCost) -> Cell:
    kind = "written" if one.name in _NOT_TRAINED else "trained on"
    if one.num_prompt_tokens is not None:
        kind = f"written, {one.num_prompt_tokens:,} read"
    return Cell(numbers.whole(one.num_tokens), "" if one.num_tokens is None else kind)


def _size_of_stage(one: StageCost) -> Cell:
    kinds = {layout.TRACES: "traces", layout.VETTED: "data set"}
    kind = kinds.get(one.name, "model")
    if one.base_bytes is not None:
        kind = f"adapter; base {numbers.memory(one.base_bytes)}"
    return Cell(numbers.memory(one.size_bytes), "" if one.size_bytes is None else kind)
