"""Two files of predictions, paired by question.

That is done on disk, so that files of any length take the same memory. Standard library only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unspoken.common.disk_tables import disk_tables, text_key
from unspoken.common.errors import DataError, one_word, setting
from unspoken.common.files import AnyPath
from unspoken.data.jsonl import read_jsonl, require_text
from unspoken.measure.paired import Judged, Paired, Pairs
from unspoken.recipe.evaluation_records import Evaluation
from unspoken.recipe.layout import (
    EVALUATION_FILE,
    FRONTIER,
    INTERNALIZED,
    LEVEL,
    LEVELS,
    MODELS,
    PREDICTIONS_FILE,
    RECIPE_FILE,
    STAGE_FILE,
)
from unspoken.recipe.named_model import command_to_finish, find_model, find_run, last_phase
from unspoken.recipe.records import TrainingRecord


@dataclass(frozen=True)
class Comparison:
    """What `unspoken compare` finds.

    Attributes:
        first, second: the files.
        num_only_in_first, num_only_in_second: questions that stand in one file only.
        num_ungraded: questions in both that have no gold answer in one; they are left out.
        num_other_gold: those whose gold answers differ, so that verdicts do not compare; likewise.
        overall: all questions that both files have judged.
        categories: those of each category, where there are some.
    """

    first: str
    second: str
    num_only_in_first: int
    num_only_in_second: int
    num_ungraded: int
    num_other_gold: int
    overall: Paired
    categories: dict[str, Paired]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


_PREDICTIONS = (
    "CREATE TABLE {} (line INTEGER PRIMARY KEY, key BLOB UNIQUE, correct INTEGER, tokens, "
    "category TEXT, gold TEXT)"
)
_MAX_EXACT = 2**53


def compare_predictions(first: AnyPath, second: AnyPath) -> Comparison:
    """The two files' predictions, paired by question.

    Args:
        first, second: files of predictions, or folders that hold one, see `predictions_file`.

    Raises:
        DataError: for a file that is missing or has other lines, a question that stands in a file
            twice, and files that have no judged question in common.
    """
    paths = predictions_file(first), predictions_file(second)
    with disk_tables(_PREDICTIONS.format("first"), _PREDICTIONS.format("second")) as tables:
        num_first, num_second = (
            _store(path, table, tables)
            for path, table in zip(paths, ("first", "second"), strict=True)
        )
        overall, categories = Pairs(), dict[str, Pairs]()
        num_common = 0
        for one, other in _common(tables):
            num_common += 1
            if overall.add(one, other) and (category := one.category or other.category):
                categories.setdefault(category, Pairs()).add(one, other)
    if not num_common:
        raise DataError(
            f"{paths[1]}: found none of the {num_first:,} questions of {paths[0]}; needed: "
            "predictions for the same questions; name two files of one test set"
        )
    if not overall.num_questions and overall.num_other_gold:
        raise DataError(
            f"{paths[1]}: found another gold answer than in {paths[0]} to each of the "
            f"{overall.num_other_gold:,} questions that both have judged; needed: predictions "
            "for one test set; judge both against the same answers with unspoken score"
        )
    if not overall.num_questions:
        raise DataError(
            f"{paths[0]}: found no gold answer for any of the {num_common:,} questions that "
            f"{paths[1]} has, too; needed: questions with answers; ask them again with an "
            "input that has the field 'answer'"
        )
    return Comparison(
        first=str(paths[0]),
        second=str(paths[1]),
        num_only_in_first=num_first - num_common,
        num_only_in_second=num_second - num_common,
        num_ungraded=overall.num_ungraded,
        num_other_gold=overall.num_other_gold,
        overall=overall.paired(),
        categories={category: pairs.paired() for category, pairs in categories.items()},
    )


def predictions_file(path: AnyPath) -> Path:
    """The file of predictions: `path` itself, or the one in that folder.

    In a run folder it is the internalized model's; in the folder of one of its models that
    model's own, which `RUN:NAME` stands for, too. Of several phases, the last one counts.

    Raises:
        DataError: there is no such run, or the folder holds none, or several.
        ModelError: the run has no model of this name.
    """
    path = Path(path)
    if not path.exists() and ":" in path.name:
        path = _folder_of_model(path)
    if not path.is_dir():
        return path
    inside, is_run = path, (path / RECIPE_FILE).is_file()
    if (path / INTERNALIZED).is_dir():
        inside = last_phase(path, INTERNALIZED) if is_run else path / INTERNALIZED
    found = sorted(inside.rglob(PREDICTIONS_FILE))
    if not found and is_run:
        raise DataError(
            f"{path}: the run has not measured its model; needed: {PREDICTIONS_FILE} in "
            f"{inside}; finish it first: {command_to_finish(path)}"
        )
    if len(found) != 1:
        names = ", ".join(str(each.relative_to(path)) for each in found) or f"no {PREDICTIONS_FILE}"
        raise DataError(
            f"{path}: found {names} in this folder; needed: one file of predictions; name the file"
        )
    return found[0]


def _folder_of_model(path: Path) -> Path:
    """Where the predictions of `RUN:NAME` stand; some models that are measured have no folder."""
    name = path.name.rpartition(":")[2]
    if name in MODELS:
        measured = last_phase(find_run(path), name)
        if (measured / PREDICTIONS_FILE).is_file():
            return measured
    model = find_model(path)
    if model.run is None:
        return path
    folder = _tested(Path(model.source), model.run)
    if not (folder / PREDICTIONS_FILE).is_file():
        asked = f"--model {one_word(str(path))} --input QUESTIONS.jsonl --output ANSWERS.jsonl"
        raise DataError(
            f"{path}: this model has not answered the run's test questions; needed: its "
            f"predictions; have them with unspoken evaluate {asked}, and compare that file"
        )
    return folder


def _tested(model: Path, run: Path) -> Path:
    """Where the predictions of a run's model for the test questions stand, if there are some.

    Those of a level of removal are the finished model's, if it is of that level, or in the
    frontier, if it was chosen from this very training.
    """
    training = model.parent
    if training.name != LEVELS:
        return training
    training, level = training.parent, model.name.removeprefix(LEVEL)
    record = TrainingRecord.read(training / STAGE_FILE)
    if record is None or record.level == level:
        return training
    chosen = last_phase(run, FRONTIER) / level
    test = Evaluation.read(chosen / EVALUATION_FILE)
    is_of_this = test and test.settings.get("training_sha256") == record.model_sha256
    return chosen if is_of_this else model


def _store(path: Path, table: str, tables: sqlite3.Connection) -> int:
    """Reads a file of predictions into a table, and returns how many there are."""
    count = 0
    for line, record in read_jsonl(path):
        where = f"{path}:{line}"
        question = require_text(record, "question", where)
        key = text_key(question)
        seen = tables.execute(f"SELECT line FROM {table} WHERE key = ?", (key,)).fetchone()
        if seen:
            raise DataError(
                f"{where}: question: found one that stands in line {seen[0]} already; "
                "needed: one answer to each question; ask again without "
                f'{setting("num_samples")}, or keep only the lines with "sample": 0'
            )
        if "correct" not in record:
            raise DataError(
                f"{where}: correct: missing; needed: judged predictions, as unspoken evaluate "
                f"writes them; judge these with unspoken score --input {one_word(str(path))} "
                "--output JUDGED.jsonl"
            )
        if record["correct"] not in (True, False, None):
            raise DataError(
                f"{where}: correct: found {str(record['correct'])[:60]!r}; needed: true, false or "
                "null; correct it, or judge the file again with unspoken score"
            )
        correct, category = record["correct"], record.get("category")
        values = (line, key, correct, _number(record, "num_tokens"))
        texts = map(_text, (category, record.get("gold")))
        tables.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", (*values, *texts))
        count += 1
    return count


def _common(tables: sqlite3.Connection) -> Iterator[tuple[Judged, Judged]]:
    """Yields what both files have of each question that is in both, in the first one's order."""
    rows = tables.execute(
        "SELECT a.correct, a.tokens, a.category, a.gold, b.correct, b.tokens, b.category, b.gold "
        "FROM first AS a CROSS JOIN second AS b ON a.key = b.key ORDER BY a.line"
    )
    for row in rows:
        yield Judged(*row[:4]), Judged(*row[4:])


def _text(value: Any) -> str | None:
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _number(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    return value if isinstance(value, int | float) and abs(value) <= _MAX_EXACT else None
