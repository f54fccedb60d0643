"""`unspoken check`: what a recipe will take."""

from __future__ import annotations

from pathlib import Path

from unspoken.cli.output import silence_libraries


def check(recipe: Path, *overrides: str) -> None:
    """Say what a recipe will do and what it needs.

    Everything that can be known before time is spent on it: data, models, sizes, memory.

    Parameters
    ----------
    recipe
        YAML file, or name of a recipe that unspoken recipes lists
    overrides
        section.key=value, such as train.batch_size=16
    """
    from unspoken.recipe import load_to_run

    loaded = load_to_run(recipe, overrides)
    silence_libraries()
    from unspoken.check.recipe import check_recipe

    for finding in check_recipe(loaded):
        print(finding)
