"""What the numbers say, in words: built from them, and as plain where they are bad.

Two models differ when McNemar's exact test on the same questions says so (p < 0.05); without
common questions, when their intervals do not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

from unspoken.measure.stats import Ratio
from unspoken.recipe.evaluation_records import Evaluation, Latency
from unspoken.recipe.layout import AT_ONCE, DISTILLED, EXPLICIT, INTERNALIZED, NO_COT, TEACHER
from unspoken.report.read.results import SPLITS, TRAINED_ONLY, PhaseResult, VariantResult
from unspoken.report.show.numbers import counted, mean, percent, ratio_texts, whole
from unspoken.report.show.phrases import against_plain, how_different, other_examples, unfinished
from unspoken.report.show.teacher_words import staged_lead


@dataclass(frozen=True)
class Conclusion:
    """The result of one phase.

    Attributes:
        lead: one to four sentences.
        notes: what a reader must know to weigh them.
    """

    lead: str
    notes: list[str]


def conclude(phase: PhaseResult) -> Conclusion:
    """The phase's result in words."""
    own = phase.variants[INTERNALIZED]
    if phase.staged:
        return Conclusion(staged_lead(phase), _notes(phase))
    if own.measured is None:
        return Conclusion(_unmeasured(own, phase.can_measure), _other_questions(phase))
    sentences = [
        unfinished(own),
        _accuracy(own, own.measured),
        against_plain(phase, INTERNALIZED, subject="It", noun="model"),
        _against_explicit_cost(phase, own.measured),
        _against_explicit_accuracy(phase),
    ]
    return Conclusion(" ".join(filter(None, sentences)), _notes(phase))


def _unmeasured(own: VariantResult, can_measure: bool) -> str:
    if own.status == "absent":
        return "There is no result yet: the internalized model's training has not begun."
    if own.status == "trained" and not can_measure:
        return f"There is no result: the internalized model {TRAINED_ONLY}."
    if own.status == "trained":
        return "There is no result yet: the internalized model is trained but not measured."
    removed = max((point.removed for point in own.train), default=0)
    return (
        f"There is no result yet: the internalized model's log ends at step "
        f"{whole(own.last_step or 0)}, with {counted(removed, 'thought tokens')} removed."
    )


def _accuracy(own: VariantResult, measured: Evaluation) -> str:
    subject = "The internalized model"
    if own.tokens_left == 0:
        subject = "Without writing its thought, the internalized model"
    asked = counted(measured.num_graded_questions, SPLITS.get(measured.split, "questions"))
    if measured.accuracy is None:
        asked = counted(measured.num_questions, "questions")
        return f"{subject} was asked {asked} that have no gold answers: its accuracy is unknown."
    return f"{subject} answers {percent(measured.accuracy)} of {asked} right."


def _against_explicit_cost(phase: PhaseResult, own: Evaluation) -> str:
    other = phase.variants[EXPLICIT].measured
    if other is None or own.mean_tokens is None or other.mean_tokens is None:
        return ""
    tokens, others = mean(own.mean_tokens), mean(other.mean_tokens)
    writes = f"It writes {tokens} tokens instead of {others}"
    if own.mean_tokens >= other.mean_tokens:
        writes = f"It writes {tokens} tokens (the model that writes its thought: {others})"
    ratio = phase.speed_ratio(INTERNALIZED)
    if ratio is None:
        return f"{writes}."
    return f"{writes} and answers {_times_as_many(ratio)} questions per second at batch 1."


def _times_as_many(ratio: Ratio) -> str:
    """`2.2 times as many`, with the interval where there is one."""
    if ratio.interval is None:
        if ratio.value >= 1.05:
            return f"{ratio.value:.1f} times as many"
        few = f"only {ratio_texts(ratio.value)[0]} times as many"
        return "no more" if ratio.value >= 0.95 else few
    if not ratio.is_a_difference:
        return "as many (no difference measured)"
    only = "only " if ratio.value < 1 else ""
    value, low, high = ratio_texts(ratio.value, ratio.interval)
    return f"{only}{value} times as many (95 % interval {low} to {high})"


def _against_explicit_accuracy(phase: PhaseResult) -> str:
    own, other = phase.figures(INTERNALIZED), phase.variants[EXPLICIT]
    measured = other.measured
    if own is None or own.accuracy is None or measured is None or measured.accuracy is None:
        return ""
    model = "The model that writes its thought"
    if other.borrowed:
        model = "Before the first removal, writing its thought, the model"
    elif examples := other_examples(phase, INTERNALIZED, EXPLICIT):
        model = f"{model} ({examples})"
    difference = how_different(phase, INTERNALIZED, EXPLICIT)
    return f"{model} answers {percent(measured.accuracy)} right{difference}"


def _notes(phase: PhaseResult) -> list[str]:
    told = [*_other_questions(phase), *_paired(phase), *_steps(phase), *_cut_off(phase)]
    return [*told, *tell_undecided(phase), *_timing(phase)]


