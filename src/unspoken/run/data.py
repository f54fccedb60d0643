"""The data stage: files made, converted or taken as they are, and checked for leaks.

A user's own files are only read. What unspoken makes of them stands in the run folder's data/.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unspoken.common.errors import DataError, setting, settings_of
from unspoken.common.files import atomic_output, sha256
from unspoken.data.example import RepeatedQuestions, iter_examples, iter_questions
from unspoken.data.jsonl import (
    folder_error,
    json_line,
    kind_of_name,
    open_data,
    read_answer,
    read_jsonl,
    require_text,
    write_jsonl,
)
from unspoken.data.leaks import check_leaks
from unspoken.data.questions import read_questions_from
from unspoken.measure.grade import gold_choice
from unspoken.recipe import Data, Recipe, Vet, layout
from unspoken.recipe.records import DataRecord
from unspoken.run.folder import RunFolder

if TYPE_CHECKING:
    from unspoken.teach.vet import VetRules

#: What a user's file holds: the paper's lines, raw GSM8K, a teacher's traces, or examples or
#: questions as unspoken writes them.
FileKind = Literal["icot", "gsm8k", "traces", "unspoken"]


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
    def held_out(self) -> dict[str, Path]:
        """The files whose questions nothing may learn from, by name of the split."""
        return {n: p for n, p in (("valid", self.valid), ("test", self.test)) if p is not None}

    @property
    def measured(self) -> tuple[str, Path] | None:
        """The split that models are measured with and its file: test, else valid, else None."""
        return list(self.held_out.items())[-1] if self.held_out else None

    def with_train(self, path: Path, digest: str, *, repeats: bool) -> Splits:
        """Splits with these questions to measure with, and other examples to learn from."""
        return replace(self, train=path, hashes={**self.hashes, "train": digest}, repeats=repeats)

    def to_record(self, run: Path, vetted: dict[str, Any] | None = None) -> DataRecord:
        """What stage.json says of them; files of the run folder are named relative to it."""
        paths = {"train": self.train, "valid": self.valid, "test": self.test}
        files = {
            name: str(path.relative_to(run) if path.is_relative_to(run) else path.absolute())
            for name, path in {**paths, "teacher": self.teacher}.items()
            if path is not None
        }
        return DataRecord(files=files, sha256=self.hashes, repeats=self.repeats, vetted=vetted)

    @staticmethod
    def read(folder: Path, run: Path) -> Splits | None:
        """Those that the data stage in `folder` left; None where it is not done."""
        record = DataRecord.read(folder / layout.STAGE_FILE)
        return Splits.from_record(record, run) if record is not None and record.is_done else None

    @staticmethod
    def from_record(record: DataRecord, run: Path) -> Splits:
        """The splits that `to_record` took apart."""
        files = {name: run / path for name, path in (record.files or {}).items()}
        return Splits(
            files["train"],
            files.get("valid"),
            files.get("test"),
            record.sha256,
            files.get("teacher"),
            record.repeats,
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
    keys |= {"choices"} if data.choices else set()
    keys |= {"strict"} if data.strict else set()  # files that were taken are looked at again
    settings = {"seed": recipe.seed, "data": data.model_dump(mode="json", include=keys)}
    for name, path in data.given.items():
        if path.is_dir():
            raise folder_error(setting(f"data.{name}", path), path, "a file")
    settings["sha256"] = {
        name: sha256(path, named=f"data.{name}") for name, path in data.given.items()
    }
    if recipe.teacher is None and data.task == "jsonl":
        settings["vet"] = recipe.vet.model_dump(mode="json")
    if recipe.teacher is not None:
        settings["teacher"] = {"num_train": recipe.teacher.num_train}
    return settings


def data_stage(run: RunFolder, recipe: Recipe, folder: Path) -> Splits:
    """Makes the files of one phase, or finds them made; the main process makes them."""
    run.on_main(lambda: _refuse_own_files(recipe.data, run.path / layout.DATA))
    settings = run.on_main(lambda: data_settings(recipe))
    stage = run.open(
        "data", folder, DataRecord, settings, damage=lambda done: _damage(done, run.path)
    )

    def make() -> DataRecord:
        splits, vetted = make_data(recipe, folder, settings["sha256"])
        return stage.finish(splits.to_record(run.path, vetted))

    record = stage.done
    if record is None:
        with stage.running():
            record = run.on_main(make)
    return Splits.from_record(record, run.path)


def _damage(record: DataRecord, run: Path) -> str:
    """The first file of the run that is not as it was made; those of a user are settings."""
    for split, name in (record.files or {}).items():
        path = run / name
        if not Path(name).is_absolute() and not path.is_file():
            return f"{path} is missing"
        if not Path(name).is_absolute() and sha256(path) != record.sha256.get(split):
            return f"{path} was changed"
    return ""


def _refuse_own_files(data: Data, folder: Path) -> None:
    """Refuses files in the run's own data/, which are set aside or written over."""
    for name, path in data.given.items():
        if path.resolve().is_relative_to(folder.resolve()):
            raise DataError(
                f"{setting(f'data.{name}', path)}: lies in {folder}, which this run writes itself; "
                "needed: a file elsewhere; copy it, or choose another "
                f"{setting('output', 'FOLDER')}"
            )


