"""The data stage: files made, converted or taken as they are, and checked for leaks.

A user's own files are only read. What unspoken makes of them stands in the run folder's data/.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError
from unspoken.common.files import atomic_output, sha256
from unspoken.data.example import iter_examples, iter_questions
from unspoken.data.jsonl import json_line, read_jsonl, require_text
from unspoken.data.leaks import check_leaks
from unspoken.recipe import Data, Recipe, Vet


@dataclass(frozen=True)
class Splits:
    """Files of one phase, with their SHA-256.

    Attributes:
        train: examples to learn from; where a teacher is still to solve them, questions.
        valid, test: questions with answers, or None.
        hashes: split -> SHA-256, also of `teacher`.
        teacher: examples that a teacher from scratch learns from, or None.
        repeats: whether a question may stand in `train` several times, with several thoughts.
    """

    train: Path
    valid: Path | None
    test: Path | None
    hashes: dict[str, str]
    teacher: Path | None = None
    repeats: bool = False

    @property
    def asked(self) -> dict[str, Path]:
        """The files whose questions a model is measured with."""
        return {n: p for n, p in (("valid", self.valid), ("test", self.test)) if p is not None}

    def with_train(self, path: Path, digest: str, *, repeats: bool) -> Splits:
        """Splits with these questions to measure with, and other examples to learn from."""
        return replace(self, train=path, hashes={**self.hashes, "train": digest}, repeats=repeats)

    def to_json(self, run: Path) -> dict[str, Any]:
        """Plain values that `from_json` reads; files of the run folder relative to it."""
        names = ("train", "valid", "test", "teacher")
        paths = {name: getattr(self, name) for name in names}
        files = {
            name: str(path.relative_to(run) if path.is_relative_to(run) else path.absolute())
            for name, path in paths.items()
            if path is not None
        }
        return {"files": files, "sha256": self.hashes, "repeats": self.repeats}

    @staticmethod
    def from_json(values: dict[str, Any], run: Path) -> Splits:
        """What `to_json` took apart."""
        files = {name: run / path for name, path in values["files"].items()}
        return Splits(
            files["train"],
            files.get("valid"),
            files.get("test"),
            values["sha256"],
            files.get("teacher"),
            values["repeats"],
        )


def data_settings(recipe: Recipe) -> dict[str, Any]:
    """Everything that decides the files, with the hashes of those that are given."""
    data = recipe.data
    keys = {
        "multiplication": {"digits", "num_train", "num_test"},
        "arithmetic": {"difficulty", "categories", "num_train", "num_test"},
        "gsm8k": {"source", "thought"},
        "jsonl": {"train", "valid", "test", "thought"},
    }[data.task]
    keys = keys | {"task", "num_valid", "allow_leaks", "allow_empty_thoughts"}
    settings = {"seed": recipe.seed, "data": data.model_dump(mode="json", include=keys)}
    given = {"train": data.train, "valid": data.valid, "test": data.test}
    settings["sha256"] = {
        name: sha256(path, named=f"data.{name}") for name, path in given.items() if path
    }
    if recipe.teacher is None and data.task == "jsonl":
        settings["vet"] = recipe.vet.model_dump(mode="json")
    if recipe.teacher is not None:
        settings["teacher"] = {"num_train": recipe.teacher.num_train}
    return settings


def make_data(recipe: Recipe, folder: Path) -> tuple[Splits, dict[str, Any]]:
    """The files of the recipe's data, checked for leaks; and figures about them, for the report.

    Raises:
        DataError: a file cannot be used, or the splits share questions.
    """
    data = recipe.data
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Path | None]
    figures: dict[str, Any] = {}
    repeats = False
    if data.task == "jsonl":
        given = {"train": data.train, "valid": data.valid, "test": data.test}
        files = {name: path and as_jsonl(path, data, name, folder) for name, path in given.items()}
        if recipe.teacher is None and files["train"] and is_traces(files["train"]):
            repeats = True
            files["train"], figures["vetted"] = _vet(
                recipe.vet, files["train"], files["test"], folder
            )
        if files["train"] and not files["valid"] and data.num_valid and _answered(files["train"]):
            files.update(_hold_out(files["train"], folder, data.num_valid, recipe.seed))
    else:
        files = {name: folder / f"{name}.jsonl" for name in ("train", "valid", "test")}
        _make(data, recipe.seed, folder)
        if not data.num_valid:
            files["valid"] = None
    if recipe.teacher is not None and recipe.teacher.num_train is not None:
        files.update(_share(files["train"], folder, recipe.teacher.num_train))
    found = {name: path for name, path in files.items() if path is not None}
    splits = Splits(
        found["train"],
        files["valid"],
        files["test"],
        {name: sha256(path) for name, path in found.items()},
        files.get("teacher"),
        repeats,
    )
    _check_leaks(recipe, splits)
    return splits, figures


def _make(data: Data, seed: int, folder: Path) -> None:
    from unspoken.data.tasks.arithmetic import write_arithmetic
    from unspoken.data.tasks.gsm8k import write_gsm8k
    from unspoken.data.tasks.multiplication import write_multiplication

    if data.task == "multiplication":
        counts = (data.num_train, data.num_valid, data.num_test)
        write_multiplication(folder, data.digits, *counts, seed=seed, overwrite=True)
    elif data.task == "arithmetic":
        write_arithmetic(
            folder,
            num_train=data.num_train,
            num_valid=data.num_valid,
            num_test=data.num_test,
            difficulty=data.difficulty,
            categories=data.categories,
            seed=seed,
            with_thoughts=True,
            overwrite=True,
        )
    else:
        write_gsm8k(
            folder, data.source, data.thought, num_valid=data.num_valid, seed=seed, overwrite=True
        )


def is_traces(path: Path) -> bool:
    """Whether a file holds a teacher's traces: `cot` with the final answer in it, no `thought`."""
    first = next(iter(read_jsonl(path)), None)
    return first is not None and "cot" in first[1] and "thought" not in first[1]


