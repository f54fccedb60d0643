"""How long a recipe takes on this machine: what every stage does, times what that takes here."""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from unspoken.check.finding import Finding
from unspoken.check.learner import Learner
from unspoken.check.pace import (
    NotMeasuredError,
    TrainingPace,
    WritingPace,
    is_busy,
    measure_training,
    measure_writing,
)
from unspoken.recipe import Recipe
from unspoken.recipe.plan import Training
from unspoken.train.dataset import CoTDataset
from unspoken.train.fit import Length
from unspoken.train.schedule import ALL, Removal, RemovalState

#: Windows of steps (or steps between measurements) in which adaptive removal holds a level, most
#: likely: a guess, from 8 to 11 in five runs of the quickstart.
_WINDOWS = 8
#: By how much the time of a run is usually off, either way.
_MARGIN = 1.35
_MANY = 64  # questions at once, where nothing else is known


@dataclass(frozen=True)
class Steps:
    """How many optimizer steps a training takes.

    Attributes:
        fewest, likely, most: of all.
        bare: of the likely ones, those with nothing left of the thought.
        part: of the thought that is there in the others, on average.
    """

    fewest: int
    likely: int
    most: int
    bare: int = 0
    part: float = 1.0


@dataclass(frozen=True)
class Part:
    """One part of a run, and its seconds.

    Attributes:
        name: for people.
        fewest, likely, most: seconds.
    """

    name: str
    fewest: float
    likely: float
    most: float


@dataclass
class Estimate:
    """The parts of a run that were measured, and why others were not."""

    parts: list[Part] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def add_training(
        self, training: Training, steps: Steps, learner: Learner, num_valid: int
    ) -> None:
        """A training with its validations, or why it is not known how long it takes."""
        recipe = training.recipe
        try:
            work_s = work_per_step(recipe, learner) / measure_rate()
            pace = measure_training(recipe, learner, work_s)
            writing = measure_writing(recipe, learner, recipe.evaluate.batch_size)
        except NotMeasuredError as error:
            self.unknown.append(f"{training.name}: {error}")
            return
        step_s = _step_s(steps, pace)
        valid_s = _validation_s(recipe, steps, learner, writing, num_valid)
        times = [count * step_s + valid_s for count in (steps.fewest, steps.likely, steps.most)]
        self.parts.append(Part(training.name, *times))

    def add_answers(
        self,
        name: str,
        recipe: Recipe,
        learner: Learner,
        num_test: int | None,
        num_tokens: float,
    ) -> None:
        """The test questions, answered together and, some of them, one by one."""
        limits = [number for number in (num_test, recipe.evaluate.limit) if number is not None]
        num_asked = min(limits, default=0)
        if not num_asked:
            return
        try:
            pace = measure_writing(recipe, learner, recipe.evaluate.batch_size)
        except NotMeasuredError as error:
            self.unknown.append(f"{name}: {error}")
            return
        each = num_tokens * pace.token_s
        alone = min(recipe.evaluate.num_latency, num_asked) * each
        alone = min(alone, max(each, recipe.evaluate.latency_seconds))
        seconds = num_tokens * num_asked / pace.tokens_per_s + alone
        self.parts.append(Part(f"evaluate {name}", seconds, seconds, seconds))

    def add_traces(
        self, recipe: Recipe, learner: Learner, *, num_traces: int, num_tokens: float, limit: int
    ) -> None:
        """Everything that a teacher in this process writes.

        Args:
            recipe: whose model is the teacher.
            learner: the teacher without weights, and questions.
            num_traces: of all questions and samples, and test questions.
            num_tokens: likely ones of each.
            limit: tokens of each at the most.
        """
        batch = _MANY if recipe.teacher is None else recipe.teacher.batch_size
        try:
            pace = measure_writing(recipe, learner, batch)
        except NotMeasuredError as error:
            self.unknown.append(f"the teacher's traces: {error}")
            return
        likely, most = (num_traces * each / pace.tokens_per_s for each in (num_tokens, limit))
        self.parts.append(Part("traces", likely, likely, max(likely, most)))

    def findings(self) -> Iterator[Finding]:
        """Yields the time that all takes together, and what is not known of it."""
        if self.parts:
            yield Finding("work", self._describe())
        for text in self.unknown:
            yield Finding("work", f"time: not known: {text}")

    def _describe(self) -> str:
        fewest, likely, most = (
            sum(getattr(part, name) for part in self.parts) for name in ("fewest", "likely", "most")
        )
        low, high = min(fewest, likely / _MARGIN), likely * _MARGIN
        each = ", ".join(f"{part.name} {say_time(part.likely)}" for part in self.parts)
        worst = (
            f"; at most {say_time(most * _MARGIN)}, were every step taken" if most > high else ""
        )
        busy = ", which is busy, as if it were not" if is_busy() else ""
        return (
            f"time: about {say_time(likely)} here ({say_time(low)} to {say_time(high)}{worst}), by "
            f"steps and answers of these models on this machine{busy}: {each}; files and the "
            "report come on top"
        )


