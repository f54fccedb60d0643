"""The page's tables: one column a model, so that they fit a phone; and what the stages took."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unspoken.recipe import layout
from unspoken.recipe.records import Evaluation, Share, TrainingRecord
from unspoken.report.read.costs import StageCost
from unspoken.report.read.results import PhaseResult, VariantResult
from unspoken.report.show import numbers

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
        Group("Answers", _answers(phase)),
        Group("Tokens written", _writing(phase)),
        Group("Speed", _speed(phase)),
        Group("Training", _training(phase)),
    ]
    kept = [
        Group(group.title, [row for row in group.rows if _any_known(row.cells)]) for group in groups
    ]
    return [group for group in kept if group.rows]


def _any_known(cells: Sequence[Cell]) -> bool:
    return any(cell.text != numbers.DASH for cell in cells)


def _answers(phase: PhaseResult) -> list[Row]:
    def accuracy(measured: Evaluation) -> Cell:
        interval = measured.interval
        detail = "" if interval is None else numbers.percent_range(interval, between="–")
        return Cell(numbers.percent(measured.accuracy), detail, measured.accuracy, interval)

    def digits(measured: Evaluation) -> Cell:
        return Cell(numbers.percent(measured.digit_accuracy))

    def undecided(measured: Evaluation) -> Cell:
        return Cell(numbers.whole(measured.num_undecided or None))

    return [
        _measured_row(phase, "Right answers", "with 95 % interval", accuracy),
        _measured_row(phase, "Undecided", "count as wrong", undecided),
        _measured_row(phase, "Right digits", "of answers that are numbers", digits),
    ]


def _writing(phase: PhaseResult) -> list[Row]:
    def tokens(measured: Evaluation) -> Cell:
        return Cell(numbers.mean(measured.mean_tokens))

    def unstopped(measured: Evaluation) -> Cell:
        return Cell(numbers.percent(measured.unstopped))

    return [
        _measured_row(phase, "Per question", "mean, end token included", tokens),
        _measured_row(phase, "Never stopped", "cut off by the limit", unstopped),
    ]


def _speed(phase: PhaseResult) -> list[Row]:
    def single(variant: VariantResult) -> Cell:
        measured = variant.measured
        rate = None if measured is None else measured.examples_per_s_single
        return Cell(numbers.rate(rate), _against_writer(phase, variant.name))

    def batched(measured: Evaluation) -> Cell:
        size = "" if measured.batch_size is None else f"batches of {measured.batch_size}"
        return Cell(numbers.rate(measured.examples_per_s), size)

    def median(measured: Evaluation) -> Cell:
        return Cell(numbers.duration(measured.latency_p50_s))

    def slow(measured: Evaluation) -> Cell:
        return Cell(numbers.duration(measured.latency_p95_s))

    return [
        Row("Questions/s, one at a time", _how_timed(phase), [single(v) for v in phase.shown]),
        _measured_row(phase, "Questions/s, batched", "", batched),
        _measured_row(phase, "Latency, median", "one question", median),
        _measured_row(phase, "Latency, 95th percentile", "", slow),
    ]


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
    return [
        Row("Optimizer steps", "", [_steps(variant) for variant in phase.shown]),
        Row("Thought tokens left", "at the most", left),
        _trained_row(phase, "Time", "validation not counted", _seconds),
        _trained_row(phase, "Examples", "", _examples),
        _trained_row(phase, "Parameters", "", _size),
        _trained_row(phase, "Precision", "of the arithmetic", _precision),
        _trained_row(phase, "Peak memory", "of the process up to then", _memory),
    ]


def _steps(variant: VariantResult) -> Cell:
    detail = "of the internalized run" if variant.borrowed and variant.last_step else ""
    if variant.status == "training" and variant.last_step:
        detail = "so far"
    steps = numbers.whole(variant.last_step)
    if variant.steps_before and variant.last_step:
        return Cell(
            f"{numbers.whole(variant.steps_before)} + {steps}", detail or "after distilling"
        )
    return Cell(steps, detail)


def _seconds(trained: TrainingRecord) -> Cell:
    return Cell(numbers.long_duration(trained.state.seconds))


def _examples(trained: TrainingRecord) -> Cell:
    dropped = f"{trained.num_dropped:,} too long" if trained.num_dropped else ""
    return Cell(numbers.whole(trained.num_train), dropped)


def _size(trained: TrainingRecord) -> Cell:
    own = trained.num_trained_parameters
    part = own is not None and own != trained.num_parameters
    detail = f"{numbers.parameters(own)} trained" if part else ""
    return Cell(numbers.parameters(trained.num_parameters), detail)


def _precision(trained: TrainingRecord) -> Cell:
    return Cell(trained.precision or numbers.DASH)


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


def _measured_row(
    phase: PhaseResult, label: str, note: str, cell: Callable[[Evaluation], Cell]
) -> Row:
    measured = [variant.measured for variant in phase.shown]
    return Row(label, note, [Cell(numbers.DASH) if m is None else cell(m) for m in measured])


def _trained_row(
    phase: PhaseResult, label: str, note: str, cell: Callable[[TrainingRecord], Cell]
) -> Row:
    trained = [variant.trained for variant in phase.shown]
    return Row(label, note, [Cell(numbers.DASH) if t is None else cell(t) for t in trained])


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
