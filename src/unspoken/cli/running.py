"""Runs a recipe and prints its result: what `run`, `distil` and `internalize` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unspoken.cli.output import importing, say

if TYPE_CHECKING:
    from unspoken.recipe import Recipe


def run_and_report(
    recipe: Recipe, *, overwrite: bool, start: str | None = None, resume: Path | None = None
) -> None:
    """Runs a recipe and prints what came out.

    Args:
        recipe: resolved.
        overwrite: what runs again replaces what was there.
        start: stage from which on everything runs again.
        resume: checkpoint that distilling goes on from.
    """
    with importing():
        from unspoken.common.machine import command_line
        from unspoken.parallel.world import is_main_process
        from unspoken.report import print_summary
        from unspoken.run.run import run_recipe

    page = run_recipe(
        recipe, command=command_line(), overwrite=overwrite, start=start, resume=resume, say=say
    )
    if is_main_process():
        print_summary(page.parent)