def _other_questions(phase: PhaseResult) -> list[str]:
    """Which models were asked what, where that was not the same for all."""
    groups: dict[tuple[str, int | None, str | None], list[str]] = {}
    for variant in phase.variants.values():
        if variant.measured is not None:
            one = variant.measured
            groups.setdefault((one.split, one.limit, one.data_sha256), []).append(variant.label)
    if len({key[:2] for key in groups}) < 2 and len({key[2] for key in groups} - {None}) < 2:
        return []  # a missing hash is not another one
    asked = "; ".join(f"{', '.join(labels)}: {_asked(*key)}" for key, labels in groups.items())
    return [
        "The models were not all asked the same questions, so their figures compare only roughly. "
        f"{asked}."
    ]


def _asked(split: str, limit: int | None, digest: str | None) -> str:
    part = "all" if limit is None else f"the first {whole(limit)}"
    name = "validation" if split == "valid" else split
    return f"{part} of the {name} split{f' (SHA-256 {digest[:8]})' if digest else ''}"


def _paired(phase: PhaseResult) -> list[str]:
    notes = []
    for name in (TEACHER, DISTILLED, AT_ONCE, NO_COT, EXPLICIT):
        paired = phase.compare(INTERNALIZED, name)
        if paired is not None:
            first, second = (whole(side.num_only) for side in (paired.first, paired.second))
            notes.append(
                f"Question by question, internalized against {phase.variants[name].label}: "
                f"only the first is right on {first}, only the second on {second} (McNemar's exact "
                f"test, p {_p_value(paired.p_value)})."
            )
    return notes


def _steps(phase: PhaseResult) -> list[str]:
    """Whether the models had equal numbers of optimizer steps."""
    own, explicit = phase.variants[INTERNALIZED], phase.variants[EXPLICIT]
    notes = []
    if explicit.borrowed and explicit.measured and explicit.last_step and own.last_step:
        notes.append(
            "The explicit model is the internalized run's own checkpoint from before the first "
            f"removal, step {whole(explicit.last_step)} of {whole(own.last_step)}: it is not "
            "trained to the end."
        )
    if own.steps_before and own.last_step:
        notes.append(
            "The internalized student went on from the explicit student: "
            f"{whole(own.steps_before)} + {whole(own.last_step)} optimizer steps, against which "
            "baselines are trained for as many."
        )
    for variant in (explicit, phase.variants.get(AT_ONCE), phase.variants[NO_COT]):
        if variant is not None and own.has_other_steps(variant):
            notes.append(
                f"Steps are not equal: {variant.label} had {whole(variant.total_steps)}, "
                f"internalized {whole(own.total_steps)}."
            )
    return notes


def _cut_off(phase: PhaseResult) -> list[str]:
    return [
        f"{percent(variant.measured.unstopped)} of {variant.subject}'s answers "
        "never ended by themselves; a limit cut them off."
        for variant in phase.variants.values()
        if variant.measured is not None and (variant.measured.unstopped or 0) > 0.01
    ]


def tell_undecided(phase: PhaseResult) -> list[str]:
    """A sentence for each model with answers that nobody could judge."""
    return [
        f"{whole(variant.measured.num_undecided)} of {variant.subject}'s answers could not be "
        f"decided and {'counts' if variant.measured.num_undecided == 1 else 'count'} as wrong."
        for variant in phase.variants.values()
        if variant.measured is not None and variant.measured.num_undecided
    ]


def _timing(phase: PhaseResult) -> list[str]:
    """How single questions were timed, and of which models that was not alike."""
    known = [
        variant
        for variant in phase.variants.values()
        if variant.measured is not None and variant.measured.examples_per_s_single is not None
    ]
    apart = [variant.label for variant in known if not phase.took_turns(variant.name)]
    notes = []
    if phase.latency is not None:
        notes.append(_turns(phase.latency, _ratios(phase, known)))
        left_out = phase.latency.not_timed.items()
        notes += [f"Not timed: {phase.labels.get(name, name)}, {why}." for name, why in left_out]
    if apart and len(known) > 1:
        notes.append(
            f"Single questions of {', '.join(apart)} were timed minutes apart from others', not in "
            "turns with them: the machine may have been slower or faster then."
        )
    return notes


def _ratios(phase: PhaseResult, known: list[VariantResult]) -> list[Ratio]:
    """How many times as fast as the one that writes the other models are, where that is known."""
    ratios = [phase.speed_ratio(one.name) for one in known if one.name != phase.writer.name]
    return [ratio for ratio in ratios if ratio is not None]


def _turns(latency: Latency, ratios: list[Ratio]) -> str:
    sizes, num_questions = latency.turns, len(next(iter(latency.models.values())).seconds)
    asked = f"Single questions were timed in one pass at the end, {whole(num_questions)} of them"
    if len(latency.models) == 1:
        return f"{asked}."
    if sizes is None:
        turns = "each asked of one model after the other, another one first each time"
    else:
        turns = (
            f"in {len(sizes)} turns of one model after the other, loaded each time because they do "
            "not fit into memory together"
        )
    if not ratios:
        return f"{asked}, {turns}."
    drawn = "questions" if sizes is None else "turns"
    intervals = f"their 95 % intervals are a bootstrap over {drawn}"
    if all(ratio.interval is None for ratio in ratios):
        intervals = f"there were too few {drawn} for intervals, so that a difference may be chance"
    return f"{asked}, {turns}. Ratios are of medians; {intervals}."


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
