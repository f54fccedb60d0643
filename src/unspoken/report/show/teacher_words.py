"""A run with a teacher in words: what it and its students can do, what it wrote, what was kept."""

from __future__ import annotations

from collections.abc import Sequence

from unspoken.recipe.evaluation_records import Evaluation
from unspoken.recipe.layout import DISTILLED, EXPLICIT, INTERNALIZED, TEACHER
from unspoken.recipe.records import TracesRecord
from unspoken.report.read.results import SPLITS, TRAINED_ONLY, PhaseResult
from unspoken.report.read.vetting import Vetted
from unspoken.report.show.numbers import DASH, counted, mean, money, percent, rate, wall_time, whole
from unspoken.report.show.phrases import (
    against_plain,
    how_different,
    other_examples,
    points,
    unfinished,
)

NAMES = {
    TEACHER: "the teacher",
    DISTILLED: "the explicit student",
    INTERNALIZED: "the internalized student",
}


def staged_lead(phase: PhaseResult) -> str:
    """One to six sentences: figures first, then what they amount to."""
    found = [(name, phase.figures(name)) for name in NAMES]
    known = [(name, measured) for name, measured in found if measured is not None]
    students = [name for name, _ in known if name != TEACHER]
    own = phase.variants[INTERNALIZED]
    sentences = [_nothing(phase, students), *_figures(known), unfinished(own)]
    if students:
        name = students[-1]
        sentences.append(_against_teacher(phase, name))
        sentences.append(_against_writer(phase) if name == INTERNALIZED else "")
        sentences.append(against_plain(phase, name, subject=_begun(name), noun="student"))
    return " ".join(filter(None, sentences))


def _nothing(phase: PhaseResult, students: Sequence[str]) -> str:
    """What is not there to talk about."""
    if students:
        return ""
    started = [phase.variants.get(DISTILLED), phase.variants[INTERNALIZED]]
    begun = [one for one in started if one is not None and one.status != "absent"]
    if not begun:
        return "There is no result yet: no student's training has begun."
    subject = NAMES[begun[-1].name]
    if begun[-1].status == "trained" and not phase.can_measure:
        return f"There is no result: {subject} {TRAINED_ONLY}."
    if begun[-1].status == "trained":
        return f"There is no result yet: {subject} is trained but not measured."
    return (
        f"There is no result yet: {subject}'s log ends at step {whole(begun[-1].last_step or 0)}."
    )


def _figures(known: Sequence[tuple[str, Evaluation]]) -> list[str]:
    """Accuracy, tokens and speed of teacher and students, in two sentences."""
    if not known:
        return []
    measured = [one for _, one in known]
    own = measured[-1]
    count = own.num_questions if own.accuracy is None else own.num_graded_questions
    asked = counted(count, SPLITS.get(own.split, "questions"))
    names = [NAMES[name] for name, _ in known]
    if any(one.accuracy is None for one in measured):
        right = f"{_listed(names).capitalize()} answered {asked}; without gold answers, accuracy "
        right += "is unknown."
    else:
        shares = [percent(one.accuracy) for one in measured]
        first = f"{names[0]} answers {shares[0]} right"
        others = [f"{name} {share}" for name, share in zip(names[1:], shares[1:], strict=True)]
        right = f"Of {asked}, {_listed([first, *others])}."
    return [right, _effort(measured)]


def _effort(measured: Sequence[Evaluation]) -> str:
    """Tokens and speed; the speed that is known of all."""
    does = "They write" if len(measured) > 1 else "It writes"
    means = [one.mean_tokens for one in measured]
    tokens = "an unknown number of" if None in means else _listed([mean(each) for each in means])
    single = [one.examples_per_s_single for one in measured]
    batched = [one.examples_per_s for one in measured]
    speeds, how = (batched, "in batches") if None in single else (single, "one at a time")
    if None in speeds:
        return f"{does} {tokens} tokens per question."
    answers = "answer" if len(measured) > 1 else "answers"
    rates = _listed([rate(speed) for speed in speeds])
    return f"{does} {tokens} tokens per question and {answers} {rates} questions per second, {how}."


