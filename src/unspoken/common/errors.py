"""What a user can cause. The command line prints these in one line and exits with status 2.

A message names the place, what was found, what is needed and what to do. Everything else that
goes wrong is a bug in unspoken and keeps its traceback.

A setting has one name here, whoever gives it: `temperature` is `--temperature` to one user,
`teacher.temperature` in another's recipe and an argument to a third. So messages hold settings as
`setting(name)` or `setting(name, value)`, and whoever shows a message says how they are spelled:

    f"{setting('top_p')}: found 0.9 with {setting('temperature', 0)}, which does not look at it"
    str(error)       top_p: found 0.9 with temperature=0, which does not look at it
    told(spelling)   --top_p: found 0.9 with --temperature 0, which does not look at it,
                     in the words of the verb that ran (`unspoken.cli.spelling`)

Code that passes a recipe's values on to a function says where they stand in the recipe, so that
the function's errors name the recipe's keys:

    with settings_of({"temperature": "teacher.temperature"}):
        generate_traces(...)
"""

from __future__ import annotations

import functools
import re
import reprlib
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

#: name, value or None -> how a user writes it.
Spelling = Callable[[str, "str | None"], str]

# From Unicode's private use area, which no text of a user's holds by accident.
_OPEN, _IS, _CLOSE = "\ue000", "\ue001", "\ue002"
_MOST_BITS = 10_000
_SETTING = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*?)(?:{_IS}([^{_OPEN}{_CLOSE}]*))?{_CLOSE}")


def setting(name: str, value: object = None) -> str:
    """A setting within a message, alone or with a value, to be spelled by whoever shows it.

    Args:
        name: of a function's argument, or a recipe's key such as `train.batch_size`.
        value: to name it with; True for a switch.
    """
    said = str(value).lower() if isinstance(value, bool) else value
    return f"{_OPEN}{name}{'' if said is None else f'{_IS}{said}'}{_CLOSE}"


def as_key(name: str, value: str | None) -> str:
    """As in a recipe's overrides and in Python: `name`, or `name=value`."""
    return name if value is None else f"{name}={one_word(value)}"


#: Signs in a path that a shell takes for its own.
_OF_SHELLS = frozenset("'\"`$&;|<>()\\")


def one_word(value: str) -> str:
    """A value that a user may copy into a shell: quoted where it has blanks or a shell's signs.

    Examples:
        >>> one_word("runs/7 %"), one_word("runs/größer")
        ("'runs/7 %'", 'runs/größer')
    """
    is_plain = not any(sign.isspace() or sign in _OF_SHELLS for sign in value)
    return value if is_plain else shlex.quote(value)


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 4, 30, 30, 30
        self.maxstring = self.maxlong = self.maxother = 200


def shorten(value: object, limit: int = 60) -> str:
    """A value as Python would write it: one line, and no longer than an error may be."""
    if isinstance(value, str | bytes):
        text = repr(value[: limit + 1])
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:  # Python refuses to write it
        text = f"a number of {value.bit_length():,} bits"
    else:  # what is nested is not written out before it is cut
        text = " ".join(_Short().repr(value).splitlines())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class UnspokenError(Exception):
    """Base of every error that a user can cause and mend."""

    def __str__(self) -> str:
        return self.told(as_key)

    def told(self, spelling: Spelling) -> str:
        """The message with its settings spelled as its reader writes them."""
        return _SETTING.sub(lambda found: spelling(found[1], found[2]), super().__str__())

    def rename_settings(self, names: Mapping[str, str]) -> None:
        """Gives settings other names, such as those that they have in a recipe."""

        def renamed(found: re.Match[str]) -> str:
            return setting(names.get(found[1], found[1]), found[2])

        self.args = (_SETTING.sub(renamed, super().__str__()), *self.args[1:])


class RecipeError(UnspokenError):
    """A recipe, an override or a setting that cannot be used as it stands."""


class SettingError(RecipeError):
    """A setting whose value cannot be used.

    Attributes:
        setting: its name, without any spelling.
        found, needed, remedy: what it is, what it should be, what to do; settings in them as
            `setting(...)`.
    """

    def __init__(self, name: str, *, found: object, needed: str, remedy: str) -> None:
        self.setting, self.found, self.needed, self.remedy = name, found, needed, remedy
        super().__init__(f"{setting(name)}: found {found}; needed: {needed}; {remedy}")

    def __reduce__(self) -> tuple[Callable[[str], SettingError], tuple[str]]:
        """So that it survives the way between two processes."""
        rest = {"found": self.found, "needed": self.needed, "remedy": self.remedy}
        return functools.partial(SettingError, **rest), (self.setting,)

    def rename_settings(self, names: Mapping[str, str]) -> None:
        """Gives settings other names; `setting` follows."""
        self.setting = names.get(self.setting, self.setting)
        super().rename_settings(names)


class DataError(UnspokenError):
    """A data file that cannot be read as it stands: names file:line and field."""


class ModelError(UnspokenError):
    """A model or tokenizer that is missing or does not fit what is asked of it."""


class PlaceError(DataError):
    """A place that cannot be written to, or read: full, of another user, read-only."""


class OutputExistsError(UnspokenError):
    """A file or folder that would be overwritten; the setting `overwrite` allows it."""


class TrainingError(UnspokenError):
    """A training run that had to stop, such as a loss that became NaN."""


@contextmanager
def settings_of(names: Mapping[str, str]) -> Iterator[None]:
    """Errors that leave the block name settings as `names` has them; others keep their names."""
    try:
        yield
    except UnspokenError as error:
        error.rename_settings(names)
        raise
