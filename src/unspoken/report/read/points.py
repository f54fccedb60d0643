"""The lines of metrics.jsonl that curves are drawn of, and that outcomes are told from."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

_Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class TrainPoint:
    """One `train` line of metrics.jsonl."""

    step: int
    loss: _Finite
    removed: int


@dataclass(frozen=True)
class ValidPoint:
    """One `valid` line of metrics.jsonl."""

    step: int
    removed: int
    accuracy: _Finite | None
    mean_tokens: _Finite
    num_questions: int


Point = TypeVar("Point", TrainPoint, ValidPoint)


def points_of(records: list[dict[str, Any]], event: str, kind: type[Point]) -> list[Point]:
    """The lines of one kind; without those whose figures are no numbers, such as a null loss."""
    known, points = TypeAdapter(kind), []
    for record in records:
        if record.get("event") == event:
            with contextlib.suppress(ValidationError):
                points.append(known.validate_python(record))
    return points
