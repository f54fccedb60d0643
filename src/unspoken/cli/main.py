"""The command line: one verb is called, and errors are told in its words, in one line each."""

from __future__ import annotations

import atexit
import codecs
import contextlib
import functools
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence

from cyclopts.exceptions import CycloptsError, UnknownCommandError

from unspoken.cli.mistakes import explain_words
from unspoken.cli.output import drop_output, open_output
from unspoken.cli.spelling import (
    VerbFlag,
    flags_of,
    places_of,
    require_paths,
    spelling_of,
    with_known_flags,
)
from unspoken.cli.verbs import application, calls_no_verb, find_verb, verb_of
from unspoken.common.errors import SettingError, Spelling, UnspokenError, as_key, shorten
from unspoken.common.interrupt import EXIT_INTERRUPTED, remember_signal
from unspoken.common.out_of_memory import amount_asked_for, is_out_of_memory
from unspoken.common.places import is_full_disk, place_error

#: Exit status for everything that the user can mend.
EXIT_USER_ERROR = 2
#: Columns below which rich, which draws the help, has no place for a word; with two it never ends.
_FEWEST_COLUMNS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0, 2 for what the user can mend, 75 when stopped by a signal."""
    atexit.register(gc.freeze)  # Python's end would look for garbage in all of torch, and again
    open_output()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if verb_of(words) is None or not _is_launched():
        _run(words)
        return
    status: object = 0
    try:
        _run(words)
    except SystemExit as end:
        status = end.code
    # Python's own end runs into threads of torch's process groups now and then, and aborts; the
    # launcher would take that for this process' failure.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def call(words: Sequence[str]) -> None:
    """Calls the verb with its flags; errors come as they are, in the verb's words.

    Raises:
        UnspokenError: of the verb.
        CycloptsError: there is no such verb or flag.
    """
    if calls_no_verb(words):  # Cyclopts 4, which Python 3.10 has, takes a verb in other letters
        raise UnknownCommandError(unused_tokens=list(words))
    verb = verb_of(words)
    app = application([] if verb is None else [verb])
    if verb is not None:
        words = with_known_flags(words, _flags(verb))
        require_paths(words, _flags(verb))
    app(list(words), exit_on_error=False, print_error=False)


@functools.cache
def _flags(verb: str) -> list[VerbFlag]:
    """The flags of a verb, which are asked for again where there is an error to tell."""
    return flags_of(find_verb(application([verb]), verb))


def _forget_no_width() -> None:
    """Takes a COLUMNS=0, as some tools set it where they do not know, for no width at all."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) < _FEWEST_COLUMNS:
        del os.environ["COLUMNS"]


def _require_folder() -> None:
    """Ends where the working directory is gone: transformers does not even load without one."""
    try:
        os.getcwd()  # noqa: PTH109  (Path.cwd() is the same)
    except OSError as error:
        _fail(
            f"the working directory cannot be used ({os.strerror(error.errno or 0)}); needed: one "
            "that is there; it was removed or made anew: cd into it again, or into another"
        )


def _run(words: Sequence[str]) -> None:
    _forget_no_width()
    if verb_of(words) is not None:
        _require_folder()
    with contextlib.suppress(ValueError):  # not the main thread: whoever owns it decides
        signal.signal(signal.SIGTERM, _stop)
    try:
        call(words)
        sys.stdout.flush()  # a full disk is an error of the verb
    except CycloptsError as error:
        refused = _refused_by_type(error)
        if refused is not None:
            _fail(refused.told(_spelling(words)))
        _fail(_explained(error, words))
    except UnspokenError as error:
        _fail(error.told(_spelling(words)))
    except BrokenPipeError:
        drop_output()
        sys.exit(1)
    except (OSError, UnicodeEncodeError, MemoryError, RuntimeError) as error:
        told = _told(error, words)
        if told is None:  # of a network, or a fault of the code
            raise
        _fail(told)
    except KeyboardInterrupt:
        sys.exit(130)


def _told(error: Exception, words: Sequence[str]) -> str | None:
    """What an error of the system says to who can mend it; None where nobody can."""
    if isinstance(error, OSError):
        return _told_place(error, words)
    if isinstance(error, UnicodeEncodeError):
        return _told_signs(error)
    if not is_out_of_memory(error):
        return None
    return (
        f"memory ran out ({amount_asked_for(error)}); needed: more of it, or less at once: a "
        "smaller batch, a smaller file or a smaller model; files that were written are kept"
    )


def _told_signs(error: UnicodeEncodeError) -> str | None:
    """The same of signs that the locale lacks; where it has all of them, the code is at fault."""
    names_in = sys.getfilesystemencoding()
    if codecs.lookup(names_in).name == "utf-8":
        return None
    around = shorten(error.object[max(0, error.start - 20) : error.end + 20])
    return (
        f"{around}: found signs that this locale does not have (names of files are {names_in} in "
        "it); needed: UTF-8; set PYTHONUTF8=1, or LC_ALL to a locale such as C.UTF-8"
    )


def _told_place(error: OSError, words: Sequence[str]) -> str | None:
    """The same of a place that cannot be written: a file, or standard output, which has no name."""
    other = ""
    is_unnamed = not error.filename and is_full_disk(error)
    # unbuffered, what could not be written is gone: an empty line is tried in its place
    if _drop_output("\n" if is_unnamed else "") and not error.filename:
        error.filename, other = "standard output", "send it elsewhere"
    refused = place_error(error, other=other) if error.filename or is_full_disk(error) else None
    return refused and refused.told(_spelling(words))


def _drop_output(more: str) -> bool:
    """Whether what was printed cannot be written; if so it goes, or Python's end would tell it."""
    try:
        sys.stdout.write(more)
        sys.stdout.flush()
    except OSError:
        drop_output()
        return True
    return False


def _spelling(words: Sequence[str]) -> Spelling:
    """How settings are spelled to who typed these words."""
    verb = verb_of(words)
    if verb is None:
        return as_key
    return spelling_of(_flags(verb), words, places_of(find_verb(application([verb]), verb)))


def _explained(error: CycloptsError, words: Sequence[str]) -> str:
    """What is wrong with the words, and where to read on."""
    verb = verb_of(words)
    told = explain_words(error, words, _flags(verb) if verb else [])
    return f"{told} Try: unspoken {f'{verb} ' if verb else ''}--help"


def _refused_by_type(error: CycloptsError) -> SettingError | None:
    """The setting whose value pydantic refused, where an option group is one of its dataclasses."""
    from pydantic import ValidationError

    from unspoken.common.settings import setting_error

    cause, group = error.__cause__, error.argument and error.argument.hint
    if not isinstance(cause, ValidationError) or not hasattr(group, "__pydantic_fields__"):
        return None
    refused = setting_error(group, cause)
    if not isinstance(refused, SettingError):
        raise refused
    return refused


def _stop(number: int, frame: object) -> None:
    """What has no checkpoint of its own ends at once; its files are whole or not there."""
    remember_signal(number)
    print("stopped by a signal; the same command goes on, or begins again", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


def _fail(message: str) -> None:
    from unspoken.parallel.world import is_main_process

    if not is_main_process():  # the first says it for all, and the launcher ends them
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(1)
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


def _is_launched() -> bool:
    from unspoken.parallel.world import read_world

    return read_world().is_launched


if __name__ == "__main__":
    main()
