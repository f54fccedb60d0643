from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from unspoken import recipe
from unspoken.train.schedule import ALL, Removal, RemovalState, sample_offsets
from unspoken.train.search import Search


def levels(settings: recipe.Schedule, num_steps: int, **kwargs: int) -> list[int]:
    """`removed` at every step, with a loss that never recovers unless the test says so."""
    removal = Removal(
        settings, **{"longest": 10, "steps_per_epoch": 4, **kwargs}, num_steps=num_steps
    )
    state, seen = removal.initial(), []
    for step in range(num_steps):
        seen.append(state.removed)
        state = removal.advance(state, step + 1, loss=1.0)
    return seen


def test_none_keeps_and_all_removes_everything() -> None:
    settings = recipe.Schedule(removal="none")
    num_steps = 2 * settings.window  # adaptive removal would have begun
    assert levels(settings, num_steps) == [0] * num_steps
    # a level that is trained on keeps its number, however short the thoughts are
    assert levels(recipe.Schedule(removal="none", start=30), 3) == [30] * 3
    assert levels(recipe.Schedule(removal="all"), 5) == [ALL] * 5


@pytest.mark.parametrize("delta", [1, 2, 3, 8])
def test_linear_per_epoch_is_the_papers_formula(delta: int) -> None:
    seen = levels(recipe.Schedule(removal="linear", delta=delta), 40)
    expected = [math.floor(delta * step / 4) for step in range(40)]
    assert seen == [value if value < 10 else ALL for value in expected]


def test_linear_over_the_run_is_the_first_seeds_formula() -> None:
    seen = levels(recipe.Schedule(removal="linear", per="run", delta=12), 60)
    expected = [math.floor(12 * step / 60) for step in range(60)]
    assert seen == [value if value < 10 else ALL for value in expected]


def test_linear_over_the_run_removes_everything_before_the_end() -> None:
    seen = levels(recipe.Schedule(removal="linear", per="run"), 60)
    assert seen[0] == 0
    assert seen[47] < ALL
    assert seen[48:] == [ALL] * 12


def test_linear_over_the_run_counts_from_the_end_of_the_warm_up() -> None:
    seen = levels(recipe.Schedule(removal="linear", per="run", warmup_steps=20), 60)
    assert seen[:21] == [0] * 21
    assert seen[51] < ALL
    assert seen[52:] == [ALL] * 8, "after 80 % of the 40 steps that follow"


def test_warmup_start_and_remove_all_beyond() -> None:
    settings = recipe.Schedule(
        removal="linear", delta=4, start=2, warmup_steps=3, remove_all_beyond=5
    )
    assert levels(settings, 8) == [2, 2, 2, 2, 3, 4, ALL, ALL]


def test_adaptive_holds_until_the_loss_has_recovered() -> None:
    settings = recipe.Schedule(removal="adaptive", loss_below=0.1, window=3)
    removal = Removal(settings, longest=3, steps_per_epoch=1, num_steps=100)
    state, held = removal.initial(), []
    for step, loss in enumerate([0.0, 0.0, 0.0, 9, 9, 0.05, 0.05, 0.05, 0.0, 0.0, 0.0, 9]):
        held.append(state.removed)
        state = removal.advance(state, step + 1, loss=loss)
    # three good steps at 0; two bad ones delay level 1; then the last level
    assert held == [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, ALL]
    assert state.removed == ALL


def test_a_loss_must_be_below_the_one_that_is_asked_for() -> None:
    settings = recipe.Schedule(removal="adaptive", loss_below=0.125, window=2)
    removal = Removal(settings, longest=9, steps_per_epoch=1, num_steps=9)
    before = RemovalState(held=1, losses=[0.125])
    assert removal.advance(before, 2, loss=0.125).removed == 0
    assert removal.advance(before, 2, loss=0.1249).removed == 1


def test_adaptive_forgets_losses_of_the_level_before() -> None:
    settings = recipe.Schedule(removal="adaptive", loss_below=0.1, window=2)
    removal = Removal(settings, longest=9, steps_per_epoch=1, num_steps=100)
    state = RemovalState(removed=0, held=1, losses=[0.0])
    state = removal.advance(state, 2, loss=0.0)
    assert (state.removed, state.held, state.losses) == (1, 0, [])
    assert removal.advance(state, 3, loss=0.0).removed == 1


def test_adaptive_by_accuracy_needs_a_measurement_of_this_level() -> None:
    settings = recipe.Schedule(removal="adaptive", accuracy_above=0.9, window=1)
    removal = Removal(settings, longest=9, steps_per_epoch=1, num_steps=100)
    state = removal.advance(removal.initial(), 1, loss=9.0)
    assert state.removed == 0
    assert removal.advance(state, 2, loss=9.0, accuracy=0.89).removed == 0
    assert removal.advance(state, 2, loss=9.0, accuracy=0.9).removed == 1


