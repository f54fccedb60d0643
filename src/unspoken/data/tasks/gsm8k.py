"""GSM8K: grade-school word problems, from the raw files or from the hub.

A raw record has a `question` and an `answer`: the solution in sentences, in which a calculator
mark such as `<<48/2=24>>` follows each formula, and a last line `#### 72`. The thought of an
example is either the marks alone (`equations`, as in arXiv 2405.14838) or the sentences without
the marks (`sentences`).

About one solution in eighty has no mark at all. There the authors leave the thought empty; here
the equations that the solution spells out are put into marks, and where it spells out none, its
sentences are the thought. dataset.json counts all three (`thoughts_from`).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from unspoken.common.errors import DataError, SettingError, setting
from unspoken.common.files import AnyPath, refuse_existing
from unspoken.data.example import Example, unique_questions, write_examples
from unspoken.data.jsonl import json_line, read_jsonl, require_text, write_dataset
from unspoken.recipe.sections import SIZES

Style: TypeAlias = Literal["equations", "sentences"]

HUB_NAME = "openai/gsm8k"

_MARK = re.compile(r"<<[^<>]*>>")

# An equation in running text: numbers ($5, 1,000, 1 000, .5, 20%) and one-letter unknowns, joined
# by signs and brackets, with at least one equals sign.
_NUMBER = r"\$?(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d+(?:\.\d+)?|\.\d+)%?"
_UNKNOWN = r"(?:[b-zA-HJ-Z]|[aI](?! [A-Za-z]))(?![A-Za-z'’])"
_TERM = rf"(?:{_NUMBER}(?:{_UNKNOWN})?|(?<![A-Za-z]){_UNKNOWN})"
_TIMES = r" x (?=[\dA-Z$(])"
_FACTOR = rf"-?(?:[(\[] ?)*{_TERM}(?: ?[)\]])*"
_SIGN = rf"(?: ?[-+*/×] ?|{_TIMES}|(?=[(\[])|(?<=[)\]]))"
_SIDE = rf"{_FACTOR}(?:{_SIGN}{_FACTOR})*"
_EQUATION = re.compile(rf"{_SIDE}(?: ?= ?{_SIDE})+")


def parse(
    record: Mapping[str, Any], style: Style = "equations", where: str = "GSM8K record"
) -> Example:
    """Returns the example of a raw record.

    Args:
        record: has the text fields `question` and `answer`.
        style: what the thought is: `equations` or `sentences`.
        where: the place that an error names, such as "train.jsonl:7".

    Raises:
        DataError: for a missing, empty or wrong field, and an answer without `#### N`.
    """
    return _parse(record, style, where)[0]


def _parse(record: Mapping[str, Any], style: Style, where: str) -> tuple[Example, str]:
    """Returns the example and what its thought was made from."""
    question = require_text(record, "question", where)
    solution, marker, answer = require_text(record, "answer", where).rpartition("####")
    answer = answer.replace(",", "").strip()
    if not marker or not answer:
        raise DataError(
            f"{where}: answer: found {'nothing after' if marker else 'no'} '####'; needed: a "
            "solution whose last line is '#### N'; correct the answer or delete the line"
        )
    thought, source = sentences(solution), "sentences"
    if style == "equations":
        thought, source = equations(solution)
    if not thought:
        raise DataError(
            f"{where}: answer: found no solution before '####'; needed: at least one step; "
            "write it or delete the line"
        )
    return Example(question, thought, answer), source


def is_raw(path: AnyPath) -> bool:
    """Whether the first record of a JSONL file is a raw one: an answer with `####`, no thought."""
    _, record = next(read_jsonl(path))
    answer = record.get("answer")
    return isinstance(answer, str) and "####" in answer and not {"thought", "cot"} & record.keys()


def convert(
    input: AnyPath,
    output: AnyPath,
    style: Style = "equations",
    *,
    strict: bool = True,
    overwrite: bool = False,
) -> int:
    """Writes the examples of one raw file as JSONL and returns how many there are.

    `strict` is that of `unique_questions`.

    Raises:
        DataError: as `parse`, naming file and line.
        OutputExistsError: if `output` exists and `overwrite` is false.
    """

    def numbered() -> Iterator[tuple[int, Example]]:
        for line, record in read_jsonl(input):
            yield line, parse(record, style, f"{input}:{line}")

    examples = unique_questions(input, numbered, strict=strict)
    return write_examples(output, examples, overwrite=overwrite)


def sentences(solution: str) -> str:
    """Returns the solution without its calculator marks and empty lines."""
    lines = (line.strip() for line in _MARK.sub("", solution).splitlines())
    return "\n".join(line for line in lines if line)


def equations(solution: str) -> tuple[str, str]:
    """Returns the equations of a solution, each in `<<` `>>`, and where they were found.

    The second value is `marks`; or `text` for a solution without marks that spells equations
    out; or `sentences` for one that does not: then its sentences stand in.

    Examples:
        >>> equations("He sold 48/2 = <<48/2=24>>24 clips.")
        ('<<48/2=24>>', 'marks')
        >>> equations("Half of them: 22(.50) = 11 cows, so $1,000 x 2 = $2,000.")
        ('<<22(.50)=11>> <<1000*2=2000>>', 'text')
    """
    marks = _MARK.findall(solution)
    if marks:
        return " ".join(marks), "marks"
    spelled = [
        f"<<{_tidy(match[0])}>>"
        for match in _EQUATION.finditer(solution)
        if _stands_alone(match, solution)
    ]
    return (" ".join(spelled), "text") if spelled else (sentences(solution), "sentences")


def _stands_alone(match: re.Match[str], text: str) -> bool:
    """Tells an equation from a piece cut out of a larger one, or out of times and fractions."""
    before, after = text[: match.start()], text[match.end() :]
    if re.search(r"(?:[\w.]|\d[: ]|[-+*/×] ?)\Z", before) or re.match(
        r" ?[-+*/×(\[\d]|:\d|\w", after
    ):
        return False
    if match[0].startswith("-") and re.search(r"\w \Z", before):
        return False
    return all(match[0].count(a) == match[0].count(b) for a, b in ("()", "[]"))


def _tidy(equation: str) -> str:
    equation = re.sub(rf"{_TIMES}|×", "*", equation)
    equation = re.sub(r"(?<=\d)[, ](?=\d{3})", "", equation)
    return re.sub(r"[\s$]", "", equation).replace("[", "(").replace("]", ")")


def write_gsm8k(
    output: AnyPath,
    source: AnyPath | None = None,
    thought: Style = "equations",
    *,
    num_valid: int = SIZES["gsm8k"]["num_valid"],
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes train.jsonl, valid.jsonl, test.jsonl and dataset.json, and returns the latter.

    GSM8K has no validation set: `num_valid` examples, chosen by the seed, are taken out of train.
    All examples keep their order, and ids name the line they came from (`train-17`).

    Args:
        output: the folder to write.
        source: a folder with the raw train.jsonl and test.jsonl; none, or "openai/gsm8k", for the
            hub.
        thought: what the thought is: `equations` or `sentences`.
        num_valid: how many training examples validate instead.
        seed: chooses them.
        overwrite: whether files that exist may be replaced.

    Raises:
        DataError: for records that cannot be read, a question that occurs twice in a file, and a
            hub that cannot be reached.
        SettingError: for a setting that cannot be.
        OutputExistsError: if one of the files exists and `overwrite` is false.
    """
    if thought not in get_args(Style):
        raise SettingError(
            "thought", found=repr(thought), needed=" or ".join(get_args(Style)), remedy="choose one"
        )
    names = ("train.jsonl", "valid.jsonl", "test.jsonl", "dataset.json")
    refuse_existing([Path(output) / name for name in names], overwrite=overwrite)
    made_from: dict[str, str] = {}
    folder = raw_folder(source)
    raw = _read_hub() if folder is None else read_folder(folder)
    training, test = (
        list(unique_questions(split.place, partial(_number_examples, split, thought, made_from)))
        for split in raw
    )
    train, valid = hold_out(training, num_valid, seed)
    splits = {"train": train, "valid": valid, "test": test}
    description = {
        "task": "gsm8k",
        "settings": {"source": str(source or HUB_NAME), "style": thought, "num_valid": num_valid},
        "seed": seed,
        "thoughts_from": {
            split: dict(Counter(made_from[example.id] for example in examples))
            for split, examples in splits.items()
        },
    }
    pieces = {
        split: (json_line(example.to_record()) for example in examples)
        for split, examples in splits.items()
    }
    return write_dataset(output, pieces, description, overwrite=overwrite)


