"""What a model wrote, judged, and the figures that it amounts to.

Stands between decoding (`unspoken.measure.evaluate`) and the report. Needs no torch.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from unspoken.measure.answers import answers_equal, digit_accuracy
from unspoken.measure.choices import ClassCounts
from unspoken.measure.grade import grade
from unspoken.measure.stats import (
    clustered_interval,
    interval_of_share,
    majority,
    pass_at_k,
    percentile,
    wilson_interval,
)
from unspoken.recipe.evaluation_records import Classes, Metrics, Samples, Share

if TYPE_CHECKING:
    from unspoken.data.example import Example

M = TypeVar("M", bound=Metrics)
_LONGEST = 200  # characters of an answer whose digits are compared


@dataclass(frozen=True)
class Prediction:
    """What a model wrote for one question; one line of predictions.jsonl.

    Attributes:
        question, gold, category: from the example; category is empty where there is none.
        generated: everything that the model wrote, without the end token.
        pred: the answer in it.
        correct: whether it equals `gold`; None where there is no gold answer.
        num_prompt_tokens, num_tokens: read and written; the end token counts as written. None
            where a server does not tell.
        stopped: whether the model ended by itself.
        sample: 0, 1, ... for the samples of one question.
        undecided: whether it only counts as wrong because nobody can tell within bounds.
    """

    question: str
    generated: str
    pred: str
    gold: str | None
    correct: bool | None
    num_prompt_tokens: int | None
    num_tokens: int | None
    stopped: bool
    category: str = ""
    sample: int = 0
    undecided: bool = False

    def to_json(self, num_samples: int = 1) -> dict[str, Any]:
        """The record, without an empty category and, for one sample a question, without its 0.

        `undecided` is there only where it is true, as in what `unspoken score` writes.
        """
        record = asdict(self)
        if not self.undecided:
            del record["undecided"]
        if not self.category:
            del record["category"]
        if num_samples == 1:
            del record["sample"]
        return record


def judge(
    example: Example,
    generated: str,
    *,
    num_prompt_tokens: int | None,
    num_tokens: int | None,
    stopped: bool,
    sample: int = 0,
    choices: Sequence[str] | None = None,
) -> Prediction:
    """What was written for one question, compared with the gold answer, if there is one.

    Args:
        example: the question; its thought is not looked at.
        generated: without the end token.
        num_prompt_tokens, num_tokens, stopped, sample: as in `Prediction`.
        choices: the only answers that there are.

    Raises:
        DataError: the gold answer is none of the choices.
    """
    found = grade(generated, example.answer, choices)
    return Prediction(
        question=example.question,
        generated=generated,
        pred=found.pred,
        gold=found.gold,
        correct=found.correct,
        num_prompt_tokens=num_prompt_tokens,
        num_tokens=num_tokens,
        stopped=stopped,
        category=example.category,
        sample=sample,
        undecided=found.undecided,
    )


def summarize(
    predictions: Sequence[Prediction],
    seconds: float | None,
    batch_size: int,
    choices: Sequence[str] | None = None,
) -> Metrics:
    """The figures of these predictions, made in `seconds` seconds.

    What is not known of each answer is not known of all.

    Args:
        predictions: at least one; the samples of a question one after the other, from 0 on.
        seconds: of decoding in batches of `batch_size`; None: nobody knows.
        batch_size: of these batches.
        choices: the only answers that there are, as they were judged with.
    """
    count = len(predictions)
    questions = _by_question(predictions)
    graded = [samples for samples in questions if samples[0].gold is not None]
    share = _share(graded)
    counts = [one.num_tokens for one in predictions if one.num_tokens is not None]
    num_tokens = sum(counts) if len(counts) == count else None
    return Metrics(
        num_questions=len(questions),
        num_graded=share.num_graded if share else 0,
        num_correct=share.num_correct if share else 0,
        accuracy=share.accuracy if share else None,
        interval=share.interval if share else None,
        num_undecided=sum(prediction.undecided for prediction in predictions),
        digit_accuracy=None if choices else _digit_accuracy(graded),
        unstopped=sum(not prediction.stopped for prediction in predictions) / count,
        num_tokens=num_tokens,
        mean_tokens=None if num_tokens is None else num_tokens / count,
        seconds=seconds,
        examples_per_s=None if seconds is None else count / seconds,
        tokens_per_s=None if seconds is None or num_tokens is None else num_tokens / seconds,
        batch_size=batch_size,
        categories=_categories(graded),
        samples=_samples(graded, choices),
        classes=_classes(graded, choices) if choices else None,
    )


def with_latencies(metrics: M, seconds: Sequence[float]) -> M:
    """The figures with those of questions that were asked one at a time, if there are some."""
    if not seconds:
        return metrics
    median = percentile(seconds, 50)
    return replace(
        metrics,
        latency_p50_s=median,
        latency_p95_s=percentile(seconds, 95),
        examples_per_s_single=1 / median,
    )


def _classes(graded: Sequence[Sequence[Prediction]], choices: Sequence[str]) -> Classes | None:
    """Which classes were answered where which ones are right."""
    counts = ClassCounts(choices)
    for samples in graded:
        for prediction in samples:
            counts.add(prediction.gold or "", prediction.pred)
    return counts.to_record()


def _digit_accuracy(graded: Sequence[Sequence[Prediction]]) -> float | None:
    """The mean share of right digits over the answers that are numbers."""
    # cut, so that an endless answer counts as a wrong one and not as none
    digits = [digit_accuracy(p.pred[:_LONGEST], p.gold or "") for row in graded for p in row]
    known = [value for value in digits if value is not None]
    return sum(known) / len(known) if known else None


def _categories(graded: Sequence[Sequence[Prediction]]) -> dict[str, Share]:
    """The right answers of each category, in the order in which they come."""
    rows: dict[str, list[Sequence[Prediction]]] = {}
    for samples in graded:
        if samples[0].category:
            rows.setdefault(samples[0].category, []).append(samples)
    return {category: share for category, row in rows.items() if (share := _share(row))}


def _by_question(predictions: Sequence[Prediction]) -> list[list[Prediction]]:
    questions: list[list[Prediction]] = []
    for prediction in predictions:
        if prediction.sample == 0 or not questions:
            questions.append([])
        questions[-1].append(prediction)
    return questions


def _share(graded: Sequence[Sequence[Prediction]]) -> Share | None:
    """The right answers to these questions; each has as many samples as the others."""
    if not graded:
        return None
    rights = [sum(bool(prediction.correct) for prediction in samples) for samples in graded]
    sizes = [len(samples) for samples in graded]
    total = sum(sizes)
    return Share(total, sum(rights), sum(rights) / total, interval_of_share(rights, sizes))


def _samples(
    graded: Sequence[Sequence[Prediction]], choices: Sequence[str] | None
) -> Samples | None:
    num_samples = min(map(len, graded), default=1)
    if num_samples == 1:
        return None
    # cached: the same pairs for every k
    equal = functools.lru_cache(maxsize=None)(operator.eq if choices else answers_equal)

    def is_same(one: Prediction, other: Prediction) -> bool:
        return equal(one.pred, other.pred)

    counts = [sum(bool(prediction.correct) for prediction in samples) for samples in graded]
    passed: dict[str, list[float]] = {}
    voted: dict[str, int] = {}
    for k in _ks(num_samples):
        passed[str(k)] = [pass_at_k(num_samples, count, k) for count in counts]
        voted[str(k)] = 0
        for samples in graded:
            votes = [prediction for prediction in samples[:k] if prediction.pred]
            voted[str(k)] += bool(votes) and majority(votes, is_same).correct is True
    count = len(graded)
    total = count * num_samples
    return Samples(
        num_samples=num_samples,
        pass_at_k={k: math.fsum(values) / count for k, values in passed.items()},
        pass_at_k_interval={k: clustered_interval(v, total) for k, v in passed.items()},
        majority_at_k={k: right / count for k, right in voted.items()},
        majority_at_k_interval={k: wilson_interval(right, count) for k, right in voted.items()},
    )


def _ks(num_samples: int) -> list[int]:
    """1, 2, 4, ... and the number of samples itself."""
    powers = [2**power for power in range(num_samples.bit_length())]
    return sorted({*powers, num_samples})
