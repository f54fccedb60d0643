"""A drawn figure as an SVG: inside a page, where its colours follow the page's, or as a picture.

Figures are drawn in the colours of `LIGHT`; every other palette is put in their place in the text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter

from unspoken.report.show.palette import DARK, LIGHT

_PLACES = re.compile(r'\s(?:d|x|y|width|height|transform|points)="[^"]*"')
_NUMBER = re.compile(r"(\d\.\d\d)\d+")
_COLOUR = re.compile("|".join(map(re.escape, LIGHT.values())), re.IGNORECASE)
_NAMES = {colour.lower(): name for name, colour in LIGHT.items()}
_FONTS = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif'


def inline_svg(drawn: str, name: str, title: str) -> str:
    """An element for a page: ids that no other figure has, colours that the page may set.

    A page sets them as variables of CSS, `--ink` or `--internalized`; elsewhere, such as in a
    notebook, they are those of `LIGHT`.

    Args:
        drawn: what `draw_svg` gave.
        name: of the figure, for the ids.
        title: for those who cannot see it.
    """
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", drawn)
    prefix = re.sub(r"[^a-zA-Z0-9-]", "-", name)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'href="#{prefix}-')
    # The size comes from the page; the view box keeps the shape.
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    return _COLOUR.sub(lambda found: f"var(--{_NAMES[found[0].lower()]}, {found[0]})", text)


def picture_svg(drawn: str, *, is_dark: bool) -> str:
    """A file of its own, for a light or a dark ground, with the reader's own fonts."""
    style = f"<style>text{{font-family:{_FONTS}!important}}</style>"
    text = re.sub(r"(<svg[^>]*>)", rf"\1{style}", drawn, count=1)
    if is_dark:
        text = _COLOUR.sub(lambda found: DARK[_NAMES[found[0].lower()]], text)
    return text


def draw_svg(figure: Figure) -> str:
    """The `<svg>` element of a figure, without prolog and metadata; two decimals are enough."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\n\s+", "\n", text)
    return _PLACES.sub(lambda place: _NUMBER.sub(r"\1", place[0]), text)


def curves_of(figure: Figure) -> list[dict[str, Any]]:
    """What a pointer can find in a figure whose layout is done: its axes with their named lines.

    Returns:
        one value for each axes that has some: `box` (left, top, width and height as shares of the
        picture), the limits `x` and `y`, `log` for a logarithmic y, the words `over` and `title`,
        names of places on x or None, and `curves` of name, colour's name, `x` and `y`.
    """
    return [
        _axes_values(axis, curves) for axis in figure.axes if (curves := list(_curves_in(axis)))
    ]


def _axes_values(axis: Axes, curves: list[dict[str, Any]]) -> dict[str, Any]:
    place, names = axis.get_position(), axis.xaxis.get_major_formatter()
    box = (place.x0, 1 - place.y1, place.width, place.height)
    return {
        "box": [round(share, 4) for share in box],
        "x": _rounded(axis.get_xlim()),
        "y": _rounded(axis.get_ylim()),
        "log": axis.get_yscale() == "log",
        "over": axis.get_xlabel() or _label_below(axis),
        "title": axis.get_title(loc="left") or axis.get_title(),
        "names": list(names.seq) if isinstance(names, FixedFormatter) else None,
        "curves": curves,
    }


def _label_below(axis: Axes) -> str:
    """The x label of the axes that share x and have one."""
    others = axis.get_shared_x_axes().get_siblings(axis)
    return next(filter(None, (other.get_xlabel() for other in others)), "")


def _curves_in(axis: Axes) -> Iterator[dict[str, Any]]:
    """The lines that have a name and points."""
    for line in axis.lines:
        label, x = str(line.get_label()), np.asarray(line.get_xdata())
        if not label.startswith("_") and len(x):
            yield {
                "name": label,
                "colour": _colour_of(line),
                "x": _rounded(x),
                "y": _rounded(np.asarray(line.get_ydata())),
            }


def _colour_of(line: Line2D) -> str | None:
    colour = line.get_color()
    return _NAMES.get(colour.lower()) if isinstance(colour, str) else None


def _rounded(values: Any) -> list[float | int]:
    """Six significant digits, and no `.0` in JSON."""
    rounded = [float(f"{value:.6g}") for value in values]
    return [int(value) if value.is_integer() else value for value in rounded]
