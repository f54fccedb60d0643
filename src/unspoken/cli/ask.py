"""`unspoken ask`: a model's answers as people read them, to one question or at a prompt."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unspoken.cli.options import AskFlags, Flag
from unspoken.cli.output import waiting
from unspoken.common.errors import DataError, SettingError, UnspokenError
from unspoken.common.libraries import import_model_classes
from unspoken.models.local import local_folder
from unspoken.recipe.named_model import find_model

if TYPE_CHECKING:
    from unspoken.measure.ask import LoadedModel

_HISTORY = "history"
_MOST_LINES = 1_000


def ask(
    model: str,
    /,
    *question: Annotated[str, Parameter(allow_leading_hyphen=True)],
    both: Flag = False,
    raw: Flag = False,
    how: Annotated[AskFlags, Parameter(name="*")] = AskFlags(),  # noqa: B008
) -> None:
    """Ask a model a question, or several at a prompt.

    Questions are written as people write them, such as 123*45, and put into the form that the
    model learned; so are its answers. Into a pipe goes the answer alone.

    Parameters
    ----------
    model
        a run (its internalized model), RUN:explicit, RUN:level-7, RUN:teacher, RUN:no_cot, a model
        folder, a GGUF file or a model that was downloaded
    question
        in quotes where it holds a star or a space; without one there is a prompt to type at, with
        a history; from a pipe, every line is a question
    both
        show the model that writes its thought beside the one that does not, as they write
    raw
        put the question as it stands, and print what the model wrote as it stands
    """
    names = _both(model) if both else [model]
    for name in names:  # before torch is there: a wrong name is told at once
        local_folder(find_model(name).source)

    def load() -> list[LoadedModel]:
        import_model_classes()
        from unspoken.measure.ask import load

        asked = {**how.values(), "template": how.template}
        return [load(name, **asked, local_files_only=True) for name in names]

    if question:
        _answer(_loaded(load), " ".join(question), raw=raw)
    elif sys.stdin.isatty():
        _talk(load, ", ".join(names), raw=raw)
    else:
        _answer_lines(_loaded(load), raw=raw)


def _answer_lines(models: list[LoadedModel], *, raw: bool) -> None:
    """Answers the lines of standard input that are not blank.

    One that cannot be answered is told with its number, and the others are; the exit status is 2.
    """
    failed = False
    for number, line in enumerate(sys.stdin, 1):
        try:
            if line.strip():
                _answer(models, line.strip(), raw=raw)
        except UnspokenError as error:
            failed = True
            print(f"error: standard input:{number}: {error.told(_as_flag)}", file=sys.stderr)
    if failed:
        sys.exit(2)


def _as_text(typed: str) -> str:
    """What was typed or piped, as UTF-8 where the locale has fewer signs than that.

    Python keeps each byte that it has no sign for as a half of a surrogate pair.

    Raises:
        DataError: these bytes are not UTF-8.
    """
    try:
        return typed.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        raise DataError(
            "found bytes that are not UTF-8; needed: UTF-8; convert it, such as with iconv"
        ) from None


def _both(model: str) -> list[str]:
    """The names of the model that writes its thought, and of the other one."""
    named = find_model(model)
    if named.run is None:
        raise SettingError(
            "both",
            found=f"it with {model}, which is of no run",
            needed="a run, which has a model that writes its thought and one that does not",
            remedy="name one, such as runs/quickstart, or leave it out",
        )
    explicit = f"{named.run}:explicit"
    is_explicit = find_model(explicit).source == named.source
    return [explicit, f"{named.run}:internalized" if is_explicit else model]


def _loaded(load: Callable[[], list[LoadedModel]]) -> list[LoadedModel]:
    """The models, with a line for who waits at a terminal."""
    with waiting("loading"):
        return load()


def _talk(load: Callable[[], list[LoadedModel]], title: str, *, raw: bool) -> None:
    """A prompt to type at; the model is loaded while the first question is typed."""
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load)
        print(f"{title}: type a question, Ctrl-D ends", file=sys.stderr)
        with _history():
            for line in _lines():
                try:
                    _answer(_loaded(loading.result), line, raw=raw)
                except UnspokenError as error:
                    if loading.done() and loading.exception() is not None:
                        raise
                    print(f"error: {error.told(_as_flag)}", file=sys.stderr)
                except KeyboardInterrupt:
                    print(file=sys.stderr)


def _as_flag(name: str, value: str | None) -> str:
    """A setting as the command that opened the prompt takes it."""
    return f"--{name}" if value in (None, "true") else f"--{name} {value}"


def _lines() -> Iterator[str]:
    """What is typed, until Ctrl-D."""
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            print(file=sys.stderr)
            continue
        if line:
            yield line


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Within the block, what is typed can be called back, also that of earlier times."""
    try:
        import readline

        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except (ImportError, RuntimeError):  # not on every system; no home is known of this user
        yield
        return
    file = Path(state) / "unspoken" / _HISTORY
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(_MOST_LINES)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(file)


def _answer(models: list[LoadedModel], question: str, *, raw: bool) -> None:
    """Asks, and shows what is written: as it comes at a terminal, else the answers alone."""
    from unspoken.cli.replies import show_live, show_plain
    from unspoken.measure.ask import require_answer, take_turns

    question = _as_text(question)
    alone = models[0] if len(models) == 1 else None
    if alone is not None and sys.stdout.isatty():  # where the time is shown
        alone.warm_up(question, raw=raw)
    states = (
        ([reply] for reply in alone.write(question, raw=raw))
        if alone is not None
        else take_turns(models, question, raw=raw)
    )
    titles = [model.title for model in models]
    show = show_live if sys.stdout.isatty() else show_plain
    replies = show(titles, states)
    for reply, model in zip(replies, models, strict=True):
        require_answer(reply, model)
