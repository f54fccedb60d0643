"""`unspoken choose`: a model for a budget, out of a run's levels of removal."""

from __future__ import annotations

from pathlib import Path

from unspoken.cli.output import say, silence_libraries
from unspoken.recipe.layout import can_be_written
from unspoken.recipe.named_model import find_run


def choose(folder: Path, *, within: float | None = None, tokens: float | None = None) -> None:
    """Choose a model of a run by what it may cost.

    Prints every level of removal with its tokens, accuracy and latency on the validation
    questions. The chosen one is then asked the test questions, once.

    Parameters
    ----------
    folder
        a folder that `unspoken run` made
    within
        the cheapest level that is at most so many percentage points below the best one
    tokens
        the best level that writes at most so many tokens a question
    """
    folder = find_run(folder)
    silence_libraries()
    from unspoken.report import print_levels, write_report
    from unspoken.report.read.frontier import read_frontier
    from unspoken.run.frontier import choose_in_run

    frontier = read_frontier(folder)
    levels, chosen = choose_in_run(folder, frontier, within=within, tokens=tokens, say=say)
    if can_be_written(folder):
        write_report(folder)
    print_levels(folder, levels, chosen)
