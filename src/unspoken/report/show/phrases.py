"""What the results of every run say: how far removal came, one model against another."""

from __future__ import annotations

from unspoken.recipe.layout import AT_ONCE, NO_COT, UNTRAINED
from unspoken.report.read.results import PhaseResult, VariantResult
from unspoken.report.show.numbers import percent, ratio_texts


def unfinished(own: VariantResult) -> str:
    """How far removal came where something of the thought is left, as a sentence, or nothing."""
    outcome = own.outcome
    if outcome is None or outcome.is_complete:
        return ""
    return f"{outcome.sentence[0].upper()}{outcome.sentence[1:]}."


def against_plain(phase: PhaseResult, name: str, *, subject: str, noun: str) -> str:
    """A model against those that never wrote a thought or lost it at once, a sentence each.

    Args:
        phase, name: whose model.
        subject: what the first sentence calls it.
        noun: what kind of model it is, such as `student`.
    """
    rivals = {
        NO_COT: f"the same {noun} trained without a chain of thought",
        AT_ONCE: f"the same {noun} with its whole thought removed at once",
        UNTRAINED: f"the untrained {noun}",
    }
    told: list[str] = []
    for rival, words in rivals.items():
        sentence = _against(phase, name, rival, "It" if told else subject, words)
        told += [sentence] * bool(sentence)
    return " ".join(told)


def _against(phase: PhaseResult, name: str, rival: str, subject: str, words: str) -> str:
    other = phase.figures(rival)
    if other is None or not points(phase, name, rival):
        return ""
    share, sign = percent(other.accuracy), phase.order(name, rival)
    if examples := other_examples(phase, name, rival):
        words = f"{words} ({examples})"
    if sign == 0:
        return f"{subject} is no better than {words}, {share}: the difference is within chance."
    return f"{subject} is {'better' if sign > 0 else 'worse'} than {words}: {share}."


def other_examples(phase: PhaseResult, name: str, rival: str) -> str:
    """How many more or fewer examples a rival saw, and whether its steps were as many.

    For example `for as many steps but on 1.6 times as many examples`; empty where they differ by
    5 % at the most, or are not known.
    """
    own, other = phase.variants[name], phase.variants[rival]
    if other.borrowed or not own.num_seen or not other.num_seen:
        return ""
    ratio = other.num_seen / own.num_seen
    if abs(ratio - 1) <= 0.05:
        return ""
    steps = "" if own.has_other_steps(other) else "for as many steps but "
    return f"{steps}on {ratio_texts(ratio)[0]} times as many examples"


def how_different(phase: PhaseResult, name: str, rival: str) -> str:
    """The end of a sentence about the rival's accuracy: `, 2.5 points (0.8 to 4.1) more.`"""
    sign = phase.order(name, rival)
    if sign == 0:
        return "; that difference is within chance."
    return f", {points(phase, name, rival)} {'more' if sign < 0 else 'less'}."


def points(phase: PhaseResult, name: str, rival: str) -> str:
    """How far apart two accuracies are, without a sign: `2.5 points (0.8 to 4.1)`.

    The 95 % interval of the difference is there where both were asked the same questions. Empty
    where one accuracy is not known.
    """
    own, other = phase.figures(name), phase.figures(rival)
    if own is None or other is None or own.accuracy is None or other.accuracy is None:
        return ""
    paired = phase.compare(name, rival)
    if paired is None:
        return f"{100 * abs(own.accuracy - other.accuracy):.1f} points"
    sign = -1 if paired.difference < 0 else 1
    value, *ends = (
        round(100 * sign * share, 1) + 0.0  # no -0.0
        for share in (paired.difference, *paired.interval[::sign])
    )
    return f"{value:.1f} points ({ends[0]:.1f} to {ends[1]:.1f})"
