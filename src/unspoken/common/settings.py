"""Dataclasses whose values pydantic checks when they are made; what is wrong is a SettingError."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin, overload

import annotated_types  # this, pydantic_core and typing_extensions come with pydantic
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from typing_extensions import dataclass_transform

from unspoken.common.errors import SettingError, shorten

Kind = TypeVar("Kind")


def _refuse_truth(value: Any) -> Any:
    """`true` is a number to Python, and a slip of the pen to whoever wrote it."""
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "Input should be a number, not true or false")
    return value


def _refuse_nearly_nothing(value: float) -> float:
    """What is divided by it would overflow."""
    if 0 < value < TINY:
        raise PydanticCustomError(
            "number_range", "Input should be 0 or at least {least}", {"least": TINY}
        )
    return value


def tell_once(value: Any, check: Callable[[Any], Any]) -> Any:
    """A number or a word: one problem where neither fits, instead of one for each of them."""
    try:
        return check(value)
    except ValidationError as error:
        needed = ", or ".join(map(needed_by, error.errors()))
        raise PydanticCustomError("number_range", "{needed}", {"needed": needed}) from None


def needed_by(problem: Mapping[str, Any]) -> str:
    """What one of pydantic's problems says is needed, in words that name no type of Python's."""
    kind = problem["type"]
    limits = {name: _plain(value) for name, value in problem.get("ctx", {}).items()}
    for ends, words in _NEEDED.items():
        if kind.endswith(ends):
            return words.format(**limits)
    text = problem["msg"].removeprefix(_BY_US).removeprefix(_SHOULD_BE)
    return text[:1].lower() + text[1:]


#: No count and no measure comes near these; beyond them arithmetic overflows, hours later.
LARGEST, TINY = 10**12, 1e-9
LARGEST_SEED = 2**62
#: That are made by unspoken, all in memory.
MOST_EXAMPLES = 10**8
#: Examples of one step: more than any training has had, and lists of them still fit.
MOST_AT_ONCE = 10**6
#: Of a factor.
MOST_DIGITS = 1_000

_NUMBER, _NOTICED = BeforeValidator(_refuse_truth), AfterValidator(_refuse_nearly_nothing)
#: Numbers of settings. Every one has bounds: what has none trains for a night and then fails.
Natural = Annotated[int, Field(ge=0, le=LARGEST), _NUMBER]
Positive = Annotated[int, Field(ge=1, le=LARGEST), _NUMBER]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED), _NUMBER]
BatchSize = Annotated[int, Field(ge=1, le=MOST_AT_ONCE), _NUMBER]
NumExamples = Annotated[int, Field(ge=1, le=MOST_EXAMPLES), _NUMBER]
NumExamplesOrNone = Annotated[int, Field(ge=0, le=MOST_EXAMPLES), _NUMBER]
NumDigits = Annotated[int, Field(ge=1, le=MOST_DIGITS), _NUMBER]
PositiveNumber = Annotated[float, Field(gt=0, le=LARGEST), _NUMBER, _NOTICED]
NumberFromZero = Annotated[float, Field(ge=0, le=LARGEST), _NUMBER, _NOTICED]
#: 0 takes the likeliest token.
Temperature = Annotated[float, Field(ge=0, le=1_000), _NUMBER, _NOTICED]
#: Of a whole: some of it, or all but some.
Share = Annotated[float, Field(gt=0, le=1), _NUMBER, _NOTICED]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1), _NUMBER]
#: What stands for no bound in a message.
_UNBOUNDED = (LARGEST, LARGEST_SEED)
#: What pydantic puts before the text of a ValueError of ours, which says what is needed.
_BY_US = "Value error, "
#: And how it begins itself.
_SHOULD_BE = "Input should be "


#: By the end of a kind of pydantic's problems: what is needed.
_NEEDED = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number, and a smaller one",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path, in quotes where it is a number",
    "list_type": "a list, such as [first, second]",
    "tuple_type": "a list, such as [first, second]",
    "dict_type": "keys with their values, such as {{key: value}}",
    "model_type": "keys with their values, such as {{key: value}}",
    "literal_error": "{expected}",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "too_long": "at most {max_length}, not {actual_length}",
    "too_short": "at least {min_length}, not {actual_length}",
}


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

    Examples:
        >>> @checked
        ... class Pace:
        ...     per_minute: Annotated[float, Field(gt=0)] = 60.0
        >>> Pace(0)
        Traceback (most recent call last):
        unspoken.common.errors.SettingError: per_minute: found 0; needed: above 0; correct it
    """
    if kind is None:
        return functools.partial(checked, kw_only=kw_only)
    made: Any = dataclass(
        kind, frozen=True, kw_only=kw_only, config=ConfigDict(extra="forbid", allow_inf_nan=False)
    )
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
    bounds = ", ".join(_bounds(_metadata(field.annotation, field.metadata)))
    if problem["type"].endswith(("_parsing", "_type", "_from_float", "_range")):
        bounds = ""
    if problem["type"] == "finite_number":  # inf is above 0, too
        bounds = ", ".join(["a finite number", *([bounds] if bounds else [])])
    value = problem["input"]
    if problem["type"] == "less_than_equal" and problem["ctx"]["le"] in _UNBOUNDED:
        bounds = f"at most {problem['ctx']['le']}"
    if problem["type"] == "too_long":
        limits = problem["ctx"]
        value, bounds = limits["actual_length"], f"at most {limits['max_length']}"
    return SettingError(
        str(name),
        found=_shown(value, is_number=bool(bounds)),
        needed=bounds or needed_by(problem),
        remedy="correct it",
    )


def _plain(value: Any) -> Any:
    """A bound as people write it: 0 and not 0.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: Any, *, is_number: bool) -> object:
    """A value as its reader wrote it; a number may come as text, from the command line."""
    if isinstance(value, str) and is_number:
        return value[:60]
    return value if isinstance(value, float | os.PathLike) else shorten(value)


def _metadata(kind: Any, outer: Iterable[Any]) -> Iterator[Any]:
    """What annotations say of a field, and of the kinds that it may have: `Positive | None`."""
    yield from outer
    for part in get_args(kind):
        if get_origin(part) is Annotated:
            yield from _metadata(get_args(part)[0], part.__metadata__)


def _bounds(metadata: Iterable[Any]) -> Iterable[str]:
    """What annotations say of a number, in words."""
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from _bounds(each.metadata)
        elif isinstance(each, annotated_types.Ge):
            yield f"at least {each.ge}"
        elif isinstance(each, annotated_types.Gt):
            yield f"above {each.gt}"
        elif isinstance(each, annotated_types.Le) and each.le not in _UNBOUNDED:
            yield f"at most {each.le}"
        elif isinstance(each, annotated_types.Lt):
            yield f"below {each.lt}"


def require_at_least(least: int, most: int = LARGEST, /, **settings: int) -> None:
    """Refuses whole numbers that are too small or too large, by the names of the settings.

    Raises:
        SettingError: for the first of them.
    """
    for name, value in settings.items():
        if value < least:
            raise SettingError(name, found=value, needed=f"at least {least}", remedy="raise it")
        if value > most:
            raise SettingError(
                name, found=shorten(value), needed=f"at most {most:,}", remedy="lower it"
            )
