"""`unspoken recipes`: the recipes that come with unspoken."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path


def recipes(name: str | None = None, /) -> None:
    """List the recipes that come with unspoken.

    unspoken recipes NAME > mine.yaml copies one with its comments, unspoken run NAME runs it.

    Parameters
    ----------
    name
        recipe, or configuration of accelerate, that is printed; none: list them all
    """
    from unspoken.recipe.shipped import find_recipe, shipped_configs, shipped_recipes

    configs = shipped_configs()
    if name is not None:
        path = configs[name] if name in configs else find_recipe(name)
        sys.stdout.write(path.read_text(encoding="utf-8"))
        return
    _print_list(shipped_recipes())
    print("\nconfigurations of accelerate, for --config_file of unspoken launch:")
    _print_list(configs)
    print("\nrun one: unspoken run NAME; copy one: unspoken recipes NAME > mine.yaml")


def _print_list(files: Mapping[str, Path]) -> None:
    """One line each; cut to the width of a terminal, whole in a pipe."""
    from unspoken.recipe.shipped import describe

    indent = max(map(len, files), default=0) + 2
    for name, path in files.items():
        text = describe(path)
        if sys.stdout.isatty():
            width = max(20, shutil.get_terminal_size().columns - indent)
            text = textwrap.shorten(text, width, placeholder=" ...")
        print(f"{name:<{indent}}{text}")
