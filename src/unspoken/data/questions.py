"""Questions from wherever they are: JSONL, other files, a folder or a Hugging Face data set.

The first step of `unspoken generate`. What comes out has one form: `question`, and where there are
any, `answer`, `id` and further fields. A GSM8K answer keeps its solution and `####`; what is
gold in it, `unspoken.data.example.extract_gold` says.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unspoken.common.errors import DataError, SettingError, setting, shorten
from unspoken.common.files import AnyPath
from unspoken.data.folder_splits import (
    BUILDERS,
    DATA_SUFFIXES,
    are_csv,
    data_files,
    files_of_splits,
    named_split,
    splits_of,
)
from unspoken.data.jsonl import (
    DoubleFieldError,
    kind_of_name,
    likely_field,
    number_as_text,
    open_data,
    read_jsonl,
    require_text,
    say_chat,
    unique_fields,
)

#: A quote that is not closed makes one cell of all the rest.
_LONGEST_CELL = 10**8
#: Between the cells of a table, and what errors call them.
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: A line that a spreadsheet may write before the names.
_NAMED_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)
#: Around a name: blanks, and signs of no width such as a second byte order mark.
_UNSEEN = string.whitespace + "\u00a0\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class _Row(NamedTuple):
    """One record as it was found, and the place that errors name.

    `typed` tells JSONL, where a text is a text, from tables, where an answer may be a number and
    every column is in every row.
    """

    where: str
    values: Mapping[str, Any]
    typed: bool = False


class Questions(list[dict[str, Any]]):
    """Questions as they were read, and where each of them stands.

    Attributes:
        places: such as "tickets.csv:7", in the order of the questions.
    """

    def __init__(self, places: Sequence[str], records: Iterable[dict[str, Any]]) -> None:
        super().__init__(records)
        self.places = places


def read_questions_from(
    source: AnyPath,
    *,
    subset: str | None = None,
    split: str = "train",
    question_field: str = "question",
    answer_field: str = "answer",
    thought_field: str = "thought",
    may_name: bool = True,
) -> Questions:
    """Reads the questions of a source, in its order.

    Args:
        source: a JSONL, JSON, CSV, TSV, Parquet or Arrow file (text also with .gz or .zst); a
            folder that `datasets.Dataset.save_to_disk` wrote or `datasets.load_dataset` reads; or a
            name on the Hugging Face hub, such as openai/gsm8k.
        subset: of a data set with several, such as main.
        split: of a folder or a data set.
        question_field: where the question stands.
        answer_field: where the gold answer stands; `answer` may be missing.
        thought_field: where the steps to it stand; `thought` may be missing.
        may_name: whether who reads an error can say which fields these are.

    Returns:
        Records with the text fields question and, where known, answer. Further fields of JSONL
        are kept as they are; of tables, texts and numbers are kept.

    Raises:
        DataError: the source is not there or cannot be read, a field is missing, or an id stands
            there twice.
        SettingError: a subset or split that the source does not have.
    """
    path = Path(source)
    if path.is_dir():
        rows = _read_folder(path, subset, split, (question_field, answer_field))
    elif (
        path.is_file()
        or kind_of_name(path) in DATA_SUFFIXES
        or not _HUB_NAME.fullmatch(str(source))
    ):
        if subset is not None or split != "train":
            name, value = ("subset", subset) if subset is not None else ("split", split)
            raise SettingError(
                name,
                found=f"{value} with {path}",
                needed="none with a single file",
                remedy="leave it out",
            )
        rows = _read_file(path)
    else:
        rows = _read_hub(str(source), subset, split)
    names = (question_field, answer_field, thought_field)
    read = [(row.where, _make_record(row, *names, may_name=may_name)) for row in rows]
    if not read:
        raise DataError(f"{source}: found no question; needed: at least one; name another source")
    questions = Questions([where for where, _ in read], (record for _, record in read))
    index_ids(questions, place_of(questions))
    return questions


def place_of(questions: Sequence[Mapping[str, Any]]) -> Callable[[int], str]:
    """Index of a question -> its place, for errors: in its file, where it was read from one."""
    if isinstance(questions, Questions):
        return questions.places.__getitem__
    return lambda index: f"questions:{index + 1}"


def index_ids(records: Iterable[Mapping[str, Any]], where: Callable[[int], str]) -> dict[str, int]:
    """Returns the index of each record by its id, which is its index where it has none.

    `where` names the place of the record with an index, for the error.

    Raises:
        DataError: two have the same.
    """
    indices: dict[str, int] = {}
    for index, record in enumerate(records):
        name = str(record.get("id", index))
        if name in indices:
            raise DataError(
                f"{where(index)}: id: found {name!r}, which question {indices[name] + 1} has, too; "
                "needed: every id once (a question without one has its index); correct it"
            )
        indices[name] = index
    return indices


def _make_record(
    row: _Row, question_field: str, answer_field: str, thought_field: str, *, may_name: bool
) -> dict[str, Any]:
    record = {"question": _require_field(row, question_field, "question_field", may_name)}
    answer = row.values.get(answer_field)
    given = answer is not None and (row.typed or answer != "")
    if given or _is_answer_missing(row, answer_field):
        record["answer"] = _require_field(row, answer_field, "answer_field", may_name)
    taken = {"question", "answer", question_field, answer_field}
    if thought_field != "thought":
        record["thought"] = _require_field(row, thought_field, "thought_field", may_name)
        taken |= {"thought", thought_field}
    for name, value in row.values.items():
        if name not in taken and (row.typed or _is_plain(value)):
            record[name] = value
    _require_writable(record, row.where)
    return {"id": record.pop("id"), **record} if "id" in record else record


def _is_answer_missing(row: _Row, answer_field: str) -> bool:
    """Whether there should be an answer: it was named, or is there by nearly its name."""
    if answer_field in row.values:
        return False
    named = answer_field != "answer"
    return named or any(str(name).strip(_UNSEEN).lower() == "answer" for name in row.values)


def _require_writable(record: Mapping[str, Any], where: str) -> None:
    """Raises DataError for what JSON does not have, and for an id that names nothing."""
    for name, value in record.items():
        try:
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError):
            raise DataError(
                f"{where}: {shorten(name)}: found {shorten(value)}, which holds what JSON does not "
                "have; needed: text, finite numbers, lists and objects; write null, or leave it out"
            ) from None
    name = record.get("id", "")
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise DataError(
            f"{where}: id: found {shorten(name)}; needed: text or a number (a question without an "
            "id has its index); correct it, or leave it out"
        )
    if isinstance(name, str) and "id" in record:
        require_text(record, "id", where)


def _require_field(row: _Row, field: str, name: str, may_name: bool) -> str:
    """Returns the text of a field; `name` is the setting that says which it is."""
    if field not in row.values:
        found = ", ".join(map(_seen, row.values)) or "none"
        meant = likely_field(field, row.values)
        such = f", such as {setting(name, meant)}" if meant else ""
        needed = f"one of them, named with {setting(name)}{such}, or a field {field!r}"
        if not may_name:
            needed = f"a field {field!r}; rename {meant or 'the one that holds it'}"
        raise DataError(
            f"{row.where}: {field}: missing; found the fields {found[:300]}; needed: {needed}"
            f"{say_chat(row.values)}"
        )
    value = row.values[field]
    written = number_as_text(value)
    if written is not None and (not row.typed or name == "answer_field"):
        return written
    return require_text(row.values, field, row.where)


def _seen(name: Any) -> str:
    """A field's name; in quotes where it begins or ends with what nobody sees."""
    return shorten(name) if _plain_name(name) != name else str(name)