def test_limits_remove_or_stop() -> None:
    hold = recipe.Schedule(removal="adaptive", loss_below=0.1, window=2, max_hold=4)
    assert levels(hold, 10) == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    stop = recipe.Schedule(
        removal="adaptive", loss_below=0.1, window=2, max_hold=4, at_limit="stop"
    )
    assert levels(stop, 10) == [0] * 10
    total = recipe.Schedule(removal="adaptive", loss_below=0.1, window=2, max_total_hold=3)
    # five steps at level 0 use up the three beyond the shortest hold of two; then no holding
    assert levels(total, 11) == [0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_a_stopped_schedule_stays_stopped() -> None:
    settings = recipe.Schedule(
        removal="adaptive", loss_below=0.1, window=1, max_hold=2, at_limit="stop"
    )
    removal = Removal(settings, longest=9, steps_per_epoch=1, num_steps=100)
    state = removal.initial()
    for step in range(1, 4):
        state = removal.advance(state, step, loss=1.0)
    assert state.stopped
    for step in range(4, 9):
        state = removal.advance(state, step, loss=0.0)
    assert state.removed == 0


def test_offset_has_the_closed_form_distribution() -> None:
    for smoothing in (4.0, 1.0, 0.5):
        drawn = np.concatenate([sample_offsets(3, step, 2000, smoothing) for step in range(100)])
        for k in range(4):
            expected = (1 - math.exp(-smoothing)) * math.exp(-smoothing * k)
            error = 5 * math.sqrt(expected * (1 - expected) / len(drawn))
            assert abs((drawn == k).mean() - expected) < error + 1e-9


def test_offsets_follow_from_seed_and_step_alone() -> None:
    assert (sample_offsets(1, 7, 50, 0.5) == sample_offsets(1, 7, 50, 0.5)).all()
    assert (sample_offsets(1, 7, 50, 0.5) != sample_offsets(1, 8, 50, 0.5)).any()
    assert (sample_offsets(1, 7, 50, 0.5) != sample_offsets(2, 7, 50, 0.5)).any()
    assert not sample_offsets(1, 7, 50, None).any()
    assert not sample_offsets(1, 7, 50, math.inf).any()


def test_examples_are_ahead_of_their_level_where_that_helps() -> None:
    def smoothing_of(state: RemovalState | None = None, **settings: Any) -> float | None:
        removal = Removal(recipe.Schedule(**settings), 10, 1, 99, starts_explicit=True)
        return removal.smoothing(state or removal.initial())

    assert smoothing_of(removal="none", smoothing=0.5) is None
    assert smoothing_of(removal="linear") == 4.0  # the paper's
    assert smoothing_of(removal="linear", smoothing=None) is None
    assert smoothing_of(removal="adaptive", loss_below=0.1) == 4.0
    assert smoothing_of(removal="adaptive") is None  # the explicit model, the reference
    level = RemovalState(removed=3, search=Search(left_at=5))
    assert smoothing_of(level, removal="adaptive") == 1.0
    assert smoothing_of(level, removal="adaptive", smoothing=0.5) == 0.5
    assert smoothing_of(level, removal="adaptive", smoothing=None) is None


def test_a_criterion_that_is_met_comes_before_a_limit() -> None:
    settings = recipe.Schedule(
        removal="adaptive", loss_below=0.1, window=2, max_hold=2, at_limit="stop"
    )
    removal = Removal(settings, longest=9, steps_per_epoch=1, num_steps=9)
    state = removal.advance(RemovalState(held=1, losses=[0.0]), 2, loss=0.0)
    assert (state.removed, state.stopped) == (1, False)


def test_steps_of_the_warm_up_are_not_holding() -> None:
    settings = recipe.Schedule(
        removal="adaptive", loss_below=0.1, window=2, max_hold=4, at_limit="stop", warmup_steps=10
    )
    removal = Removal(settings, longest=9, steps_per_epoch=1, num_steps=99)
    state = removal.initial()
    for step in range(1, 11):
        state = removal.advance(state, step, loss=1.0)
    assert (state.held, state.stopped) == (0, False)


def test_reset_only_when_something_was_removed() -> None:
    removal = Removal(recipe.Schedule(), longest=9, steps_per_epoch=1, num_steps=9)
    assert removal.reset_needed(RemovalState(removed=1), RemovalState(removed=2))
    assert not removal.reset_needed(RemovalState(removed=2), RemovalState(removed=2, held=5))
    off = Removal(recipe.Schedule(reset_optimizer=False), 9, 1, 9)
    assert not off.reset_needed(RemovalState(removed=1), RemovalState(removed=2))
