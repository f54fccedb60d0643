"""What a run leaves behind in JSON files, as types: stages, trainings, traces, evaluations, times.

Who writes such a file and who reads it share the class. Fields that a file has and the class does
not are left out; a file of a newer version is refused. Files from before records had a version are
read as they are: their fields had the same names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import TypeAdapter, ValidationError, with_config
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from unspoken.common.errors import DataError, shorten
from unspoken.common.files import read_json, write_text

if TYPE_CHECKING:
    from typing_extensions import Self

#: Raise when fields of a record change their meaning.
VERSION = 1

Interval = tuple[float, float]


def validated(kind: Any, values: Any, path: Path) -> Any:
    """The values of a file of ours, as a type.

    Raises:
        DataError: they are not of it; the message names the file and the key.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = shorten(".".join(map(str, problem["loc"])), 100)[1:-1]
        raise DataError(
            f"{path}: {place}: {problem['msg'][:200].lower()}; needed: what unspoken writes there; "
            "put it back, or remove the file and run again"
        ) from None


class JsonRecord:
    """One JSON file of ours."""

    version: ClassVar[int] = VERSION
    _LIST: ClassVar[str] = ""  # the field that once was all of the file

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What stands in a file, or None where there is no such file.

        Raises:
            DataError: it is no record, or one of a newer unspoken.
        """
        values = read_json(path, cls._LIST)
        if values is None:
            return None
        version = values.get("version", 0)
        if not isinstance(version, int) or version > VERSION:
            raise DataError(
                f"{path}: version: found {shorten(version)}; needed: at most {VERSION}, which this "
                "unspoken knows; use the one that wrote it, or another run folder"
            )
        return validated(cls, cls._of_today(values), path)

    def write(self, path: Path) -> None:
        """Writes the file whole or not at all; what is not known is left out."""
        known = {name: value for name, value in self.to_json().items() if value is not None}
        write_text(path, json.dumps({"version": VERSION, **known}, indent=2))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)  # pyright: ignore[reportArgumentType]

    @classmethod
    def _of_today(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values of a file of any version, with today's names."""
        return values


# ---- stage.json -----------------------------------------------------------------------------


@dataclass(frozen=True)
class PeakMemory:
    """Bytes that the process had at the most; of the GPU's memory, where there is one."""

    host: int | None = None
    gpu: int | None = None


@dataclass(frozen=True, kw_only=True)
class StageRecord(JsonRecord):
    """stage.json: what a stage was asked for, and whether it is done.

    Attributes:
        status: `running` also where it was interrupted.
        settings: everything that decides what comes out, with hashes of the inputs.
        seconds: over all the runs that worked on it.
        finished: when, in UTC; None before.
        peak_memory_bytes: of the process that finished it.
        paused: it was interrupted, and had the time to say so.
        cut_off: a kill came in between, and `seconds` leaves out what was before it.
    """

    status: Literal["running", "done"] = "running"
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    finished: str | None = None
    peak_memory_bytes: PeakMemory = PeakMemory()
    paused: bool = False
    cut_off: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the stage has nothing left to do."""
        return self.status == "done"


@dataclass(frozen=True, kw_only=True)
class DataRecord(StageRecord):
    """data/stage.json.

    Attributes:
        files: path of each split, relative to the run folder where it is inside.
        sha256: of each of these files.
        repeats: whether a question may stand several times in `train`, with several thoughts.
        vetted: what vetting kept of a file of traces that the user gave.
    """

    files: dict[str, str] | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    repeats: bool = False
    vetted: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Where a training ended.

    Attributes:
        step: optimizer steps.
        all_removed_at: the step at which the last thought token went.
        seconds: in optimizer steps, validation left out.
        num_tokens: that went through the model, padding left out.
        schedule, best: for those who want to look closer; see `unspoken.train.checkpoint`.
    """

    step: int | None = None
    all_removed_at: int | None = None
    seconds: float | None = None
    num_tokens: int | None = None
    schedule: dict[str, Any] = field(default_factory=dict)
    best: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(StageRecord):
    """stage.json of a training.

    Attributes:
        folder: relative to the run folder.
        started_from: folder of the stage whose model it went on from.
        level: of removal that the final model belongs to: `all`, or `0007`, in the schedule's unit.
        state: where it ended.
        precision: that it was trained in, where the settings leave that to the machine.
        num_train, num_dropped: examples that were learned from, and that were too long.
        longest_thought: in tokens, of all examples.
        tokens_removed: how many tokens shorter the longest thought is at that level.
        model_sha256: of the final model's weights.
        model_bytes, base_bytes: of these weights; of the base model's, where they are an adapter's.
    """

    folder: str = ""
    started_from: str | None = None
    level: str | None = None
    state: TrainingState = TrainingState()
    precision: str | None = None
    num_parameters: int | None = None
    num_trained_parameters: int | None = None
    num_train: int | None = None
    num_dropped: int | None = None
    longest_thought: int | None = None
    tokens_removed: int | None = None
    model_sha256: str | None = None
    model_bytes: int | None = None
    base_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class TracesRecord(StageRecord):
    """traces/stage.json: what the teacher wrote, and at which price.

    Attributes:
        engine, model: who wrote.
        num_prompt_tokens, num_tokens: read and written.
        cost: of these, in `currency`; None without prices.
        traces_sha256: of traces.jsonl.
    """

    engine: str | None = None
    model: str | None = None
    num_questions: int | None = None
    num_traces: int | None = None
    num_prompt_tokens: int | None = None
    num_tokens: int | None = None
    tokens_per_s: float | None = None
    cost: float | None = None
    currency: str | None = None
    traces_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class UnansweredRecord(JsonRecord):
    """traces.jsonl.unanswered.json: what a service may have charged without a reply that was kept.

    Attributes:
        num_prompt_tokens, num_tokens: at the most.
    """

    num_prompt_tokens: int = 0
    num_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class VettedRecord(StageRecord):
    """vetted/stage.json: which traces were kept, and which not.

    Attributes:
        num_traces: those of questions that were asked again included.
        num_questions, num_questions_kept: asked, and with a trace that was kept.
        num_questions_leaking: that the test asks, too.
        num_unverified: kept without a gold answer.
        num_unmeasured: whose length in tokens is not known.
        rejected: number of traces by reason.
        classes: where the answers are choices, for each of them `num_kept` and `num_dropped`
            traces, `num_questions` and `num_questions_kept`.
        num_asked_again: traces asked for because none of the question's was kept.
        num_prompt_tokens, num_tokens, cost: of these.
        sha256: of dataset.jsonl.
    """

    num_traces: int | None = None
    num_kept: int | None = None
    num_questions: int | None = None
    num_questions_kept: int | None = None
    num_questions_leaking: int | None = None
    num_unverified: int | None = None
    num_unmeasured: int | None = None
    num_torn_bytes: int | None = None
    rejected: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] | None = None
    num_asked_again: int | None = None
    num_prompt_tokens: int | None = None
    num_tokens: int | None = None
    cost: float | None = None
    sha256: str | None = None


