"""What is wrong with the words of a command line: no such verb or flag, a value of another kind."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Sequence

from cyclopts import Argument
from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from unspoken.cli.spelling import VerbFlag, flags_of, typed_flags
from unspoken.cli.verbs import PARENTS, VERBS, application, find_verb, suggest_verb, verb_of
from unspoken.common.errors import one_word, shorten
from unspoken.common.nearby import nearest_name

#: Verbs that take a recipe, whose settings are words such as train.epochs=3.
_OF_RECIPES = {"run", "check", "shard", "launch slurm", "launch sagemaker"}
#: Those that take some of them as flags, and the others so.
_OF_BOTH = {"distil", "internalize"}
#: How alike a flag of the verb is that is meant rather than another verb's of that very name.
_VERY_NEAR = 0.8
#: Flags of lm-eval and others for what is no setting of a recipe: the flag that says it here, for
#: the verbs that have that, or why there is none. Those that are settings: `COUNTERPARTS`.
_OF_OTHERS = {
    "--rank": "--r",
    "--model_args": "--model",
    "--tasks": "--input",
    "--output_path": "--output",
    "--max_gen_toks": "--max_new_tokens",
    "--apply_chat_template": "--template chat",
    "--torch_dtype": "--dtype",
    "--do_sample": "--temperature",
    "--gen_kwargs": "--temperature",
    "--overwrite_output_dir": "--overwrite",
    "--num_fewshot": "a student is asked as it was trained; unspoken generate has --few_shot",
    "--system_instruction": "a student is asked as it was trained; unspoken generate has "
    "--system_prompt",
    "--log_samples": "what it writes has every question with its answer, always",
    "--device": "a GPU is taken where there is one; CUDA_VISIBLE_DEVICES= hides it",
}
#: Flags of verbs for a single stage, and what is given to those that take a recipe.
_IN_RECIPES = {
    "--input": "a recipe's questions are given as data.task=jsonl data.train=FILE.",
    "--out_dir": "a recipe's setting is given as output=VALUE.",
    "--resume_from_checkpoint": "the same command goes on at the last checkpoint by itself.",
}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def explain_words(error: CycloptsError, words: Sequence[str], flags: Sequence[VerbFlag]) -> str:
    """What is wrong with the words themselves, as a sentence.

    Args:
        error: of reading them.
        words: as they were typed.
        flags: of the verb that they call; none where they call none.
    """
    if isinstance(error, RepeatArgumentError):
        names = next(each.names for each in flags if error.token.keyword in each.names)
        given = [typed for flag, typed in typed_flags(words) if flag in names]
        return f"{', '.join(given)}: found more than one, and they say the same; give one."
    if isinstance(error, UnknownCommandError):
        called = " ".join(words[: 2 if words[0] in PARENTS else 1])
        return f"{shorten(called)[1:-1]}: no such verb; {suggest_verb(words)}"
    verb = verb_of(words)
    if isinstance(error, UnknownOptionError) and verb:
        return _unknown_flag(verb, error.token.keyword or error.token.value, flags)
    return (_of_values(error, verb, flags) if verb else "") or str(error).strip()


def _of_values(error: CycloptsError, verb: str, flags: Sequence[VerbFlag]) -> str:
    """What is wrong with a value: of another kind, missing, or for no flag; empty: not known."""
    if isinstance(error, CoercionError) and error.token and (needed := _needed(error)):
        return f"{_name(error)}: found {shorten(error.token.value)}; needed: {needed}"
    if isinstance(error, MissingArgumentError) and error.argument and not error.argument.tokens:
        return _missing(error.argument, error.unused_tokens or [], verb, flags)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        word = shorten(error.unused_tokens[0])[1:-1]
        return f"{word}: found a word too many; needed: unspoken {verb} without it."
    return ""


def _missing(argument: Argument, left: Sequence[str], verb: str, flags: Sequence[VerbFlag]) -> str:
    """What is said of a value that is not there, and of a word that may be meant for it.

    Args:
        argument: that has no value.
        left: words that were typed and are no value of another flag's.
        verb, flags: that were called.
    """
    known = {name for flag in flags for name in flag.names}
    for word in left:
        if word.startswith("--") and word.partition("=")[0] not in known:
            return _unknown_flag(verb, word, flags)
    name, needed = _name_of(argument), "a value"
    arguments = find_verb(application([verb]), verb).assemble_argument_collection(
        parse_docstring=True
    )
    for each in arguments:
        if each.name == argument.name and each.parameter.help:
            needed = " ".join(each.parameter.help.rstrip(".").split())
    if name in left:
        return f"{name}: found nothing after it; needed: {needed}."
    if name in known and left and not left[0].startswith("--"):
        return f"{name}: missing; needed: {needed}; did you mean {name} {one_word(left[0])}?"
    return f"{name}: missing; needed: {needed}; for example: {VERBS[verb].example}."


def _unknown_flag(verb: str, typed: str, flags: Sequence[VerbFlag]) -> str:
    """What is said of a flag, with its value perhaps, that a verb does not have."""
    typed = typed.partition("=")[0]
    found = f"{shorten(typed)[1:-1]}: unspoken {verb} has no such flag"
    hint = _suggest_flag(verb, typed, flags)
    return f"{found}; {hint}" if hint else f"{found}."


def _name(error: CycloptsError) -> str:
    """The flag that an error is about as typed, or what the help calls an argument of no flag."""
    argument = error.argument
    typed = isinstance(error, CoercionError) and error.token and error.token.keyword
    if typed or argument is None:
        return typed or "a value"
    return _name_of(argument)


def _name_of(argument: Argument) -> str:
    return argument.name if argument.index is None else argument.name.lstrip("-").upper()


def _needed(error: CoercionError) -> str:
    """What the value of a flag has to be, and what to do; empty where nothing is known."""
    kind, value = error.target_type, error.token.value if error.token else ""
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    kinds = typing.get_args(kind) if is_union else (kind,)
    literals = [each for each in kinds if typing.get_origin(each) is typing.Literal]
    choices = [str(each) for literal in literals for each in typing.get_args(literal)]
    needed = [_KINDS[each] for each in kinds if each in _KINDS]
    needed += [f"one of {', '.join(choices)}"] if choices else []
    if len(needed) < len(kinds):
        return ""
    near = nearest_name(value, choices)
    return f"{', or '.join(needed)}; {f'did you mean {near}?' if near else 'correct it.'}"


def _suggest_flag(verb: str, typed: str, flags: Sequence[VerbFlag]) -> str:
    """What may be meant by a flag that a verb does not have; empty where nothing is known.

    The first that fits: what another program's flag is here, a flag that is spelled nearly so, a
    recipe's setting, other verbs that have it, a flag that is a little like it.
    """
    name = next((plain for plain, _ in typed_flags([typed])), typed)
    here = [each for flag in flags for each in flag.names]
    if meant := _of_another_program(verb, name, flags):
        return meant
    near = nearest_name(name, here, _VERY_NEAR)
    if near is not None:
        return f"did you mean {near}?"
    elsewhere = dict(_with_flag(name, verb))
    if verb in _OF_RECIPES and name in _IN_RECIPES:
        return _IN_RECIPES[name]
    if verb in _OF_RECIPES or (verb in _OF_BOTH and not elsewhere):
        keys = _keys_of(name, elsewhere.values())
        if keys:
            return f"a recipe's setting is given as {'=VALUE or '.join(keys)}=VALUE."
    if elsewhere:
        return f"{_listed(list(elsewhere))} {'has' if len(elsewhere) == 1 else 'have'} it."
    near = nearest_name(name, here)
    return f"did you mean {near}?" if near else ""


def _of_another_program(verb: str, name: str, flags: Sequence[VerbFlag]) -> str:
    """What says here what a flag of another program says; empty where nothing is known.

    Args:
        verb: that was called.
        name: of the flag, such as --num_train_epochs.
        flags: of the verb.
    """
    from unspoken.recipe.counterparts import COUNTERPARTS  # pydantic takes its time

    other = _OF_OTHERS.get(name, "--")
    if any(other.partition(" ")[0] in flag.names for flag in flags):
        return f"did you mean {other}?"
    if not other.startswith("--"):
        return f"{other}."
    meant, of_training = COUNTERPARTS.get(name.removeprefix("--")), verb in _OF_RECIPES | _OF_BOTH
    if meant is None or not (meant.key or of_training):
        return ""
    if not meant.key:
        return f"{meant.note}."
    flag = next((flag.names[0] for flag in flags if meant.key in flag.settings), "")
    if flag:
        return f"did you mean {flag}{f' {meant.value}' if meant.value else ''}{meant.remark}?"
    given = f"{meant.key}={meant.value or 'VALUE'}{meant.remark}"
    return f"a recipe's setting is given as {given}." if of_training else ""


def _with_flag(name: str, but: str) -> Iterator[tuple[str, VerbFlag]]:
    """The verbs, but one, that have a flag of this name, each with it."""
    app = application()
    for verb in VERBS:
        found = [flag for flag in flags_of(find_verb(app, verb)) if name in flag.names]
        if found and verb != but:
            yield verb, found[0]


def _keys_of(name: str, flags: Iterable[VerbFlag]) -> list[str]:
    """The keys of the recipe's settings that a flag stands for in one verb or another.

    Args:
        name: of the flag, such as --settle_steps.
        flags: of this name, as verbs have them.
    """
    from unspoken.recipe.explain import find_key
    from unspoken.recipe.whole import Recipe

    keys = {key for flag in flags for key in flag.settings if "." in key}
    other = None if keys else find_key(name.removeprefix("--"), Recipe)
    return sorted(keys) if other is None else [other]


def _listed(names: Sequence[str]) -> str:
    """Verbs as a sentence has them: unspoken a, unspoken b and unspoken c."""
    *first, last = (f"unspoken {name}" for name in names)
    return f"{', '.join(first)} and {last}" if first else last
