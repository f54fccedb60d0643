"""After how many answered questions a student has paid for itself against asking its teacher.

One-off costs / (the teacher's cost of a question - the student's). Every input is a measured figure
of the run, and the sentence shows them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from unspoken.recipe.evaluation_records import Evaluation
from unspoken.recipe.layout import DISTILLED, INTERNALIZED, TEACHER, TRACES, VETTED
from unspoken.recipe.records import TracesRecord
from unspoken.report.read.costs import StageCost
from unspoken.report.read.results import PhaseResult, RunResult
from unspoken.report.show.numbers import counted, exact, money, whole
from unspoken.report.show.teacher_words import NAMES

_STUDENTS = (INTERNALIZED, DISTILLED)
_TURNS = (
    "Times for a question are medians of questions asked one at a time, teacher and student taking "
    "turns; in batches they may differ more or less."
)
_TOO_FEW = "They were too few for an interval: the difference may be chance."


@dataclass(frozen=True)
class BreakEven:
    """One student by one measure.

    Attributes:
        student: name of the variant.
        measure: `time` or `money`.
        outcome: `pays`, `never`, or `unknown` where an input was not measured.
        num_questions: after which it has paid for itself, rounded up; None unless it pays.
        one_off: what was spent before its first answer, by stage: s, or money.
        teacher_per_question, student_per_question: s or money.
        unit: `s` or the currency.
        sentence: all of this in words, with the formula.
        notes: where the inputs come from.
    """

    student: str
    measure: str
    outcome: str
    num_questions: int | None
    one_off: dict[str, float]
    teacher_per_question: float | None
    student_per_question: float | None
    unit: str
    sentence: str
    notes: list[str] = field(default_factory=list)


def break_even(run: RunResult) -> list[BreakEven]:
    """Each measured student by time, and by money where the teacher has prices."""
    return [] if run.traces is None else list(_each(run, run.traces))


def _each(run: RunResult, traces: TracesRecord) -> Iterator[BreakEven]:
    for student in _STUDENTS:
        if run.phases[-1].figures(student) is not None:
            yield _in_time(run, traces, student)
            if traces.cost is not None:
                yield _in_money(run, traces, traces.cost, student)


def _in_time(run: RunResult, traces: TracesRecord, student: str) -> BreakEven:
    subject = NAMES[student]
    parts, missing = _one_off(run, student)
    teacher, notes = _teacher_seconds(run, traces, student)
    own = _seconds(run, student)
    phase = run.phases[-1]
    took_turns = phase.took_turns(TEACHER, student)
    ratio = phase.compare_speed(student, TEACHER) if took_turns else None
    if ratio is not None:
        teacher, own = _single_seconds(phase, TEACHER), _single_seconds(phase, student)
        notes = [_TURNS, *([_TOO_FEW] if ratio.interval is None else [])]
    if traces.engine == "worked":
        missing = "the traces are worked solutions, which no model has to write"
    elif teacher is None or own is None:
        missing = missing or "the time for a question was not measured"
    elif ratio is not None and ratio.interval is not None and not ratio.is_a_difference:
        missing = missing or (
            f"no difference measured between the teacher's {exact(teacher)} s a question and its "
            f"{exact(own)} s"
        )
    if missing or teacher is None or own is None:
        sentence = _unknown("time", subject, missing)
        return BreakEven(student, "time", "unknown", None, parts, teacher, own, "s", sentence)
    asked = f"teacher {_seconds_text(teacher)} - {_short(student)} {_seconds_text(own)} a question"
    terms = " + ".join(f"{name} {_seconds_text(seconds)}" for name, seconds in parts.items())
    return _settled(
        BreakEven(student, "time", "", None, parts, teacher, own, "s", "", notes),
        subject,
        formula=f"({terms}) / ({asked})",
        never=f"it needs {_seconds_text(own)} for a question, the teacher {_seconds_text(teacher)}",
    )


def _in_money(run: RunResult, traces: TracesRecord, spent: float, student: str) -> BreakEven:
    currency = traces.currency or ""
    subject = NAMES[student]
    seconds, missing = _one_off(run, student)
    own, price = _seconds(run, student), (run.recipe.get("costs") or {}).get("machine_per_hour")
    if price is None:
        missing = "costs.machine_per_hour is not set (0 counts the machine as free)"
    elif not traces.num_traces or own is None:
        missing = missing or "not everything was measured"
    if missing or price is None or own is None or not traces.num_traces:
        sentence = _unknown("money", subject, missing)
        return BreakEven(student, "money", "unknown", None, {}, None, None, currency, sentence)
    hours = sum(seconds.values()) / 3600
    again = run.vetted.retry_cost if run.vetted is not None else None
    parts = {"traces": spent + (again or 0.0), "machine": hours * price}
    teacher, student_cost = spent / traces.num_traces, own / 3600 * price
    notes = [
        f"The teacher's price of a question is {money(spent, currency)} / "
        f"{counted(traces.num_traces, 'traces')}.",
        "The machine is paid for the wall time of the same stages as by time.",
    ]
    if price == 0:
        notes.append("The machine is counted as free: costs.machine_per_hour is 0.")
    rate = f"{currency} {exact(price)} an hour"
    return _settled(
        BreakEven(student, "money", "", None, parts, teacher, student_cost, currency, "", notes),
        subject,
        formula=f"(traces {currency} {exact(parts['traces'])} + machine {exact(hours)} h at {rate})"
        f" / (teacher {currency} {exact(teacher)} - {_short(student)} {exact(own)} s at {rate})",
        never=f"a question costs {currency} {exact(student_cost)}, asked of the teacher "
        f"{currency} {exact(teacher)}",
    )


def _settled(one: BreakEven, subject: str, *, formula: str, never: str) -> BreakEven:
    """With its outcome and its sentence, once all inputs are known."""
    teacher, own = one.teacher_per_question or 0.0, one.student_per_question or 0.0
    if teacher <= own:
        sentence = f"By {one.measure}, {subject} never pays for itself: {never}."
        return replace(one, outcome="never", sentence=sentence)
    count = math.ceil(sum(one.one_off.values()) / (teacher - own))
    sentence = (
        f"By {one.measure}, {subject} has paid for itself after "
        f"{counted(count, 'answered questions')}: "
        f"{formula}."
    )
    return replace(one, outcome="pays", num_questions=count, sentence=sentence)


def _unknown(measure: str, subject: str, why: str) -> str:
    return f"By {measure}, it is not known when {subject} has paid for itself: {why}."


def _one_off(run: RunResult, student: str) -> tuple[dict[str, float], str]:
    """Seconds by stage before the student's first answer, and what is missing, or nothing."""
    needed = [TRACES, VETTED]
    variant = run.phases[-1].variants[student]
    if student == INTERNALIZED and variant.started_from:
        needed.append(variant.started_from)
    stages = {stage.name: stage for stage in run.costs}
    parts: dict[str, float] = {}
    for name in [*needed, student]:
        stage: StageCost | None = stages.get(name)
        if stage is None or not stage.done or stage.seconds is None:
            label = name if stage is None else stage.label
            return parts, f"the wall time of stage {label} was not measured to its end"
        if why := _why_not_whole(stage):
            return parts, f"the wall time of stage {stage.label} is not whole: {why}"
        parts[stage.label] = stage.seconds
    return parts, ""


