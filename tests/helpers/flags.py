"""Every flag of every verb, as tests/cli/flags.txt has them; run this file to write them there."""

from __future__ import annotations

from collections.abc import Iterator

from helpers.paths import ROOT
from unspoken.cli.spelling import VerbFlag, flags_of, with_known_flags
from unspoken.cli.verbs import VERBS, application, find_verb, verb_of

FILE = ROOT / "tests" / "cli" / "flags.txt"


def all_flags() -> Iterator[tuple[str, VerbFlag]]:
    """Yields verb and flag."""
    app = application()
    for verb in VERBS:
        for flag in flags_of(find_verb(app, verb)):
            yield verb, flag


def flag_lines() -> list[str]:
    """A line for each flag: verb, its names, and the default that the help shows."""
    return [
        f"{verb}: {' '.join(flag.names)}{'' if flag.default is None else f' = {flag.default}'}"
        for verb, flag in all_flags()
    ]


def require_words(words: list[str]) -> None:
    """Reads a verb and its flags as the command line does; raises CycloptsError, calls nothing."""
    verb = verb_of(words)
    assert verb is not None, words
    app = application([verb])
    words = with_known_flags(words, flags_of(find_verb(app, verb)))
    app.parse_args(words, exit_on_error=False, print_error=False)


if __name__ == "__main__":
    FILE.write_text("\n".join(flag_lines()) + "\n", encoding="utf-8")
