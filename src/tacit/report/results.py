"""What a run amounts to, as typed values: run, phases, variants, figures.

`tacit.report.reading` makes them from a run folder. A run may be half done: whatever is not there
is None or empty, and `RunResult.missing` says so in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.stats import mcnemar_exact

#: In the order of the table.
VARIANTS = ("explicit", "internalized", "no_cot")
LABELS = {"explicit": "explicit CoT", "internalized": "internalized", "no_cot": "no CoT"}


@dataclass(frozen=True)
class Measured:
    """evaluation.json: a finished model on held-out questions; see `tacit.evaluate.Metrics`.

    Attributes:
        split: `test`, or `valid` where the recipe has no test split.
        limit: only so many questions of the split were asked, or None for all.
    """

    split: str
    limit: int | None
    num_questions: int
    num_graded: int
    num_correct: int
    accuracy: float | None
    interval: tuple[float, float] | None
    digit_accuracy: float | None
    unstopped: float | None
    mean_tokens: float | None
    examples_per_s: float | None
    batch_size: int | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    examples_per_s_single: float | None

    @staticmethod
    def from_json(values: dict[str, Any]) -> Measured:
        """From the contents of evaluation.json, also of versions without `num_graded`."""
        settings = values.get("settings", {})
        interval = values.get("interval")
        figures: dict[str, Any] = {
            "split": settings.get("split", "test"),
            "limit": settings.get("evaluate", {}).get("limit"),
            "num_graded": values["num_questions"],
            **{name: value for name, value in values.items() if name != "settings"},
            "interval": None if interval is None else (interval[0], interval[1]),
        }
        return Measured(**{name: figures.get(name) for name in Measured.__dataclass_fields__})  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Trained:
    """stage.json: what training took. None is what the folder does not tell.

    Attributes:
        level: of removal, as stage.json names it: `all`, or `0007`.
        seconds: in the training loop, validation left out.
        peak_memory: bytes of the GPU where there was one, else of the process.
    """

    steps: int | None
    level: str | None
    seconds: float | None
    all_removed_at: int | None
    num_parameters: int | None
    num_train: int | None
    num_dropped: int | None
    longest_thought: int | None
    peak_memory: int | None
    on_gpu: bool


@dataclass(frozen=True)
class TrainPoint:
    """One `train` line of metrics.jsonl."""

    step: int
    loss: float
    removed: int


@dataclass(frozen=True)
class ValidPoint:
    """One `valid` line of metrics.jsonl."""

    step: int
    removed: int
    accuracy: float | None
    mean_tokens: float
    num_questions: int


@dataclass(frozen=True)
class VariantResult:
    """One of the three models in one phase.

    Attributes:
        status: `absent`, `training`, `trained` (not measured yet) or `measured`.
        borrowed: the model is a checkpoint of the internalized run from before removal.
        predictions: the records of predictions.jsonl.
        unreadable: lines of metrics.jsonl that a crash cut off.
    """

    name: str
    folder: Path
    status: str
    borrowed: bool
    measured: Measured | None
    trained: Trained | None
    train: list[TrainPoint]
    valid: list[ValidPoint]
    predictions: list[dict[str, Any]]
    unreadable: int

    @property
    def label(self) -> str:
        """The name for people."""
        return LABELS[self.name]

    @property
    def last_step(self) -> int | None:
        """Optimizer steps done; while training, as far as the log tells."""
        if self.trained is not None:
            return self.trained.steps
        return max((point.step for point in (*self.train, *self.valid)), default=None)

    @property
    def tokens_left(self) -> int | None:
        """Thought tokens that this model still writes at the most; 0 once all are gone."""
        if self.trained is None or self.trained.longest_thought is None:
            return None
        if self.trained.level == "all":
            return 0
        seen = [(point.step, point.removed) for point in (*self.train, *self.valid)]
        removed = max(seen)[1] if seen else int(self.trained.level or 0)
        return max(0, self.trained.longest_thought - removed)

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
class Comparison:
    """Two models on the same questions.

    Attributes:
        only_first, only_second: questions that only one of them has right.
        p_value: McNemar's exact test that they are equally good.
    """

    num_questions: int
    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class PhaseResult:
    """One phase of a run; a run without phases has one, with the recipe's name.

    Attributes:
        key: its folder inside each variant's, such as `2-gsm8k`; empty without phases.
        data_hashes: SHA-256 of each split.
    """

    name: str
    key: str
    variants: dict[str, VariantResult]
    data_hashes: dict[str, str]

    def measured(self) -> list[Measured]:
        """The figures of those variants that were measured."""
        found = [variant.measured for variant in self.variants.values()]
        return [measured for measured in found if measured is not None]

    def compare(self, first: str, second: str) -> Comparison | None:
        """Paired results of two variants, or None where they were not asked the same."""
        pairs = list(
            zip(self.variants[first].predictions, self.variants[second].predictions, strict=False)
        )
        lengths = {len(self.variants[name].predictions) for name in (first, second)}
        if not pairs or len(lengths) > 1:
            return None
        if any(one.get("question") != other.get("question") for one, other in pairs):
            return None
        judged = [
            (one["correct"], other["correct"])
            for one, other in pairs
            if one.get("correct") is not None and other.get("correct") is not None
        ]
        only_first = sum(one and not other for one, other in judged)
        only_second = sum(other and not one for one, other in judged)
        if not judged:
            return None
        p_value = mcnemar_exact(only_first, only_second)
        return Comparison(len(judged), only_first, only_second, p_value)


@dataclass(frozen=True)
class RunResult:
    """Everything in a run folder that a report shows.

    Attributes:
        missing: what is not there yet, one sentence each.
    """

    folder: Path
    name: str
    description: str
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any]
    phases: list[PhaseResult]
    missing: list[str]