def count_likely(training: Training, dataset: CoTDataset, steps_per_epoch: int, most: int) -> Steps:
    """The steps of a training that has a length of its own."""
    schedule, length = training.recipe.schedule, Length.within(most, training.recipe)
    if schedule.removal == "none":
        return Steps(most, most, most)
    removal = Removal(schedule, dataset.longest(schedule.unit), steps_per_epoch, most)
    first = removal.initial().removed
    if first >= ALL:
        end = length.last_step(0)
        return Steps(end, end, end, bare=end, part=0.0)
    if schedule.removal == "linear":
        gone_at = _gone_at(removal, most)
        end = length.last_step(gone_at)
        bare = 0 if gone_at is None else end - gone_at
        gone = removal.advance(RemovalState(), most - 1).removed
        left = 0.0 if gone_at is not None else 1 - gone / max(1, removal.longest)
        return Steps(end, end, end, bare=bare, part=(1 + left) / 2)
    beyond = schedule.remove_all_beyond or removal.longest
    size = 1.0 if schedule.measures else schedule.delta or 1.0
    num_left = max(1, min(beyond, removal.longest) - first)
    num_levels = math.ceil(num_left / max(1, round(size)))
    window = schedule.measure_every if schedule.measures else schedule.window
    hold = min(_WINDOWS * window, schedule.max_hold or most)
    fewest, likely = (
        min(most, schedule.warmup_steps + num_levels * held) for held in (window, hold)
    )
    end = length.last_step(likely)
    return Steps(length.last_step(fewest), end, most, bare=end - likely, part=0.5)


def add_steps(parts: Iterable[Steps], *, bare: bool) -> Steps:
    """Of a training as long as others together; `bare`: it never sees a thought."""
    others = list(parts)
    fewest = sum(each.fewest for each in others)
    likely = sum(each.likely for each in others)
    most = sum(each.most for each in others)
    return Steps(fewest, likely, most, bare=likely if bare else 0, part=0.0 if bare else 1.0)


def limit_of_answers(learner: Learner) -> int:
    """Tokens that a model's card allows, all that is trained on and some to spare."""
    return learner.dataset.longest_thought + int(learner.dataset.answer_lengths.max()) + 8


def work_per_step(recipe: Recipe, learner: Learner) -> float:
    """Floating-point operations of an optimizer step, thoughts counted whole."""
    # forward and back through all weights, and gradients of those that are trained
    per_token = 4.0 * learner.num_parameters + 2.0 * learner.num_trained
    return per_token * float(learner.dataset.lengths.mean()) * recipe.train.batch_size


@cache
def measure_rate() -> float:
    """Multiplies large fp32 matrices here; returns floating-point operations per second."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 1024
    one = torch.randn(size, size, device=device)
    for _ in range(2):
        (one @ one).sum().item()
    begin = time.perf_counter()
    product: Any = one
    for _ in range(4):
        product = one @ one
    product.sum().item()
    return 4 * 2 * size**3 / (time.perf_counter() - begin)


def say_time(seconds: float) -> str:
    """A time as people say it.

    Example:
        >>> say_time(0.2), say_time(75), say_time(600), say_time(9000)
        ('1 s', '75 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _step_s(steps: Steps, pace: TrainingPace) -> float:
    """Seconds of a step, on average over the likely ones."""
    mixed = steps.part * pace.whole_s + (1 - steps.part) * pace.bare_s
    bare = steps.bare / max(1, steps.likely)
    return bare * pace.bare_s + (1 - bare) * mixed


def _validation_s(
    recipe: Recipe, steps: Steps, learner: Learner, pace: WritingPace, num_valid: int
) -> float:
    """Seconds in all validations, whose answers are as long as the thought that is there."""
    times = 1 + steps.likely // recipe.train.evaluate_every
    bare = steps.bare / max(1, steps.likely)
    thought = float(learner.dataset.thought_lengths.mean())
    num_tokens = thought * (1 - bare) * steps.part + float(learner.dataset.answer_lengths.mean())
    return times * min(num_valid, recipe.train.num_valid) * num_tokens / pace.tokens_per_s


def _gone_at(removal: Removal, most: int) -> int | None:
    """The first step with nothing left of the thought; linear removal follows from the step."""

    def is_gone(step: int) -> bool:
        return removal.advance(RemovalState(), step).removed >= ALL

    step = bisect.bisect_left(range(most), True, key=is_gone)
    return step if step < most else None
