"""How far the removal of a thought came, and what held it up: as values and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unspoken.recipe import Schedule
from unspoken.recipe.levels import tokens_gone
from unspoken.recipe.records import TrainingRecord
from unspoken.report.read.points import TrainPoint, ValidPoint
from unspoken.train.schedule import Removal, RemovalState


@dataclass(frozen=True)
class Outcome:
    """What a training that removes the thought ended with.

    Attributes:
        tokens_removed, longest_thought: thought tokens that were gone at the end, and that the
            longest thought has. The former is None where an older run removed so many steps of a
            thought, whose tokens it did not count.
        reason: what held it up, to follow a comma; empty where all is removed.
    """

    tokens_removed: int | None
    longest_thought: int
    reason: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the thought is left."""
        return self.tokens_removed is not None and self.tokens_removed >= self.longest_thought

    @property
    def sentence(self) -> str:
        """For people, without a full stop."""
        number = "some" if self.tokens_removed is None else f"{self.tokens_removed:,}"
        gone = f"{number} of {self.longest_thought:,} tokens removed"
        if self.is_complete:
            return f"internalized: {gone}"
        return f"not internalized: {gone}{f', {self.reason}' if self.reason else ''}"


def read_outcome(
    trained: TrainingRecord | None, train: Sequence[TrainPoint], valid: Sequence[ValidPoint]
) -> Outcome | None:
    """The outcome of a finished training; None of another, or where nothing was to be removed.

    Args:
        trained: what the training left.
        train, valid: the lines of its log.
    """
    if trained is None or not trained.longest_thought:
        return None
    settings = trained.settings.get("schedule") or {}
    longest, removal = trained.longest_thought, settings.get("removal", "linear")
    if removal == "none":
        return None
    removed = tokens_gone(trained)
    if removed == longest:
        return Outcome(removed, longest)
    if removal != "adaptive":
        steps = trained.state.step
        when = "" if steps is None else f" after {steps:,} steps"
        return Outcome(removed, longest, reason=f"the schedule had come no further{when}")
    if trained.state.schedule.get("search") is not None:
        return Outcome(removed, longest, reason=_describe_search(trained))
    reason = "" if removed is None else _describe_waits(removed, trained, train, valid)
    return Outcome(removed, longest, reason=reason)


def _describe_waits(
    removed: int,
    trained: TrainingRecord,
    train: Sequence[TrainPoint],
    valid: Sequence[ValidPoint],
) -> str:
    """What the last level waited for in vain, as far as its lines of the log say."""
    settings = trained.settings["schedule"]
    lowest = _lowest_mean([p for p in train if p.removed == removed], settings.get("window") or 1)
    accuracies = [p.accuracy for p in valid if p.removed == removed and p.accuracy is not None]
    best = max(accuracies, default=None)
    level = _name_level(trained.level)
    waits = [_wait_for_loss(level, lowest, settings), _wait_for_accuracy(level, best, settings)]
    return " and ".join(filter(None, waits))


def _describe_search(trained: TrainingRecord) -> str:
    """What kept removal that measures from its end."""
    state = RemovalState.from_json(trained.state.schedule)
    settings = Schedule.model_validate(trained.settings["schedule"])
    longest = 0 if state.search is None else len(state.search.reference) - 1
    removal = Removal(settings, longest=longest, steps_per_epoch=1, num_steps=1)
    return removal.describe_obstacle(state) or ""


def _name_level(level: str | None) -> str:
    number = int(level or 0)
    return f"level {number}" if number else "the first level"


def _wait_for_loss(level: str, lowest: float | None, settings: dict[str, Any]) -> str:
    if lowest is None:
        return ""
    needed = settings.get("loss_below")
    if needed is None and settings.get("accuracy_above") is not None:
        return ""  # that was all it waited for
    bound = "" if needed is None else f" ({needed:g} was needed)"
    return f"the loss of {level} never came below {lowest:.3g}{bound}"


def _wait_for_accuracy(level: str, best: float | None, settings: dict[str, Any]) -> str:
    needed = settings.get("accuracy_above")
    if needed is None:
        return ""
    reached = "was never measured" if best is None else f"never came above {100 * best:.1f} %"
    return f"the validation accuracy of {level} {reached} ({100 * needed:g} % was needed)"


def _lowest_mean(points: Sequence[TrainPoint], window: int) -> float | None:
    """The lowest mean loss over so many optimizer steps, as far as they were logged."""
    if not points:
        return None
    stride = max(1, points[1].step - points[0].step) if len(points) > 1 else 1
    size = max(1, min(len(points), round(window / stride)))
    losses = [point.loss for point in points]
    return min(sum(losses[end - size : end]) / size for end in range(size, len(losses) + 1))