def _why_not_whole(stage: StageCost) -> str:
    """What is missing from the time of a stage that is done; empty: nothing."""
    if stage.cut_off:
        return "a kill came in between, and the time before it is missing"
    if stage.num_taken_over:
        return f"{whole(stage.num_taken_over)} of its traces were written for an earlier one"
    return ""


def _single_seconds(phase: PhaseResult, name: str) -> float:
    """The median time for a question, one at a time."""
    measured = phase.figures(name)
    return (measured.latency_p50_s if measured is not None else None) or 0.0


def _seconds(run: RunResult, name: str) -> float | None:
    measured = run.phases[-1].figures(name)
    return None if measured is None else measured.seconds_per_answer


def _teacher_seconds(
    run: RunResult, traces: TracesRecord, student: str
) -> tuple[float | None, list[str]]:
    """The teacher's time for a question, and where it comes from."""
    phase = run.phases[-1]
    asked, own = phase.figures(TEACHER), phase.figures(student)
    if asked is not None and asked.seconds_per_answer is not None:
        return asked.seconds_per_answer, [_asked(asked, own)]
    if traces.seconds is None or not traces.num_traces:
        return None, []
    note = (
        "The teacher was not timed on test questions; its time is that of generate, "
        f"{exact(traces.seconds)} s / {counted(traces.num_traces, 'traces')}."
    )
    return traces.seconds / traces.num_traces, [note]


def _asked(teacher: Evaluation, own: Evaluation | None) -> str:
    sizes = (teacher.batch_size, own.batch_size if own else None)
    if None in sizes:
        return "Times for a question are those of the measurement."
    if sizes[0] == sizes[1]:
        return f"Times for a question are those of the measurement, in batches of {sizes[0]}."
    return (
        "Times for a question are those of the measurement: the teacher in batches of "
        f"{sizes[0]}, the student in batches of {sizes[1]}, so they compare only roughly."
    )


def _seconds_text(seconds: float) -> str:
    """The number and its unit, on one line."""
    return f"{exact(seconds)}\u00a0s"


def _short(student: str) -> str:
    return "student" if student == INTERNALIZED else "explicit student"