@settings_of(Data.names_in("data"))
def make_data(
    recipe: Recipe, folder: Path, hashes: Mapping[str, str]
) -> tuple[Splits, dict[str, Any] | None]:
    """The files of the recipe's data, checked for leaks; and what vetting kept, if it was needed.

    Args:
        recipe: with the section data.
        folder: for the files that are made.
        hashes: SHA-256 of the files that the recipe names, by split, as in `data_settings`.

    Raises:
        DataError: a file cannot be used, or the splits share questions.
    """
    data = recipe.data
    folder.mkdir(parents=True, exist_ok=True)
    vetted = None
    if data.task == "jsonl":
        files, vetted = _take_files(recipe, folder)
    else:
        files = _make_files(data, recipe.seed, folder)
    if recipe.teacher is not None and recipe.teacher.num_train is not None:
        files.update(_share(files["train"], folder, recipe.teacher.num_train))
    found = {name: path for name, path in files.items() if path is not None}
    known = {path: hashes[name] for name, path in data.given.items() if name in hashes}
    splits = Splits(
        found["train"],
        files["valid"],
        files["test"],
        {name: known.get(path) or sha256(path) for name, path in found.items()},
        files.get("teacher"),
        repeats=vetted is not None,
    )
    _check_leaks(recipe, files, repeats=splits.repeats)
    return splits, vetted


def require_choices(files: Iterable[Path], choices: Sequence[str]) -> None:
    """Refuses gold answers that are none of the choices, before anything is trained.

    Raises:
        DataError: for the first of them, naming file:line.
    """
    for path in files:
        for place, answer in _iter_answers(path):
            gold_choice(answer, choices, f"{place}: answer")


def _iter_answers(path: Path) -> Iterator[tuple[str, str]]:
    """Yields the places of gold answers and the answers, of those that are text."""
    if kind_of_name(path) != ".jsonl":  # questions for a teacher, in a table
        found = enumerate(read_questions_from(path, may_name=False), start=1)
        places = ((f"{path}: record {number}", record) for number, record in found)
    else:
        places = ((f"{path}:{line}", record) for line, record in read_jsonl(path))
    for place, record in places:
        if answer := read_answer(record, place):
            yield place, answer


def _take_files(
    recipe: Recipe, folder: Path
) -> tuple[dict[str, Path | None], dict[str, Any] | None]:
    """The user's files as they are or converted; and what vetting kept, where they are traces."""
    data, vetted = recipe.data, None
    given = {"train": data.train, "valid": data.valid, "test": data.test}
    files = {name: path and as_jsonl(path, data, name, folder) for name, path in given.items()}
    for name in ("valid", "test"):
        path = files[name]
        if path is not None and not data.strict:
            files[name] = _without_repeated(path, layout.split_file(folder, name))
    train = files["train"]
    if train and recipe.teacher is None and kind_of(train) == "traces":
        train, vetted = _vet(vet_rules(recipe), train, files["test"], folder)
        files["train"] = train
    if data.choices:  # before some are held out, so that an error names the user's file
        require_choices(filter(None, reversed(files.values())), data.choices)
    if train and not files["valid"] and data.num_valid and _answered(train):
        # an error is to name a line of the user's file, not of what is left of it
        _check_leaks(recipe, files, repeats=vetted is not None)
        files.update(_hold_out(train, folder, data.num_valid, recipe.seed))
    return files, vetted