def _answered(path: Path) -> bool:
    """Whether the questions come with gold answers, without which they cannot validate."""
    first = next(iter(read_jsonl(path)), None)
    return first is not None and "answer" in first[1]


def _vet(rules: Vet, path: Path, test: Path | None, folder: Path) -> tuple[Path, dict[str, Any]]:
    from unspoken.teach.vet import VetRules, vet_traces

    target = folder / "dataset.jsonl"
    tests = [test] if test is not None else []
    summary = vet_traces([path], target, VetRules(**rules.model_dump()), test=tests, overwrite=True)
    if not summary.num_kept:
        raise DataError(
            f"{path}: none of its {summary.num_traces} traces can be learned from (reasons in "
            f"{folder / 'rejected.jsonl'}); needed: traces that end in 'Final Answer: ...'"
        )
    return target, summary.to_json()


def _share(train: Path | None, folder: Path, count: int) -> dict[str, Path | None]:
    """The first `count` examples for a teacher from scratch; questions alone of the others."""
    if train is None:
        return {}
    parts = {"teacher": folder / "teacher.jsonl", "train": folder / "questions.jsonl"}
    total = 0
    with (
        atomic_output(parts["teacher"], overwrite=True) as examples,
        atomic_output(parts["train"], overwrite=True) as questions,
    ):
        for total, (_, record) in enumerate(read_jsonl(train), start=1):
            if total <= count:
                examples.write(json_line(record))
            else:
                record.pop("thought", None)
                questions.write(json_line(record))
    if total <= count:
        raise DataError(
            f"teacher.num_train: found {count}, but there are {total} training examples; needed: "
            "some that are left for the teacher to be asked; lower it"
        )
    return dict(parts)


def _hold_out(train: Path, folder: Path, count: int, seed: int) -> dict[str, Path | None]:
    """Splits `count` questions, at most a tenth, off a training file that came without validation.

    Which ones follows from the seed; the user's file stays as it is.
    """
    questions = [
        require_text(record, "question", f"{train}:{line}") for line, record in read_jsonl(train)
    ]
    unique = list(dict.fromkeys(questions))
    count = min(count, len(unique) // 10)
    if not count:
        return {}
    chosen = {unique[i] for i in random.Random(seed).sample(range(len(unique)), count)}
    lines = train.read_bytes().splitlines(keepends=True)  # blank ones stand at the end only
    first = {question: i for i, question in reversed(list(enumerate(questions)))}
    parts: dict[str, Path | None] = {name: folder / f"{name}.jsonl" for name in ("train", "valid")}
    for name, wanted in (("train", False), ("valid", True)):
        with atomic_output(folder / f"{name}.jsonl", overwrite=True) as file:
            for i, (raw, question) in enumerate(zip(lines, questions, strict=False)):
                if (question in chosen) == wanted and not (wanted and first[question] != i):
                    file.write(raw if raw.endswith(b"\n") else raw + b"\n")
    return parts


def as_jsonl(path: Path, data: Data, split: str, folder: Path) -> Path:
    """The file itself, or what unspoken converted it to: the paper's .txt files, raw GSM8K."""
    from unspoken.data.tasks import gsm8k, icot

    target = folder / f"given-{split}.jsonl"
    if path.suffix == ".txt":
        icot.convert(path, target, overwrite=True)
        return target
    if gsm8k.is_raw(path):
        gsm8k.convert(path, target, data.thought, overwrite=True)
        return target
    return path


def check_phases(splits: list[Splits], allow: bool) -> None:
    """One model goes through all phases: what an earlier one trains on, no later one may ask."""
    for number, later in enumerate(splits):
        for before, earlier in enumerate(splits[:number]):
            asked = {f"{name} of phase {number + 1}": path for name, path in later.asked.items()}
            questions = {name: iter_split_questions(path) for name, path in asked.items()}
            questions[f"train of phase {before + 1}"] = iter_split_questions(earlier.train)
            check_leaks(questions, allow=allow)


def _check_leaks(recipe: Recipe, splits: Splits) -> None:
    """Looks for shared questions; reads training examples as training will."""
    questions = {name: iter_split_questions(path) for name, path in splits.asked.items()}
    if recipe.teacher is None:  # a line that cannot be learned from is found here
        allow = recipe.data.allow_empty_thoughts
        train = iter_examples(splits.train, allow_empty_thought=allow, unique=not splits.repeats)
        questions["train"] = (example.question for example in train)
    # with a teacher, vetting drops the traces of questions that are asked in the test
    if splits.teacher is not None:
        questions["train of the teacher"] = iter_split_questions(splits.teacher)
    check_leaks(questions, allow=recipe.data.allow_leaks)


def iter_split_questions(path: Path) -> Iterator[str]:
    """The questions of a file in any form that unspoken reads."""
    from unspoken.data.tasks.icot import iter_lines

    examples = iter_lines(path) if path.suffix == ".txt" else iter_questions(path)
    return (example.question for example in examples)
