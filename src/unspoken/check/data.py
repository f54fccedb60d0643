"""The questions of a recipe: read from its files or, for a task, drawn as the run will draw them.

Nothing is written, apart from a folder that is gone at once: traces are vetted in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from typing_extensions import assert_never

from unspoken.common.errors import DataError, settings_of
from unspoken.common.nearby import path_remedy
from unspoken.data.example import Example, extract_gold, read_examples, read_questions
from unspoken.data.jsonl import folder_error, read_jsonl
from unspoken.data.leaks import check_leaks
from unspoken.recipe import Data, Recipe, Vet
from unspoken.recipe.layout import DATASET_FILE
from unspoken.run.data import (
    iter_split_questions,
    kind_of,
    num_held_out,
    require_choices,
    vet_rules,
)

#: Examples that a task is sampled with.
_SAMPLE = 400
#: So many are drawn as a whole, because only that shows whether there are enough.
_ALL = 50_000

#: Whose the thoughts in a sample are: those that will be learned, or the task's, which stand in
#: for a teacher's; none are there where questions come without.
Thoughts = Literal["learned", "stand-in", "none"]


@dataclass(frozen=True)
class Sample:
    """What is known of the data.

    Attributes:
        examples: training examples, in their order; of a task perhaps only some. Thoughts and
            answers that are not known are empty.
        num_train: how many training examples there will be.
        num_valid, num_test: questions to validate and test with; None: not known.
        note: for people.
        thoughts: whose the examples' thoughts are.
        files: given files whose questions models are asked.
        num_answered: of the validation questions that a training asks, those with an answer to
            compare with; None: all of them.
    """

    examples: Sequence[Example]
    num_train: int
    num_valid: int | None
    num_test: int | None
    note: str
    thoughts: Thoughts = "learned"
    files: tuple[Path, ...] = ()
    num_answered: int | None = None

    @property
    def num_asked(self) -> int | None:
        """Questions that finished models are measured with."""
        return self.num_valid if self.num_test == 0 else self.num_test


@settings_of(Data.names_in("data"))
def read_sample(recipe: Recipe) -> Sample:
    """The data of one phase.

    Raises:
        DataError: a file cannot be used, splits share questions, or there are not enough.
    """
    data = recipe.data
    if data.task == "multiplication":
        return _multiplication(data, recipe.seed)
    if data.task == "arithmetic":
        return _arithmetic(data, recipe.seed)
    if data.task == "gsm8k":
        return _gsm8k(data, recipe.seed)
    if data.task == "jsonl":
        return _files(recipe)
    assert_never(data.task)


def _multiplication(data: Data, seed: int) -> Sample:
    from unspoken.data.tasks.multiplication import examples, require_enough

    require_enough(data.digits, data.num_train, data.num_valid, data.num_test)
    some = examples(data.digits, min(_SAMPLE, data.num_train), 0, 0, seed=seed)["train"]
    sizes = ", ".join(f"{first}x{second}" for first, second in data.digits)
    return _of_task(some, data, f"multiplication {sizes}")


def _arithmetic(data: Data, seed: int) -> Sample:
    from unspoken.data.tasks.arithmetic import CATEGORIES, generate

    drawn = generate(
        data.num_train if data.num_train <= _ALL else _SAMPLE,
        min(data.num_test, _ALL),
        min(data.num_valid, _ALL),
        difficulty=data.difficulty,
        categories=data.categories,
        seed=seed,
    )
    num_categories = len(data.categories or CATEGORIES)
    what = f"arithmetic in {num_categories} categories, {data.difficulty}"
    return _of_task([question.example for question in drawn["train"]], data, what)


def _of_task(examples: Sequence[Example], data: Data, what: str) -> Sample:
    note = f"{what}, {data.num_train:,} examples{_held(data.num_valid, data.num_test)}"
    return Sample(examples, data.num_train, data.num_valid, data.num_test, note)


def _held(num_valid: int, num_test: int) -> str:
    return f"; {num_valid:,} to validate and {num_test:,} to test with"


def _gsm8k(data: Data, seed: int) -> Sample:
    from unspoken.data.tasks.gsm8k import hold_out, parse, raw_folder, read_folder

    folder = raw_folder(data.source)
    if folder is None:
        note = "GSM8K from the hub; sizes are known once it is fetched"
        return Sample([], 0, data.num_valid, None, note)
    raw, test = read_folder(folder)
    some = [parse(record, data.thought, f"{raw.place}:{line}") for line, record in raw.read()]
    train, _ = hold_out(some, data.num_valid, seed)
    num_test = sum(1 for _ in test.read())
    held = _held(data.num_valid, num_test)
    note = f"GSM8K from {folder}, {len(train):,} training examples{held}"
    return Sample(train, len(train), data.num_valid, num_test, note)


def _files(recipe: Recipe) -> Sample:
    data = recipe.data
    train, asked = _require_files(data)
    some, note = _training(recipe, train)
    questions = {
        name: list(iter_split_questions(path, strict=data.strict)) for name, path in asked.items()
    }
    check_leaks(
        {**questions, "train": (one.question for one in some)},
        allow=data.allow_leaks,
        files={**asked, "train": train},
    )
    if data.choices:
        require_choices([train, *asked.values()], data.choices)
    sizes = {name: len(those) for name, those in questions.items()}
    num_held = 0
    if "valid" not in asked and some[0].answer:  # without a gold answer nothing can validate
        num_held = num_held_out({one.question for one in some}, data.num_valid)
    if num_held:
        note += f"; {num_held:,} of them are held out for validation"
    num_valid, num_test = sizes.get("valid", num_held), sizes.get("test", 0)
    note += _describe_others(sizes, num_valid)
    is_known = recipe.teacher is None or any(one.thought for one in some)
    thoughts: Thoughts = "learned" if is_known else "none"
    count = len(some) - num_held
    answered = _num_answered(asked["valid"], recipe.train.num_valid) if "valid" in asked else None
    files = tuple(asked.values())
    return Sample(some, count, num_valid, num_test, note, thoughts, files, answered)


def _num_answered(path: Path, limit: int) -> int | None:
    """How many of the first questions of a file have an answer; None: all, as raw files have."""
    if kind_of(path) in ("icot", "gsm8k"):
        return None
    return sum(bool(one.answer) for one in read_questions(path, limit=limit))


def _describe_others(sizes: dict[str, int], num_valid: int) -> str:
    """What to say of the files beside that of the training examples."""
    note = "".join(f"; {count:,} {name} questions" for name, count in sizes.items())
    if "test" not in sizes:
        end = "validation questions are asked at the end" if num_valid else "nothing is measured"
        note += f"; no test file, so {end}"
    return note


def _require_files(data: Data) -> tuple[Path, dict[str, Path]]:
    """The training file, and those of the other splits; raises DataError where one is missing."""
    if data.train is None:
        raise DataError("data.train: missing")
    files = data.given
    for name, path in files.items():
        if path.is_dir():
            raise folder_error(f"data.{name}: {path}", path, "a file")
        if not path.is_file():
            remedy = path_remedy(path, f"correct data.{name}", Path.is_file)
            raise DataError(f"data.{name}: {path}: no such file; {remedy}")
    return files.pop("train"), files


def _training(recipe: Recipe, path: Path) -> tuple[list[Example], str]:
    """The examples of the training file, as the run will read it, and what to say of them."""
    from unspoken.data.tasks import gsm8k, icot

    data, kind = recipe.data, kind_of(path)
    if kind == "icot":
        some = list(icot.iter_lines(path))
    elif kind == "gsm8k":
        some = [gsm8k.parse(r, data.thought, f"{path}:{line}") for line, r in read_jsonl(path)]
    elif recipe.teacher is not None:
        some = _questions(path)
        return some, f"{len(some):,} questions in {path}"
    elif kind == "traces":
        return _vetted(path, recipe)
    else:
        some = read_examples(path, allow_empty_thought=data.allow_empty_thoughts)
    return some, f"{len(some):,} examples in {path}"


def _questions(path: Path) -> list[Example]:
    """What a teacher is asked, with solutions and answers where there are some."""
    from unspoken.data.questions import read_questions_from

    def text(record: dict[str, Any], *names: str) -> str:
        return next((record[name] for name in names if isinstance(record.get(name), str)), "")

    return [
        Example(
            record["question"], text(record, "thought", "cot"), extract_gold(text(record, "answer"))
        )
        for record in read_questions_from(path, may_name=False)
    ]


@settings_of(Vet.names_in("vet"))
def _vetted(path: Path, recipe: Recipe) -> tuple[list[Example], str]:
    """The given traces that the run will keep, and how many of them it will not."""
    from unspoken.teach.vet import vet_traces

    tests = [recipe.data.test] if recipe.data.test is not None else []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / DATASET_FILE
        summary = vet_traces([path], target, vet_rules(recipe), test=tests)
        if not summary.num_kept:
            reasons = ", ".join(f"{count:,} {why}" for why, count in summary.rejected.items())
            raise DataError(
                f"{path}: none of its {summary.num_traces:,} traces can be learned from ({reasons})"
                "; needed: traces that end in 'Final Answer: ...'"
            )
        some = read_examples(target, unique=False)
    note = f"{summary.num_traces:,} traces in {path}, {summary.num_kept:,} of them are kept"
    if summary.rejected:
        note += f" (not kept: {', '.join(f'{n:,} {why}' for why, n in summary.rejected.items())})"
    if summary.num_unverified:
        note += f"; {summary.num_unverified:,} have no gold answer and are kept unverified"
    return some, note
