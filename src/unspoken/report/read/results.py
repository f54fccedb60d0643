"""What a run amounts to, as typed values: run, phases, variants, figures.

`unspoken.report.read.run` makes them from a run folder. A run may be half done: whatever is not
there is None or empty, and `RunResult.missing` says so in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import with_config
from typing_extensions import NotRequired, TypedDict

from unspoken.measure.paired import Judged, Paired, Pairs
from unspoken.measure.stats import Ratio, ratio_of_medians
from unspoken.recipe import layout
from unspoken.recipe.diagnosis_record import Diagnosis
from unspoken.recipe.evaluation_records import Evaluation, Latency
from unspoken.recipe.levels import title_with_thought_left, tokens_gone
from unspoken.recipe.records import TracesRecord, TrainingRecord
from unspoken.report.read.costs import StageCost
from unspoken.report.read.frontier import Level
from unspoken.report.read.outcome import Outcome
from unspoken.report.read.points import TrainPoint, ValidPoint
from unspoken.report.read.vetting import Vetted

#: Every report tells of these, also where they are missing.
CORE = (layout.EXPLICIT, layout.INTERNALIZED, layout.NO_COT)
LABELS = {
    layout.TEACHER: "teacher",
    layout.DISTILLED: "explicit student",
    layout.EXPLICIT: "explicit CoT",
    layout.INTERNALIZED: "internalized",
    layout.AT_ONCE: "all at once",
    layout.NO_COT: "no CoT",
    layout.UNTRAINED: "untrained student",
}
#: What the questions of a split are called.
SPLITS = {"test": "held-out questions", "valid": "validation questions"}


@with_config({"extra": "allow"})
class PredictionRecord(TypedDict):
    """What the report reads of a line of predictions.jsonl."""

    question: str
    generated: str
    pred: str
    gold: str | None
    correct: bool | None
    num_tokens: int
    category: NotRequired[str]
    sample: NotRequired[int]


@with_config({"extra": "allow"})
class EnvironmentRecord(TypedDict, total=False):
    """What the report reads of environment.json."""

    command: str
    data: list[dict[str, str | None]]
    machine: dict[str, Any]
    versions: dict[str, Any]


@dataclass(frozen=True)
class VariantResult:
    """One of the models in one phase.

    Attributes:
        status: `absent`, `training`, `trained` (not measured yet) or `measured`.
        borrowed: the model is a checkpoint of the internalized run from before removal.
        predictions: the records of predictions.jsonl.
        unreadable: lines of metrics.jsonl that a crash cut off.
        trained: what training left; None where it is not done. Of a borrowed model: its step, and
            the sizes of the run that it is from.
        started_from: the variant whose finished model it went on from, or None.
        steps_before, examples_before: optimizer steps of that model, and the examples in them.
        outcome: how far its thought was removed; of the internalized model only.
    """

    name: str
    folder: Path
    status: str
    borrowed: bool
    measured: Evaluation | None
    trained: TrainingRecord | None
    train: list[TrainPoint]
    valid: list[ValidPoint]
    predictions: list[dict[str, Any]]
    unreadable: int
    started_from: str | None = None
    steps_before: int | None = None
    examples_before: int | None = None
    outcome: Outcome | None = None

    @property
    def label(self) -> str:
        """The name for people; it does not claim what did not happen."""
        if self.outcome is None or self.outcome.is_complete:
            return LABELS[self.name]
        return title_with_thought_left(self.outcome.tokens_removed)

    @property
    def subject(self) -> str:
        """The name inside a sentence."""
        whole = self.name in (layout.TEACHER, layout.DISTILLED, layout.UNTRAINED)
        return f"the {LABELS[self.name]}{'' if whole else ' model'}"

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps, those of the model that it went on from included."""
        return None if self.last_step is None else self.last_step + (self.steps_before or 0)

    @property
    def num_seen(self) -> int | None:
        """Examples in these steps, each as often as it was seen; None where a record lacks it."""
        batch_size = self.trained and self.trained.batch_size
        if not batch_size or not self.last_step or (self.steps_before and not self.examples_before):
            return None
        return self.last_step * batch_size + (self.examples_before or 0)

    @property
    def last_step(self) -> int | None:
        """Optimizer steps done; while training, as far as the log tells."""
        if self.trained is not None:
            return self.trained.state.step
        return max((point.step for point in (*self.train, *self.valid)), default=None)

    def has_other_steps(self, other: VariantResult) -> bool:
        """Whether another model had clearly more or fewer steps, as far as that is known."""
        steps, others = self.total_steps, other.total_steps
        if other.borrowed or other.measured is None or not steps or not others:
            return False
        return abs(steps - others) > 0.01 * steps

    @property
    def all_removed_at(self) -> int | None:
        """The optimizer step at which the last thought token went, as `total_steps` counts."""
        step = self.trained.state.all_removed_at if self.trained else None
        return step + (self.steps_before or 0) if step else None

    @property
    def tokens_left(self) -> int | None:
        """Thought tokens that this model still writes at the most; 0 once all are gone.

        None where that is not known, also of an older run that counted the steps of a thought.
        """
        if self.trained is None or self.trained.longest_thought is None:
            return None
        gone = tokens_gone(self.trained)
        return None if gone is None else self.trained.longest_thought - gone

    def best_per_level(self) -> list[ValidPoint]:
        """The best validation at each level of removal, first level first; the later of equals."""
        best: dict[int, tuple[float, ValidPoint]] = {}
        for point in self.valid:
            if point.accuracy is None:
                continue
            if point.removed not in best or point.accuracy >= best[point.removed][0]:
                best[point.removed] = (point.accuracy, point)
        return [best[removed][1] for removed in sorted(best)]


