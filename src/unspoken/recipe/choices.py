"""The classes that an answer may be, `data.choices`, and the line of a prompt that names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from unspoken.common.errors import DataError, shorten
from unspoken.common.settings import checked


def _as_list(value: Any) -> Any:
    """`billing,login` as two texts; a number, such as a rating, as the text that an answer is.

    An array of numpy and a column of pandas are lists, too.
    """
    if isinstance(value, set | frozenset):
        raise ValueError("a list, since prompts name the classes in their order")
    parts: Any = value.split(",") if isinstance(value, str) else value
    parts = parts.tolist() if hasattr(parts, "tolist") else parts
    if not isinstance(parts, list | tuple):
        return parts
    is_number = [isinstance(each, int | float) and not isinstance(each, bool) for each in parts]
    texts = [str(each) if is_a else each for each, is_a in zip(parts, is_number, strict=True)]
    return [" ".join(each.split()) if isinstance(each, str) else each for each in texts]


def _require_classes(labels: tuple[str, ...]) -> tuple[str, ...]:
    """At least two, none of them empty, and no two alike but for their letters' case."""
    known: set[str] = set()
    for label in labels:
        if not any(sign.isalnum() for sign in label):
            raise ValueError(f"a letter or digit in every class, which {shorten(label)} lacks")
        if label.casefold() in known:
            raise ValueError(
                f"every class once; {shorten(label)} is there twice, whatever its case"
            )
        known.add(label.casefold())
    if len(labels) < 2:
        raise ValueError("at least two classes, such as billing,login,other")
    return labels


#: Classes as people write them, in their order: a list, or one text with commas between them.
Labels = Annotated[
    tuple[str, ...],
    Field(max_length=1_000),
    BeforeValidator(_as_list),
    AfterValidator(_require_classes),
]


def make_labels(value: str | Sequence[str]) -> tuple[str, ...]:
    """The classes in a list, or in a text with commas between them; raises SettingError."""
    return _GivenLabels(value).choices  # pyright: ignore[reportArgumentType]


@checked
class _GivenLabels:
    choices: Labels


def name_choices(question: str, choices: Sequence[str] | None) -> str:
    """The question with a last line that names the choices; without choices as it stands.

    Examples:
        >>> name_choices("I cannot log in.", ("billing", "login"))
        'I cannot log in.\\nChoices: billing, login'
        >>> name_choices("2+2=", None)
        '2+2='
    """
    if not choices:
        return question
    between = " | " if any("," in label for label in choices) else ", "
    return f"{question}\nChoices: {between.join(choices)}"


def require_choice(answer: str, choices: Sequence[str], where: str) -> str:
    """The one of the choices that a gold answer is, spelled as there, whatever its case.

    Raises:
        DataError: it is none of them; `where` is the place and field that the message names.
    """
    own = " ".join(answer.split()).casefold()
    found = next((label for label in choices if label.casefold() == own), None)
    if found is None:
        raise DataError(
            f"{where}: found {shorten(answer)}; needed: one of the choices "
            f"{shorten(', '.join(choices), 200)}; correct it, or name it as a choice, too"
        )
    return found