def _is_plain(value: Any) -> bool:
    """Whether a value is text or a number that JSON can hold."""
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


# --- files --------------------------------------------------------------------------------------


def _read_file(path: Path) -> Iterator[_Row]:
    kind = kind_of_name(path)
    if kind in (".csv", ".tsv"):
        return _read_csv(path)
    if kind in (".parquet", ".arrow") and path.is_file():
        return _read_table(path)
    if kind == ".json" and path.is_file() and _begins_with_bracket(path):
        return _read_json(path)
    return (_Row(f"{path}:{line}", record, True) for line, record in read_jsonl(path))


def _begins_with_bracket(path: Path) -> bool:
    with open_data(path, "a JSON file") as file:
        return file.read(1_000).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _read_json(path: Path) -> Iterator[_Row]:
    try:
        with open_data(path, "a JSON file") as file:
            records = json.loads(file.read().decode("utf-8-sig"), object_pairs_hook=unique_fields)
    except DoubleFieldError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _cannot_read(path, error, "a JSON list of objects") from error
    for number, record in enumerate(records, start=1):
        where = f"{path}: object {number}"
        if not isinstance(record, dict):
            raise DataError(f"{where}: found {record!r:.60}; needed: an object; correct it")
        yield _Row(where, record, True)


def _read_csv(path: Path) -> Iterator[_Row]:
    """Cells as the text that they are: 007 is not 7, and NA is not nothing."""
    needed = "a CSV file in UTF-8 with a line of names"
    where = str(path)
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with open_data(path, needed) as file:
            lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            sign, head = _separator(lines, "\t" if kind_of_name(path) == ".tsv" else ",")
            reader = csv.reader(itertools.chain(head, lines), strict=True, delimiter=sign)
            names = [_plain_name(name) for name in next(filter(None, reader), [])]
            _require_names_once(names, f"{path}:{reader.line_num}")
            for line, cells in _cells(reader):
                where = f"{path}:{line}"
                if len(cells) != len(names):
                    raise DataError(
                        f"{where}: found {len(cells)} cells; needed: {len(names)}, as in the first "
                        f"line; put texts with {_SEPARATORS[sign]} in quotes"
                    )
                yield _Row(where, dict(zip(names, cells, strict=True)))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}, or after it: not UTF-8: found the byte 0x{error.object[error.start]:02x}; "
            f"needed: {needed}; save it as CSV UTF-8 in the spreadsheet, or convert it, for "
            "example with iconv -f windows-1252 -t utf-8"
        ) from error
    except (OSError, ValueError, csv.Error) as error:
        raise _cannot_read(f"{where}, or after it", error, needed) from error


