"""Dataclasses whose values pydantic checks when they are made; what is wrong is a SettingError."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

import annotated_types  # this and typing_extensions come with pydantic
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from unspoken.common.errors import SettingError

Kind = TypeVar("Kind")
#: What pydantic puts before the text of a ValueError of ours, which says what is needed.
_BY_US = "Value error, "


@overload
@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def checked(kind: type[Kind]) -> type[Kind]: ...
@overload
def checked(*, kw_only: bool = False) -> Callable[[type[Kind]], type[Kind]]: ...


def checked(kind: type[Any] | None = None, *, kw_only: bool = False) -> Any:
    """A frozen dataclass of settings whose values are checked by the types of its fields.

    Bounds are pydantic's: `Annotated[int, Field(ge=1)]`. Rules over several fields are methods
    under `pydantic.model_validator(mode="after")` that raise a SettingError; a rule over one is a
    function under `pydantic.AfterValidator` that raises a ValueError, whose text is what is needed.

    Raises:
        SettingError: from the class, for the first value that cannot be used.

    Example:
        >>> @checked
        ... class Pace:
        ...     per_minute: Annotated[float, Field(gt=0)] = 60.0
        >>> Pace(0)
        Traceback (most recent call last):
        unspoken.common.errors.SettingError: per_minute: found 0; needed: above 0; correct it
    """
    if kind is None:
        return functools.partial(checked, kw_only=kw_only)
    made: Any = dataclass(kind, frozen=True, kw_only=kw_only, config=ConfigDict(extra="forbid"))
    build = made.__init__

    @functools.wraps(build)
    def check(self: Any, *values: Any, **named: Any) -> None:
        try:
            build(self, *values, **named)
        except ValidationError as error:
            raise setting_error(made, error) from None

    made.__init__ = check
    return made


def setting_error(kind: Any, error: ValidationError) -> Exception:
    """The error for the first of pydantic's problems; a TypeError where the code is wrong.

    Args:
        kind: a class under `checked`.
        error: of making one, by this class or by whoever else hands values to pydantic.
    """
    problem: Any = error.errors()[0]
    name, fields = problem["loc"][0], kind.__pydantic_fields__
    if isinstance(name, int) and name < len(fields):  # given by its position
        name = list(fields)[name]
    field = fields.get(name)
    if field is None:  # an argument that there is not, or one too many
        return TypeError(f"{kind.__name__}: {name}: {problem['msg']}")
    bounds = ", ".join(_bounds(field.metadata))
    if problem["type"].endswith(("_parsing", "_type", "_from_float")):
        bounds = ""
    value = problem["input"]
    if problem["type"] == "too_long":
        limits = problem["ctx"]
        value, bounds = limits["actual_length"], f"at most {limits['max_length']}"
    return SettingError(
        str(name),
        found=repr(value) if isinstance(value, str) and not bounds else value,
        needed=bounds or problem["msg"].removeprefix("Input should be ").removeprefix(_BY_US),
        remedy="correct it",
    )


def _bounds(metadata: Iterable[Any]) -> Iterable[str]:
    """What annotations say of a number, in words."""
    for each in metadata:
        if isinstance(each, annotated_types.Ge):
            yield f"at least {each.ge}"
        elif isinstance(each, annotated_types.Gt):
            yield f"above {each.gt}"
        elif isinstance(each, annotated_types.Le):
            yield f"at most {each.le}"
        elif isinstance(each, annotated_types.Lt):
            yield f"below {each.lt}"


def require_at_least(least: int, **settings: int) -> None:
    """Refuses whole numbers that are too small, by the names of the settings.

    Raises:
        SettingError: for the first of them.
    """
    for name, value in settings.items():
        if value < least:
            raise SettingError(name, found=value, needed=f"at least {least}", remedy="raise it")