def _without_repeated(path: Path, target: Path) -> Path:
    """A JSONL file with every question once: itself, or what is written to `target`."""
    repeated = RepeatedQuestions(path)
    lines = set()
    for line, record in read_jsonl(path):
        read_answer(record, f"{path}:{line}")  # an error is to name the user's line
        if repeated.is_new(line, require_text(record, "question", f"{path}:{line}")):
            lines.add(line)
    if not repeated.count:
        return path
    repeated.warn()
    kept = (record for line, record in read_jsonl(path) if line in lines)
    write_jsonl(target, kept, overwrite=True)
    return target


def _make_files(data: Data, seed: int, folder: Path) -> dict[str, Path | None]:
    """The files of one of unspoken's own tasks."""
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
    elif data.task == "gsm8k":
        write_gsm8k(
            folder, data.source, data.thought, num_valid=data.num_valid, seed=seed, overwrite=True
        )
    else:
        raise AssertionError(f"task {data.task} makes no files")
    splits = ("train", "valid", "test") if data.num_valid else ("train", "test")
    return {"valid": None, **{name: layout.split_file(folder, name) for name in splits}}


def kind_of(path: Path) -> FileKind:
    """What a user's file holds, as its suffix and its first record tell."""
    from unspoken.data.tasks import gsm8k

    if kind_of_name(path) == ".txt":
        return "icot"
    if gsm8k.is_raw(path):
        return "gsm8k"
    # traces have a `cot` with the final answer in it, and no `thought`
    _, first = next(read_jsonl(path))
    return "traces" if "cot" in first and "thought" not in first else "unspoken"


def _answered(path: Path) -> bool:
    """Whether the questions come with gold answers, without which they cannot validate."""
    first = next(iter(read_jsonl(path)), None)
    return first is not None and first[1].get("answer") is not None


@settings_of(Vet.names_in("vet"))
def vet_rules(recipe: Recipe) -> VetRules:
    """The rules of vetting that a recipe sets."""
    from unspoken.teach.vet import VetRules

    return VetRules(**recipe.vet.model_dump(), choices=recipe.data.choices)


@settings_of(Vet.names_in("vet"))
def _vet(
    rules: VetRules, path: Path, test: Path | None, folder: Path
) -> tuple[Path, dict[str, Any]]:
    from unspoken.teach.vet import vet_traces

    target = folder / layout.DATASET_FILE
    tests = [test] if test is not None else []
    summary = vet_traces([path], target, rules, test=tests, overwrite=True)
    if not summary.num_kept:
        raise DataError(
            f"{path}: none of its {summary.num_traces} traces can be learned from (reasons in "
            f"{folder / layout.REJECTED_FILE}); needed: traces that end in 'Final Answer: ...'"
        )
    summary.warn()
    return target, summary.to_json()


def _share(train: Path | None, folder: Path, count: int) -> dict[str, Path | None]:
    """The first `count` examples for a teacher from scratch; questions alone of the others."""
    if train is None:
        return {}
    parts = {"teacher": folder / layout.TEACHER_FILE, "train": folder / layout.QUESTIONS_FILE}
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
    require_left_to_ask(total, count)
    return dict(parts)


def require_left_to_ask(num_train: int, num_learned: int) -> None:
    """Checks that a teacher from scratch does not learn from every example that it could be asked.

    Raises:
        DataError: it learns from all.
    """
    if num_train <= num_learned:
        raise DataError(
            f"{setting('teacher.num_train')}: found {num_learned}, but there are {num_train} "
            "training examples; needed: some that are left for the teacher to be asked; lower it"
        )


