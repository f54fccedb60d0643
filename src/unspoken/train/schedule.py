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
from typing import Any

import numpy as np

from unspoken import recipe
from unspoken.recipe.levels import ALL
from unspoken.recipe.sections import DELTA_AT_ONCE, DELTA_PER_EPOCH, DELTA_PER_RUN
from unspoken.train.search import Search, is_limit_reached

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
        search: adaptive removal that measures only: what it remembers.
    """

    removed: int = 0
    held: int = 0
    losses: list[float] = field(default_factory=list)
    held_in_all: int = 0
    stopped: bool = False
    search: Search | None = None

    @staticmethod
    def from_json(values: dict[str, Any]) -> RemovalState:
        """The state that `dataclasses.asdict` took apart."""
        return RemovalState(**{**values, "search": Search.from_json(values.get("search"))})


@dataclass(frozen=True)
class Removal:
    """Removal over a run, as a recipe's section `schedule` asks for it.

    Attributes:
        settings: that section.
        longest: tokens (or steps, with unit `step`) in the longest thought.
        steps_per_epoch, num_steps: optimizer steps in an epoch, and in the run.
        kept: tokens of thought and answer that each level keeps of the examples that are measured,
            on average, by how many are removed; empty where nothing is measured.
        starts_explicit: whether the model writes its thought before the first step, as a student
            distilled from the same examples does; adaptive removal that measures does not wait
            for it then.

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
    kept: Sequence[float] = ()
    starts_explicit: bool = False

    def initial(self) -> RemovalState:
        """The state at step 0."""
        removal = self.settings.removal
        if removal == "none":
            return RemovalState(removed=self.settings.start)
        if removal == "all":
            return RemovalState(removed=ALL)
        first = self._all_if_nothing_left(self.settings.start)
        search = Search(recovered=first, kept=[*self.kept]) if self.settings.measures else None
        return RemovalState(removed=first, search=search)

    def advance(
        self,
        state: RemovalState,
        step: int,
        loss: float | None = None,
        accuracy: float | None = None,
        measured: Sequence[float] | None = None,
    ) -> RemovalState:
        """The state for `step`, after a step at `state` with this loss per kept token.

        Args:
            state: the state during the step that was just done.
            step: number of the step to come, counted from 0.
            loss: mean negative log-likelihood of the labels of the step just done, in nats.
            accuracy: validation accuracy at this level, when it was just measured.
            measured: what `is_measured` asked for: of the explicit model the losses of the tokens
                that are kept, by how many are removed; of another level the loss of what it keeps,
                and that of the answer alone.
        """
        state = self._observed(state, step, loss)
        if state.search is not None:
            return self._searched(state, state.search, step, measured)
        removed = self._removed(state, step, accuracy)
        if removed == state.removed:
            limited = self._limit_reached(state) and self.settings.at_limit == "stop"
            return replace(state, stopped=state.stopped or limited)
        beyond = max(0, state.held - self.settings.window) if state.removed < ALL else 0
        return RemovalState(removed, 0, [], state.held_in_all + beyond)

    def finished(self, state: RemovalState) -> bool:
        """Whether nothing is left to remove."""
        return state.removed >= ALL

    def has_settled(self, state: RemovalState) -> bool:
        """Whether everything is removed and, where that is measured, made up for."""
        return self.finished(state) and (state.search is None or state.search.recovered >= ALL)

    def is_measured(self, state: RemovalState, step: int) -> bool:
        """Whether `advance` for `step` wants to know how likely the kept tokens are."""
        if state.search is None or state.stopped or self.has_settled(state):
            return False
        return step > self.settings.warmup_steps and step % self.settings.measure_every == 0

    def is_explicit(self, state: RemovalState) -> bool:
        """Whether the model that all others are held against is still trained."""
        return state.search is not None and state.search.left_at is None

    def smoothing(self, state: RemovalState) -> float | None:
        """Lambda of `sample_offsets` for a step at this state; None: no example is ahead of it.

        Removal that measures has examples ahead of their level, so that the next one has begun to
        be learned when it comes; the explicit model, which all levels are held against, has none.
        """
        if self.settings.removal == "none" or self.is_explicit(state):
            return None
        return self.settings.smoothing_number

    def is_left(self, before: RemovalState, after: RemovalState) -> bool:
        """Whether a level that had recovered is left; a way back may lead to this very place."""
        if before.search is None or after.search is None:
            return False
        return before.search.left_at != after.search.left_at

    def goes_back(self, before: RemovalState, after: RemovalState) -> bool:
        """Whether the loop takes weights and optimizer back to where `after.search.left_at` is."""
        if before.search is None or after.search is None:
            return False
        return before.search.undone != after.search.undone

    def describe_failure(self, before: RemovalState, after: RemovalState) -> str | None:
        """A single token that does not want to go, for people; None where that is not the news."""
        if before.search is None or after.search is None or after.stopped:
            return None
        settings, search, number = self.settings, after.search, after.search.recovered + 1
        if search.failures <= before.search.failures:
            return None
        way = (
            "it is tried for longer, up to "
            f"{settings.patience * 2**search.failures:,} steps without progress"
        )
        if self.goes_back(before, after):
            limit = f"{settings.max_hold:,} steps (schedule.max_hold)"
            way = f"after {limit} it is undone and tried again"
        one = f"{settings.unit} {number:,} of {self.longest:,}"
        is_rest = self._is_beyond(number)
        what = f"the rest of the thought, from {one} on," if is_rest else f"{one} of the thought"
        tries = f"{search.failures} of {settings.tries} tries"
        return f"{what} has not been made up for in {tries}; {way}"

    def describe_end(self, state: RemovalState) -> str | None:
        """What removal that measures has reached, for people; None where everything is removed."""
        obstacle = self.describe_obstacle(state)
        if obstacle is None:
            return None
        reached = f"{min(state.removed, self.longest):,} of {self.longest:,} {self.settings.unit}s"
        return f"not internalized: {reached} removed; {obstacle}"

    def describe_obstacle(self, state: RemovalState) -> str | None:
        """What kept removal that measures from its end; None where everything is removed."""
        search = state.search
        if search is None or self.has_settled(state):
            return None
        if search.left_at is None:
            return (
                "the steps ended while the model that writes its thought was still becoming "
                "better; raise train.max_steps or train.epochs, whichever ended them"
            )
        tries = self.settings.tries
        last = replace(search, failures=min(search.failures, tries - 1))
        tried = search.recovered + search.size
        best = last.describe_best(self.settings, self._all_if_nothing_left(tried))
        why = "" if search.failures >= tries else "; then the steps ended"
        steps = "steps" if search.size > 1 else "step"
        what = "more" if self.settings.unit == "token" else f"more {steps} of the thought"
        what = "everything removed" if self._is_beyond(tried) else f"{search.size} {what}"
        return f"with {what}, {best}{why}"

    def given_up(self, state: RemovalState) -> RemovalState:
        """The state of the last level that had recovered, where this one has not; for the end."""
        search = state.search
        if search is None or search.left_at is None or search.recovered == state.removed:
            return state
        end = replace(search, undone=search.undone + 1)
        return RemovalState(search.recovered, stopped=True, search=end)

    def _searched(
        self, state: RemovalState, search: Search, step: int, measured: Sequence[float] | None
    ) -> RemovalState:
        """The state after a measurement, or without one; see `unspoken.train.search`."""
        if measured is None:
            return state
        if not self.is_explicit(state):
            search = search.heard(self.settings, state.removed, measured, state.held)
            return self._tried(state, search, step, measured)
        search = search.heard_explicit(self.settings, measured, state.held)
        explicit = self.starts_explicit
        if search.is_explicit_done(self.settings, state.held, starts_explicit=explicit):
            return self._removing(replace(search, left_at=step), 1)
        return replace(state, search=search)

    def _tried(
        self, state: RemovalState, search: Search, step: int, losses: Sequence[float]
    ) -> RemovalState:
        """The state after a measurement of a level from which tokens are gone."""
        settings, held = self.settings, state.held
        if search.has_recovered(settings, state.removed, losses):
            search = replace(search, recovered=state.removed, failures=0)
            if self.finished(state):
                return replace(state, search=search)
            return self._removing(replace(search, left_at=step), search.next_size(settings, held))
        if not search.is_given_up(settings, held):
            return replace(state, search=search)
        if search.size == 1:
            if search.failures + 1 >= settings.tries:
                search = replace(search, failures=settings.tries)
                return self.given_up(replace(state, search=search))
            if not is_limit_reached(settings, held):
                return replace(state, search=search.held_longer(held))
        search = search.after_failure()
        return self._removing(search, search.size)

    def _removing(self, search: Search, size: int) -> RemovalState:
        """The state at which so many more are gone than at the last level that had recovered."""
        removed = self._all_if_nothing_left(search.recovered + size)
        size = min(size, self.longest - search.recovered)
        search = replace(search, size=size, best=None, best_held=0, best_losses=[])
        return RemovalState(removed, search=search)

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
        if removal == "none" or self.finished(state):
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
        losses = state.losses
        return bool(losses) and sum(losses) / len(losses) < settings.loss_below

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
        return ALL if removed >= self.longest or self._is_beyond(removed) else removed

    def _is_beyond(self, removed: int) -> bool:
        """Whether everything goes where so many would, however many there are."""
        limit = self.settings.remove_all_beyond
        return limit is not None and removed >= limit


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
