"""Which of two models is better, and how much faster: what the sentences and tables rest on."""

from __future__ import annotations

from unspoken.report.read.results import PhaseResult, VariantResult

SPLITS = {"test": "held-out questions", "valid": "validation questions"}


def order(phase: PhaseResult, name: str, rival: str) -> int:
    """1 where the model `name` is better than `rival`, -1 worse, 0 not distinguishable.

    Two models differ when McNemar's exact test on the same questions says so (p < 0.05); without
    common questions, when their intervals do not overlap.
    """
    own, other = phase.figures(name), phase.figures(rival)
    if own is None or other is None or own.accuracy is None or other.accuracy is None:
        return 0
    sign = (own.accuracy > other.accuracy) - (own.accuracy < other.accuracy)
    paired = phase.compare(name, rival)
    if paired is not None:
        return sign if paired.p_value < 0.05 else 0
    if own.interval is None or other.interval is None:
        return 0
    apart = own.interval[0] > other.interval[1] or other.interval[0] > own.interval[1]
    return sign if apart else 0


def speed_ratio(phase: PhaseResult, name: str) -> float | None:
    """Questions per second at batch 1, relative to the model's that writes its thought."""
    own, other = phase.figures(name), phase.writer.measured
    if own is None or other is None:
        return None
    if own.examples_per_s_single is None or not other.examples_per_s_single:
        return None
    return own.examples_per_s_single / other.examples_per_s_single


def unfinished(own: VariantResult) -> str:
    """What is left of the thought after removal, as a sentence, or nothing."""
    left, trained = own.tokens_left, own.trained
    if not left or trained is None:
        return ""
    if left == trained.longest_thought:
        return "No thought token was removed."
    return f"Removal did not finish: {left} of {trained.longest_thought} thought tokens are left."
