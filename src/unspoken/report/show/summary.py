"""The result as plain text: the table that ends a run, and the figures of one evaluation."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from unspoken.measure.stats import Ratio
from unspoken.recipe.evaluation_records import Classes
from unspoken.recipe.layout import DISTILLED, INTERNALIZED, REPORT_PAGE
from unspoken.report.read.results import PhaseResult, RunResult, VariantResult
from unspoken.report.read.run import read_run
from unspoken.report.show import numbers
from unspoken.report.show.break_even import break_even
from unspoken.report.show.classes import ClassTable, class_table, class_tables, narrow_rows
from unspoken.report.show.conclusion import tell_undecided
from unspoken.report.show.headline import headlines
from unspoken.report.show.samples import choose_samples

_COLUMNS = 80
_HEADER = ("", "accuracy", "95 % interval", "tokens", "answers/s", "", "median", "steps")


def print_summary(folder: Path) -> None:
    """Prints a run's results as a table of at most 80 columns, and where the report is."""
    print("\n".join(summary_lines(folder)))  # noqa: T201


def print_metrics(metrics: dict[str, Any]) -> None:
    """Prints what `evaluate` or `score` measured, one figure a line, then tables."""
    print("\n".join(metrics_lines(metrics)))  # noqa: T201


def summary_lines(folder: Path) -> list[str]:
    """The lines of `print_summary`.

    Raises:
        DataError: it is not a run folder, or a file in it is broken.
    """
    run = read_run(folder)
    lines: list[str] = []
    for phase in run.phases:
        lines += _phase_lines(phase)
    undecided = [line for phase in run.phases for line in tell_undecided(phase)]
    told = [*undecided, *_traces(run), *_break_even(run)]
    lines += [""] * bool(told) + [plain(part) for line in told for part in _wrapped(line)]
    if run.missing:
        lines += ["", *(part for line in run.missing for part in textwrap.wrap(line, _COLUMNS))]
    return [*lines, "", f"report: {folder / REPORT_PAGE}"]


def _phase_lines(phase: PhaseResult) -> list[str]:
    lines = ["", _title(phase), *_headlines(phase), *(_table(phase) if phase.shown else [])]
    lines += [*_outcome(phase), *_speeds(phase), *_example(phase)]
    for table in class_tables(phase):
        if table.name in (DISTILLED, INTERNALIZED):
            lines += ["", f"{table.label}:", *map(plain, _class_lines(table)[1:])]
    return lines


def _headlines(phase: PhaseResult) -> list[str]:
    """The three figures, one a line."""
    found = [(one.figure, one.words, one.against) for one in headlines(phase)]
    width = max((len(figure) for figure, _, _ in found), default=0)
    lines = []
    for figure, words, against in found:
        line = f"  {figure:<{width}}  {words}{f' ({against})' if against else ''}"
        lines += textwrap.wrap(line, _COLUMNS, subsequent_indent=" " * (width + 4))
    return ["", *map(plain, lines)] if lines else []


def _example(phase: PhaseResult) -> list[str]:
    """One question that all have right, and what they wrote; where a line is enough for each."""
    sample = next(iter(choose_samples(phase)), None)
    if sample is None or any(one.verdict != "right" for one in sample.written):
        return []
    head = f"{sample.question}: {sample.gold}"
    if sample.usual is not None:
        head = f"{sample.usual.question} = {sample.usual.answer}, digits in reverse"
    width = max(len(one.label) for one in sample.written)
    texts = [f"  {one.label:<{width}}  {one.generated.strip()}" for one in sample.written]
    lines = [plain(line) for line in (f"for example {head}:", *texts)]
    # neither a second line nor what a terminal would obey
    is_plain = all(line.isascii() and line.isprintable() for line in lines)
    return ["", *lines] if is_plain and max(map(len, lines)) <= _COLUMNS else []


def _outcome(phase: PhaseResult) -> list[str]:
    """How far removal came, where something of the thought is left."""
    outcome = phase.outcome
    if outcome is None or outcome.is_complete:
        return []
    return ["", *(plain(part) for part in _wrapped(outcome.sentence))]


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, _COLUMNS, subsequent_indent="  ")


