"""Rows that end leave their slots, and waiting ones take their place; without a model."""

from __future__ import annotations

from collections import deque
from typing import Any, cast

import pytest

from unspoken.measure.rows import Draft, Table

END = 39


class Seats:
    """Slots without a model: the first token of a row is the only one of its prompt."""

    def __init__(self, size: int, is_recorded: bool = False) -> None:
        self.size, self.is_recorded = size, is_recorded
        self.freed: list[int] = []

    def fill(self, slots: Any, prompts: list[list[int]], limits: Any, seeds: Any) -> list[int]:
        return [prompt[0] for prompt in prompts]

    def free(self, slots: list[int]) -> None:
        self.freed += slots

    def keep(self, slots: list[int]) -> None:
        self.size = len(slots)


def seated(number: int, seats: Seats) -> tuple[Table, deque[Draft], list[Draft]]:
    """A table at which as many rows of so many sit as there is room; who waits, and who sits."""
    waiting = deque(Draft(n, [n], 9, 0, [END], None) for n in range(number))
    active: list[Draft] = []
    table = Table(cast("Any", seats), active)
    table.add(table.fill(waiting))
    return table, waiting, active


def test_rows_that_wait_are_seated_once_an_eighth_of_the_slots_is_free() -> None:
    seats = Seats(16)
    table, waiting, active = seated(19, seats)
    assert ([row.index for row in active], len(waiting)) == (list(range(16)), 3)
    num_tokens, ended = table.add([(5, END), (6, 30)])
    assert (num_tokens, [row.index for row in ended]) == (2, [5])
    assert table.fill(waiting) == []
    assert table.add([(5, 30)]) == (0, []), "nobody sits there"
    table.add([(2, END)])
    assert table.fill(waiting) == [(2, 16), (5, 17)]
    assert seats.freed == [5, 2]
    table.add([(9, END)])
    assert table.fill(waiting) == [(9, 18)], "where one is left, one slot is enough"
    table.add([(9, END)])
    assert table.fill(waiting) == []


@pytest.mark.parametrize(("is_recorded", "most"), [(False, 14), (True, 4)])
def test_empty_slots_are_taken_away_once_they_are_many(is_recorded: bool, most: int) -> None:
    """What is recorded is recorded anew for another size, so it has to be worth it."""
    seats = Seats(16, is_recorded)
    table, _, active = seated(16, seats)
    for slot in range(15 - most):
        table.add([(slot, END)])
    table.shrink()
    assert seats.size == 16
    table.add([(15, END)])
    table.shrink()
    assert seats.size == most
    assert table.add([(0, 30)]) == (1, [])
    assert active[0].token_ids == [active[0].index, 30]
    assert [row.index for row in table.add([(most - 1, END)])[1]] == [14]