def _plain_name(name: Any) -> Any:
    """A column's name without the blanks and the signs of no width that nobody sees around it."""
    return name.strip(_UNSEEN) if isinstance(name, str) else name


def _cells(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yields the cells of each record and its first line; rows without any text are none."""
    line = reader.line_num + 1
    for cells in reader:
        if any(map(str.strip, cells)):
            yield line, cells
        line = reader.line_num + 1


def _heads_of(paths: Sequence[Path]) -> tuple[str, set[str]]:
    """What stands between the names of all of these files, and the names as they stand there."""
    found, names = {}, set[str]()
    for path in sorted(paths):
        with open_data(path, "a CSV file") as file:
            lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            sign, head = _separator(lines, ",")
            found.setdefault(sign, path)
            reader = csv.reader(itertools.chain(head, lines), delimiter=sign)
            names.update(next(filter(None, reader), []))
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise DataError(
            f"{second}: found names with {_SEPARATORS[other]} between them; needed: "
            f"{_SEPARATORS[one]}, as in {first}; save both alike"
        )
    return next(iter(found)), names


def _separator(lines: Iterator[str], usual: str) -> tuple[str, list[str]]:
    """What stands between the most names, and the lines that were read to see it.

    Spreadsheets write semicolons where numbers have decimal commas, whatever a file is called, and
    some say so in a line before the names, `sep=;`, which becomes an empty one.
    """
    head = []
    for line in lines:
        head.append(line)
        if line.strip():
            break

    named = _NAMED_SEPARATOR.fullmatch(head[-1]) if head else None
    if named is not None:
        return named[1], [*head[:-1], "\n"]

    def num_names(sign: str) -> int:
        return max((len(names) for names in csv.reader(head[-1:], delimiter=sign)), default=1)

    return max((usual, *_SEPARATORS), key=num_names), head  # of equal ones the first, the usual


def _require_names_once(names: Sequence[str], where: str) -> None:
    """Which of two columns of one name counts, nobody can tell; nameless ones count nowhere."""
    double = [name for name, count in Counter(names).items() if count > 1 and name.strip()]
    if double:
        raise DataError(
            f"{where}: found the column {shorten(double[0])} {names.count(double[0])} times; "
            "needed: every name once; rename or delete the others"
        )


def _read_table(path: Path) -> Iterator[_Row]:
    import datasets

    kind = kind_of_name(path).removeprefix(".")
    try:
        table: Any = datasets.load_dataset(kind, data_files=str(path), split="train")
    except Exception as error:  # which one differs between versions and formats
        raise _cannot_read(path, error, f"a {kind.capitalize()} file") from error
    return _number_rows(str(path), table)


# --- folders and the hub ------------------------------------------------------------------------


def _read_folder(
    folder: Path, subset: str | None, split: str, texts: tuple[str, str]
) -> Iterator[_Row]:
    import datasets

    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    kind, options = ("", {}) if saved else _how_to_load(folder, subset, split, texts)
    try:
        if saved:
            loaded: Any = datasets.load_from_disk(str(folder))
        else:
            loaded = datasets.load_dataset(kind, subset, split=split, **options)
    except Exception as error:  # which one differs between versions and formats
        raise _cannot_read(
            folder,
            error.__cause__ or error,  # which says more than that "an error occurred"
            "a folder that datasets.load_from_disk or load_dataset reads, with this split",
            f"name a file in it, or correct {setting('subset')} and {setting('split')}",
        ) from error
    table = _pick_split(folder, loaded, subset, split) if saved else loaded
    return _number_rows(f"{folder} ({split})", table)


def _how_to_load(
    folder: Path, subset: str | None, split: str, texts: tuple[str, str]
) -> tuple[str, dict[str, Any]]:
    """What `datasets.load_dataset` is to be given first, and its options, for this split."""
    files = data_files(folder)
    splits = splits_of(folder, files) if subset is None else {}
    kind, options = str(folder), {}
    if splits:
        chosen = files_of_splits(folder, splits, split)
        files = [path for paths in chosen.values() for path in paths]
        # else names decide, and `datasets` cannot read a folder that is called "."
        kind = BUILDERS[kind_of_name(files[0])]
        options["data_files"] = {name: list(map(str, paths)) for name, paths in chosen.items()}
    return kind, options | (_as_text(files, texts) if are_csv(files) else {})


def _as_text(tables: Sequence[Path], texts: tuple[str, str]) -> dict[str, Any]:
    """Options by which `datasets` leaves cells the text that they are, as `_read_csv` does.

    Args:
        tables: CSV files with the same names in their first lines.
        texts: names of the columns that count.
    """
    for path in tables:
        next(_read_csv(path), None)  # a column that stands twice would get another name
    sign, names = _heads_of(tables)
    as_text = {name: str for name in names if _plain_name(name) in texts}
    return {"converters": as_text, "keep_default_na": False, "sep": sign}


def _pick_split(folder: Path, loaded: Any, subset: str | None, split: str) -> Any:
    """Picks the split out of what was saved to disk: one split or a dictionary of them."""
    if subset is not None:
        raise SettingError(
            "subset",
            found=f"{subset} with {folder}",
            needed="none with a folder that was saved to disk",
            remedy="leave it out",
        )
    if isinstance(loaded, dict) and split == "all":
        return itertools.chain.from_iterable(loaded.values())
    if isinstance(loaded, dict):
        return named_split(folder, loaded, split)
    if split not in ("train", "all", str(loaded.split)):
        raise SettingError(
            "split",
            found=f"{split} with {folder}",
            needed="none with a folder that was saved as a single split",
            remedy="leave it out or name another folder",
        )
    return loaded


def _read_hub(name: str, subset: str | None, split: str) -> Iterator[_Row]:
    import datasets

    try:
        loaded: Any = datasets.load_dataset(name, subset, split=split)
    except ValueError as error:  # it is there, but has no such subset or split
        raise _cannot_read(
            name,
            error,
            "one of its subsets and splits",
            f"correct {setting('subset')} and {setting('split')}",
        ) from error
    except Exception as error:  # what an unreachable hub raises differs between versions
        call = ", ".join(map(repr, [name, *([subset] if subset else [])]))
        raise _cannot_read(
            name, error, "a file, a folder, or a data set on the hub and a network",
            "correct the name; or, on a node with a network, run datasets.load_dataset"
            f"({call}).save_to_disk(FOLDER) and give that folder with {setting('split', split)}",
        ) from error  # fmt: skip
    return _number_rows(f"{name} ({split})", loaded)


def _number_rows(place: str, table: Iterable[Mapping[str, Any]]) -> Iterator[_Row]:
    for number, row in enumerate(table, start=1):
        plain = {name: _plain_name(name) for name in row}
        names = {name: name if short in row else short for name, short in plain.items()}
        yield _Row(f"{place}: row {number}", {names[name]: row[name] for name in row})


def _cannot_read(
    source: AnyPath, error: BaseException, needed: str, remedy: str = "make it again, or correct it"
) -> DataError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return DataError(f"{source}: cannot be read ({reason}); needed: {needed}; {remedy}")