def _hold_out(train: Path, folder: Path, count: int, seed: int) -> dict[str, Path | None]:
    """Splits `count` questions, at most a tenth, off a training file that came without validation.

    Which ones follows from the seed; the user's file stays as it is.
    """
    questions = [
        require_text(record, "question", f"{train}:{line}") for line, record in read_jsonl(train)
    ]
    unique = list(dict.fromkeys(questions))
    count = num_held_out(unique, count)
    if not count:
        return {}
    chosen = {unique[i] for i in random.Random(seed).sample(range(len(unique)), count)}
    # a held out question is asked once, however often the file has it
    first = {question: i for i, question in reversed(list(enumerate(questions)))}
    asked = {first[question] for question in chosen}
    learned = {i for i, question in enumerate(questions) if question not in chosen}
    parts: dict[str, Path | None] = {}
    for name, wanted in (("train", learned), ("valid", asked)):
        parts[name] = layout.split_file(folder, name)
        with (
            open_data(train, "a file of examples") as lines,
            atomic_output(layout.split_file(folder, name), overwrite=True) as file,
        ):
            # blank lines stand at the end only, so records have the numbers of their lines
            kept = (line for number, line in enumerate(lines) if number in wanted)
            file.writelines(line.rstrip(b"\n") + b"\n" for line in kept)
    return parts


def num_held_out(questions: Collection[str], most: int) -> int:
    """How many of these different questions validate where no file does; at most a tenth."""
    return min(most, len(questions) // 10)


def as_jsonl(path: Path, data: Data, split: str, folder: Path) -> Path:
    """The file itself, or what unspoken converted it to: the paper's .txt files, raw GSM8K."""
    from unspoken.data.tasks import gsm8k, icot

    target, kind = layout.split_file(folder, f"given-{split}"), kind_of(path)
    strict = data.strict or split == "train"
    if kind == "icot":
        icot.convert(path, target, strict=strict, overwrite=True)
    elif kind == "gsm8k":
        gsm8k.convert(path, target, data.thought, strict=strict, overwrite=True)
    else:
        return path
    return target


def check_phases(splits: list[Splits], allow: bool) -> None:
    """One model goes through all phases: what an earlier one trains on, no later one may ask.

    No stage remembers what was found, so it is looked for whenever a run is started; what is done
    already may have been made by a run that this check has ended.

    Raises:
        DataError: phases share questions, and `allow` is false.
    """
    for number, later in enumerate(splits):
        for before, earlier in enumerate(splits[:number]):
            files = {f"{name} of phase {number + 1}": path for name, path in later.held_out.items()}
            questions = {name: iter_split_questions(path) for name, path in files.items()}
            train = f"train of phase {before + 1}"
            files[train] = earlier.train
            questions[train] = _learned_questions(earlier.train, unique=not earlier.repeats)
            check_leaks(questions, allow=allow, files=files)


def _check_leaks(recipe: Recipe, files: Mapping[str, Path | None], *, repeats: bool) -> None:
    """Looks for questions that splits share; reads training examples as training will.

    Args:
        recipe: what is allowed.
        files: by split.
        repeats: whether a question may stand in `train` several times.
    """
    named = {"valid": "valid", "test": "test", "teacher": "train of the teacher"}
    found = {name: path for split, name in named.items() if (path := files.get(split)) is not None}
    questions = {name: iter_split_questions(path) for name, path in found.items()}
    train = files.get("train")
    # with a teacher, vetting drops the traces of questions that are asked in the test
    if train is not None and recipe.teacher is None:  # a line that cannot be learned from is found
        allow = recipe.data.allow_empty_thoughts
        found["train"] = train
        questions["train"] = _learned_questions(
            train, unique=not repeats, allow_empty_thought=allow
        )
    check_leaks(questions, allow=recipe.data.allow_leaks, files=found)


def _learned_questions(
    train: Path, *, unique: bool, allow_empty_thought: bool = True
) -> Iterator[str]:
    """The questions of training examples, as training reads them."""
    read = iter_examples(train, allow_empty_thought=allow_empty_thought, unique=unique)
    return (example.question for example in read)


def iter_split_questions(path: Path, *, strict: bool = True) -> Iterator[str]:
    """The questions of a file in any form that unspoken reads.

    Args:
        path: the file.
        strict: as for `unique_questions`.
    """
    from unspoken.data.tasks.icot import iter_lines

    read = iter_lines if kind_of_name(path) == ".txt" else iter_questions
    return (example.question for example in read(path, strict=strict))
