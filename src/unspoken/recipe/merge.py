"""Partial recipes laid over each other: files, phases, overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from unspoken.common.errors import RecipeError, shorten
from unspoken.common.plain_yaml import read_yaml

#: Keys whose value is replaced as a whole: merging two model configurations would mix them.
_WHOLE = {"config"}
#: Levels that a key such as teacher.train.epochs may have.
_DEEPEST = 10
#: Setting one of these in an override unsets the other.
_RIVALS = {"name": "config", "config": "name"}


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid over it, section by section; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in _WHOLE:
            merged[key] = merge(old, value)
        elif isinstance(old, dict) and isinstance(value, dict) and "model_type" not in value:
            merged[key] = {**old, **value}
        else:
            merged[key] = value
    _unset_rivals(merged, over)
    return merged


def _unset_rivals(merged: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Unsets in `merged` what cannot stand beside what `over` has chosen."""
    for chosen, rival in _RIVALS.items():
        if over.get(chosen) is not None and rival not in over and rival in merged:
            merged[rival] = None
    if over.get("name") is not None and "config" in merged:  # a model brings its own tokenizer
        for key in ("tokenizer", "alphabet"):
            if key not in over:
                merged.pop(key, None)


def dotted_values(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the keys of nested values, such as `train.epochs`, each with its value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from dotted_values(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys such as train.epochs, and their values, as the sections of a recipe; a later one wins.

    Examples:
        >>> nested({"train.epochs": 2, "train": {"max_steps": 9}})
        {'train': {'epochs': 2, 'max_steps': 9}}
    """
    recipe: dict[str, Any] = {}
    for key, value in values.items():
        section: Any = value
        for part in reversed(str(key).split(".")):
            section = {part: section}
        recipe = _laid_over(recipe, section)
    return recipe


def _laid_over(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """All keys of both, without a thought of what they mean; neither is changed."""
    both = dict(base)
    for key, value in over.items():
        old = both.get(key)
        is_section = isinstance(old, dict) and isinstance(value, dict)
        both[key] = _laid_over(cast("dict[str, Any]", old), value) if is_section else value
    return both


def switched(values: dict[str, Any]) -> dict[str, Any]:
    """`baselines: true` spelled out."""
    on = values.get("baselines")
    if not isinstance(on, bool):
        return {}
    return {"baselines": {"explicit": "train" if on else "off", "no_cot": on}}


def parse_override(text: str) -> dict[str, Any]:
    """`train.learning_rate=1e-3` as nested values: {"train": {"learning_rate": 1e-3}}.

    The value is read as YAML, so lists, numbers, true, null and quoted strings all work.
    """
    key, separator, value = text.partition("=")
    parts = key.split(".")
    if not separator or len(parts) > _DEEPEST or not all(part.isidentifier() for part in parts):
        found = "" if separator else "found no =; "
        raise RecipeError(
            f"override {shorten(text)}: {found}needed section.key=value, such as "
            "train.learning_rate=1e-4; correct it"
        )
    try:
        parsed: Any = read_yaml(value, "")[0]
    except RecipeError as error:
        reason = str(error).removeprefix(":1: ").lstrip(": ")
        raise RecipeError(
            f"override {shorten(text)}: {shorten(value)} is not a YAML value ({reason}); quote it"
        ) from None
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed
