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
#: Every colour by its name in the page's CSS; no two are the same.
LIGHT = {
    **COLOURS,
    "ink": "#222222",
    "quiet": "#626262",
    "edge": "#999999",
    "line": "#E3E3DF",
    "card": "#FFFFFF",
}
DARK = {
    TEACHER: "#2FC39A",
    DISTILLED: "#DD9CC0",
    EXPLICIT: "#F08A3C",
    INTERNALIZED: "#56B4E9",
    AT_ONCE: "#B89BE0",
    NO_COT: "#A8A8A8",
    UNTRAINED: "#F0B93A",
    "ink": "#ECECEA",
    "quiet": "#A5A5A0",
    "edge": "#6E6E6A",
    "line": "#363634",
    "card": "#1F1F1F",
}
