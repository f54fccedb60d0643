"""Labels in the plots: a model's name and colour, at its line or point, where it covers nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from unspoken.recipe.layout import DISTILLED
from unspoken.report.read.results import VariantResult
from unspoken.report.show.palette import COLOURS, name_colour

#: Of a name beside a point: where it begins and how wide a letter is, as shares of an axis that
#: starts at 0; percentage points to the next place it may have, and those that keep it readable.
_BEGIN, _LETTER, _SHIFT, _CLEAR = 0.03, 0.0225, 9.0, 6.5
_BELOW_FIRST = np.array([0, -1, 1, -2, 2, -3, 3, -4, 4])


def write_name(
    axis: Axes,
    variant: VariantResult,
    place: tuple[float, float],
    *,
    coordinates: str | tuple[str, str],
    offset: float,
    alignment: str = "left",
) -> None:
    """Writes a variant's name in its colour, `offset` printer's points to the right of `place`."""
    axis.annotate(
        variant.label,
        place,
        xycoords=coordinates,
        xytext=(offset, 0),
        textcoords="offset points",
        ha=alignment,
        va="center",
        color=name_colour(variant.name),
        fontweight="bold",
        annotation_clip=False,
    )


def name_ends(
    axis: Axes, ends: Sequence[tuple[float, float, VariantResult]], least_gap: float
) -> None:
    """Names lines at their right ends, moved apart where the names would overlap.

    Args:
        axis: has its final limits.
        ends: x, y and whose line.
        least_gap: between two names, as a share of the axis' height.
    """
    axis.get_ylim()  # ends autoscaling, on which the transform depends
    shares = (axis.transScale + axis.transLimits).transform([(x, y) for x, y, _ in ends])[:, 1]
    last = max(x for x, _, _ in ends)
    for (_, _, variant), share in zip(ends, apart(list(shares), least_gap), strict=True):
        place = (last, float(share))
        write_name(axis, variant, place, coordinates=("data", "axes fraction"), offset=6)


def lead_to_name(axis: Axes, ends: Sequence[tuple[float, float, VariantResult]]) -> None:
    """A dotted line from where the explicit student's curve ends to its name."""
    last = max(x for x, _, _ in ends)
    for x, y, variant in ends:
        if variant.name == DISTILLED and x < last:
            axis.plot([x, last], [y, y], ":", color=COLOURS[variant.name], linewidth=1)


def apart(heights: Sequence[float], least_gap: float) -> list[float]:
    """The heights, moved as little as it takes to be `least_gap` apart; none below 0.04.

    Examples:
        >>> apart([0.5, 0.45, 0.1], 0.1)
        [0.5, 0.4, 0.1]
    """
    order = sorted(range(len(heights)), key=lambda index: -heights[index])
    moved = list(heights)
    for above, below in itertools.pairwise(order):
        moved[below] = min(moved[below], moved[above] - least_gap)
    lift = max(0.0, 0.04 - min(moved, default=1.0))
    return [height + lift for height in moved]


def beside_points(
    points: Sequence[tuple[float, float]],
    curves: Sequence[Sequence[tuple[float, float]]],
    names: Sequence[str],
) -> list[tuple[float, bool]]:
    """Where each point's name covers least: its height, and whether it runs to the right.

    Args:
        points: x and percentage of what gets a name.
        curves: x and percentage of lines to stay clear of; they may be empty.
        names: of the points.
    """
    xs = [x for x, _ in itertools.chain(points, *curves)]
    middle, extent = (min(xs) + max(xs)) / 2, max(xs)
    taken: list[tuple[float, float, float]] = []  # of names: where they begin and end, and height
    places: dict[int, tuple[float, bool]] = {}
    for index in sorted(range(len(points)), key=lambda index: -points[index][1]):
        x, y = points[index]
        right = x <= middle
        ends = (_BEGIN, _BEGIN + _LETTER * len(names[index]))
        near, far = sorted(x + (extent if right else -extent) * share for share in ends)
        obstacles = [height for at, height in points if near <= at <= far]
        obstacles += [height for begin, end, height in taken if begin <= far and near <= end]
        obstacles += itertools.chain(*(_heights(curve, near, far) for curve in curves))
        heights = y + _SHIFT * (_BELOW_FIRST if places else -_BELOW_FIRST)  # the best one's on top
        height = _clearest(heights.tolist(), obstacles)
        taken.append((near, far, height))
        places[index] = (height, right)
    return [places[index] for index in range(len(points))]


def _clearest(candidates: Sequence[float], obstacles: Sequence[float]) -> float:
    """The first of the heights within the plot that is as far as any from what is there."""
    allowed = [height for height in candidates if -4 <= height <= 112]
    clearances = [
        min([_CLEAR, *(abs(height - other) for other in obstacles)]) for height in allowed
    ]
    return allowed[clearances.index(max(clearances))]


def _heights(curve: Sequence[tuple[float, float]], start: float, end: float) -> list[float]:
    """Heights of a curve between two places."""
    if not curve:
        return []
    line = np.array(sorted(curve))  # (points, 2)
    start, end = max(start, line[0, 0]), min(end, line[-1, 0])
    if start > end:
        return []
    inside = np.linspace(start, end, 20)
    return np.interp(inside, line[:, 0], line[:, 1]).tolist()
