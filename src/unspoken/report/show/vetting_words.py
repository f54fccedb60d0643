"""The page's section about traces, in words."""

from __future__ import annotations

from unspoken.report.read.vetting import Traces, Vetted
from unspoken.report.show.numbers import DASH, money, percent, rate, wall_time, whole


def traces_lines(traces: Traces | None, vetted: Vetted | None) -> list[str]:
    """What the teacher wrote and what was kept of it, one paragraph each."""
    lines = [] if traces is None else [_written(traces)]
    if vetted is not None and vetted.num_kept is not None:
        lines.append(_kept(vetted))
    return lines


def shares(vetted: Vetted | None) -> list[tuple[str, str, str]]:
    """Reason, number of rejected traces, share of all traces; most frequent first."""
    if vetted is None:
        return []
    total = vetted.num_traces
    return [
        (reason, whole(count), percent(count / total) if total else DASH)
        for reason, count in vetted.rejected.items()
    ]


def _written(traces: Traces) -> str:
    who = f"The teacher{f' ({traces.model})' if traces.model else ''}"
    if traces.engine == "worked":
        who = "The task itself, as its worked solutions,"
    so_far = "" if traces.done else " so far"
    text = f"{who} wrote {whole(traces.num_traces)} traces{so_far}"
    if traces.num_questions is not None:
        text += f" of {whole(traces.num_questions)} questions"
    if traces.num_tokens is not None:
        text += f": {whole(traces.num_tokens)} tokens"
        if traces.num_traces:
            text += f", {rate(traces.num_tokens / traces.num_traces)} each"
    if traces.seconds is not None:
        text += f", in {wall_time(traces.seconds)}"
        text += " (the time before a kill is missing)" if traces.cut_off else ""
    if traces.cost is not None:
        text += f", for {money(traces.cost, traces.currency)}"
    return f"{text}."


def _kept(vetted: Vetted) -> str:
    again = vetted.num_asked_again
    asked = f" ({whole(again)} more were asked for where none was good)" if again else ""
    text = f"Of {whole(vetted.num_traces)} traces{asked}, {whole(vetted.num_kept)} were kept"
    if vetted.num_rejected is not None:
        text += f" and {whole(vetted.num_rejected)} rejected"
    lost = vetted.num_questions_lost
    if lost:
        text += f"; {whole(lost)} of {whole(vetted.num_questions)} questions have no trace"
    elif lost == 0:
        text += "; every question has a trace"
    text += "."
    if vetted.num_unverified:
        text += (
            f" {whole(vetted.num_unverified)} of those kept could not be verified: their questions "
            "have no gold answer."
        )
    return text
