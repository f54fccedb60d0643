"""How the verb that ran spells a setting: the edge at which errors meet their reader.

An error names a setting as a recipe does (`train.learning_rate`) or as a function's argument does
(`teacher_dir`). Who typed `--lr` is told of `--lr`; who gave a recipe is told of its key.
"""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclopts import App

from unspoken.common.errors import SettingError, Spelling, as_key, one_word


@dataclass(frozen=True)
class VerbFlag:
    """A flag of a verb.

    Attributes:
        name: of the argument that takes its value, such as learning_rate.
        names: all that it has on the command line, the first one first.
        takes_dashes: whether its value may begin with a dash.
        is_path: whether its value is a path.
        settings: that it stands for: its name, and its key in a recipe.
        help: its text.
        default: as the help shows it.
    """

    name: str
    names: tuple[str, ...]
    takes_dashes: bool
    is_path: bool
    settings: frozenset[str]
    help: str
    default: str | None


def flags_of(verb: App) -> list[VerbFlag]:
    """The flags of a verb, those of its groups with them."""
    if verb.default_command is None:
        return []
    keys = _keys(verb.default_command)
    flags = []
    for each in verb.assemble_argument_collection(parse_docstring=True):
        names = tuple(name for name in each.names if name.startswith("--"))
        if not names or not each.parse:
            continue
        name = each.field_info.name
        known = {_plain(spelled) for spelled in names} | {name, keys.get(name)}
        flags.append(
            VerbFlag(
                name,
                names,
                bool(each.parameter.allow_leading_hyphen),
                _is_path(each.hint),
                frozenset(filter(None, known)),
                each.parameter.help or "",
                _shown_default(each),
            )
        )
    return flags


def _is_path(kind: Any) -> bool:
    return kind is Path or any(map(_is_path, typing.get_args(kind)))


def _keys(command: Callable[..., Any]) -> dict[str, str]:
    """Name of a flag -> key of the setting that it stands for."""
    from unspoken.cli.flags import Options

    hints = filter(inspect.isclass, typing.get_type_hints(command).values())
    groups = [kind for kind in hints if issubclass(kind, Options)]
    return {name: flag.key for group in groups for name, flag in group.flags.items() if flag.key}


def _shown_default(argument: Any) -> str | None:
    shown: Any = argument.parameter.show_default
    if callable(shown):
        return str(shown(None))
    value = argument.field_info.default
    hidden = shown is False or value in (None, inspect.Parameter.empty)
    return None if hidden else str(value)


def with_known_flags(tokens: Sequence[str], flags: Iterable[VerbFlag]) -> list[str]:
    """`--num-train=3` as `--num_train=3`: both spellings of a flag are one.

    What is no flag of the verb stays as it is, and so does the value of a flag that takes dashes.
    """
    known = {name: flag for flag in flags for name in flag.names}
    result: list[str] = []
    is_value = False
    for token in tokens:
        name, equals, value = token.partition("=")
        flag = known.get(f"--{_plain(name)}") if token.startswith("--") else None
        if is_value or flag is None:
            result.append(token)
            is_value = False
        else:
            result.append(f"--{_plain(name)}{equals}{value}")
            is_value = flag.takes_dashes and not equals
    return result


def require_paths(words: Sequence[str], flags: Iterable[VerbFlag]) -> None:
    """Refuses a path that is empty, which would be the working directory.

    Args:
        words: that call a verb, as `with_known_flags` returned them.
        flags: of the verb.

    Raises:
        SettingError: a flag that takes a path was given nothing.
    """
    known = {name: flag for flag in flags if flag.is_path for name in flag.names}
    for word, after in itertools.pairwise([*words, " "]):
        name, equals, value = word.partition("=")
        if name in known and not (value if equals else after):
            raise SettingError(
                known[name].name,
                found="nothing",
                needed="a path",
                remedy="set the variable that it came from; the working directory is a dot",
            )


def places_of(verb: App) -> frozenset[str]:
    """The names of a verb's arguments that are given by their place alone, such as ask's model."""
    if verb.default_command is None:
        return frozenset()
    arguments = verb.assemble_argument_collection(parse_docstring=True)
    return frozenset(
        each.field_info.name
        for each in arguments
        if not any(name.startswith("--") for name in each.names)
    )


def spelling_of(
    flags: Iterable[VerbFlag], typed: Sequence[str], places: Collection[str] = ()
) -> Spelling:
    """How a verb with these flags, called with these words, spells settings.

    Args:
        flags: of the verb.
        typed: its words, as the user typed them.
        places: names of its arguments that have no flag; their value is told as it was typed.
    """
    known = {setting: flag for flag in flags for setting in flag.settings}
    overrides = {word.partition("=")[0] for word in typed if "=" in word}
    words = dict(typed_flags(typed))

    def spell(name: str, value: str | None) -> str:
        flag = known.get(name)
        if flag is None:
            return _without_flag(name, value, places)
        as_typed = [words[each] for each in flag.names if each in words]
        if not as_typed and name in overrides:
            return as_key(name, value)
        spelled = (as_typed or flag.names)[0]
        return spelled if value in (None, "true") else f"{spelled} {one_word(value)}"

    return spell


def _without_flag(name: str, value: str | None, places: Collection[str]) -> str:
    """A setting that is no flag: as a recipe's key, or the value that was typed in its place."""
    return as_key(name, value) if value is None or name not in places else one_word(value)


def typed_flags(typed: Iterable[str]) -> list[tuple[str, str]]:
    """The flags among the words, as the verb names them and as typed: --num_train, --num-train."""
    words = [word.partition("=")[0] for word in typed if word.startswith("--")]
    return [(f"--{_plain(word)}", word) for word in words]


def _plain(name: str) -> str:
    """`--num-train` as `num_train`."""
    return name.lstrip("-").replace("-", "_")
