"""What the functions of `import unspoken` are given, checked where they are called.

An argument of one name is of one kind in all of them, which stands here. What is not listed is
checked by who takes it: models, tokenizers and records, and options by the classes that hold them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from unspoken.common.errors import SettingError, shorten
from unspoken.common.nearby import nearest_name
from unspoken.common.settings import BatchSize, Positive, PositiveNumber, Seed, checked

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def _plain(value: Any) -> Any:
    """A scalar of numpy or torch as Python's own."""
    is_scalar = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if is_scalar else value


def _as_number(value: Any) -> Any:
    """Text is no number in Python, though pydantic would read it, and `True` is a slip."""
    value = _plain(value)
    if isinstance(value, str | bytes | bool):
        wrong = "true or false" if isinstance(value, bool) else "text"
        raise PydanticCustomError(
            "number_type", "Input should be a number, not {wrong}", {"wrong": wrong}
        )
    return value


def _as_switch(value: Any) -> Any:
    """`"no"` is true to Python, and meant otherwise."""
    value = _plain(value)
    if not isinstance(value, bool):
        raise PydanticCustomError("bool_type", "Input should be true or false")
    return value


def _require_name(value: Any) -> Any:
    """An empty name, such as of a variable that is not set, would be the working directory."""
    if not isinstance(value, str | Path) or value == "":
        raise PydanticCustomError("name_type", "Input should be a name or a path, not empty")
    return value


_Number = BeforeValidator(_as_number)
_Switch = Annotated[bool, BeforeValidator(_as_switch)]
_Count = Annotated[Positive, _Number]
_Measure = Annotated[PositiveNumber, _Number]
_Name = Annotated[str | Path, BeforeValidator(_require_name)]


@checked(kw_only=True)
class Arguments:
    """Arguments by name; those of models, tokenizers, records and options are not among them.

    Raises:
        SettingError: for one that cannot be used.
    """

    name: _Name = "."
    output: _Name | None = None
    rejected: _Name | None = None
    few_shot: _Name | None = None
    of_run: str = ""
    system_prompt: str | None = None
    alphabet: str | None = None
    num_positions: _Count | None = None
    limit: _Count | None = None
    max_new_tokens: Annotated[int, _Number] | None = None
    samples_per_question: _Count = 1
    epochs: _Measure | None = None
    max_steps: _Count | None = None
    batch_size: Annotated[BatchSize, _Number] | None = None
    learning_rate: _Measure | None = None
    seed: Annotated[Seed, _Number] = 0
    baselines: _Switch = False
    full_finetuning: _Switch = False
    strict: _Switch = False
    overwrite: _Switch = False
    progress: _Switch = True
    local_files_only: _Switch = False
    trust_remote_code: _Switch = False


def takes_arguments(
    options: type | None = None,
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Has a function's arguments checked before anything is done.

    Args:
        options: the dataclass that holds what the function takes as `**options`.

    Raises:
        SettingError: from the function, for an argument that it does not have, or whose value
            cannot be used.
    """
    others = [] if options is None else [each.name for each in fields(options)]

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        kinds = list(inspect.signature(function).parameters.values())
        by_place = [each.name for each in kinds if each.kind is each.POSITIONAL_OR_KEYWORD]
        by_name = [each.name for each in kinds if each.kind is each.KEYWORD_ONLY]
        known = [*by_place, *by_name, *others]
        checked_before: Callable[..., Result] = function

        @functools.wraps(function)
        def call(*values: Parameters.args, **named: Parameters.kwargs) -> Result:
            _require_known(function.__name__, named, known)
            placed = dict(zip(by_place, values, strict=False))
            sound = _checked({**placed, **named})
            taken: Any = [sound[name] for name in placed]
            rest: Any = {name: sound[name] for name in named}
            return checked_before(*taken, *values[len(taken) :], **rest)

        return call

    return decorate


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, those of a known kind as values of it."""
    listed = {each.name for each in fields(Arguments)}  # pyright: ignore[reportArgumentType]
    sound = Arguments(**{name: value for name, value in given.items() if name in listed})
    return {name: getattr(sound, name, value) for name, value in given.items()}


def _require_known(function: str, named: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuses an argument that a function does not have."""
    for name in named:
        if name in known:
            continue
        near = nearest_name(name, known)
        raise SettingError(
            name,
            found=f"{shorten(named[name])} for an argument that {function} does not have",
            needed=f"one of {', '.join(known)}",
            remedy=f"did you mean {near}?" if near else "leave it out",
        )