def _traces(run: RunResult) -> list[str]:
    """How many traces were kept, in one line."""
    traces, vetted = run.traces, run.vetted
    if traces is None:
        return []
    parts = [f"traces: {numbers.whole(traces.num_traces)} written"]
    if vetted is not None and vetted.num_asked_again:
        parts.append(f"{vetted.num_asked_again:,} asked again")
    if vetted is not None and vetted.num_kept is not None:
        parts += [f"{vetted.num_kept:,} kept", f"{numbers.whole(vetted.num_rejected)} rejected"]
    reasons = ", ".join(f"{n:,} {why}" for why, n in vetted.rejected.items()) if vetted else ""
    return [", ".join(parts) + (f" ({reasons})" if reasons else "")]


def _break_even(run: RunResult) -> list[str]:
    """After how many questions the students have paid for themselves, in one line."""
    words, labels = {"never": "never", "unknown": "not known"}, run.phases[-1].labels
    found: dict[str, list[str]] = {}
    for one in break_even(run):
        when = f"after {numbers.counted(one.num_questions, 'questions')}"
        found.setdefault(labels[one.student], []).append(
            f"{words.get(one.outcome, when)} (by {one.measure})"
        )
    parts = [f"{label} {', '.join(times)}" for label, times in found.items()]
    return [f"break-even: {'; '.join(parts)}"] if parts else []


def metrics_lines(metrics: dict[str, Any]) -> list[str]:
    """The lines of `print_metrics`; figures that were not measured are left out."""
    count = metrics.get("num_questions", metrics.get("count"))
    graded = metrics.get("num_graded", metrics.get("count"))
    right = metrics.get("num_correct", metrics.get("correct"))
    accuracy, interval = metrics.get("accuracy"), metrics.get("interval")
    known = accuracy is not None and math.isfinite(accuracy)
    what = " samples" if metrics.get("samples") or (graded or 0) > (count or 0) else ""
    undecided = metrics.get("num_undecided", metrics.get("undecided"))
    batch = metrics.get("batch_size")
    latencies = (metrics.get("latency_p50_s"), metrics.get("latency_p95_s"))
    found = {
        "questions": count and numbers.whole(count),
        "accuracy": known and f"{numbers.percent(accuracy)}  ({right:,} of {graded:,}{what} right)",
        "95 % interval": known and interval and numbers.percent_range(interval),
        "digits right": _given(metrics, "digit_accuracy", numbers.percent),
        "no answer found": _given(metrics, "no_answer", numbers.whole),
        "undecided, not right": undecided and numbers.whole(undecided),
        "tokens written": _given(metrics, "mean_tokens", numbers.mean, " an answer"),
        "never stopped": _given(metrics, "unstopped", numbers.percent),
        "answers/s, batched": _given(
            metrics, "examples_per_s", numbers.rate, f"  (batches of {batch})" if batch else ""
        ),
        "answers/s, one by one": _given(metrics, "examples_per_s_single", numbers.rate),
        "median latency": latencies[0] is not None and numbers.duration(latencies[0]),
        "95th percentile": latencies[1] is not None and numbers.duration(latencies[1]),
    }
    lines = [f"{label:<22}{text}" for label, text in found.items() if text]
    lines = [*lines, *_category_lines(metrics), *_sample_lines(metrics)]
    if metrics.get("classes"):
        lines += _class_lines(class_table(TypeAdapter(Classes).validate_python(metrics["classes"])))
    return [plain(line) for line in lines]


def _class_lines(table: ClassTable) -> list[str]:
    return [
        *_spaced(narrow_rows(table, _COLUMNS)),
        *(part for note in table.notes for part in _wrapped(note)),
    ]


def _category_lines(metrics: dict[str, Any]) -> list[str]:
    rows = [
        (
            name,
            numbers.percent(share["accuracy"]),
            numbers.percent_range(share["interval"]),
            f"{share['num_correct']:,} of {share['num_graded']:,}",
        )
        for name, share in (metrics.get("categories") or {}).items()
    ]
    return _spaced([("category", "accuracy", "95 % interval", "right"), *rows]) if rows else []