def _against_teacher(phase: PhaseResult, name: str) -> str:
    difference = points(phase, name, TEACHER)
    if not difference:
        return ""
    sign = phase.order(name, TEACHER)
    if sign == 0:
        return f"The difference between the teacher and {NAMES[name]} is within chance."
    side = "better than" if sign > 0 else "below"
    return f"{_begun(name)} is {difference} {side} its teacher."


def _against_writer(phase: PhaseResult) -> str:
    """What removing the thought cost, at equal steps where the run has that baseline."""
    writer = phase.writer
    difference = points(phase, INTERNALIZED, writer.name)
    if writer.measured is None or not difference:
        return ""
    sign = phase.order(INTERNALIZED, writer.name)
    if writer.name == EXPLICIT and not writer.borrowed:
        is_unequal = phase.variants[INTERNALIZED].has_other_steps(writer)
        long = other_examples(phase, INTERNALIZED, EXPLICIT)
        long = long or ("" if is_unequal else "for as many steps")
        claim = f"Trained {long}{' ' * bool(long)}without removing anything, the student answers "
        claim += f"{percent(writer.measured.accuracy)} right"
    elif writer.name == EXPLICIT:
        claim = f"Before the first removal it answered {percent(writer.measured.accuracy)} right"
    elif sign == 0:
        return "Against the explicit student the difference is within chance."
    else:
        claim = "Removing the thought cost" if sign < 0 else "Removing the thought gained"
        return f"{claim} {difference}."
    return f"{claim}{how_different(phase, INTERNALIZED, writer.name)}"


def _begun(name: str) -> str:
    return f"T{NAMES[name][1:]}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def traces_lines(traces: TracesRecord | None, vetted: Vetted | None) -> list[str]:
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


def _written(traces: TracesRecord) -> str:
    is_worked = traces.engine == "worked"
    who = f"The teacher{f' ({traces.model})' if traces.model else ''} wrote"
    if is_worked:
        who = "The worked solutions of the data gave"
    so_far = "" if traces.is_done else " so far"
    text = f"{who} {counted(traces.num_traces, 'traces')}{so_far}"
    if traces.num_questions is not None:
        text += f" of {counted(traces.num_questions, 'questions')}"
    if traces.num_tokens is not None and not is_worked:
        text += f": {counted(traces.num_tokens, 'tokens')}"
        if traces.num_traces:
            text += f", {rate(traces.num_tokens / traces.num_traces)} each"
    if traces.seconds is not None:
        text += f", in {wall_time(traces.seconds)}"
        text += " (the time before a kill is missing)" if traces.cut_off else ""
        taken = traces.num_taken_over
        text += f" (without {whole(taken)} that are earlier ones)" if taken else ""
    if traces.cost is not None and not is_worked:
        text += f", for {money(traces.cost, traces.currency or '')}"
    return f"{text}."


def _were(number: int | None) -> str:
    return f"{whole(number)} {'was' if number == 1 else 'were'}"


def _kept(vetted: Vetted) -> str:
    again = vetted.num_asked_again
    asked = f" ({_were(again)} asked for in addition, where none was good)" if again else ""
    text = f"Of {counted(vetted.num_traces, 'traces')}{asked}, {_were(vetted.num_kept)} kept"
    if vetted.num_rejected is not None:
        text += f" and {whole(vetted.num_rejected)} rejected"
    lost = vetted.num_questions_lost
    if lost:
        text += f"; {whole(lost)} of {whole(vetted.num_questions)} questions are left without one"
    elif lost == 0:
        text += "; every question has one"
    text += "."
    if vetted.num_unverified:
        text += (
            f" {whole(vetted.num_unverified)} of those kept could not be verified: their questions "
            "have no gold answer."
        )
    return text
