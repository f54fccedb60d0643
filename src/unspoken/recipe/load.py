"""YAML file and command line -> Recipe."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from unspoken.common.errors import RecipeError, setting, shorten
from unspoken.common.plain_yaml import read_yaml
from unspoken.recipe.layout import RECIPE_FILE, has_begun
from unspoken.recipe.merge import dotted_values, merge, parse_override, switched
from unspoken.recipe.shipped import find_recipe
from unspoken.recipe.whole import Recipe, validate

logger = logging.getLogger(__name__)

#: More than `read_yaml` takes, and so that a device or a file of weights does not fill the memory.
_MOST_BYTES = 5_000_000
#: What an override changes in every phase.
_PER_PHASE = {"template", "data", "schedule", "train", "evaluate"}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, with `section.key=value` overrides laid over it.

    Args:
        path: of the file, or the name of a recipe that comes with unspoken.
        overrides: over it.

    Raises:
        RecipeError: the file, a key or a value cannot be used; the message names it.
    """
    path = find_recipe(path)
    values, nodes = load_values(path)
    return recipe_from(values, overrides, where=str(path), nodes=nodes)


def load_to_run(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """`load_recipe`, for what works in the recipe's run folder, or says what would happen there.

    Args:
        path: of the file, or the name of a recipe that comes with unspoken.
        overrides: over it; an output among them is what the user wants.

    Raises:
        RecipeError: as of `load_recipe`; or the file lies in another run folder than its output,
            where one was moved or copied, and no output was given.
    """
    recipe, path = load_recipe(path, overrides), Path(path)
    asked = any(one.startswith("output=") for one in overrides)
    is_of_run = path.name == RECIPE_FILE and has_begun(path.parent)
    if is_of_run and not asked and path.parent.resolve() != recipe.folder.resolve():
        raise RecipeError(
            f"{path}: lies in a run folder, but its output is {recipe.folder}; needed: one of the "
            f"two, where a run was moved or copied; give {setting('output', path.parent)} to go on "
            f"there, or {setting('output', recipe.folder)}"
        )
    return recipe


def load_values(path: str | Path) -> tuple[dict[str, Any], yaml.Node | None]:
    """The plain values in a recipe file, and where they stand in it; raises RecipeError."""
    path = find_recipe(path)
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"{path}: cannot be read as UTF-8 text: {error}; needed: a recipe; name another file"
        ) from None
    values, nodes = read_yaml(text, str(path))
    if not isinstance(values, dict):
        found = "an empty file" if values is None else type(values).__name__
        raise RecipeError(f"{path}: found {found}; needed: sections such as `data:`")
    return values, nodes


def recipe_from(
    values: dict[str, Any],
    overrides: Sequence[str | Mapping[str, Any]] = (),
    *,
    where: str = "recipe",
    nodes: yaml.Node | None = None,
) -> Recipe:
    """The recipe in nested plain values, with overrides over it.

    Args:
        values: sections and their keys.
        overrides: `section.key=value`, or nested values; a later one wins.
        where: the values come from, for messages.
        nodes: where they stand in their file.

    Raises:
        RecipeError: a key or a value cannot be used. It names where the value comes from; one from
            an override is a setting of the error.
    """
    _tell_contradictions([each for each in overrides if isinstance(each, str)])
    values = {**values, **switched(values)}
    given: set[str] = set()
    for override in overrides:
        parsed = parse_override(override) if isinstance(override, str) else dict(override)
        given.update(dict(dotted_values(parsed)))
        parsed = {**parsed, **switched(parsed)}
        values = merge(values, parsed)
        # the command line wins over phases, too, except for what belongs to the whole recipe
        inner = {key: value for key, value in parsed.items() if key in _PER_PHASE}
        if inner and isinstance(values.get("phases"), list):
            phases = [merge(phase, inner) for phase in values["phases"] if isinstance(phase, dict)]
            values = {**values, "phases": phases}
    recipe = validate(values, where, nodes, frozenset(given))
    recipe.resolved_phases()
    recipe.distilling()
    return recipe


def _tell_contradictions(overrides: Sequence[str]) -> None:
    """Says which of two values for one key counts: a script's own overrides, and then a user's."""
    given: dict[str, tuple[Any, str]] = {}
    for override in overrides:
        for key, value in dotted_values(parse_override(override)):
            if key in given and given[key][0] != value:
                before = given[key][1]
                logger.warning("%s counts, given after %s", shorten(override), shorten(before))
            given[key] = value, override


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every default written out; `load_recipe` reads it back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
