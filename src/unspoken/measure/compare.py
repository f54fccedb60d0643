"""Two models on the same questions: who is right where the other is wrong, and is it chance?

Reads two files of predictions and pairs them by question. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError, setting
from unspoken.common.files import AnyPath
from unspoken.data.jsonl import read_jsonl, require_text
from unspoken.measure.stats import mcnemar_exact, wilson_interval
from unspoken.recipe.layout import INTERNALIZED, PREDICTIONS_FILE


@dataclass(frozen=True)
class Side:
    """One of two models on the questions that both answered.

    Attributes:
        interval: Wilson's 95 % interval of the accuracy.
        num_only: questions that only this one has right.
        mean_tokens: written per question, or None where a record does not tell.
    """

    num_correct: int
    accuracy: float
    interval: tuple[float, float]
    num_only: int
    mean_tokens: float | None


@dataclass(frozen=True)
class Paired:
    """Two models on the same questions.

    Attributes:
        difference: accuracy of the second minus that of the first.
        interval: 95 % interval of the difference, see `paired_interval`.
        p_value: McNemar's exact test that they are equally good.
    """

    num_questions: int
    first: Side
    second: Side
    difference: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """What `unspoken compare` finds.

    Attributes:
        first, second: the files.
        num_only_in_first, num_only_in_second: questions that stand in one file only.
        num_ungraded: questions in both that have no gold answer in one; they are left out.
        overall: all questions that both files have judged.
        categories: those of each category, where there are some.
    """

    first: str
    second: str
    num_only_in_first: int
    num_only_in_second: int
    num_ungraded: int
    overall: Paired
    categories: dict[str, Paired]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


_Records = dict[str, dict[str, Any]]


def compare_predictions(first: AnyPath, second: AnyPath) -> Comparison:
    """The two files' predictions, paired by question.

    Args:
        first, second: files of predictions, or folders that hold one, see `predictions_file`.

    Raises:
        DataError: for a file that is missing or has other lines, a question that stands in a file
            twice, and files that have no judged question in common.
    """
    paths = predictions_file(first), predictions_file(second)
    one, other = map(_read, paths)
    common = [question for question in one if question in other]
    if not common:
        raise DataError(
            f"{paths[1]}: found none of the {len(one):,} questions of {paths[0]}; needed: "
            "predictions for the same questions; name two files of one test set"
        )
    pairs = [(one[question], other[question]) for question in common]
    graded = [pair for pair in pairs if None not in (pair[0]["correct"], pair[1]["correct"])]
    if not graded:
        raise DataError(
            f"{paths[0]}: found no gold answer for any of the {len(common):,} questions that "
            f"{paths[1]} has, too; needed: questions with answers; ask them again with an "
            "input that has the field 'answer'"
        )
    categories: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for pair in graded:
        category = pair[0].get("category") or pair[1].get("category")
        if isinstance(category, str):
            categories.setdefault(category, []).append(pair)
    return Comparison(
        first=str(paths[0]),
        second=str(paths[1]),
        num_only_in_first=len(one) - len(common),
        num_only_in_second=len(other) - len(common),
        num_ungraded=len(common) - len(graded),
        overall=_paired(graded),
        categories={category: _paired(found) for category, found in categories.items()},
    )


def predictions_file(path: AnyPath) -> Path:
    """The file of predictions: `path` itself, or the one in that folder.

    In a run folder it is the internalized model's; in the folder of one of its models that
    model's own.

    Raises:
        DataError: the folder holds none, or several.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    inside = path / INTERNALIZED if (path / INTERNALIZED).is_dir() else path
    found = sorted(inside.rglob(PREDICTIONS_FILE))
    if len(found) != 1:
        names = ", ".join(str(each.relative_to(path)) for each in found) or f"no {PREDICTIONS_FILE}"
        raise DataError(
            f"{path}: found {names} in this folder; needed: one file of predictions; name the file"
        )
    return found[0]


def _read(path: Path) -> _Records:
    """The records by question, in the order of the file."""
    records: _Records = {}
    lines: dict[str, int] = {}
    for line, record in read_jsonl(path):
        where = f"{path}:{line}"
        question = require_text(record, "question", where)
        if question in lines:
            raise DataError(
                f"{where}: question: found one that stands in line {lines[question]} already; "
                "needed: one answer to each question; ask again without "
                f'{setting("num_samples")}, or keep only the lines with "sample": 0'
            )
        if "correct" not in record:
            raise DataError(
                f"{where}: correct: missing; needed: judged predictions, as unspoken evaluate "
                f"writes them; judge these with unspoken score --input {path} --output JUDGED.jsonl"
            )
        if record["correct"] not in (True, False, None):
            raise DataError(
                f"{where}: correct: found {str(record['correct'])[:60]!r}; needed: true, false or "
                "null; correct it, or judge the file again with unspoken score"
            )
        lines[question] = line
        records[question] = record
    return records


def _paired(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> Paired:
    rights = [(bool(one["correct"]), bool(other["correct"])) for one, other in pairs]
    both, only_first, only_second = (
        rights.count(kind) for kind in ((True, True), (True, False), (False, True))
    )
    count = len(pairs)
    return Paired(
        num_questions=count,
        first=_side(both, only_first, [one for one, _ in pairs]),
        second=_side(both, only_second, [other for _, other in pairs]),
        difference=(only_second - only_first) / count,
        interval=paired_interval(
            both, only_second, only_first, count - both - only_first - only_second
        ),
        p_value=mcnemar_exact(only_first, only_second),
    )


def _side(num_both: int, num_only: int, records: list[dict[str, Any]]) -> Side:
    correct, count = num_both + num_only, len(records)
    return Side(
        num_correct=correct,
        accuracy=correct / count,
        interval=wilson_interval(correct, count),
        num_only=num_only,
        mean_tokens=_mean_tokens(records),
    )


def _mean_tokens(records: list[dict[str, Any]]) -> float | None:
    tokens = [_number(record, "num_tokens") for record in records]
    known = [number for number in tokens if number is not None]
    return sum(known) / len(known) if len(known) == len(tokens) else None


def _number(record: Mapping[str, Any], field: str) -> float | None:
    value = record.get(field)
    return value if isinstance(value, int | float) else None


def paired_interval(
    both: int, only_first: int, only_second: int, neither: int
) -> tuple[float, float]:
    """Returns the 95 % interval of the first accuracy minus the second, from paired answers.

    Stays within [-1, 1] and has a width where the two never differ. Source: R. G. Newcombe,
    Statistics in Medicine 17 (1998), 2635-2650, method 10: Wilson's limits of both proportions,
    put together with the correlation (continuity-corrected) of the pairs.

    Args:
        both, only_first, only_second, neither: how many questions who has right; not all 0.

    Example:
        >>> [round(end, 4) for end in paired_interval(36, 12, 2, 0)]  # the paper's
        [0.0569, 0.3404]
    """
    count = both + only_first + only_second + neither
    right, other_right = both + only_first, both + only_second
    share, other = right / count, other_right / count
    low, high = wilson_interval(right, count)
    other_low, other_high = wilson_interval(other_right, count)
    product = right * (count - right) * other_right * (count - other_right)
    excess = both * neither - only_first * only_second
    if excess > 0:
        excess = max(0.0, excess - count / 2)
    phi = excess / math.sqrt(product) if product else 0.0

    def distance(end: float, other_end: float) -> float:
        # rounding may leave a negative 1e-18
        return math.sqrt(max(0.0, end**2 - 2 * phi * end * other_end + other_end**2))

    difference = share - other
    return (
        difference - distance(share - low, other_high - other),
        difference + distance(high - share, other - other_low),
    )
