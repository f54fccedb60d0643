"""The figures of one phase, as SVG for the page and PNG for everything else.

Drawn small, so that the text is readable on a phone, and without pyplot or any global state. The
same run gives the same bytes.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator, StrMethodFormatter

from unspoken.common.files import write_text
from unspoken.common.places import writing
from unspoken.recipe.layout import (
    AT_ONCE,
    DISTILLED,
    EXPLICIT,
    INTERNALIZED,
    NO_COT,
    PLOTS,
    TEACHER,
    UNTRAINED,
)
from unspoken.report.read.points import TrainPoint, ValidPoint
from unspoken.report.read.results import PhaseResult, VariantResult
from unspoken.report.show.numbers import counted
from unspoken.report.show.palette import COLOURS, LIGHT
from unspoken.report.show.plot_labels import (
    beside_points,
    lead_to_name,
    name_ends,
    write_name,
)
from unspoken.report.show.svg import curves_of, draw_svg, inline_svg, picture_svg

_MARKERS = {
    TEACHER: "P",
    DISTILLED: "X",
    EXPLICIT: "s",
    INTERNALIZED: "o",
    AT_ONCE: "D",
    NO_COT: "^",
    UNTRAINED: "v",
}
_INK, _QUIET, _EDGE = LIGHT["ink"], LIGHT["quiet"], LIGHT["edge"]
_STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _EDGE,
    "axes.labelcolor": _QUIET,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.8,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "text.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "svg.hashsalt": "unspoken",
}
#: More removals than this are marked by ticks instead of lines, more points not at all.
_MOST_LINES = 30
#: Points of a curve at the most; a long run logs tens of thousands.
MOST_POINTS = 400

#: A figure and its caption.
Drawn = tuple[Figure, str]


@dataclass(frozen=True)
class Plot:
    """One figure of the page.

    Attributes:
        name: of the PNG file, without suffix.
        title, caption: for people; the caption explains what the figure cannot.
        drawn: the figure as `unspoken.report.show.svg` has drawn it.
        png: path relative to the run folder.
        curves: what a pointer can find in it.
    """

    name: str
    title: str
    caption: str
    drawn: str
    png: str
    curves: list[dict[str, Any]] = field(default_factory=list)

    @property
    def svg(self) -> str:
        """An inline `<svg>` element."""
        return inline_svg(self.drawn, self.name, self.title)


def draw_plots(phase: PhaseResult, folder: Path) -> list[Plot]:
    """The figures for which the phase has data; PNG files go to `folder`/plots."""
    drawings = [
        ("accuracy", "Accuracy while the thought is removed", _accuracy_over_steps),
        ("tokens", "Accuracy against tokens written", _accuracy_over_tokens),
        ("loss", "Training loss", _loss_over_steps),
    ]
    made = [(name, title, functools.partial(draw, phase)) for name, title, draw in drawings]
    return save_plots(phase.key, folder, made)


def save_plots(
    key: str, folder: Path, drawings: Sequence[tuple[str, str, Callable[[], Drawn | None]]]
) -> list[Plot]:
    """Draws figures for the page and into `folder`/plots.

    Args:
        key: of the phase; empty without phases.
        folder: of the run.
        drawings: name, title and what draws it with its caption, or gives None for nothing.
    """
    plots = []
    with writing(folder / PLOTS):
        (folder / PLOTS).mkdir(exist_ok=True)
    for name, title, draw in drawings:
        stem = f"{key}-{name}" if key else name
        with mpl.rc_context(_STYLE):
            drawn = draw()
            if drawn is None:
                (folder / PLOTS / f"{stem}.png").unlink(missing_ok=True)
                continue
            figure, caption = drawn
            png = folder / PLOTS / f"{stem}.png"
            # once and not by each file, which would draw it twice for it; both look the same
            ConstrainedLayoutEngine().execute(figure)
            with writing(png):
                figure.savefig(png, format="png", dpi=200, facecolor="white", metadata={})
            path = f"{PLOTS}/{stem}.png"
            plots.append(Plot(stem, title, caption, draw_svg(figure), path, curves_of(figure)))
    return plots


def write_pictures(plots: Sequence[Plot], folder: Path) -> None:
    """Writes NAME-light.svg and NAME-dark.svg of each figure, as a README shows them."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for plot in plots:
            for ground in ("light", "dark"):
                picture = picture_svg(plot.drawn, is_dark=ground == "dark")
                write_text(folder / f"{plot.name}-{ground}.svg", picture)