def raw_folder(source: AnyPath | None) -> Path | None:
    """The folder that a source names; None where GSM8K comes from the hub."""
    return None if source is None or str(source) == HUB_NAME else Path(source)


def hold_out(
    training: list[Example], num_valid: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """Returns the examples that stay and the ones that validate, both in their order.

    Raises:
        SettingError: there are not so many.
    """
    if not 0 <= num_valid < len(training):
        raise SettingError(
            "num_valid",
            found=num_valid,
            needed=f"0 to {len(training) - 1}, as there are {len(training)} training examples",
            remedy="choose another number",
        )
    chosen = set(random.Random(seed).sample(range(len(training)), num_valid))
    return (
        [example for index, example in enumerate(training) if index not in chosen],
        [example for index, example in enumerate(training) if index in chosen],
    )


class RawSplit(NamedTuple):
    """One raw split: its name, the place that errors name, and what reads it from the start."""

    split: str
    place: str
    read: Callable[[], Iterator[tuple[int, Mapping[str, Any]]]]


def _number_examples(
    raw: RawSplit, style: Style, made_from: dict[str, str]
) -> Iterator[tuple[int, Example]]:
    """Yields (line number, example), and notes under its id what its thought was made from."""
    for line, record in raw.read():
        example, source = _parse(record, style, f"{raw.place}:{line}")
        name = f"{raw.split}-{line}"
        made_from[name] = source
        yield line, replace(example, id=name)


def read_folder(folder: Path) -> tuple[RawSplit, RawSplit]:
    """The raw training and test split in a folder; raises DataError where there is none."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; needed: a folder with the raw train.jsonl and test.jsonl, "
            f"or {HUB_NAME} for the hub; correct {setting('source')}"
        )
    train, test = folder / "train.jsonl", folder / "test.jsonl"
    return (
        RawSplit("train", str(train), partial(read_jsonl, train)),
        RawSplit("test", str(test), partial(read_jsonl, test)),
    )


def _read_hub() -> tuple[RawSplit, RawSplit]:
    import datasets

    try:
        loaded: Any = datasets.load_dataset(HUB_NAME, "main")
    except Exception as error:  # what an unreachable hub raises differs between versions
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(
            f"{HUB_NAME}: cannot be loaded from the hub ({reason}); needed: a network or a copy in "
            "the Hugging Face cache; download the raw train.jsonl and test.jsonl where there is a "
            f"network and give their folder with {setting('source')}"
        ) from error
    return (
        RawSplit("train", f"{HUB_NAME}/train", lambda: enumerate(loaded["train"], start=1)),
        RawSplit("test", f"{HUB_NAME}/test", lambda: enumerate(loaded["test"], start=1)),
    )
