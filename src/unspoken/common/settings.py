"""Settings that are checked once, by their types: pydantic's dataclasses, our errors."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, TypeVar

import annotated_types  # this and typing_extensions come with pydantic
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

from unspoken.common.errors import SettingError

Kind = TypeVar("Kind")


@dataclass_transform(
    frozen_default=True, kw_only_default=False, field_specifiers=(dataclasses.field, Field)
)
def checked(kind: type[Kind]) -> type[Kind]:
    """A frozen dataclass of settings whose values are checked by the types of its fields.

    Bounds are pydantic's: `Annotated[int, Field(ge=1)]`. Rules over several fields are methods
    under `pydantic.model_validator(mode="after")` that raise a SettingError.

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
    made: Any = dataclass(kind, frozen=True, config=ConfigDict(extra="forbid"))
    build = made.__init__

    @functools.wraps(build)
    def check(self: Any, *values: Any, **named: Any) -> None:
        try:
            build(self, *values, **named)
        except ValidationError as error:
            raise _explained(made, error.errors()[0]) from None

    made.__init__ = check
    return made


def _explained(kind: Any, problem: Any) -> Exception:
    """The error for one of pydantic's problems; a TypeError where the code is wrong."""
    field = kind.__pydantic_fields__.get(problem["loc"][0])
    if field is None:  # an argument that there is not, or one too many
        return TypeError(f"{kind.__name__}: {problem['loc'][0]}: {problem['msg']}")
    bounds = ", ".join(_bounds(field.metadata))
    needed = bounds if bounds and not problem["type"].endswith(("_parsing", "_type")) else ""
    return SettingError(
        str(problem["loc"][0]),
        found=problem["input"],
        needed=needed or problem["msg"].removeprefix("Input should be "),
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
