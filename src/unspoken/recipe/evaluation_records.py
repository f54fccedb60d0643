"""What a run measured, in JSON files, as types: evaluations, levels that were chosen, times."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal

from pydantic import with_config
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from unspoken.recipe.records import Interval, JsonRecord

# ---- evaluation.json, choices.json ----------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """How many of some answers are right.

    Attributes:
        num_graded: answers that there is a gold answer for.
        interval: 95 %: Wilson's, or `clustered_interval` with several samples a question.
    """

    num_graded: int
    num_correct: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class Samples:
    """What several samples of each question give. The keys of the dicts are k, as text.

    Attributes:
        num_samples: of each question.
        pass_at_k: probability that at least one of k samples is right.
        pass_at_k_interval: 95 %, see `clustered_interval`.
        majority_at_k: share of questions whose most frequent answer among the first k samples is
            right, as its first sample was judged; a sample without an answer has no vote.
        majority_at_k_interval: Wilson's, 95 %.
    """

    num_samples: int
    pass_at_k: dict[str, float]
    pass_at_k_interval: dict[str, Interval]
    majority_at_k: dict[str, float]
    majority_at_k_interval: dict[str, Interval]


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others.

    Attributes:
        num_gold, num_predicted, num_correct: answers that should be it, that were it, and both.
        precision: num_correct of num_predicted; None where it was never answered.
        recall: num_correct of num_gold; None where it is never right.
        f1: the harmonic mean of the two; None where it is neither.
    """

    num_gold: int
    num_predicted: int
    num_correct: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Classes:
    """Answers that are one of several classes.

    Attributes:
        confusion: a row for each right class: how often each class was answered, in the order of
            the rows, and at last how often none of them.
        figures: of each class.
        macro_f1: the mean of the classes' F1, of those that were right or answered.
        num_outside: answers that are not plainly one of the classes; they count as wrong.
        outside: the most frequent of these, and how often they were given.
    """

    confusion: dict[str, list[int]]
    figures: dict[str, ClassFigures]
    macro_f1: float
    num_outside: int
    outside: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Metrics(JsonRecord):
    """Figures of one model on one set of questions.

    With several samples a question, an answer is one sample of one question.

    Attributes:
        num_questions: that were asked.
        num_graded, num_correct, accuracy: of answers with a gold answer; None without any.
        interval: 95 % interval of the accuracy, see `Share`.
        num_undecided: answers of which nobody can tell whether they are right; they count as
            wrong. None in files from before they were counted.
        digit_accuracy: mean share of right digits, over answers that are numbers, or None.
        unstopped: share of answers that never ended by themselves.
        num_tokens, mean_tokens: written, in sum and per answer.
        seconds: that decoding in batches took, over all runs if it was interrupted.
        examples_per_s, tokens_per_s: answers and tokens per second of these.
        batch_size: of these batches.
        latency_p50_s, latency_p95_s: seconds for one question alone, or None if not timed; a run
            times all its models together, see `Latency`.
        examples_per_s_single: questions per second one at a time, 1 / median, or None.
        categories: the right answers of each category, where questions have one.
        samples: pass@k and majority@k, or None with one sample a question.
        classes: the confusion of classes, where answers are one of several.
    """

    num_questions: int
    num_graded: int
    num_correct: int
    accuracy: float | None = None
    interval: Interval | None = None
    num_undecided: int | None = None
    digit_accuracy: float | None = None
    unstopped: float | None = None
    num_tokens: int | None = None
    mean_tokens: float | None = None
    seconds: float | None = None
    examples_per_s: float | None = None
    tokens_per_s: float | None = None
    batch_size: int | None = None
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    examples_per_s_single: float | None = None
    categories: dict[str, Share] | None = field(default_factory=dict)
    samples: Samples | None = None
    classes: Classes | None = None

    @property
    def seconds_per_answer(self) -> float | None:
        """When asked in batches; every sample of a question is an answer."""
        if self.examples_per_s:
            return 1 / self.examples_per_s
        return None if self.seconds is None else self.seconds / self.num_questions

    @property
    def num_graded_questions(self) -> int:
        """Questions with a gold answer; `num_graded` counts every sample of them."""
        return self.num_graded // (self.samples.num_samples if self.samples else 1)


@with_config({"extra": "allow"})
class AskedSettings(TypedDict, total=False):
    """What the report reads of how the questions were asked."""

    limit: int | None


@with_config({"extra": "allow"})
class EvaluationSettings(TypedDict, total=False):
    """What the report reads of an evaluation's settings."""

    split: str
    evaluate: AskedSettings
    data_sha256: str | None


@dataclass(frozen=True)
class Choice:
    """A level of removal that was chosen by its validation.

    Attributes:
        rule: `within` so many percentage points of the best; or at most so many `tokens`.
        value: how many.
        level: as `unspoken choose` names it.
    """

    rule: Literal["within", "tokens"]
    value: float
    level: str


@dataclass(frozen=True, kw_only=True)
class Choices(JsonRecord):
    """choices.json: what was chosen of a run's levels, one of each rule and value."""

    choices: tuple[Choice, ...] = ()

    def having(self, choice: Choice) -> Choices:
        """With this one, in place of an earlier one by the same rule."""
        rule = (choice.rule, choice.value)
        others = [one for one in self.choices if (one.rule, one.value) != rule]
        return Choices(choices=(*others, choice))


@dataclass(frozen=True, kw_only=True)
class Evaluation(Metrics):
    """evaluation.json: how a finished model did on held-out questions.

    Attributes:
        settings: everything that decides the result, with hashes of weights and questions.
        cost: of a teacher's tokens; None without prices.
        dtype: of the weights that were asked, also where the settings leave it to the machine.
    """

    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    cost: float | None = None
    dtype: str | None = None

    @property
    def split(self) -> str:
        """`test`, or `valid` where the recipe has no test split."""
        return self.settings.get("split", "test")

    @property
    def limit(self) -> int | None:
        """Only so many questions of the split were asked; None for all."""
        return self.settings.get("evaluate", {}).get("limit")

    @property
    def data_sha256(self) -> str | None:
        """Of the split's file."""
        return self.settings.get("data_sha256")

    @classmethod
    def _of_today(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"num_graded": values.get("num_questions"), **values}  # once, all had a gold answer


# ---- latency.json ---------------------------------------------------------------------------


@dataclass(frozen=True)
class SingleAnswers:
    """How long one model took for questions that it was asked one at a time, in their order.

    Attributes:
        seconds: until each answer was there.
        num_tokens: of each answer.
    """

    seconds: list[float]
    num_tokens: list[int]


@dataclass(frozen=True, kw_only=True)
class Latency(JsonRecord):
    """latency/latency.json: all models of a phase, asked the same questions in turns.

    Attributes:
        settings: everything that decides the result; `models` has those of each evaluation.
        models: by name; all have as many answers.
        turns: how many questions one model was asked before it was the next one's turn, for each
            turn; None: one, all models being in memory.
        not_timed: models that could not be timed like the others, and why.
        wall_seconds: that all of this took, loading included.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    models: dict[str, SingleAnswers] = field(default_factory=dict)
    turns: list[int] | None = None
    not_timed: dict[str, str] = field(default_factory=dict)
    wall_seconds: float | None = None

    def is_of(self, name: str, evaluation: Evaluation | None) -> bool:
        """Whether a model was timed as it is now: with the settings of its evaluation."""
        known = self.settings.get("models", {}).get(name)
        return evaluation is not None and name in self.models and known == evaluation.settings
