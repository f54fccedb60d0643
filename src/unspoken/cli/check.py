"""`unspoken check`: what a recipe will take."""

from __future__ import annotations

from pathlib import Path

from unspoken.cli.options import quiet


def check(recipe: Path, *overrides: str) -> None:
    """Say everything about a recipe that can be known before time is spent on it.

    Parameters
    ----------
    recipe
        YAML file.
    overrides
        section.key=value.
    """
    from unspoken.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    quiet()
    from unspoken.check import check_recipe

    for line in check_recipe(loaded):
        print(line)
