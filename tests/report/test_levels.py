"""The table of the levels of removal says how their times were taken, and how sure they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unspoken.recipe.evaluation_records import Choice, Evaluation
from unspoken.report.read.frontier import Level
from unspoken.report.show.levels import TITLES, level_rows, name_choice, print_levels, timing_note

#: What a busy machine adds to each question, whichever level is asked it.
NOISE = [0.004 * (number % 7) for number in range(40)]


def level(name: str, seconds: float | None, own: float | None = None) -> Level:
    """A level that takes so long without noise; `own`: as it was timed by itself."""
    measured = Evaluation(
        num_questions=40, num_graded=40, num_correct=38, accuracy=0.95, latency_p50_s=own
    )
    found = Level(name, Path(name), Path(name), validation=measured)
    if seconds is None:
        return found
    return replace(found, seconds=tuple(seconds + noise for noise in NOISE))


def column(levels: list[Level], title: str) -> list[str]:
    return [row.cells[TITLES.index(title)].replace("\u00a0", " ") for row in level_rows(levels)]


def test_levels_are_as_fast_as_their_turns_say_with_an_interval() -> None:
    faster = column([level("0000", 0.04), level("0003", 0.04), level("all", 0.01)], "faster")
    assert faster[0] == "\N{EN DASH}"
    assert faster[1] == "1.00× (1.00 to 1.00)"  # the noise is the same, and cancels
    assert faster[2].startswith("2.") and " to " in faster[2]


def test_what_was_not_timed_in_turns_has_no_ratio() -> None:
    levels = [level("0000", None, 0.04), level("0003", None, 0.05), level("all", None)]
    assert column(levels, "faster") == ["\N{EN DASH}"] * 3
    assert column(levels, "median")[:2] == ["40.0 ms", "50.0 ms"]
    mixed = [level("0000", None, 0.04), level("0003", 0.04), level("all", 0.01)]
    assert column(mixed, "faster")[:2] == ["\N{EN DASH}"] * 2
    assert column(mixed, "faster")[2].startswith("2.")


def test_one_token_is_not_several() -> None:
    told = [name_choice(Choice("tokens", number, "all")) for number in (1, 2)]
    assert told == ["at most 1 token", "at most 2 tokens"]


def test_how_they_were_timed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    turns = [level("0000", 0.04), level("all", 0.01)]
    assert timing_note(turns).startswith("Median: of 40 of these questions, one at a time, all")
    assert "also shows what else the machine did" in timing_note([level("0000", None, 0.04)])
    assert timing_note([level("0000", None)]) == timing_note([]) == ""
    print_levels(Path("runs/mine"), turns, None)
    told = capsys.readouterr().out
    note = told.rpartition("\n\n")[2]
    assert "taking turns" in note and max(map(len, note.splitlines())) <= 80
    best = replace(turns[1], test=turns[1].validation, choices=(Choice("tokens", 12.0, "all"),))
    print_levels(Path("runs/my 7 %"), [turns[0], best], best)
    told = capsys.readouterr().out
    assert "unspoken export 'runs/my 7 %' --level all --output served" in told
    chosen = told.partition("level all (at most")[2].partition("\n\n")[0]
    assert "test questions right" in " ".join(chosen.split())
    assert max(map(len, chosen.splitlines())) <= 80