def new_figure(height: float, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure as wide as all others, with so many axes below each other."""
    figure = Figure(figsize=(5.2, height))
    axes = figure.subplots(rows, 1, squeeze=False, **options)[:, 0]
    for axis in axes:
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
        axis.grid(axis="x", visible=False)
        axis.tick_params(length=3)
    return figure, list(axes)


def _accuracy_over_steps(phase: PhaseResult) -> Drawn | None:
    shown = [v for v in _students(phase) if any(p.accuracy is not None for p in v.valid)]
    if not shown:
        return None
    figure, (upper, lower) = new_figure(6.4, 2, sharex=True, height_ratios=[2, 1])
    _draw_accuracies(upper, shown)
    own = phase.variants[INTERNALIZED]
    _draw_removal(lower, own)
    if own.all_removed_at:
        for axis in (upper, lower):
            axis.axvline(own.all_removed_at, color=_QUIET, linewidth=1, linestyle=":")
    lower.set_xlabel("optimizer steps")
    upper.set_xlim(left=0)
    return figure, _accuracy_caption(phase, shown)


def _draw_accuracies(axis: Axes, shown: Sequence[VariantResult]) -> None:
    """A named line for each model, of its validations."""
    axis.set_title("Right answers in validation, %")
    axis.set_ylim(-3, 104)
    ends = []
    for variant in shown:
        before = variant.steps_before or 0
        points = [
            (before + p.step, 100 * p.accuracy) for p in variant.valid if p.accuracy is not None
        ]
        marks = {"marker": "o", "markersize": 3.5} if len(points) <= _MOST_LINES else {}
        look = {"color": COLOURS[variant.name], "linewidth": 1.6, "label": variant.label, **marks}
        axis.plot(*zip(*points, strict=True), **look)
        ends.append((points[-1][0], points[-1][1], variant))
    lead_to_name(axis, ends)
    name_ends(axis, ends, least_gap=0.09)


def _draw_removal(axis: Axes, own: VariantResult) -> None:
    """Thought tokens that the internalized model no longer saw, by step."""
    longest = own.trained.longest_thought if own.trained else None
    most = longest or max([1, *(point.removed for point in own.train)])
    axis.set_title(f"Thought tokens removed, of {longest}" if longest else "Thought tokens removed")
    axis.set_ylim(0, 1.08 * most)
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if own.train:
        points = thinned(own.train)
        steps = [(own.steps_before or 0) + point.step for point in points]
        removed = [point.removed for point in points]
        axis.step(steps, removed, where="pre", color=COLOURS[own.name], label=own.label)
        axis.fill_between(steps, removed, step="pre", color=COLOURS[own.name], alpha=0.12)


def _accuracy_caption(phase: PhaseResult, shown: Sequence[VariantResult]) -> str:
    asked = max(point.num_questions for variant in shown for point in variant.valid)
    caption = (
        f"Measured on {counted(asked, 'validation questions')}, each time at the level of removal "
        "that training had reached."
    )
    own, explicit = phase.variants[INTERNALIZED], phase.variants[EXPLICIT]
    if own.all_removed_at:
        caption += f" Dotted: from step {own.all_removed_at:,} on the whole thought stays removed."
    if own.steps_before:
        caption += (
            f" The internalized student went on from the explicit one, step {own.steps_before:,}."
        )
    if explicit.borrowed:
        caption += " The explicit model is this run before its first removal."
    return caption


def _accuracy_over_tokens(phase: PhaseResult) -> Drawn | None:
    levels = phase.variants[INTERNALIZED].best_per_level()
    good = _good_levels(phase)
    final = [
        (v.measured.mean_tokens, 100 * v.measured.accuracy, v)
        for v in phase.shown
        if v.measured and v.measured.accuracy is not None and v.measured.mean_tokens is not None
    ]
    if not levels and not final:
        return None
    figure, (axis,) = new_figure(3.7)
    axis.set_title("Right answers, %", pad=24)
    axis.set_ylim(-9, 115)
    axis.set_yticks(range(0, 101, 20))
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_xlabel("tokens written per question")
    if levels:
        axis.plot(
            [point.mean_tokens for point in levels],
            [100 * (point.accuracy or 0) for point in levels],
            color=COLOURS[INTERNALIZED],
            linewidth=1.2,
            marker="o",
            markersize=5,
            markerfacecolor=LIGHT["card"],
            label="validation, best per level",
        )
    if good:
        axis.plot(
            *zip(*good, strict=True),
            color=COLOURS[INTERNALIZED],
            linewidth=1.2,
            linestyle="--",
            marker="o",
            markersize=5,
            label="validation, trained on",
        )
    handles = list(axis.lines)
    left = [(p.mean_tokens, 100 * (p.accuracy or 0)) for p in levels]
    _name_finals(axis, final, [left, good])
    split = {"valid": "validation"}.get(_split(phase), "test")
    if final:
        label = f"{split}, final models"
        handles += axis.plot([], [], "D", color=_INK, markersize=6, label=label)
    axis.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.99),
        ncols=3 if good else 2,
        handletextpad=0.4,
        borderaxespad=0,
        **({"columnspacing": 0.8, "fontsize": 8} if good else {}),
    )
    written = [*(x for x, _, _ in final), *(point.mean_tokens for point in levels)]
    axis.set_xlim(0, 1.06 * max(1.0, *written))
    caption = _tokens_caption(levels, [v for _, _, v in final], split)
    if good:
        caption += (
            " Dashed: levels that were trained on until they were good, and the models at both "
            "ends, on validation questions."
        )
    return figure, caption


def _good_levels(phase: PhaseResult) -> list[tuple[float, float]]:
    """Tokens and percentage, by validation, of levels that were trained until they were good."""
    measured = [level.validation for level in phase.levels if level.num_steps]
    return [
        (one.mean_tokens, 100 * one.accuracy)
        for one in measured
        if one is not None and one.mean_tokens is not None and one.accuracy is not None
    ]


def _tokens_caption(
    levels: Sequence[ValidPoint], final: Sequence[VariantResult], split: str
) -> str:
    caption = ""
    if levels:
        asked = max(point.num_questions for point in levels)
        caption = (
            "Hollow: the best of the internalized model at each level of removal, on "
            f"{counted(asked, 'validation questions')}, which also chose the checkpoints. Levels "
            "in between were left when the schedule said so, not trained to the end."
        )
    if final:
        asked = max(variant.measured.num_graded for variant in final if variant.measured)
        questions = counted(asked, f"{split} questions")
        caption += f" Filled: final models on {questions}, Wilson 95 % intervals."
    return caption.strip()


def _name_finals(
    axis: Axes,
    final: Sequence[tuple[float, float, VariantResult]],
    curves: Sequence[Sequence[tuple[float, float]]],
) -> None:
    """Final models with their intervals and names."""
    for x, y, variant in final:
        interval = variant.measured.interval if variant.measured else None
        colour = COLOURS[variant.name]
        if interval is not None:
            axis.vlines(x, 100 * interval[0], 100 * interval[1], color=colour, linewidth=2.5)
        look = {"color": colour, "markersize": 8, "zorder": 4, "label": variant.label}
        axis.plot(x, y, _MARKERS[variant.name], **look)
    names = [variant.label for _, _, variant in final]
    places = beside_points([(x, y) for x, y, _ in final], curves, names)
    for (x, _, variant), (height, right) in zip(final, places, strict=True):
        offset, alignment = (9, "left") if right else (-9, "right")
        write_name(
            axis, variant, (x, height), coordinates="data", offset=offset, alignment=alignment
        )


def _loss_over_steps(phase: PhaseResult) -> Drawn | None:
    shown = [variant for variant in _students(phase) if len(variant.train) > 1]
    own = phase.variants[INTERNALIZED]
    if not shown:
        return None
    figure, (axis,) = new_figure(3.0)
    axis.set_title("Mean loss of kept tokens, nats")
    axis.set_xlabel("optimizer steps")
    ends, every = [], []
    for variant in shown:
        steps, means = smoothed(variant.train)
        steps = [(variant.steps_before or 0) + step for step in steps]
        losses = [max(loss, 1e-7) for loss in means]  # 0 has no logarithm
        axis.plot(steps, losses, color=COLOURS[variant.name], linewidth=1.4, label=variant.label)
        ends.append((steps[-1], losses[-1], variant))
        every += losses
    _scale_losses(axis, every)
    changes = [(own.steps_before or 0) + step for step in level_changes(own.train)]
    if 0 < len(changes) <= _MOST_LINES:
        for step in changes:
            axis.axvline(step, color=_EDGE, linewidth=0.8, zorder=0)
    else:
        axis.plot(
            changes, [0.015] * len(changes), "|", color=_QUIET, transform=axis.get_xaxis_transform()
        )
    axis.set_xlim(left=0)
    lead_to_name(axis, ends)
    name_ends(axis, ends, least_gap=0.1)
    marks = "Grey marks: thought tokens are removed." if changes else ""
    return figure, f"Running mean. {marks}".strip()


def _scale_losses(axis: Axes, losses: Sequence[float]) -> None:
    """A logarithmic axis where losses differ enough for it to have several labels."""
    if max(losses) >= 10 * min(losses):
        axis.set_yscale("log")
        axis.yaxis.set_minor_formatter(_PlainLogFormatter(minor_thresholds=(2, 0.5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


class _PlainLogFormatter(LogFormatterSciNotation):
    """Labels as `0.4` where the parent has formulas, which take longer than the rest of a plot."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def _students(phase: PhaseResult) -> list[VariantResult]:
    """Those whose curves share an axis of steps: a teacher is another model."""
    return [variant for variant in phase.shown if variant.name != TEACHER]


def _split(phase: PhaseResult) -> str:
    measured = phase.measured()
    return measured[0].split if measured else "test"


def thinned(points: Sequence[TrainPoint]) -> list[TrainPoint]:
    """At most `MOST_POINTS` points: each the mean loss of a stretch, at the stretch's end."""
    stride = -(-len(points) // MOST_POINTS) or 1
    found = []
    for start in range(0, len(points), stride):
        part = points[start : start + stride]
        loss = sum(point.loss for point in part) / len(part)
        found.append(TrainPoint(part[-1].step, loss, part[-1].removed))
    return found


def smoothed(points: Sequence[TrainPoint]) -> tuple[list[int], list[float]]:
    """Steps and the running mean of the loss, over about a hundredth of the curve."""
    few = thinned(points)
    half = len(few) // 200
    losses = [point.loss for point in few]
    means = []
    for index in range(len(few)):
        part = losses[max(0, index - half) : index + half + 1]
        means.append(sum(part) / len(part))
    return [point.step for point in few], means


def level_changes(points: Sequence[TrainPoint]) -> list[int]:
    """The logged steps at which more tokens were gone than at the one before."""
    pairs = itertools.pairwise(points)
    return [after.step for before, after in pairs if after.removed > before.removed]


def plotted_series(phase: PhaseResult) -> dict[str, Any]:
    """The numbers behind the plots of a phase, as plain values."""
    own = phase.variants[INTERNALIZED]
    return {
        "train": {
            name: [
                {"step": point.step, "loss": point.loss, "removed": point.removed}
                for point in thinned(variant.train)
            ]
            for name, variant in phase.variants.items()
        },
        "valid": {
            name: [vars(point) for point in variant.valid]
            for name, variant in phase.variants.items()
        },
        "best_per_level": [vars(point) for point in own.best_per_level()],
        "level_changes": level_changes(own.train),
    }
