"""Adaptive removal that measures: jumps, ways back and its end, with made-up losses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest

from unspoken import recipe
from unspoken.train.schedule import ALL, Removal, RemovalState
from unspoken.train.search import AT_ONCE, Search

LONGEST = 20


def schedule(**settings: Any) -> recipe.Schedule:
    return recipe.Schedule(
        **{
            "removal": "adaptive",
            "measure_every": 1,
            "patience": 10,
            "margin": 0.5,
            "last_margin": 0.1,
            "answer_margin": 0.3,
            **settings,
        }
    )


def walk(
    loss_of: Callable[[int, int], float],
    num_steps: int = 400,
    *,
    answer_of: Callable[[int, int], float] = lambda removed, held: 0.0,
    **settings: Any,
) -> tuple[Removal, list[RemovalState]]:
    """The states of a run whose loss is `loss_of(removed, held)` above the explicit model's.

    Args:
        loss_of: of what a level keeps.
        num_steps: of the run.
        answer_of: the same for the answer alone.
        settings: of the schedule.
    """
    removal = Removal(schedule(**settings), longest=LONGEST, steps_per_epoch=1, num_steps=num_steps)
    states = [removal.initial()]
    for step in range(1, num_steps + 1):
        state, measured = states[-1], None
        if removal.is_measured(state, step):
            reference = [2.0 - 0.05 * k for k in range(LONGEST + 1)]
            kept = reference[min(state.removed, LONGEST)]
            over = [each(state.removed, state.held) for each in (loss_of, answer_of)]
            measured = [kept + over[0], reference[-1] + over[1]]
            measured = reference if removal.is_explicit(state) else measured
        states.append(removal.advance(state, step, loss=1.0, measured=measured))
    return removal, states


def tried(states: list[RemovalState]) -> list[int]:
    """The levels in the order in which they were tried."""
    found = [states[0].removed]
    for before, after in pairwise(states):
        if after.removed != before.removed or undone(after) != undone(before):
            found.append(after.removed)
    return found


def undone(state: RemovalState) -> int:
    assert state.search is not None
    return state.search.undone


def test_easy_tokens_go_in_ever_larger_steps() -> None:
    removal, states = walk(lambda removed, held: 0.0)
    assert tried(states) == [0, 1, 3, 7, 15, ALL]
    assert removal.has_settled(states[-1])
    assert removal.describe_end(states[-1]) is None
    assert undone(states[-1]) == 0
    _, states = walk(lambda removed, held: 0.0, most_at_once=4)
    assert tried(states) == [0, 1, 3, 7, 11, 15, 19, ALL]


def test_each_kept_token_may_be_a_little_worse() -> None:
    """The margin grows with what is kept, and not at the end; a wider one stays."""
    kept = [104.0 - 5 * removed for removed in range(LONGEST + 1)]
    search = Search(reference=[0.0] * (LONGEST + 1), kept=kept)
    settings = schedule(margin=2.5, margin_per_token=0.1, last_margin=0.7)
    needed = [search.loss_needed(settings, removed) for removed in (0, 10, 19, LONGEST)]
    assert needed == pytest.approx([10.4, 5.4, 2.5, 0.7])
    assert replace(search, failures=2).loss_needed(settings, 0) == pytest.approx(15.6)
    without = schedule(margin=2.5, margin_per_token=0, last_margin=0.7)
    assert search.loss_needed(without, 0) == 2.5
    assert replace(search, kept=[]).loss_needed(settings, 0) == 2.5  # a record of before
    removal = Removal(settings, LONGEST, 1, 99, kept=kept)
    start = removal.initial()
    assert RemovalState.from_json(json.loads(json.dumps(asdict(start)))) == start
    assert start.search is not None and start.search.kept == kept


def test_what_recovers_slowly_is_not_followed_by_more() -> None:
    _, states = walk(lambda removed, held: 5.0 - 0.8 * held if held < 6 else 0.0)
    steps = [b - a for a, b in zip(tried(states), tried(states)[1:-1], strict=False)]
    assert steps == [1] * 19


def test_at_once_is_within_three_measurements_and_slower_is_followed_by_half() -> None:
    settings = schedule(measure_every=10, most_at_once=16)
    sizes = [Search(size=5).next_size(settings, held) for held in (10, 30, 31)]
    assert sizes == [10, 10, 2]


def test_the_explicit_model_is_trained_until_it_is_hardly_better() -> None:
    removal = Removal(schedule(patience=5), LONGEST, 1, 99)
    state, losses = removal.initial(), [8, 4, 2, 1, 0.9, 0.88, 0.87, 0.95, 0.93]
    for step, loss in enumerate(losses, start=1):
        assert removal.is_explicit(state)
        state = removal.advance(state, step, measured=[loss] * (LONGEST + 1))
    assert state.removed == 1  # five steps after the last loss that was smaller by a fifth
    assert state.search is not None
    assert state.search.reference[0] == 0.87  # the best of them all
    assert state.search.left_at == 9


def test_an_explicit_model_without_a_loss_is_not_trained_on() -> None:
    def left_after(losses: list[float]) -> int | None:
        removal = Removal(schedule(patience=5, last_margin=1.0), LONGEST, 1, 99)
        state = removal.initial()
        for step, loss in enumerate(losses, start=1):
            state = removal.advance(state, step, measured=[loss] * (LONGEST + 1))
        assert state.search is not None
        return state.search.left_at

    assert left_after([8, 1, 0.04]) == 3  # a level may be worse by 1.0
    # a third smaller, but by less than a twentieth of that: no progress
    assert left_after([8, 0.12, 0.09, 0.08, 0.075, 0.072, 0.071]) == 7
    assert left_after([8, 0.12, 0.09, 0.08, 0.075, 0.072]) is None


def test_a_loss_that_leaves_nothing_to_gain_ends_it_however_small_the_step_to_it_was() -> None:
    """A twentieth of the margin is 0.005: 0.004 is no progress on 0.007, but below that."""
    removal = Removal(schedule(), LONGEST, steps_per_epoch=1, num_steps=99)
    state = removal.initial()
    for step, loss in enumerate([1.0, 0.007, 0.004], start=1):
        assert removal.is_explicit(state)
        state = removal.advance(state, step, measured=[loss] * (LONGEST + 1))
    assert not removal.is_explicit(state)
    assert state.search is not None and state.search.reference[0] == 0.004


def test_a_model_that_is_explicit_from_the_start_is_only_measured() -> None:
    removal = Removal(schedule(measure_every=3), LONGEST, 1, 99, starts_explicit=True)
    state = removal.initial()
    for step in (1, 2):
        assert not removal.is_measured(state, step)
        state = removal.advance(state, step)
    assert removal.is_explicit(state)
    state = removal.advance(state, 3, measured=[1.0] * (LONGEST + 1))
    assert state.removed == 1


def test_a_step_that_fails_is_undone_and_halved() -> None:
    def stuck_beyond_four(removed: int, held: int) -> float:
        return 0.0 if removed <= 4 or undone(states_so_far[-1]) >= 2 else 3.0

    states_so_far: list[RemovalState] = []
    removal = Removal(schedule(), longest=LONGEST, steps_per_epoch=1, num_steps=99)
    state = removal.initial()
    for step in range(1, 90):
        states_so_far.append(state)
        measured = [1.0] * (LONGEST + 1)
        if not removal.is_explicit(state):
            measured = [1.0 + stuck_beyond_four(state.removed, state.held), 1.0]
        after = removal.advance(
            state, step, measured=measured if removal.is_measured(state, step) else None
        )
        if removal.goes_back(state, after):
            assert after.search is not None
            assert state.search is not None
            assert after.search.left_at == state.search.left_at  # where level 3 was left
            assert after.search.recovered == 3
        state = after
    assert tried(states_so_far)[:5] == [0, 1, 3, 7, 5]
    assert tried(states_so_far)[5] == 4  # the second way back, to a single one
    assert removal.has_settled(state)


def test_a_single_token_is_held_longer_each_time_and_then_the_search_ends() -> None:
    removal, states = walk(lambda removed, held: 0.0 if removed < 5 else 3.0, tries=3)
    end = states[-1]
    assert (end.removed, end.stopped) == (4, True)
    assert not removal.has_settled(end)
    singles = [state for state in states if state.removed == 5 and state.search.size == 1]
    assert len(singles) == pytest.approx(10 + 20 + 40, abs=3)
    assert [state.held for state in singles] == list(range(len(singles)))  # never undone between
    sentence = removal.describe_end(end)
    assert sentence is not None
    assert sentence.startswith("not internalized: 4 of 20 tokens removed; with 1 more, the loss")
    assert sentence.endswith("never came below 4.75 (needed: 2.50 nats a question)")
    sentence = replace(removal, settings=schedule(tries=3, unit="step")).describe_end(end)
    assert sentence is not None and "steps removed; with 1 more step of the thought, " in sentence


@pytest.mark.parametrize("tries", [1, 3])
def test_steps_that_end_in_the_last_try_are_told(tries: int) -> None:
    removal, states = walk(lambda removed, held: 0.0 if removed < 5 else 3.0, tries=tries)
    first = next(number for number, state in enumerate(states) if state.stopped)
    within = states[first - 1]  # the last try is not over yet
    sentence = removal.describe_end(removal.given_up(within))
    assert sentence is not None and sentence.endswith("; then the steps ended")


@pytest.mark.parametrize("tries", [1, 2, 3])
@pytest.mark.parametrize("hard", [1, 6, LONGEST])
def test_it_ends_in_bounded_time_whatever_cannot_be_removed(tries: int, hard: int) -> None:
    removal, states = walk(
        lambda removed, held: 0.0 if removed < hard else 9.0, 3000, tries=tries, patience=10
    )
    assert states[-1].stopped
    assert states[-1].removed == hard - 1
    stopped = next(number for number, state in enumerate(states) if state.stopped)
    # halvings of the largest step, single tries, and the levels before
    assert stopped <= 10 + 20 * 2 + 10 * (4 * 2 + 2**tries)
    assert removal.describe_end(states[-1]) is not None


def test_what_a_single_token_has_learned_is_kept_when_it_is_held_longer() -> None:
    """Made up for in its third try, which goes on where the second was left."""

    def loss_of(removed: int, held: int) -> float:
        return 0.0 if removed != 5 or held > 45 else 3.0

    removal, states = walk(loss_of, most_at_once=1)
    assert undone(states[-1]) == 0
    assert removal.has_settled(states[-1])
    told = [removal.describe_failure(*pair) for pair in pairwise(states)]
    said = [sentence for sentence in told if sentence is not None]
    assert [sentence.partition("; ")[0] for sentence in said] == [
        f"token 5 of 20 of the thought has not been made up for in {number} of 3 tries"
        for number in (1, 2)
    ]
    assert said[1].endswith("it is tried for longer, up to 40 steps without progress")
    after = next(state for state in states if state.removed == 6)
    assert after.search is not None and after.search.failures == 0


def test_a_try_that_max_hold_ends_is_said_to_be_undone() -> None:
    removal, states = walk(lambda removed, held: 0.0 if removed < 5 else 3.0, window=5, max_hold=6)
    pairs = [pair for pair in pairwise(states) if removal.describe_failure(*pair) is not None]
    assert len(pairs) == 2
    assert all(removal.goes_back(*pair) for pair in pairs)
    sentence = removal.describe_failure(*pairs[0])
    assert sentence is not None
    ending = "3 tries; after 6 steps (schedule.max_hold) it is undone and tried again"
    assert sentence.endswith(ending)


def test_what_goes_with_all_the_rest_is_told_as_such_and_by_what_it_needs() -> None:
    """Beyond 5 of 20 tokens there is but the end, with its own margin."""
    removal, states = walk(
        lambda removed, held: 0.0 if removed < 5 else 3.0, remove_all_beyond=5, tries=2
    )
    assert (states[-1].removed, states[-1].stopped) == (4, True)
    told = [removal.describe_failure(*pair) for pair in pairwise(states)]
    said = [sentence for sentence in told if sentence is not None]
    assert [sentence.partition("; ")[0] for sentence in said] == [
        "the rest of the thought, from token 5 of 20 on, has not been made up for in 1 of 2 tries"
    ]
    assert removal.describe_end(states[-1]) == (
        "not internalized: 4 of 20 tokens removed; with everything removed, the loss never came "
        "below 4.00 (needed: 1.10 nats a question)"
    )


def test_each_try_makes_the_margin_wider_but_for_the_last_level() -> None:
    """Of 0.5 nats: 0.6 are enough after one try, 0.7 after two; the answer alone has its 0.1."""

    def loss_of(removed: int, held: int) -> float:
        return {3: 0.6, 6: 0.7, ALL: 0.11}.get(removed, 0.0)

    removal, states = walk(loss_of, most_at_once=1)
    held = [max(s.held for s in states if s.removed == level) for level in (2, 3, 4, 6, 7)]
    assert held == pytest.approx([0, 11, 0, 31, 0], abs=2)
    assert not removal.has_settled(states[-1])
    assert states[-1].removed == LONGEST - 1


def test_an_answer_that_is_a_guess_is_waited_for_however_well_the_rest_is_known() -> None:
    """Of the answer 0.3 nats are enough, of all that is kept 0.5."""

    def answer_of(removed: int, held: int) -> float:
        return 3.0 * 0.9**held if removed == 5 else 0.29

    def loss_of(removed: int, held: int) -> float:
        return 0.4 if removed < ALL else 0.0

    def held_at_five(**settings: Any) -> int:
        _, states = walk(loss_of, answer_of=answer_of, most_at_once=1, **settings)
        assert undone(states[-1]) == 0
        return max(state.held for state in states if state.removed == 5)

    assert held_at_five() == 22  # 3.0 * 0.9**22 is 0.295
    assert held_at_five(answer_margin=None) == 0


def test_an_answer_that_remains_a_guess_ends_the_run_at_the_level_before() -> None:
    removal, states = walk(
        lambda *_: 0.0, answer_of=lambda removed, held: 0.0 if removed < 5 else 1.0, tries=3
    )
    assert (states[-1].removed, states[-1].stopped) == (4, True)
    sentence = removal.describe_end(states[-1])
    assert sentence == (
        "not internalized: 4 of 20 tokens removed; with 1 more, the answer's loss never came below "
        "2.00 (needed: 1.90 nats a question)"  # 0.3 in the first try, 0.9 in the third
    )


@pytest.mark.parametrize(
    ("margin", "by_try"),
    [
        (0.7, [0.7, 1.4, 2.1, 2.1]),
        (2.0, [2.0, 2.1, 2.1, 2.1]),
        (2.2, [2.2] * 4),
        (None, [math.inf] * 4),
    ],
)
def test_the_answers_margin_becomes_wider_with_each_try_but_never_admits_a_guess(
    margin: float | None, by_try: list[float]
) -> None:
    """What the thought held cannot be learned once nothing is left of it."""
    settings = schedule(answer_margin=margin)
    found = [Search(reference=[3.0, 1.0], failures=n).answer_needed(settings) for n in range(4)]
    assert found == pytest.approx([1.0 + wider for wider in by_try])


def test_the_sentence_names_the_answer_where_a_wider_margin_is_enough_for_the_rest() -> None:
    """At first the rest is further from its 0.5 nats; in the last try it has 0.75, and 0.6."""
    removal, states = walk(
        lambda removed, held: 0.6 if removed >= 5 else 0.0,
        answer_of=lambda removed, held: 0.95 if removed >= 5 else 0.0,
        tries=3,
    )
    sentence = str(removal.describe_end(states[-1]))
    assert "the answer's loss never came below 1.95 (needed: 1.90 nats" in sentence


def test_progress_is_counted_of_whichever_is_further_from_what_is_needed() -> None:
    """Of what is kept 2.5 nats are needed, of the answer 1.3, and 1.6 in the second try."""
    search = Search(reference=[3.0, 2.0, 1.0])
    first = search.heard(schedule(), 1, [2.4, 1.6], held=10)
    assert first.best == pytest.approx(2.8)  # as far above 2.5 as the answer is above 1.3
    better = first.heard(schedule(), 1, [2.4, 1.4], held=20)
    assert (better.best, better.best_held) == (pytest.approx(2.6), 20)
    assert better.heard(schedule(), 1, [2.9, 1.4], held=30) == better
    second = replace(search, failures=1).heard(schedule(), 1, [2.0, 1.7], held=10)
    assert second.best == pytest.approx(2.6)


def test_a_level_that_was_not_measured_is_not_described_by_the_one_before() -> None:
    removal, states = walk(lambda removed, held: 0.0, 40, measure_every=7)
    left = next(state for state in states if state.removed == 3)
    sentence = removal.describe_end(left)
    assert sentence is not None
    assert "with 2 more, the loss was not measured (needed: 2.35 nats a question)" in sentence


def test_a_longest_hold_ends_a_try_and_the_next_one_begins_anew() -> None:
    settings = {"tries": 2, "max_hold": 50, "patience": 99}
    _, states = walk(lambda removed, held: 0.0 if removed < 5 else 3.0, **settings)
    singles = [state.held for state in states if state.removed == 5 and state.search.size == 1]
    assert singles == [*range(50), *range(50)]
    assert states[-1].stopped


def test_several_at_once_are_not_waited_for_as_long() -> None:
    _, states = walk(lambda removed, held: 40 * 0.93**held if removed == 7 else 0.0, 80)
    assert tried(states)[:5] == [0, 1, 3, 7, 5]  # a quarter of patience, though there is progress
    at_seven = [state.removed == 7 for state in states]
    first = at_seven.index(True)
    assert at_seven[first : first + 3] == [True, True, False]


def test_nothing_larger_is_tried_until_what_was_too_far_is_reached() -> None:
    _, states = walk(lambda removed, held: 9.0 if removed == 3 and held < 6 else 0.0)
    # 1 recovers at once, but 3 was too far: 2 alone, 3 alone, then larger ones again
    assert tried(states) == [0, 1, 3, 2, 3, 4, 6, 10, 18, ALL]


def test_more_goes_at_once_as_soon_as_what_was_too_far_has_recovered() -> None:
    _, states = walk(lambda removed, held: 9.0 if removed == 3 and held < AT_ONCE - 1 else 0.0)
    assert tried(states) == [0, 1, 3, 2, 3, 5, 9, 17, ALL]  # the third measurement is soon enough


def test_the_highest_level_that_was_too_far_counts_not_the_last_one() -> None:
    _, states = walk(lambda removed, held: 9.0 if removed in (5, 7) and held < AT_ONCE - 1 else 0.0)
    assert tried(states) == [0, 1, 3, 7, 5, 4, 5, 6, 7, 9, 13, ALL]


def test_half_of_what_went_is_tried_where_less_was_left_than_was_to_go() -> None:
    """Of eight that would have been next only five were there, so two are tried, and not four."""
    _, states = walk(lambda removed, held: 9.0 if removed == ALL and held < AT_ONCE - 1 else 0.0)
    assert tried(states)[:7] == [0, 1, 3, 7, 15, ALL, 17]


def test_progress_is_waited_for_and_a_longest_hold_is_not_exceeded() -> None:
    slow = walk(lambda removed, held: 50.0 * 0.95**held if removed == 1 else 0.0)[1]
    assert undone(slow[-1]) == 0
    assert sum(state.removed == 1 for state in slow) > 80
    limited = walk(lambda removed, held: 50.0 * 0.95**held, max_hold=50, tries=1)[1]
    assert limited[-1].stopped
    assert limited[-1].removed == 0


def test_nothing_is_done_until_the_answer_alone_has_recovered() -> None:
    removal, states = walk(
        lambda removed, held: 3 * 0.9**held if removed == ALL else 0.0, most_at_once=1
    )
    everything = [state for state in states if state.removed == ALL]
    assert not removal.has_settled(everything[30])  # within the margin of the others
    assert removal.has_settled(everything[35])
    assert not removal.is_measured(everything[35], 400)


def test_a_run_that_ends_in_the_middle_of_a_try_goes_back() -> None:
    removal, states = walk(lambda removed, held: 0.0 if removed < 5 else 3.0, 25)
    last = states[-1]
    assert last.search is not None
    assert last.removed > last.search.recovered > 0
    end = removal.given_up(last)
    assert removal.goes_back(last, end)
    assert (end.removed, end.stopped) == (last.search.recovered, True)
    assert "needed" in str(removal.describe_end(end))
    early = removal.given_up(walk(lambda removed, held: 0.0, 2)[1][-1])
    assert early.removed == 0
    assert not early.stopped
    told = str(removal.describe_end(early))
    assert "still becoming better; raise train.max_steps or train.epochs" in told


def test_it_goes_on_from_a_state_that_was_written_down() -> None:
    """At every step: through jumps, ways back and single tries."""

    def loss_of(removed: int, held: int) -> float:
        return 3.0 if removed > 9 else max(0.0, 0.6 - 0.2 * held)

    _, states = walk(loss_of)
    assert undone(states[-1]) >= 3
    for state in states:
        assert RemovalState.from_json(json.loads(json.dumps(asdict(state)))) == state
    assert RemovalState.from_json({"removed": 3, "held": 1, "losses": [0.5]}).search is None
    older = asdict(states[-1])
    for name in ("too_far", "best_losses"):  # of a checkpoint from before there were such things
        del older["search"][name]
    restored = RemovalState.from_json(older).search
    assert restored is not None and states[-1].search is not None
    assert restored == replace(states[-1].search, too_far=0, best_losses=[])


def test_a_thought_of_one_token_and_a_start_beyond_all() -> None:
    removal = Removal(schedule(patience=4), longest=1, steps_per_epoch=1, num_steps=9)
    state = removal.initial()
    for step in range(1, 8):
        asked = removal.is_measured(state, step)
        state = removal.advance(state, step, measured=[1.0, 1.0] if asked else None)
    assert removal.has_settled(state)
    whole = Removal(schedule(start=30), longest=LONGEST, steps_per_epoch=1, num_steps=9)
    assert whole.has_settled(whole.initial())


def test_a_start_beyond_the_longest_thought_that_is_measured_leaves_the_answer_to_measure() -> None:
    removal = Removal(schedule(start=6, patience=4), LONGEST, steps_per_epoch=1, num_steps=99)
    states = [removal.initial()]
    reference = [3.0, 2.0, 1.0]  # of validation questions with two tokens of thought
    for step in range(1, 60):
        state, measured = states[-1], None
        if removal.is_measured(state, step):
            measured = reference if removal.is_explicit(state) else [1.0, 1.0]
        states.append(removal.advance(state, step, measured=measured))
    assert tried(states)[:2] == [6, 7]
    assert removal.has_settled(states[-1])
    search = states[-1].search
    assert search is not None and search.loss_needed(removal.settings, 6) == pytest.approx(1.1)


def test_steps_of_the_warm_up_are_not_measured() -> None:
    removal = Removal(schedule(warmup_steps=8, measure_every=2), LONGEST, 1, 99)
    asked = [step for step in range(1, 15) if removal.is_measured(removal.initial(), step)]
    assert asked == [10, 12, 14]