# ---- evaluation.json ------------------------------------------------------------------------


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
        examples_per_s_single: questions per second one at a time, or None.
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


# ---- others ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ShareRecord(JsonRecord):
    """traces/shards/....seconds.json: what a share of the traces took.

    Attributes:
        seconds: over all the runs that worked on it.
    """

    seconds: float = 0.0


@dataclass(frozen=True)
class SubmittedJob:
    """A job of SLURM's, by the name of its script and by its id."""

    name: str
    id: str


@dataclass(frozen=True, kw_only=True)
class JobsRecord(JsonRecord):
    """slurm/N/jobs.json: the jobs of a launch."""

    _LIST: ClassVar[str] = "jobs"

    jobs: tuple[SubmittedJob, ...]


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


# ---- diagnosis.json -------------------------------------------------------------------------


@dataclass(frozen=True)
class DigitsAtLevel:
    """Right answers by digit, of one level's model.

    Attributes:
        level: of removal.
        step: optimizer step at which the model was saved.
        accuracy: of whole answers.
        places: share of right digits at each place; a place is a power of ten, or counted from the
            first digit where answers are rows of digits.
    """

    level: str
    step: int | None
    accuracy: float | None
    places: dict[str, float]


@dataclass(frozen=True)
class Probe:
    """How well a linear map reads the digits of a thought off the hidden states of a model.

    Attributes:
        model: of the run, such as internalized.
        where: at the last token of the prompt, before anything is written; or at the tokens from
            which the answer is written.
        shares: of right digits on questions that the map was not fitted to; for each layer, the
            embeddings first, one of each target.
    """

    model: str
    where: Literal["prompt", "answer"]
    shares: list[list[float]]


@dataclass(frozen=True)
class Probes:
    """Linear probes for the intermediate values that a thought holds.

    Attributes:
        targets: names of the digits that are read: `2.1` is the first digit of the second number.
        chance: for each of them, the share of its most frequent digit.
        example: a thought, to see what is meant.
        num_fitted, num_tested: questions.
    """

    targets: list[str]
    chance: list[float]
    example: str
    num_fitted: int
    num_tested: int
    probes: list[Probe]


@dataclass(frozen=True)
class OtherSize:
    """A model asked questions of another size than it was trained on.

    Attributes:
        size: such as `3 x 3` or `hard`.
        is_trained: the size is the one that it was trained on.
    """

    size: str
    model: str
    is_trained: bool
    num_questions: int
    accuracy: float | None
    interval: Interval | None


@dataclass(frozen=True)
class ThoughtAgain:
    """Whether a model can still write its thought.

    Attributes:
        model: of the run.
        unasked: share of questions for which it begins with the thought's first token by itself.
        tokens: for each token of the thought, share that is the likeliest one after those before.
        whole: share of thoughts that it writes right to the end, given the first token.
        accuracy: of the answers after that.
        num_questions: that were asked.
    """

    model: str
    unasked: float
    tokens: list[float]
    whole: float
    accuracy: float | None
    num_questions: int


@dataclass(frozen=True, kw_only=True)
class Diagnosis(JsonRecord):
    """diagnosis.json: what a look into the models of a run found; empty is what it did not have.

    Attributes:
        digits: over the levels of the run, the whole thought first.
        probes: None where thoughts hold no numbers.
        sizes: empty where the task has no other sizes.
        again: of the model that writes its thought, and of the internalized one.
        notes: what was left out, and why.
        model_sha256: of the internalized model that was looked into.
    """

    digits: list[DigitsAtLevel] = field(default_factory=list)
    probes: Probes | None = None
    sizes: list[OtherSize] = field(default_factory=list)
    again: list[ThoughtAgain] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    model_sha256: str | None = None
