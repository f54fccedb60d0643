"""The pictures of a diagnosis: digits over the run, probes by layer, the thought once again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from unspoken.recipe.diagnosis_record import Diagnosis, DigitsAtLevel, Probes, ThoughtAgain
from unspoken.recipe.layout import EXPLICIT
from unspoken.recipe.levels import spoken_level
from unspoken.report.read.results import PhaseResult
from unspoken.report.show.diagnosis import WHERE, place_name
from unspoken.report.show.palette import COLOURS, LIGHT
from unspoken.report.show.plots import Drawn, Plot, new_figure, save_plots

#: Of the digits' lines, whose colours are near each other.
_MARKERS = "os^Dv"
#: Names of digits below a heat map at the most.
_MOST_NAMES = 24


def draw_diagnosis(phase: PhaseResult, folder: Path) -> list[Plot]:
    """The pictures for which there is something; PNG files go to `folder`/plots."""
    found, labels = phase.diagnosis or Diagnosis(), phase.diagnosed_labels
    colours = COLOURS | {EXPLICIT: COLOURS[phase.first_level]}
    probes = partial(_probes, found.probes, labels)
    again = partial(_again, found.again, labels, colours)
    return save_plots(
        phase.key,
        folder,
        [
            ("digits", "Right digits at each level of removal", partial(_digits, found.digits)),
            ("probes", "The thought's digits, read off by layer", probes),
            ("again", "The thought asked for again", again),
        ],
    )


def _digits(levels: list[DigitsAtLevel]) -> Drawn | None:
    if len(levels) < 2:
        return None
    figure, (axis,) = new_figure(3.7)
    axis.set_title("Right digits in validation, %")
    axis.set_ylim(-3, 104)
    places = list(levels[-1].places)
    # without its ends, which are lost on a dark and on a light ground
    colours = mpl.colormaps["viridis"](np.linspace(0.3, 0.85, len(places)))
    for number, place in enumerate(places):
        points = [
            (x, 100 * one.places[place]) for x, one in enumerate(levels) if place in one.places
        ]
        axis.plot(
            *zip(*points, strict=True),
            color=colours[number],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4.5,
            linewidth=1.6,
            label=place_name(place, places=places),
        )
    whole = [(x, 100 * one.accuracy) for x, one in enumerate(levels) if one.accuracy is not None]
    if whole:
        axis.plot(
            *zip(*whole, strict=True), color=LIGHT["ink"], linestyle=":", label="whole answer"
        )
    names = [spoken_level(one.level) for one in levels]
    axis.set_xticks(range(len(levels)), names)
    axis.set_xlabel("thought removed at this level")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)  # beside the lines
    return figure, (
        "Each digit of the answer over the run: the best model of each level of removal as "
        "training left it. Digit 1 is the least significant one."
    )


def _probes(probes: Probes | None, labels: Mapping[str, str]) -> Drawn | None:
    if probes is None or not probes.probes:
        return None
    count, layers = len(probes.probes), len(probes.probes[0].shares)
    figure, axes = new_figure(count * (0.55 + 0.16 * layers) + 0.9, count, sharex=True)
    image = None
    for axis, probe in zip(axes, probes.probes, strict=True):
        image = axis.imshow(
            [[100 * share for share in layer] for layer in probe.shares],
            aspect="auto",
            vmin=0,
            vmax=100,
            cmap="viridis",
            origin="lower",
        )
        axis.set_title(f"{labels[probe.model]}, {WHERE[probe.where]}", fontsize=10)
        axis.grid(visible=False)
        axis.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axis.set_ylabel("layer", fontsize=9)
    axes[-1].set_xlabel("number.digit of the thought")
    if len(probes.targets) <= _MOST_NAMES:
        turn = 0 if len(probes.targets) <= 8 else 90
        axes[-1].set_xticks(range(len(probes.targets)), probes.targets, rotation=turn, fontsize=8)
    else:
        axes[-1].set_xticks([])
    if image is not None:
        figure.colorbar(image, ax=axes, label="right, %", shrink=0.6)
    return figure, _probes_caption(probes)


def _probes_caption(probes: Probes) -> str:
    example = " ".join(probes.example.split())
    example = example if len(example) <= 60 else f"{example[:57]}..."
    has_two = any(target.startswith("2.") for target in probes.targets)
    first = "2.1 is the first digit of the second" if has_two else "1.1 is the first digit of the"
    return (
        "How well a linear map reads each digit of the thought's numbers off the hidden states; "
        "layer 0 are the embeddings. In a thought such as "
        f"{example}, {first} number. The state is "
        "that of the prompt's last token, or those from which the answer's tokens are written; the "
        "explicit model has its thought before it then, the others have not."
    )


def _again(
    models: list[ThoughtAgain], labels: Mapping[str, str], colours: Mapping[str, str]
) -> Drawn | None:
    if not models:
        return None
    figure, (axis,) = new_figure(3.0)
    axis.set_title("Thought tokens that are the likeliest next ones, %")
    axis.set_ylim(-3, 104)
    axis.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axis.set_xlabel("place in the thought")
    for one in models:
        axis.plot(
            range(1, len(one.tokens) + 1),
            [100 * share for share in one.tokens],
            color=colours[one.model],
            marker="o",
            markersize=3.5,
            label=labels[one.model],
        )
    axis.legend(loc="best", fontsize=9)
    return figure, "Given the question and the true tokens of the thought before each one."
