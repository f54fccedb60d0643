"""What is wrong with a recipe, in one line each: place, what was found, what is needed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from unspoken.common.errors import setting, shorten
from unspoken.common.settings import needed_by
from unspoken.recipe.counterparts import COUNTERPARTS, Counterpart
from unspoken.recipe.sections import section_of

#: What pydantic puts into a place to say which of several kinds it speaks of.
_KIND = re.compile(r"(literal|list|tuple)\[")
#: Signs of a name in a message.
_LONGEST = 80


@dataclass(frozen=True)
class RecipeSource:
    """Where a recipe's values come from.

    Attributes:
        where: a file or a phase; empty: the command line alone.
        nodes: where values stand in the file.
        given: keys whose values come from overrides, not from there.
        train: the section that is laid over `train`, for what is meant by an unknown key.
    """

    where: str
    nodes: yaml.Node | None = None
    given: frozenset[str] = frozenset()
    train: str = "train"

    def of(self, path: list[str]) -> str:
        """A value's place and key, as the start of a message: `mine.yaml:7: train.epochs`.

        The key of an override is a setting of the error: its reader typed it, perhaps as a flag.
        """
        key, line = ".".join(path), _line_of(self.nodes, path)
        if path and self._is_given(key, line):
            return _setting_of(path)
        place = f"{self.where}{f':{line}' if line else ''}: " if self.where else ""
        return f"{place}{(key if self.nodes else _setting_of(path)) or 'recipe'}"

    def _is_given(self, key: str, line: int | None) -> bool:
        if line is None and any(each.startswith(f"{key}.") for each in self.given):
            return True  # a section that only overrides have
        return any(key == each or key.startswith(f"{each}.") for each in self.given)


def explain(problem: Any, place: RecipeSource, recipe: type[BaseModel]) -> str:
    """One line for one pydantic problem: place, what was found, what is needed."""
    path = [_name(part) for part in problem["loc"] if not _KIND.match(str(part))]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        meant = re.sub(r"(?<!\.)\btrain\.", f"{place.train}.", _suggest(path, recipe))
        return f"{place.of(path)}: unknown key; {meant}"
    if problem["type"] == "missing" and path[-1].isdigit():
        found = shorten(problem["input"])
        return f"{place.of(path[:-1])}: found {found}; needed: one value more; add it"
    if problem["type"] == "missing":
        return f"{place.of(path)}: missing; this section or key is needed"
    if problem["type"] == "value_error":
        if path in (["teacher", "train"], ["teacher", "model"]):  # as the whole recipe has them
            message = re.sub(r"(?<!\.)\b(train|model)\.", r"teacher.\1.", message)
        return f"{place.of(path)}: {message}" if place.where else message
    found = "null" if problem["input"] is None else shorten(problem["input"])
    return f"{place.of(path)}: found {found}; needed: {needed_by(problem)}; correct it"


def _name(part: object) -> str:
    """A part of a key, as a line can show it."""
    text = str(part)
    return text if text.isprintable() and len(text) <= _LONGEST else shorten(text, _LONGEST)


def _setting_of(path: list[str]) -> str:
    """A key as a setting of the error; what stands within its value follows it."""
    if not path:
        return ""
    inner = next((i for i, part in enumerate(path) if part.isdigit()), len(path))
    return setting(".".join(path[:inner])) + "".join(f".{part}" for part in path[inner:])


def find_key(name: str, recipe: type[BaseModel]) -> str | None:
    """The first key of a recipe that ends in this name: `epochs` is train.epochs; None for none."""
    return _by_name(list(_keys(recipe))).get(name)


def _by_name(keys: list[str]) -> dict[str, str]:
    """The keys by their last part; of several the first one."""
    return {key.rpartition(".")[2]: key for key in reversed(keys)}


def _suggest(path: list[str], recipe: type[BaseModel]) -> str:
    known = list(_keys(recipe))
    section = ".".join(path[:-1])
    siblings = [key for key in known if key.rpartition(".")[0] == section]
    elsewhere = _by_name(known)
    if path[-1] in elsewhere:
        return f"did you mean '{elsewhere[path[-1]]}'?"
    if path[-1] in COUNTERPARTS:
        return _of_another_program(COUNTERPARTS[path[-1]])
    near = difflib.get_close_matches(".".join(path), siblings, n=1, cutoff=0.6)
    if not near:
        name = difflib.get_close_matches(path[-1], elsewhere, n=1, cutoff=0.75)
        near = [elsewhere[name[0]]] if name else []
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known here: {', '.join(key.rpartition('.')[2] for key in siblings)}"


def _of_another_program(meant: Counterpart) -> str:
    return f"did you mean '{meant.as_key()}'{meant.remark}?" if meant.key else meant.note


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The keys of a section and of those in it; those of one that may be left out come last."""
    optional: list[tuple[str, type[BaseModel]]] = []
    for name, field in section.model_fields.items():
        yield prefix + name
        inner = section_of(field.annotation)
        if inner is not None and inner is field.annotation:
            yield from _keys(inner, f"{prefix}{name}.")
        elif inner is not None:  # Lora | None
            optional.append((name, inner))
    for name, inner in optional:
        yield from _keys(inner, f"{prefix}{name}.")


def _line_of(node: yaml.Node | None, path: list[str]) -> int | None:
    """The line of a key in the YAML text, 1-based; None where an override put it."""
    line = None
    for part in path:
        if not isinstance(node, yaml.MappingNode):
            break
        for key, value in node.value:
            if key.value == part:
                line, node = key.start_mark.line + 1, value
                break
        else:
            return line if len(path) == 1 else None
    return line
