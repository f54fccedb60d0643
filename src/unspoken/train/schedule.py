"""How many thought tokens are gone at each optimizer step: none, all, linear or adaptive.

This is the one thing in which distilling, internalizing and the baselines differ. A schedule is
a pure function from state to state, so a checkpoint holds it as plain numbers and a resumed run
goes on as if nothing had happened.

The paper (arXiv 2405.14838, section 3): at step t the first s(t) = floor(delta * t / T) thought
tokens are removed, T the steps per epoch, plus for every example an offset o of its own with
P(o = k) = (1 - exp(-lambda)) * exp(-lambda * k).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from unspoken import recipe
from unspoken.recipe.sections import DELTA_AT_ONCE, DELTA_PER_EPOCH, DELTA_PER_RUN

#: More than any thought has: everything is removed.
ALL = 2**30
#: Levels of removal whose best models are kept, or so, where the recipe does not say which.
MOST_LEVELS = 16


@dataclass(frozen=True)
class RemovalState:
    """Where the removal stands.

    Attributes:
        removed: tokens (or lines, with unit `step`) removed from every thought; `ALL` at the end.
        held: optimizer steps spent at this level.
        losses: adaptive only: the last `window` losses per kept token at this level.
        held_in_all: adaptive only: steps spent beyond the shortest hold, over all levels.
        stopped: adaptive only: a limit was reached and removal has ended for good.
    """

    removed: int = 0
    held: int = 0
    losses: list[float] = field(default_factory=list)
    held_in_all: int = 0
    stopped: bool = False


@dataclass(frozen=True)
class Removal:
    """Removal over a run, as a recipe's section `schedule` asks for it.

    Attributes:
        settings: that section.
        longest: tokens (or steps, with unit `step`) in the longest thought.
        steps_per_epoch, num_steps: optimizer steps in an epoch, and in the run.

    Examples:
        >>> settings = recipe.Schedule(removal="linear", delta=2)
        >>> removal = Removal(settings, longest=5, steps_per_epoch=4, num_steps=12)
        >>> states = [removal.initial()]
        >>> for step in range(11):
        ...     states.append(removal.advance(states[-1], step + 1, loss=0.1))
        >>> [state.removed if state.removed < ALL else "all" for state in states]
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 'all', 'all']
    """

    settings: recipe.Schedule
    longest: int
    steps_per_epoch: int
    num_steps: int

    def initial(self) -> RemovalState:
        """The state at step 0."""
        removal = self.settings.removal
        if removal == "none":
            return RemovalState()
        if removal == "all":
            return RemovalState(removed=ALL)
        return RemovalState(removed=self._all_if_nothing_left(self.settings.start))

    def advance(
        self,
        state: RemovalState,
        step: int,
        loss: float | None = None,
        accuracy: float | None = None,
    ) -> RemovalState:
        """The state for `step`, after a step at `state` with this loss per kept token.

        Args:
            state: the state during the step that was just done.
            step: number of the step to come, counted from 0.
            loss: mean negative log-likelihood of the labels of the step just done, in nats.
            accuracy: validation accuracy at this level, when it was just measured.
        """
        state = self._observed(state, step, loss)
        removed = self._removed(state, step, accuracy)
        if removed == state.removed:
            limited = self._limit_reached(state) and self.settings.at_limit == "stop"
            return replace(state, stopped=state.stopped or limited)
        beyond = max(0, state.held - self.settings.window) if state.removed < ALL else 0
        return RemovalState(removed, 0, [], state.held_in_all + beyond)

    def finished(self, state: RemovalState) -> bool:
        """Whether nothing is left to remove."""
        return state.removed >= ALL

    def reset_needed(self, before: RemovalState, after: RemovalState) -> bool:
        """Whether the optimizer forgets its moments between these two states."""
        return self.settings.reset_optimizer and before.removed != after.removed

    def _observed(self, state: RemovalState, step: int, loss: float | None) -> RemovalState:
        if step <= self.settings.warmup_steps:  # nothing is held yet
            return state
        losses = state.losses
        if loss is not None and self.settings.removal == "adaptive" and not self.finished(state):
            losses = [*losses, loss][-self.settings.window :]
        return replace(state, held=state.held + 1, losses=losses)

    def _removed(self, state: RemovalState, step: int, accuracy: float | None) -> int:
        removal = self.settings.removal
        if removal in ("none", "all") or self.finished(state):
            return state.removed
        if removal == "linear":
            return max(state.removed, self._linear(step))
        if not self._may_remove(state, step, accuracy):
            return state.removed
        return self._all_if_nothing_left(
            state.removed + max(1, round(self.settings.delta or DELTA_AT_ONCE))
        )

    def _linear(self, step: int) -> int:
        """floor(delta * t / T), t counted from the end of the warm-up period.

        Over the run and without a delta everything is gone after 80 % of the steps: with
        delta = the longest thought the last token would go after the last step.
        """
        settings = self.settings
        done = max(0, step - settings.warmup_steps)
        if settings.per == "epoch":
            delta, period = settings.delta or DELTA_PER_EPOCH, self.steps_per_epoch
        else:
            delta = settings.delta or DELTA_PER_RUN * (self.longest - settings.start)
            period = max(1, self.num_steps - settings.warmup_steps)
        return self._all_if_nothing_left(settings.start + math.floor(delta * done / period))

    def _may_remove(self, state: RemovalState, step: int, accuracy: float | None) -> bool:
        settings = self.settings
        if state.stopped or step < settings.warmup_steps or state.held < settings.window:
            return False
        if self._recovered(state, accuracy):
            return True
        return self._limit_reached(state) and settings.at_limit == "remove"

    def _recovered(self, state: RemovalState, accuracy: float | None) -> bool:
        """Whether every criterion that is set holds at this level."""
        settings = self.settings
        if settings.accuracy_above is not None and (
            accuracy is None or accuracy < settings.accuracy_above
        ):
            return False
        if settings.loss_below is None:
            return True
        return len(state.losses) > 0 and _mean(state.losses) < settings.loss_below

    def _limit_reached(self, state: RemovalState) -> bool:
        settings = self.settings
        if settings.removal != "adaptive" or self.finished(state):
            return False
        beyond = max(0, state.held - settings.window)
        over = settings.max_hold is not None and state.held >= settings.max_hold
        over_all = (
            settings.max_total_hold is not None
            and state.held_in_all + beyond >= settings.max_total_hold
        )
        return over or over_all

    def _all_if_nothing_left(self, removed: int) -> int:
        """`removed`, or ALL where that removes everything."""
        limit = self.settings.remove_all_beyond
        gone = removed >= self.longest or (limit is not None and removed >= limit)
        return ALL if gone else removed


def level_interval(level_every: int | None, longest: int) -> int:
    """From one kept level of removal to the next; 0: only the first and the last are kept.

    Args:
        level_every: of the recipe's section train.
        longest: what there is to remove, in the schedule's unit.
    """
    if level_every is not None:
        return level_every
    return max(1, math.ceil(longest / MOST_LEVELS))


def sample_offsets(seed: int, step: int, size: int, smoothing: float | None) -> np.ndarray:
    """Random extra removals, int64, shape (size,): P(o = k) = (1 - e^-lambda) e^(-lambda k).

    They follow from (seed, step) alone. A draw as min{k : U < e^(-lambda k)} would always be 0,
    since U < 1; floor(-ln(U) / lambda) has the distribution that is meant.
    """
    if smoothing is None or math.isinf(smoothing):
        return np.zeros(size, dtype=np.int64)
    uniform = 1.0 - np.random.default_rng([seed, step, 0x0FF5E7]).random(size)  # in (0, 1]
    return np.floor(-np.log(uniform) / smoothing).astype(np.int64)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
