"""The page's table: one row a figure, one column a model, so that it fits a phone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unspoken.report.read.results import Measured, PhaseResult, Trained, VariantResult
from unspoken.report.show import numbers
from unspoken.report.show.ranking import speed_ratio


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


def make_table(phase: PhaseResult) -> list[Group]:
    """The rows that have at least one figure, in groups; columns as in `phase.shown`."""
    groups = [
        Group("Answers", _answers(phase)),
        Group("Tokens written", _writing(phase)),
        Group("Speed", _speed(phase)),
        Group("Training", _training(phase)),
    ]
    kept = [
        Group(group.title, [row for row in group.rows if _has_figures(row)]) for group in groups
    ]
    return [group for group in kept if group.rows]


def _has_figures(row: Row) -> bool:
    return any(cell.text != numbers.DASH for cell in row.cells)


def _answers(phase: PhaseResult) -> list[Row]:
    def accuracy(measured: Measured) -> Cell:
        interval = measured.interval
        detail = "" if interval is None else numbers.percent_range(interval, between="–")
        return Cell(numbers.percent(measured.accuracy), detail, measured.accuracy, interval)

    def digits(measured: Measured) -> Cell:
        return Cell(numbers.percent(measured.digit_accuracy))

    return [
        _measured_row(phase, "Right answers", "with 95 % interval", accuracy),
        _measured_row(phase, "Right digits", "of answers that are numbers", digits),
    ]


def _writing(phase: PhaseResult) -> list[Row]:
    def tokens(measured: Measured) -> Cell:
        return Cell(numbers.mean(measured.mean_tokens))

    def unstopped(measured: Measured) -> Cell:
        return Cell(numbers.percent(measured.unstopped))

    return [
        _measured_row(phase, "Per question", "mean, end token included", tokens),
        _measured_row(phase, "Never stopped", "cut off by the limit", unstopped),
    ]


def _speed(phase: PhaseResult) -> list[Row]:
    def single(variant: VariantResult) -> Cell:
        measured = variant.measured
        rate = None if measured is None else measured.examples_per_s_single
        ratio = speed_ratio(phase, variant.name)
        writer = phase.writer
        than = {"explicit": "explicit"}.get(writer.name, writer.label)
        detail = "" if ratio is None or variant.name == writer.name else f"{ratio:.1f}× {than}"
        return Cell(numbers.rate(rate), detail)

    def batched(measured: Measured) -> Cell:
        size = "" if measured.batch_size is None else f"batches of {measured.batch_size}"
        return Cell(numbers.rate(measured.examples_per_s), size)

    def median(measured: Measured) -> Cell:
        return Cell(numbers.duration(measured.latency_p50_s))

    def slow(measured: Measured) -> Cell:
        return Cell(numbers.duration(measured.latency_p95_s))

    return [
        Row("Questions/s, one at a time", "", [single(v) for v in phase.shown]),
        _measured_row(phase, "Questions/s, batched", "", batched),
        _measured_row(phase, "Latency, median", "one question", median),
        _measured_row(phase, "Latency, 95th percentile", "", slow),
    ]


def _training(phase: PhaseResult) -> list[Row]:
    def steps(variant: VariantResult) -> Cell:
        detail = "of the internalized run" if variant.borrowed and variant.last_step else ""
        if variant.status == "training" and variant.last_step:
            detail = "so far"
        steps = numbers.whole(variant.last_step)
        if variant.steps_before and variant.last_step:
            return Cell(
                f"{numbers.whole(variant.steps_before)} + {steps}", detail or "after distilling"
            )
        return Cell(steps, detail)

    def left(variant: VariantResult) -> Cell:
        return Cell(numbers.whole(variant.tokens_left))

    def seconds(trained: Trained) -> Cell:
        return Cell(numbers.long_duration(trained.seconds))

    def examples(trained: Trained) -> Cell:
        dropped = f"{trained.num_dropped:,} too long" if trained.num_dropped else ""
        return Cell(numbers.whole(trained.num_train), dropped)

    def size(trained: Trained) -> Cell:
        own = trained.num_trained_parameters
        part = own is not None and own != trained.num_parameters
        detail = f"{numbers.parameters(own)} trained" if part else ""
        return Cell(numbers.parameters(trained.num_parameters), detail)

    def memory(trained: Trained) -> Cell:
        where = "" if trained.peak_memory is None else ("GPU" if trained.on_gpu else "host")
        return Cell(numbers.memory(trained.peak_memory), where)

    return [
        Row("Optimizer steps", "", [steps(v) for v in phase.shown]),
        Row("Thought tokens left", "at the most", [left(v) for v in phase.shown]),
        _trained_row(phase, "Time", "validation not counted", seconds),
        _trained_row(phase, "Examples", "", examples),
        _trained_row(phase, "Parameters", "", size),
        _trained_row(phase, "Peak memory", "of the process up to then", memory),
    ]


def make_categories(phase: PhaseResult) -> list[Row]:
    """Right answers by category, columns as in `phase.shown`; empty where none are known."""
    known = [(variant.measured.categories if variant.measured else None) for variant in phase.shown]
    names = dict.fromkeys(name for categories in known for name in categories or {})
    return [
        Row(name, "", [_category((categories or {}).get(name)) for categories in known])
        for name in names
    ]


def _category(figures: dict[str, Any] | None) -> Cell:
    if figures is None or figures.get("accuracy") is None:
        return Cell(numbers.DASH)
    right, graded = figures.get("num_correct"), figures.get("num_graded")
    counts = "" if None in (right, graded) else f"{right:,} of {graded:,}"
    return Cell(numbers.percent(figures["accuracy"]), counts)


def _measured_row(
    phase: PhaseResult, label: str, note: str, cell: Callable[[Measured], Cell]
) -> Row:
    measured = [variant.measured for variant in phase.shown]
    return Row(label, note, [Cell(numbers.DASH) if m is None else cell(m) for m in measured])


def _trained_row(phase: PhaseResult, label: str, note: str, cell: Callable[[Trained], Cell]) -> Row:
    trained = [variant.trained for variant in phase.shown]
    return Row(label, note, [Cell(numbers.DASH) if t is None else cell(t) for t in trained])
