"""The result of a run with a teacher in words: teacher, explicit student, internalized student."""

from __future__ import annotations

from collections.abc import Sequence

from unspoken.report.read.results import TRAINED_ONLY, Measured, PhaseResult, VariantResult
from unspoken.report.show.numbers import mean, percent, rate, whole
from unspoken.report.show.ranking import SPLITS, order, unfinished

NAMES = {
    "teacher": "the teacher",
    "distilled": "the explicit student",
    "internalized": "the internalized student",
}


def staged_lead(phase: PhaseResult) -> str:
    """One to six sentences: figures first, then what they amount to."""
    found = [(name, phase.figures(name)) for name in NAMES]
    known = [(name, measured) for name, measured in found if measured is not None]
    students = [name for name, _ in known if name != "teacher"]
    sentences = [_nothing(phase, students), *_figures(known), unfinished(_internalized(phase))]
    if "internalized" in students:
        sentences += [
            _against_teacher(phase, "internalized"),
            _against_writer(phase),
            _against_plain(phase, "internalized"),
        ]
    elif students:
        sentences += [_against_teacher(phase, "distilled"), _against_plain(phase, "distilled")]
    return " ".join(filter(None, sentences))


def _internalized(phase: PhaseResult) -> VariantResult:
    return phase.variants["internalized"]


def _nothing(phase: PhaseResult, students: Sequence[str]) -> str:
    """What is not there to talk about."""
    if students:
        return ""
    started = [phase.variants.get("distilled"), _internalized(phase)]
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


def _figures(known: Sequence[tuple[str, Measured]]) -> list[str]:
    """Accuracy, tokens and speed of teacher and students, in two sentences."""
    if not known:
        return []
    measured = [one for _, one in known]
    own = measured[-1]
    count = own.num_questions if own.accuracy is None else own.num_graded_questions
    asked = f"{whole(count)} {SPLITS.get(own.split, 'questions')}"
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


def _effort(measured: Sequence[Measured]) -> str:
    """Tokens and speed; the speed that is known of all."""
    does = "They write" if len(measured) > 1 else "It writes"
    tokens = _listed([mean(one.mean_tokens) for one in measured])
    single = [one.examples_per_s_single for one in measured]
    batched = [one.examples_per_s for one in measured]
    speeds, how = (batched, "in batches") if None in single else (single, "one at a time")
    if None in speeds:
        return f"{does} {tokens} tokens per question."
    answers = "answer" if len(measured) > 1 else "answers"
    rates = _listed([rate(speed) for speed in speeds])
    return f"{does} {tokens} tokens per question and {answers} {rates} questions per second, {how}."


def _against_teacher(phase: PhaseResult, name: str) -> str:
    own, teacher = phase.figures(name), phase.figures("teacher")
    points = _points(own, teacher)
    if points is None:
        return ""
    sign = order(phase, name, "teacher")
    if sign == 0:
        return f"The difference between the teacher and {NAMES[name]} is within chance."
    if sign > 0:
        return f"{_begun(name)} is {points} points better than its teacher."
    return f"{_begun(name)} is {points} points below its teacher."


def _against_writer(phase: PhaseResult) -> str:
    """What removing the thought cost, at equal steps where the run has that baseline."""
    writer = phase.writer
    own = phase.figures("internalized")
    points = _points(own, writer.measured)
    if points is None or writer.measured is None:
        return ""
    sign = order(phase, "internalized", writer.name)
    if writer.name == "explicit" and not writer.borrowed:
        claim = "Trained for as many steps without removing anything, the student answers "
        claim += f"{percent(writer.measured.accuracy)} right"
    elif writer.name == "explicit":
        claim = f"Before the first removal it answered {percent(writer.measured.accuracy)} right"
    elif sign == 0:
        return "Against the explicit student the difference is within chance."
    else:
        claim = "Removing the thought cost" if sign < 0 else "Removing the thought gained"
        return f"{claim} {points} points."
    if sign == 0:
        return f"{claim}; that difference is within chance."
    return f"{claim}, {points} points {'more' if sign < 0 else 'less'}."


def _against_plain(phase: PhaseResult, name: str) -> str:
    """Against the same student without a thought to learn from, and without training."""
    sentences = []
    for rival, words in (
        ("no_cot", "the same student trained without a chain of thought"),
        ("untrained", "the untrained student"),
    ):
        other = phase.figures(rival)
        if _points(phase.figures(name), other) is None or other is None:
            continue
        share = percent(other.accuracy)
        sign = order(phase, name, rival)
        if sign > 0:
            sentences.append(f"{words[0].upper()}{words[1:]} answers {share} right.")
        elif sign == 0:
            sentences.append(
                f"{_begun(name)} is no better than {words}, {share}: the difference is within "
                "chance."
            )
        else:
            sentences.append(f"{_begun(name)} is worse than {words}: {share}.")
    return " ".join(sentences)


def _points(own: Measured | None, other: Measured | None) -> str | None:
    """The difference in percentage points, without its sign; None where one is not known."""
    if own is None or other is None or own.accuracy is None or other.accuracy is None:
        return None
    return f"{100 * abs(own.accuracy - other.accuracy):.1f}"


def _begun(name: str) -> str:
    return f"T{NAMES[name][1:]}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