@dataclass(frozen=True)
class PhaseResult:
    """One phase of a run; a run without phases has one, with the recipe's name.

    Attributes:
        key: its folder inside each variant's, such as `2-gsm8k`; empty without phases.
        data_hashes: SHA-256 of each split.
        staged: the student learns to write the thought in a stage of its own, or a teacher's.
        can_measure: False where data/ says that there are no questions to measure with.
        latency: of the models that took turns in being timed, or None.
        diagnosis: what a look into these models found, where it was asked for.
        task: whose questions these are, as the recipe names it; None: not known.
        levels: of removal, from which a model can be chosen; the whole thought first.
    """

    name: str
    key: str
    variants: dict[str, VariantResult]
    data_hashes: dict[str, str]
    staged: bool = False
    can_measure: bool = True
    latency: Latency | None = None
    levels: list[Level] = field(default_factory=list)
    diagnosis: Diagnosis | None = None
    task: str | None = None

    @property
    def shown(self) -> list[VariantResult]:
        """The columns of tables: the models that exist."""
        return [variant for variant in self.variants.values() if variant.status != "absent"]

    @property
    def labels(self) -> dict[str, str]:
        """The models' names for people, also of those that do not exist."""
        return LABELS | {name: variant.label for name, variant in self.variants.items()}

    @property
    def first_level(self) -> str:
        """The model from which the removal of the thought began: the explicit student, if any."""
        distilled = self.variants.get(layout.DISTILLED)
        is_there = distilled is not None and distilled.status != "absent"
        return layout.DISTILLED if is_there else layout.EXPLICIT

    @property
    def diagnosed_labels(self) -> dict[str, str]:
        """The names of those that were diagnosed, where `explicit` is the first level's model."""
        return self.labels | {layout.EXPLICIT: self.labels[self.first_level]}

    @property
    def outcome(self) -> Outcome | None:
        """How far the thought was removed; None before that training has ended."""
        return self.variants[layout.INTERNALIZED].outcome

    @property
    def writer(self) -> VariantResult:
        """The model that writes its thought, with which the others are compared."""
        explicit, distilled = self.variants[layout.EXPLICIT], self.variants.get(layout.DISTILLED)
        if explicit.measured is None and distilled is not None and distilled.measured is not None:
            return distilled
        return explicit

    def figures(self, name: str) -> Evaluation | None:
        """What was measured of a variant, or None."""
        variant = self.variants.get(name)
        return None if variant is None else variant.measured

    def measured(self) -> list[Evaluation]:
        """The figures of those variants that were measured."""
        found = [variant.measured for variant in self.variants.values()]
        return [measured for measured in found if measured is not None]

    def compare(self, first: str, second: str) -> Paired | None:
        """Two variants question by question, or None where they were not asked the same."""
        if first not in self.variants or second not in self.variants:
            return None
        each = [self.variants[name].predictions for name in (first, second)]
        asked = [[record["question"] for record in records] for records in each]
        if asked[0] != asked[1] or any(record.get("sample") for record in each[0]):
            return None  # McNemar's test takes one answer a question
        pairs = Pairs()
        for one, other in zip(*each, strict=True):
            pairs.add(_judged(one), _judged(other))
        return pairs.paired() if pairs.num_questions else None

    def order(self, name: str, rival: str) -> int:
        """1 where the model `name` is better than `rival`, -1 worse, 0 not distinguishable.

        Two models differ when McNemar's exact test on the same questions says so (p < 0.05);
        without common questions, when their intervals do not overlap.
        """
        own, other = self.figures(name), self.figures(rival)
        if own is None or other is None or own.accuracy is None or other.accuracy is None:
            return 0
        paired = self.compare(rival, name)
        gain = own.accuracy - other.accuracy if paired is None else paired.difference
        sign = (gain > 0) - (gain < 0)
        if paired is not None:
            return sign if paired.p_value < 0.05 else 0
        if own.interval is None or other.interval is None:
            return 0
        apart = own.interval[0] > other.interval[1] or other.interval[0] > own.interval[1]
        return sign if apart else 0

    def speed_ratio(self, name: str) -> Ratio | None:
        """Questions per second at batch 1, relative to the model's that writes its thought."""
        return self.compare_speed(name, self.writer.name)

    def compare_speed(self, name: str, rival: str) -> Ratio | None:
        """Questions per second at batch 1 of one model, relative to another's.

        Models that took turns have an interval; those that were timed each at its own time have
        none.
        """
        if self.took_turns(name, rival) and self.latency is not None:
            own, other = self.latency.models[name], self.latency.models[rival]
            return ratio_of_medians(other.seconds, own.seconds, blocks=self.latency.turns)
        own, other = self.figures(name), self.figures(rival)
        if own is None or other is None:
            return None
        if own.examples_per_s_single is None or not other.examples_per_s_single:
            return None
        return Ratio(own.examples_per_s_single / other.examples_per_s_single)

    def took_turns(self, *names: str) -> bool:
        """Whether all of these models were timed in one pass."""
        return self.latency is not None and set(names) <= self.latency.models.keys()


def _judged(record: dict[str, Any]) -> Judged:
    return Judged(record["correct"], record["num_tokens"], gold=record["gold"])


@dataclass(frozen=True)
class RunResult:
    """Everything in a run folder that a report shows.

    Attributes:
        missing: what is not there yet, one sentence each.
        traces, vetted: the teacher's work and what was kept of it, or None.
        costs: what the stages of a staged run took, in their order.
    """

    folder: Path
    name: str
    description: str
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any]
    phases: list[PhaseResult]
    missing: list[str]
    traces: TracesRecord | None = None
    vetted: Vetted | None = None
    costs: list[StageCost] = field(default_factory=list)

    @property
    def staged(self) -> bool:
        """Whether it has a teacher or a stage that distils."""
        return self.phases[0].staged


#: What there is to say of a model when the run has no questions at all. A page's reader may have
#: given a recipe or flags, so neither is named.
NO_QUESTIONS = "no test and no validation questions were given to measure it with"
TRAINED_ONLY = f"is trained; {NO_QUESTIONS}"
