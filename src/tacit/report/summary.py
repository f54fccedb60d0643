"""The result as plain text: the table that ends a run, and the figures of one evaluation."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tacit.report import numbers
from tacit.report.finding import speed_ratio
from tacit.report.reading import read_run
from tacit.report.results import PhaseResult, VariantResult

_COLUMNS = 80
_HEADER = ("", "accuracy", "95 % interval", "tokens", "answers/s", "", "median", "steps")


def print_summary(folder: Path) -> None:
    """Prints a run's results as a table of at most 80 columns, and where the report is."""
    print("\n".join(summary_lines(folder)))  # noqa: T201


def print_metrics(metrics: dict[str, Any]) -> None:
    """Prints what `tacit evaluate` or `tacit score` measured, one figure a line."""
    print("\n".join(metrics_lines(metrics)))  # noqa: T201


def summary_lines(folder: Path) -> list[str]:
    """The lines of `print_summary`.

    Raises:
        DataError: it is not a run folder, or a file in it is broken.
    """
    run = read_run(folder)
    lines: list[str] = []
    for phase in run.phases:
        lines += ["", f"{_title(phase)}", "", *_table(phase)]
    if run.missing:
        lines += ["", *(part for line in run.missing for part in textwrap.wrap(line, _COLUMNS))]
    return [*lines, "", f"report: {folder / 'report.html'}"]


def metrics_lines(metrics: dict[str, Any]) -> list[str]:
    """The lines of `print_metrics`; figures that were not measured are left out."""
    count = metrics.get("num_questions", metrics.get("count"))
    graded = metrics.get("num_graded", count)
    right = metrics.get("num_correct", metrics.get("correct"))
    accuracy, interval = metrics.get("accuracy"), metrics.get("interval")
    known = accuracy is not None and math.isfinite(accuracy)
    batch = metrics.get("batch_size")
    latencies = (metrics.get("latency_p50_s"), metrics.get("latency_p95_s"))
    found = {
        "questions": count and numbers.whole(count),
        "accuracy": known and f"{numbers.percent(accuracy)}  ({right:,} of {graded:,} right)",
        "95 % interval": known and interval and numbers.percent_range(interval),
        "digits right": _given(metrics, "digit_accuracy", numbers.percent),
        "no answer found": _given(metrics, "no_answer", numbers.whole),
        "tokens written": _given(metrics, "mean_tokens", numbers.mean, " a question"),
        "never stopped": _given(metrics, "unstopped", numbers.percent),
        "answers/s, batched": _given(
            metrics, "examples_per_s", numbers.rate, f"  (batches of {batch})" if batch else ""
        ),
        "answers/s, one by one": _given(metrics, "examples_per_s_single", numbers.rate),
        "median latency": latencies[0] is not None and numbers.duration(latencies[0]),
        "95th percentile": latencies[1] is not None and numbers.duration(latencies[1]),
    }
    lines = [f"{label:<22}{text}" for label, text in found.items() if text]
    return [_plain(line) for line in lines]


def _given(metrics: dict[str, Any], key: str, form: Any, suffix: str = "") -> str:
    value = metrics.get(key)
    return "" if value is None else f"{form(value)}{suffix}"


def _title(phase: PhaseResult) -> str:
    measured = phase.measured()
    if not measured:
        return f"{phase.name}: nothing measured yet"
    split = {"test": "test", "valid": "VALIDATION"}.get(measured[0].split, measured[0].split)
    return f"{phase.name}: {numbers.whole(measured[0].num_questions)} {split} questions"


def _table(phase: PhaseResult) -> list[str]:
    rows = [_HEADER, *(_row(phase, variant) for variant in phase.variants.values())]
    rows = [tuple(_plain(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= _COLUMNS else " "
    return [_aligned(row, widths, gap) for row in rows]


def _row(phase: PhaseResult, variant: VariantResult) -> tuple[str, ...]:
    measured = variant.measured
    steps = numbers.whole(variant.last_step)
    if measured is None:
        return (variant.label, *[numbers.DASH] * 4, "", numbers.DASH, steps)
    ratio = speed_ratio(phase, variant.name)
    return (
        variant.label,
        numbers.percent(measured.accuracy),
        numbers.percent_range(measured.interval),
        numbers.mean(measured.mean_tokens),
        numbers.rate(measured.examples_per_s_single),
        "" if ratio is None else f"{ratio:.1f}x",
        numbers.duration(measured.latency_p50_s),
        steps,
    )


def _aligned(row: Sequence[str], widths: Sequence[int], gap: str) -> str:
    first, *others = row
    cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
    return gap.join([f"{first:<{widths[0]}}", *cells]).rstrip()


def _plain(text: str) -> str:
    """ASCII: a terminal may have any encoding."""
    return text.replace("\u00a0", " ").replace(numbers.DASH, "-")
