"""Which settings of a stage changed since it was done, such as `train.epochs: 3 -> 5`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Settings that once decided what came out, and stand in stage.json files of then.
_NO_REASON = {"train.micro_batch_size", "train.gradient_checkpointing"}


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One text for each setting that differs, such as `train.epochs: 3 -> 5`."""
    return [
        f"{key}: {_short(one)} -> {_short(other)}"
        for key, one, other in _pairs(old, new)
        if key not in _NO_REASON
    ]


def _pairs(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _pairs(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
    elif old != new:
        yield prefix, old, new


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
