"""What decides whether a stage is run again: the keys that do not, and the comparison of the rest.

A stage's settings stand in its stage.json or evaluation.json. What a stage is given that decides
nothing of what it leaves is not among them, and may differ when a run is resumed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from unspoken.recipe.sections import Schedule

#: Of a section `model`: where the files come from decides nothing.
MODEL_INCIDENTAL = {"local_files_only"}
#: Of a section `train`.
TRAIN_INCIDENTAL = {
    "checkpoint_every", "keep_checkpoints", "log_every", "trackers", "threads",
    "micro_batch_size", "gradient_checkpointing",  # memory for time, the same steps
}  # fmt: skip
#: Of the section `schedule`: of adaptive removal that measures alone.
MEASURING = {
    "margin", "margin_per_token", "last_margin", "answer_margin",
    "patience", "most_at_once", "tries", "measure_every",
}  # fmt: skip
#: Of the section `teacher`: those that do not decide what it writes for the questions.
TEACHER_INCIDENTAL = {
    "train", "num_train", "retries", "retry_temperature", "batch_size", "api_key_env",
    "concurrency", "requests_per_minute", "max_cost", "price_prompt", "price_completion",
    "evaluate", "serve", "serve_timeout",
}  # fmt: skip
#: Of the section `evaluate`: how answers are timed, which is a stage of its own.
EVALUATE_INCIDENTAL = {"num_latency", "latency_seconds"}
#: Settings that once counted, and stand in stage.json files of then.
_COUNTED_ONCE = {
    "train.micro_batch_size", "train.gradient_checkpointing", "evaluate.num_latency",
}  # fmt: skip
#: Settings that stage.json files of before do not have, by the values that change nothing of what
#: is done: the default, or a model would be trained again for hours because it came, and what was
#: done then.
_CAME_LATER = {
    "schedule.margin_per_token": (Schedule().margin_per_token, 0.0),
    "schedule.auxiliary_loss": (0.0,),
}


def changes(old: dict[str, Any] | None, new: dict[str, Any]) -> list[str]:
    """One text for each setting that differs, such as `train.epochs: 3 -> 5`; none: as before.

    Four differences do not count: of what no longer counts (`_COUNTED_ONCE`), of what decides
    nothing on both sides (`_idle`), of what came later and changes nothing (`_CAME_LATER`), and of
    `auto` and the number that it stands for.

    Args:
        old: as read from JSON.
        new: as they are now, before they are JSON.
    """
    now = json.loads(json.dumps(new))
    idle = _COUNTED_ONCE | (_idle(old) & _idle(now))
    return [
        f"{key}: {_short(one)} -> {_short(other)}"
        for key, one, other in _pairs(_in_numbers(old), _in_numbers(now))
        if key not in idle and not (one is None and other in _CAME_LATER.get(key, ()))
    ]


def _idle(settings: dict[str, Any] | None) -> set[str]:
    """The settings of a training that decide nothing there, as the others are."""
    schedule, train = _section(settings, "schedule"), _section(settings, "train")
    idle: set[str] = set()
    asked = Schedule.model_construct(**schedule)
    # Validations choose a level's best model. Without questions for them it is the last one; but
    # removal that measures goes back to levels, and keeps only those that were validated.
    if "valid" not in _section(settings, "data") and not asked.measures:
        idle |= {"train.evaluate_every", "train.num_valid"}
    # Training ends before a first validation is due: there is one at the end in any case.
    end = (settings or {}).get("num_steps") or train.get("max_steps")
    if end is not None and train.get("evaluate_every", 0) >= end:
        idle.add("train.evaluate_every")
    if asked.removal in ("none", "all"):  # there is but one level to keep
        idle.add("train.level_every")
    return idle


def _section(settings: dict[str, Any] | None, name: str) -> dict[str, Any]:
    found = (settings or {}).get(name)
    return found if isinstance(found, dict) else {}


def _in_numbers(settings: dict[str, Any] | None) -> dict[str, Any] | None:
    """The settings with the lambda that `smoothing: auto` stands for, which older runs have."""
    schedule = _section(settings, "schedule")
    if schedule.get("smoothing") != "auto":
        return settings
    number = Schedule.model_construct(**schedule).smoothing_number
    return {**(settings or {}), "schedule": {**schedule, "smoothing": number}}


def _pairs(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _pairs(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
    elif old != new:
        yield prefix, old, new


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
