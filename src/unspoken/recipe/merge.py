"""Partial recipes laid over each other: files, phases, overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from unspoken.common.errors import RecipeError

#: Keys whose value is replaced as a whole: merging two model configurations would mix them.
_WHOLE = {"config"}
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
    for chosen, rival in _RIVALS.items():
        if over.get(chosen) is not None and rival not in over and rival in merged:
            merged[rival] = None
    if over.get("name") is not None and "config" in merged:  # a model brings its own tokenizer
        for key in ("tokenizer", "alphabet"):
            if key not in over:
                merged.pop(key, None)
    return merged


def dotted_keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields the keys of nested values, such as `train.learning_rate`; sections are none."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from dotted_keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


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
    if not separator or not all(part.isidentifier() for part in key.split(".")):
        raise RecipeError(
            f"override '{text}': needed section.key=value, such as train.learning_rate=1e-4"
        )
    try:
        parsed: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise RecipeError(f"override '{text}': '{value}' is not a YAML value; quote it") from None
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return parsed
