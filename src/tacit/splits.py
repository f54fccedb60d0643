"""The data stage: files made, converted or taken as they are, and checked for leaks.

A user's own files are only read. What tacit makes of them stands in the run folder's data/.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.atomic import atomic_output, write_text
from tacit.dataset import file_hash
from tacit.example import iter_examples, iter_questions
from tacit.leaks import check_leaks
from tacit.recipe import Data, Recipe


@dataclass(frozen=True)
class Splits:
    """Files of one phase, with their SHA-256."""

    train: Path
    valid: Path | None
    test: Path | None
    hashes: dict[str, str]

    @property
    def asked(self) -> dict[str, Path]:
        """The files whose questions a model is measured with."""
        return {n: p for n, p in (("valid", self.valid), ("test", self.test)) if p is not None}


def make_data(recipe: Recipe, folder: Path) -> Splits:
    """The files of the recipe's data, made if they are not there; checked for leaks.

    Raises:
        DataError: a file cannot be used, or the splits share questions.
    """
    data = recipe.data
    if data.task == "jsonl":
        given = {"train": data.train, "valid": data.valid, "test": data.test}
        files = {name: path and as_jsonl(path, data, name, folder) for name, path in given.items()}
        if files["train"] and not files["valid"]:
            files.update(_hold_out(files["train"], folder, data.num_valid, recipe.seed))
    else:
        files = {name: folder / f"{name}.jsonl" for name in ("train", "valid", "test")}
        _make_once(data, recipe.seed, folder)
    given = {name: path for name, path in files.items() if path is not None}
    hashes = {name: file_hash(path) for name, path in given.items()}
    _check_leaks(
        given,
        hashes,
        folder,
        allow_leaks=data.allow_leaks,
        allow_empty_thoughts=data.allow_empty_thoughts,
    )
    return Splits(files["train"], files["valid"], files["test"], hashes)  # pyright: ignore


def _make_once(data: Data, seed: int, folder: Path) -> None:
    """Makes the task's files unless they were made from the same settings."""
    from tacit.tasks.gsm8k import write_gsm8k
    from tacit.tasks.multiplication import write_multiplication

    wanted = _data_settings(data, seed)
    made = folder / "made_from.json"
    if made.exists() and json.loads(made.read_text()) == wanted:
        return
    if data.task == "multiplication":
        counts = (data.num_train, data.num_valid, data.num_test)
        write_multiplication(folder, data.digits, *counts, seed=seed, overwrite=True)
    else:
        write_gsm8k(
            folder, data.source, data.thought, num_valid=data.num_valid, seed=seed, overwrite=True
        )
    write_text(made, json.dumps(wanted))


def _hold_out(train: Path, folder: Path, count: int, seed: int) -> dict[str, Path | None]:
    """Splits `count` examples, at most a tenth, off a training file that came without validation.

    Which ones follows from the seed; the user's file stays as it is.
    """
    lines = [raw for raw in train.read_bytes().splitlines(keepends=True) if raw.strip()]
    count = min(count, len(lines) // 10)
    if not count:
        return {}
    chosen = set(random.Random(seed).sample(range(len(lines)), count))
    parts: dict[str, Path | None] = {}
    for name, wanted in (("train", False), ("valid", True)):
        parts[name] = folder / f"{name}.jsonl"
        with atomic_output(folder / f"{name}.jsonl", overwrite=True) as file:
            for i, raw in enumerate(lines):
                if (i in chosen) == wanted:
                    file.write(raw if raw.endswith(b"\n") else raw + b"\n")
    return parts


def as_jsonl(path: Path, data: Data, split: str, folder: Path) -> Path:
    """The file itself, or what tacit converted it to: the paper's .txt files, raw GSM8K."""
    from tacit.tasks import gsm8k, icot

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


def _data_settings(data: Data, seed: int) -> dict[str, Any]:
    keys = {"task", "num_valid"}
    keys |= {"digits", "num_train", "num_test"} if data.task == "multiplication" else set()
    keys |= {"source", "thought"} if data.task == "gsm8k" else set()
    return {**data.model_dump(mode="json", include=keys), "seed": seed}


def _check_leaks(
    files: dict[str, Path],
    hashes: dict[str, str],
    folder: Path,
    *,
    allow_leaks: bool,
    allow_empty_thoughts: bool,
) -> None:
    """Looks for shared questions once per set of files; a million examples take a while."""
    passed = folder / "leaks_checked.json"
    if passed.exists() and json.loads(passed.read_text()) == hashes:
        return
    questions = {name: iter_split_questions(path) for name, path in files.items()}
    # read as training will read it: a line that cannot be learned from is found here
    train = iter_examples(files["train"], allow_empty_thought=allow_empty_thoughts)
    questions["train"] = (example.question for example in train)
    check_leaks(questions, allow=allow_leaks)
    if not allow_leaks:
        write_text(passed, json.dumps(hashes))


def iter_split_questions(path: Path) -> Iterator[str]:
    """The questions of a file in any form that tacit reads."""
    from tacit.tasks.icot import iter_lines

    examples = iter_lines(path) if path.suffix == ".txt" else iter_questions(path)
    return (example.question for example in examples)
