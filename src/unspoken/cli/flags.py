"""Groups of flags that stand for settings of a recipe.

A setting is described once, in its section of the recipe: a flag takes type, default and help text
from there. `Options` is the base of a group; `unspoken.cli.options` has the groups.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Optional, Union, get_args, get_origin

from cyclopts import Group, Parameter, convert
from pydantic.fields import FieldInfo

from unspoken.recipe import Recipe
from unspoken.recipe.merge import nested
from unspoken.recipe.sections import section_of


@dataclass(frozen=True)
class Flag:
    """How one setting of a recipe is given on the command line.

    Attributes:
        key: of the setting, such as train.learning_rate; None where it is none of a recipe.
        names: that the flag has beside its own, such as --lr.
        kind: type of the value; None: the setting's.
        help: in place of the setting's description.
        default: that the help shows; None: the setting's.
        read: what becomes of a value as it was typed.
        to_recipe: what becomes of a value on its way into the recipe.
    """

    key: str | None
    names: tuple[str, ...] = ()
    kind: Any = None
    help: str | None = None
    default: Any = None
    read: Callable[[Any], Any] | None = None
    to_recipe: Callable[[Any], Any] | None = None


def flag(key: str | None, *names: str, **details: Any) -> Any:
    """A flag within the class body of a group, by the name that it is assigned to.

    Args:
        key: of the setting that it stands for, if it stands for one.
        names: further names of it, such as --lr.
        details: `kind`, `help`, `default`, `read`, `to_recipe`; see `Flag`.
    """
    return Flag(key, names, **details)


class Options:
    """A group of flags: an argument of a verb, as Annotated[Group, Parameter(name="*")].

    Subclasses name their flags in the class body. Class arguments:

        panel: heading in the help.
        defaults: of the verb, key or flag -> value, where they are not those of the recipe.
        required: names of flags that have to be given.
        names: flag -> all its names, where another one than its own comes first.
    """

    flags: ClassVar[dict[str, Flag]] = {}
    panel: ClassVar[Group | None] = None

    def __init_subclass__(
        cls,
        *,
        panel: Group | None = None,
        defaults: Mapping[str, Any] | None = None,
        required: Collection[str] = (),
        names: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Flag)}
        cls.flags = {**cls.flags, **own}
        cls.panel = panel or cls.panel
        cls.__annotations__ = {}
        for name, each in cls.flags.items():
            spelled = (names or {}).get(name) or (f"--{name}", *each.names)
            default = (defaults or {}).get(each.key or name, default_of(each))
            parameter = _parameter(each, spelled, cls.panel, default)
            kind = _kind(each)
            if name in required:
                cls.__annotations__[name] = Annotated[kind, parameter]
                setattr(cls, name, field())  # without the default of a parent
            else:
                cls.__annotations__[name] = Annotated[Optional[kind], parameter]  # noqa: UP045
                setattr(cls, name, None)
        dataclass(frozen=True, kw_only=True)(cls)

    def given(self) -> dict[str, Any]:
        """The flags that were given, by their names."""
        given = {name: getattr(self, name) for name in self.flags}
        given = {name: value for name, value in given.items() if value is not None}
        readers = {name: self.flags[name].read or (lambda value: value) for name in given}
        return {name: readers[name](value) for name, value in given.items()}

    def values(self) -> dict[str, Any]:
        """All flags by their names: as given, else by default."""
        defaults = {name: default_of(each) for name, each in self.flags.items()}
        return {**defaults, **self.given()}

    def to_recipe(self) -> dict[str, Any]:
        """The flags that were given, at their places in a recipe; others are left out."""
        values = {}
        for name, value in self.given().items():
            each = self.flags[name]
            if each.key is not None:
                values[each.key] = value if each.to_recipe is None else each.to_recipe(value)
        return nested(values)


def field_of(key: str) -> FieldInfo:
    """A setting of a recipe: its type, default and description.

    Raises:
        KeyError: a recipe has no such setting.
    """
    section: Any = Recipe
    *sections, last = key.split(".")
    for name in sections:
        section = section_of(section.model_fields[name].annotation)
    return section.model_fields[last]


def default_of(each: Flag) -> Any:
    """What counts where a flag is not given: its own default, else the setting's."""
    if each.default is not None or each.key is None:
        return each.default
    return field_of(each.key).get_default()


def _kind(each: Flag) -> Any:
    """The type of a flag's value, without None: a flag that is not given has none.

    Bounds are left out, too: the recipe checks them, and says what it needs.
    """
    if each.kind is not None or each.key is None:
        return each.kind
    return _without_bounds(field_of(each.key).annotation)


def _without_bounds(kind: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _without_bounds(parts[0])
    if origin in (Union, types.UnionType):
        kinds = [_without_bounds(part) for part in parts if part is not types.NoneType]
        return functools.reduce(lambda one, other: one | other, kinds)
    if origin in (list, tuple):
        return types.GenericAlias(origin, tuple(_without_bounds(part) for part in parts))
    return kind


def _parameter(each: Flag, names: Collection[str], panel: Group | None, default: Any) -> Parameter:
    text = each.help or (each.key and field_of(each.key).description)
    shown = False if default is None or default is False else (lambda _: _spelled(default))
    kind = _kind(each)
    return Parameter(
        name=tuple(names),
        help=text,
        group=panel,
        show_default=shown,
        consume_multiple=get_origin(kind) in (list, tuple),
        # else the words none and null would be "not given", whatever the flag takes
        converter=lambda _, tokens: convert(kind, tokens),
    )


def _spelled(default: Any) -> str:
    if isinstance(default, float) and 0 < default < 1e-3:
        return f"{default:.0e}".replace("e-0", "e-")
    return str(default)
