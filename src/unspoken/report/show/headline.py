"""The result in three figures: right answers, tokens written, how many times as fast."""

from __future__ import annotations

from dataclasses import dataclass

from unspoken.recipe.evaluation_records import Evaluation
from unspoken.recipe.layout import DISTILLED, EXPLICIT, INTERNALIZED, NO_COT
from unspoken.report.read.results import PhaseResult
from unspoken.report.show import numbers


@dataclass(frozen=True)
class Headline:
    """One large figure.

    Attributes:
        model: the variant that it is of.
        figure: `99.4 %`.
        words: what it is of, as the end of the sentence that the figure begins.
        against: what it compares with; empty for nothing.
    """

    model: str
    figure: str
    words: str
    against: str = ""


def headlines(phase: PhaseResult) -> list[Headline]:
    """At most three figures of the model without a thought, or of the one that writes it.

    Without a measured student there are none, and what was not measured has none.
    """
    for name in (INTERNALIZED, DISTILLED, EXPLICIT):
        own = phase.figures(name)
        if own is not None:
            found = (_accuracy(phase, name, own), _tokens(phase, name, own), _speed(phase, name))
            return [one for one in found if one is not None]
    return []


def _accuracy(phase: PhaseResult, name: str, own: Evaluation) -> Headline | None:
    if own.accuracy is None:
        return None
    words = f"right{_with_thought(phase) if name == INTERNALIZED else ', writing the thought'}"
    writer, plain = phase.writer.measured, phase.figures(NO_COT)
    against = []
    if name == INTERNALIZED and writer is not None and writer.accuracy is not None:
        against.append(f"{numbers.percent(writer.accuracy)} with the thought written")
    if plain is not None and plain.accuracy is not None:
        against.append(f"{numbers.percent(plain.accuracy)} if never shown one")
    return Headline(name, numbers.percent(own.accuracy), words, "; ".join(against))


def _with_thought(phase: PhaseResult) -> str:
    """How much of its thought the internalized model writes; empty where that is not known."""
    left = phase.variants[INTERNALIZED].tokens_left
    if left == 0:
        return ", without writing the thought"
    if left is None and phase.outcome is None:  # nothing is there that tells how it was trained
        return ""
    tokens = "1 token" if left == 1 else f"{left or 'some'} tokens"
    return f", with {tokens} of the thought left"


def _tokens(phase: PhaseResult, name: str, own: Evaluation) -> Headline | None:
    if own.mean_tokens is None:
        return None
    writer, against = phase.writer.measured, ""
    if name == INTERNALIZED and writer is not None and writer.mean_tokens is not None:
        against = f"{numbers.mean(writer.mean_tokens)} with the thought written"
    return Headline(name, numbers.mean(own.mean_tokens), "tokens written for an answer", against)


def _speed(phase: PhaseResult, name: str) -> Headline | None:
    ratio = phase.speed_ratio(name)
    if ratio is None or name == phase.writer.name:
        return None
    own, writer = phase.figures(name), phase.writer.measured
    rates = [one.examples_per_s_single for one in (own, writer) if one is not None]
    against = f"{' against '.join(map(numbers.rate, rates))} a second, one at a time"
    figure = numbers.times(ratio.value, None)
    if ratio.interval is not None and not ratio.is_a_difference:
        figure, against = "1×", f"no difference measured: {against}"
    return Headline(name, figure, "as many answers a second", against)
