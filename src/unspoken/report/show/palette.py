"""The colours of the page and its figures, on a light and on a dark ground."""

from __future__ import annotations

from unspoken.recipe.layout import (
    AT_ONCE,
    DISTILLED,
    EXPLICIT,
    INTERNALIZED,
    NO_COT,
    TEACHER,
    UNTRAINED,
)

#: Okabe and Ito's colours, apart for colour-blind people, a purple and a grey.
COLOURS = {
    TEACHER: "#009E73",
    DISTILLED: "#CC79A7",
    EXPLICIT: "#D55E00",
    INTERNALIZED: "#0072B2",
    AT_ONCE: "#6A3D9A",
    NO_COT: "#5F5F5F",
    UNTRAINED: "#E69F00",
}
#: Of those too pale to be read as text on a light ground (4.5 to 1 is asked): their names' colours.
_NAMES = {
    TEACHER: "#007A59",
    DISTILLED: "#A85085",
    EXPLICIT: "#B84F00",
    UNTRAINED: "#8F6200",
}
#: Every colour by its name in the page's CSS; no two are the same.
LIGHT = {
    **COLOURS,
    **{f"{name}-name": colour for name, colour in _NAMES.items()},
    "ink": "#222222",
    "quiet": "#626262",
    "edge": "#999999",
    "line": "#E3E3DF",
    "card": "#FFFFFF",
}
_ON_DARK = {
    TEACHER: "#2FC39A",
    DISTILLED: "#DD9CC0",
    EXPLICIT: "#F08A3C",
    INTERNALIZED: "#56B4E9",
    AT_ONCE: "#B89BE0",
    NO_COT: "#A8A8A8",
    UNTRAINED: "#F0B93A",
}
DARK = {
    **_ON_DARK,
    **{f"{name}-name": _ON_DARK[name] for name in _NAMES},
    "ink": "#ECECEA",
    "quiet": "#A5A5A0",
    "edge": "#6E6E6A",
    "line": "#363634",
    "card": "#1F1F1F",
}


def name_colour(model: str) -> str:
    """The colour in which a model's name is written, on a light ground."""
    return _NAMES.get(model, COLOURS[model])
