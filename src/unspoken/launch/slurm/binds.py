"""Folders that a container has to be given: those that the jobs of a recipe read and write.

apptainer brings the home folder along, and what the site has chosen. Models and data often stand on
another file system, or behind a link that leads there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from unspoken.recipe import Model, Recipe


def bound_folders(recipe: Recipe, directory: Path, first: Sequence[Path]) -> list[Path]:
    """`first`, and the folders outside of them in which the recipe's models and files really are.

    Args:
        recipe: as it will be run.
        directory: in which the jobs run; absolute.
        first: are bound in any case; absolute. The others are only where they are there now.
    """
    bound = list(first)
    for path in _named(recipe, directory):
        for folder in _reached(directory / path):
            if not any(folder.is_relative_to(known) for known in bound):
                bound.append(folder)
    return bound


def _named(recipe: Recipe, directory: Path) -> Iterator[Path]:
    """Yields what the recipe names, and where the hub's models and encoded data are kept."""
    for phase in recipe.resolved_phases():
        yield from phase.data.given.values()
        yield from [Path(phase.data.source)] if phase.data.source else []
    models, teacher = [recipe.model], recipe.teacher
    if teacher is not None:
        models += [teacher.model] if teacher.model is not None else []
        yield from [teacher.few_shot] if teacher.few_shot is not None else []
    names = [name for model in models for name in _names(model, directory)]
    yield from map(Path, names)
    if not all((directory / name).exists() for name in names):
        from huggingface_hub.constants import HF_HUB_CACHE

        yield Path(HF_HUB_CACHE)
    if cache := os.environ.get("UNSPOKEN_CACHE"):
        yield Path(cache)


def _names(model: Model, directory: Path) -> Iterator[str]:
    """Yields the folders or names of a model, of what it is an adapter of, and of its tokenizer."""
    from unspoken.models.adapter import base_of, is_adapter

    if model.name is not None:
        yield model.name
        folder = str(directory / model.name)
        if is_adapter(folder):
            yield base_of(folder)
    if model.tokenizer not in (None, "characters"):
        yield model.tokenizer


def _reached(path: Path) -> Iterator[Path]:
    """Yields the folders that are needed to read a file or a folder; none where it is not there."""
    if not path.exists():
        return
    folder = path if path.is_dir() else path.parent
    found = [folder, path.resolve() if path.is_dir() else path.resolve().parent]
    with contextlib.suppress(PermissionError):
        # a snapshot of the hub's cache has links to files that stand beside it
        found += [file.resolve().parent for file in folder.iterdir() if file.is_symlink()]
    yield from (each for each in found if each.is_dir() and each != Path(each.root))
