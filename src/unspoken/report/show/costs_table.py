"""The page's table of what the stages took: only the columns of which something is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unspoken.report.read.costs import StageCost
from unspoken.report.show import numbers
from unspoken.report.show.table import Cell


@dataclass(frozen=True)
class CostsTable:
    """Titles of the columns, and a label and cells for each stage."""

    titles: list[str]
    rows: list[tuple[str, list[Cell]]]


def costs_table(costs: Sequence[StageCost]) -> CostsTable:
    """The stages in their order; empty where no stage has begun."""
    columns: list[tuple[str, Callable[[StageCost], Cell]]] = [
        ("Wall time", lambda one: Cell(numbers.wall_time(one.seconds), one.note)),
        ("Tokens", _tokens),
        ("Tokens/s", lambda one: Cell(numbers.rate(one.tokens_per_s))),
        ("Peak memory, host", lambda one: Cell(numbers.memory(one.host_bytes))),
        ("Peak memory, GPU", lambda one: Cell(numbers.memory(one.gpu_bytes))),
        ("Left on disk", _size),
        ("Price of the tokens", lambda one: Cell(numbers.money(one.cost, one.currency))),
    ]
    made = [(title, [cell(one) for one in costs]) for title, cell in columns]
    known = [
        (title, cells) for title, cells in made if any(cell.text != numbers.DASH for cell in cells)
    ]
    rows = [(one.label, [cells[number] for _, cells in known]) for number, one in enumerate(costs)]
    return CostsTable([title for title, _ in known], rows if known else [])


def _tokens(one: StageCost) -> Cell:
    kind = "written" if one.name in ("traces", "vetted", "evaluate") else "trained on"
    if one.num_prompt_tokens is not None:
        kind = f"written, {one.num_prompt_tokens:,} read"
    return Cell(numbers.whole(one.num_tokens), "" if one.num_tokens is None else kind)


def _size(one: StageCost) -> Cell:
    kinds = {"traces": "traces", "vetted": "data set"}
    kind = kinds.get(one.name, "model")
    if one.base_bytes is not None:
        kind = f"adapter; base {numbers.memory(one.base_bytes)}"
    return Cell(numbers.memory(one.size_bytes), "" if one.size_bytes is None else kind)
