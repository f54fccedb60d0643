"""The levels of removal that a model may be chosen from: one row each, by validation."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unspoken.common.errors import one_word
from unspoken.measure.stats import ratio_of_medians
from unspoken.recipe.evaluation_records import Choice
from unspoken.report.read.frontier import Level
from unspoken.report.show import numbers
from unspoken.report.show.summary import plain, table_lines

#: Of a paragraph in the terminal.
_WIDTH = 80
#: Of the table, in the page and in the terminal.
TITLES = ("level", "tokens", "accuracy", "95 % interval", "median", "faster", "steps", "chosen")


@dataclass(frozen=True)
class LevelRow:
    """A level's figures, in the order of `TITLES`, and whether it was chosen."""

    cells: tuple[str, ...]
    is_chosen: bool


def level_rows(levels: Sequence[Level]) -> list[LevelRow]:
    """The rows of those that were measured, the whole thought first."""
    rows, first = [], next((level for level in levels if level.seconds), None)
    for level in levels:
        one = level.validation
        if one is None:
            continue
        trained = numbers.whole(level.num_steps) if level.num_steps else "as left"
        cells = (
            level.name,
            numbers.mean(one.mean_tokens),
            numbers.percent(one.accuracy),
            numbers.percent_range(one.interval),
            numbers.duration(one.latency_p50_s),
            numbers.DASH if first is None else _faster(level, first),
            trained,
            ", ".join(map(name_choice, level.choices)),
        )
        rows.append(LevelRow(cells, bool(level.choices)))
    return rows


def _faster(level: Level, first: Level) -> str:
    """How many times as fast as the first level that was timed, with an interval."""
    if level is first or len(level.seconds) != len(first.seconds):
        return numbers.DASH
    ratio = ratio_of_medians(first.seconds, level.seconds, blocks=level.turns)
    return numbers.times(ratio.value, ratio.interval)


def timing_note(levels: Sequence[Level]) -> str:
    """How the times of the levels were taken, in a sentence; empty where there are none."""
    timed = [level for level in levels if level.seconds]
    if timed:
        return (
            f"Median: of {len(timed[0].seconds):,} of these questions, one at a time, all levels "
            "taking turns. Faster: this many times as fast as the first level, with a 95 % "
            "interval; levels whose intervals overlap may be equally fast"
        )
    if any(level.validation and level.validation.latency_p50_s for level in levels):
        return (
            "Median: of each level by itself, at its own time, so that it also shows what else "
            "the machine did then; unspoken choose times all levels anew, in turns"
        )
    return ""


def name_choice(choice: Choice) -> str:
    """The rule by which a level was chosen, for people."""
    if choice.rule == "within":
        return f"within {choice.value:g} point{'' if choice.value == 1 else 's'}"
    return f"at most {choice.value:g} token{'' if choice.value == 1 else 's'}"


def choice_lines(levels: Sequence[Level]) -> list[str]:
    """How each chosen level did on the test questions, which no choice has seen."""
    return [_tell(level) for level in levels if level.choices]


def _tell(level: Level) -> str:
    why = ", ".join(map(name_choice, level.choices))
    test = level.test
    if test is None or test.accuracy is None:
        return f"level {level.name} ({why}): not asked the test questions"
    asked = numbers.counted(test.num_graded, "test questions")
    return (
        f"level {level.name} ({why}): {numbers.percent(test.accuracy)} "
        f"({numbers.percent_range(test.interval)}) of {asked} right, "
        f"{numbers.mean(test.mean_tokens)} tokens a question"
    )


def level_values(levels: Sequence[Level]) -> list[dict[str, Any]]:
    """The levels for report.json."""
    return [
        {
            "level": level.name,
            "num_steps": level.num_steps,
            "validation": level.validation and _figures(level.validation),
            "test": level.test and _figures(level.test),
            "choices": [{"rule": one.rule, "value": one.value} for one in level.choices],
        }
        for level in levels
    ]


def _figures(measured: Any) -> dict[str, Any]:
    names = ("num_graded", "accuracy", "interval", "mean_tokens", "latency_p50_s")
    return {name: getattr(measured, name) for name in names}


def print_levels(folder: Path, levels: Sequence[Level], chosen: Level | None) -> None:
    """Prints the table, and what was chosen and how it did on the test questions."""
    asked = max((one.validation.num_graded for one in levels if one.validation), default=0)
    lines = [f"{folder.name}: levels of removal, by {asked:,} VALIDATION questions", ""]
    rows = [TITLES, *(row.cells for row in level_rows(levels))]
    lines += table_lines(rows)
    note = timing_note(levels)
    lines += ["", *textwrap.wrap(f"{note}.", _WIDTH)] if note else []
    if chosen is not None:
        lines += ["", *textwrap.wrap(_tell(chosen), _WIDTH), ""]
        lines += [f"model: {chosen.model}"]
        run = one_word(str(folder))
        lines += [f"export it: unspoken export {run} --level {chosen.name} --output served"]
    print("\n".join(plain(line) for line in lines))  # noqa: T201
