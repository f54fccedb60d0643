"""Which way of working together a training gets: the one that its launcher asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unspoken.parallel.world import read_way, require_way
from unspoken.recipe import Recipe

if TYPE_CHECKING:
    from unspoken.parallel.processes import Processes


def start_processes(recipe: Recipe, folder: Path) -> Processes:
    """The processes of one training, joined the way that the launcher asks for.

    Args:
        recipe: its precision, batch sizes and trackers count, not the launcher's; `precision` is
            resolved.
        folder: of the run, for trackers.

    Raises:
        RecipeError: recipe and launcher do not fit together.
    """
    way = read_way()
    require_way(recipe)
    if way == "fsdp2":
        from unspoken.parallel.fsdp2 import Fsdp2Processes

        return Fsdp2Processes(recipe, folder)
    if way == "zero":
        from unspoken.parallel.zero import ZeroProcesses

        return ZeroProcesses(recipe, folder)
    from unspoken.parallel.ddp import DdpProcesses

    return DdpProcesses(recipe, folder)