def _sample_lines(metrics: dict[str, Any]) -> list[str]:
    samples = metrics.get("samples")
    if not samples:
        return []
    rows = [("k", "pass@k", "95 % interval", "majority@k", "95 % interval")]
    for k, passed in samples["pass_at_k"].items():
        ranges = [samples[f"{kind}_at_k_interval"][k] for kind in ("pass", "majority")]
        rows.append(
            (
                str(k),
                numbers.percent(passed),
                numbers.percent_range(ranges[0]),
                numbers.percent(samples["majority_at_k"][k]),
                numbers.percent_range(ranges[1]),
            )
        )
    return _spaced(rows)


def _spaced(rows: Sequence[Sequence[str]]) -> list[str]:
    """A blank line and a table."""
    return ["", *table_lines(rows)]


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, its first column on the left and the others on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_aligned(row, widths, "  ") for row in rows]


def _given(metrics: dict[str, Any], key: str, form: Any, suffix: str = "") -> str:
    value = metrics.get(key)
    return "" if value is None else f"{form(value)}{suffix}"


def _title(phase: PhaseResult) -> str:
    measured = phase.measured()
    if not measured:
        return f"{phase.name}: nothing measured{' yet' if phase.can_measure else ''}"
    split = {"test": "test", "valid": "VALIDATION"}.get(measured[0].split, measured[0].split)
    return f"{phase.name}: {numbers.counted(measured[0].num_questions, f'{split} questions')}"


def _table(phase: PhaseResult) -> list[str]:
    rows = [_HEADER, *(_row(phase, variant) for variant in phase.shown)]
    rows = [tuple(plain(cell) for cell in row) for row in rows]
    for gap, between in (("  ", " to "), (" ", " to "), (" ", "-")):  # whichever fits first
        cut = [(*row[:2], row[2].replace(" to ", between), *row[3:]) for row in rows]
        widths = [max(len(row[column]) for row in cut) for column in range(len(_HEADER))]
        lines = [_aligned(row, widths, gap) for row in cut]
        if max(map(len, lines)) <= _COLUMNS:
            break
    return ["", *lines]


def _row(phase: PhaseResult, variant: VariantResult) -> tuple[str, ...]:
    measured = variant.measured
    steps = numbers.whole(variant.last_step)
    if variant.steps_before and variant.last_step:
        steps = f"{variant.steps_before:,}+{steps}"
    if measured is None:
        return (variant.label, *[numbers.DASH] * 4, "", numbers.DASH, steps)
    ratio = phase.speed_ratio(variant.name)
    return (
        variant.label,
        numbers.percent(measured.accuracy),
        numbers.percent_range(measured.interval),
        numbers.mean(measured.mean_tokens),
        numbers.rate(measured.examples_per_s_single),
        "" if ratio is None else _times(ratio, is_own=variant.name == phase.writer.name),
        numbers.duration(measured.latency_p50_s),
        steps,
    )


def _times(ratio: Ratio, *, is_own: bool) -> str:
    """A ratio in the table; an equals sign where no difference from another was measured."""
    is_equal = not is_own and ratio.interval is not None and not ratio.is_a_difference
    if is_equal:
        return "="
    return f"{ratio.value:.1f}x" if is_own else numbers.times(ratio.value, None)


def _speeds(phase: PhaseResult) -> list[str]:
    """The intervals of the ratios in the table, where models took turns."""
    if phase.latency is None:
        return []
    writer, parts = phase.writer, []
    for variant in phase.shown:
        ratio = phase.speed_ratio(variant.name)
        if variant.name == writer.name or ratio is None or ratio.interval is None:
            continue
        told = "no difference measured"
        if ratio.is_a_difference:
            told = numbers.times(ratio.value, ratio.interval)
        parts.append(f"{variant.label} {told}")
    if not parts:
        return []
    line = f"answers/s against {writer.label}, models taking turns: {'; '.join(parts)}"
    return ["", *(plain(part) for part in _wrapped(line))]


def _aligned(row: Sequence[str], widths: Sequence[int], gap: str) -> str:
    first, *others = row
    cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
    return gap.join([f"{first:<{widths[0]}}", *cells]).rstrip()


def plain(text: str) -> str:
    """ASCII: a terminal may have any encoding."""
    return text.replace("\u00a0", " ").replace(numbers.DASH, "-").replace("×", "x")
