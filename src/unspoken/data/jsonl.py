"""JSONL files, read with exact errors and written whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from unspoken.common.errors import DataError, one_word, shorten
from unspoken.common.files import AnyPath, atomic_output, atomic_outputs, refuse_existing
from unspoken.common.nearby import nearest_name, path_remedy
from unspoken.common.version import __version__


def read_jsonl(path: AnyPath, *, allow_empty: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, record) for every line of a JSONL file.

    Args:
        path: the file.
        allow_empty: whether a file without any line is fine, too.

    Raises:
        DataError: as `read_lines`, and for a table or a line that is not a JSON object.
    """
    kind = kind_of_name(Path(path))
    if kind in _BINARY_TABLES and Path(path).is_file():
        raise _table_error(path)
    for line, text in read_lines(path, needed="one JSON object a line", allow_empty=allow_empty):
        try:
            record = json.loads(text, object_pairs_hook=unique_fields)
        except DoubleFieldError as error:
            raise DataError(f"{path}:{line}: {error}") from None
        except json.JSONDecodeError as error:
            if kind in _TEXT_TABLES and line == 1:
                raise _table_error(path) from None
            problem = error.msg.removesuffix(" at")  # as in "Unterminated string starting at"
            raise DataError(
                f"{path}:{line}: not JSON: {problem} at column {error.colno}, found "
                f"{shorten(text)}; needed: one JSON object a line; correct the line or delete it"
            ) from error
        except (ValueError, RecursionError) as error:  # endless digits, endless brackets
            raise DataError(
                f"{path}:{line}: JSON that cannot be read: {error}; needed: one JSON object a "
                "line; correct the line or delete it"
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"{path}:{line}: not an object: found {_describe(record)}; needed: one JSON object "
                'a line, such as {"question": "...", "answer": "..."}; correct the line or delete '
                "it"
            )
        yield line, record


def _table_error(path: AnyPath) -> DataError:
    table = one_word(str(path))
    return DataError(
        f"{path}: found a table; needed: a file with one JSON object a line; make one of it: "
        f"unspoken data questions --input {table} --output FILE.jsonl, or divide it for training "
        f"and test: unspoken data split --input {table} --output FOLDER"
    )


def folder_error(place: str, path: Path, needed: str) -> DataError:
    """What to say where a folder, perhaps one that `datasets` saved, is named as a data file."""
    return DataError(
        f"{place}: found a folder; needed: {needed}; name a file in that folder, or make one of a "
        f"folder that datasets reads: unspoken data questions --input {one_word(str(path))} "
        "--output FILE.jsonl"
    )


class DoubleFieldError(Exception):
    """A field that stands twice in an object; which of its values counts, nobody can tell."""


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises DoubleFieldError."""
    values = dict(pairs)
    if len(values) < len(pairs):
        times = Counter(name for name, _ in pairs)
        double = shorten(next(name for name, count in times.items() if count > 1))
        raise DoubleFieldError(
            f"found the field {double} twice in one object; needed: every field once; delete or "
            "rename one of them"
        )
    return values


def read_lines(
    path: AnyPath, *, needed: str, allow_empty: bool = False
) -> Iterator[tuple[int, str]]:
    """Yields (line number, text without its line end) for every line of a UTF-8 file.

    Lines end with LF or CRLF; a byte order mark is skipped; blank lines at the end are fine. A file
    that gzip or zstd compressed is read as if it were not.

    Args:
        path: the file.
        needed: what a line of it is, in words for the errors, such as "one JSON object a line".
        allow_empty: whether a file without any line is fine, too.

    Raises:
        DataError: for a file that is missing, is no file, cannot be opened, is empty, is not
            UTF-8, or has a blank line before its last line.
    """
    blank = 0
    line = 0
    offset = 0
    with open_data(Path(path), f"a file with {needed}") as file:
        for line, raw in enumerate(file, start=1):
            text = _decode(raw, path, line, offset)
            offset += len(raw)
            if not text.strip():
                blank = blank or line
                continue
            if blank:
                raise DataError(
                    f"{path}:{blank}: found a blank line; needed: {needed}; delete the blank line"
                )
            yield line, text
    if not allow_empty and (line == 0 or blank == 1):
        raise DataError(
            f"{path}: found an empty file; needed: {needed}, at least one; "
            "write it again or name another file"
        )


#: By the ends of their names, files that `unspoken data` makes JSONL of.
_TEXT_TABLES, _BINARY_TABLES = (".csv", ".tsv"), (".parquet", ".arrow")

#: How files begin that are no text; and what is done about it.
_NO_TEXT = {
    b"BZh": "a file that bzip2 compressed; unpack it",
    b"\xfd7zXZ": "a file that xz compressed; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"PK\x03\x04": "a ZIP archive, or a table of a spreadsheet; unpack it, or export it as CSV",
    b"PAR1": "a Parquet file; give it its name, .parquet",
    b"ARROW1": "an Arrow file; give it its name, .arrow",
    b"%PDF": "a PDF; take the text itself",
    b"SQLite format 3": "an SQLite database; export what is needed of it",
    b"\x04\x22\x4d\x18": "a file that lz4 compressed; unpack it",
    b"Rar!\x1a": "a RAR archive; unpack it",
    b"\xd0\xcf\x11\xe0": "a table of a spreadsheet; export it as CSV",
    b"\x80\x04\x95": "a file that Python pickled; export what is needed of it",
    b"\x80\x05\x95": "a file that Python pickled; export what is needed of it",
    b"\x93NUMPY": "an array of NumPy; export what is needed of it",
    b"\x89HDF": "an HDF5 file; export what is needed of it",
    b"\x89PNG": "a picture; take the text itself",
    b"FEA1": "a Feather file; save it as Parquet or CSV",
    b"ORC": "an ORC file; save it as Parquet or CSV",
    b"version https:/": "a pointer of Git LFS instead of the file; fetch it: git lfs pull",
    b"<!DOCTYPE": "a web page; download the file itself",
    b"<!doctype": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
    b"\xff\xfe": "UTF-16; save it as UTF-8, for example with iconv -f utf-16 -t utf-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8, for example with iconv -f utf-16 -t utf-8",
}
_TAR_AT, _MOST_START = 257, 262
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def kind_of_name(path: Path) -> str:
    """The end of a file's name that says what it holds, in small letters: `A.CSV.gz` is .csv."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz").removesuffix(".zst")).suffix


@contextmanager
def open_data(path: Path, needed: str) -> Iterator[BinaryIO]:
    """Opens a file of text to read its bytes, unpacked where gzip or zstd compressed it.

    Args:
        path: the file.
        needed: what it should be, for the errors.

    Raises:
        DataError: it is missing, no file, cannot be read, or is known to be something else.
    """
    if not path.exists():
        raise DataError(
            f"{path}: no such file; needed: {needed}; "
            f"{path_remedy(path, 'correct the path or make the file')}"
        )
    if path.is_dir():
        raise folder_error(str(path), path, needed)
    if not path.is_file():
        raise DataError(
            f"{path}: found something that is not a file; needed: {needed}; name a file"
        )
    try:
        file = path.open("rb")
        with file:
            start = file.read(_MOST_START)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be opened ({error.strerror}); needed: a file that you may read; "
            "correct its permissions"
        ) from error
    _refuse_no_text(start, path, needed)
    kind = "zstd" if start.startswith(_ZSTD) else "gzip" if start.startswith(_GZIP) else ""
    openers: dict[str, Any] = {"zstd": _open_zstd, "gzip": gzip.open, "": partial(open, mode="rb")}
    try:
        if kind:
            with openers[kind](path) as file:
                _refuse_no_text(file.read(_MOST_START), path, needed, kind)
        with openers[kind](path) as file:
            yield cast(BinaryIO, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: found a {kind} file that is cut off or damaged ({error}); needed: the whole "
            "file; copy it again"
        ) from None


def _refuse_no_text(start: bytes, path: Path, needed: str, packed: str = "") -> None:
    """Raises DataError where a file begins as one that is no text; `packed`: what is around it."""
    what = next((what for sign, what in _NO_TEXT.items() if start.startswith(sign)), None)
    if packed and start.startswith((_GZIP, _ZSTD)):
        what = "one that is compressed itself; unpack it once"
    if start[_TAR_AT:].startswith(b"ustar"):
        what = "a TAR archive; unpack it"
    if what is not None:
        found, _, remedy = what.partition("; ")
        around = f"a {packed} file with " if packed else ""
        raise DataError(f"{path}: found {around}{found}; needed: {needed}; {remedy}")


def _open_zstd(path: Path) -> BinaryIO:
    return io.BufferedReader(_ZstdFile(path))


class _ZstdFile(io.RawIOBase):
    """A file that zstd compressed, unpacked by Arrow, which `datasets` brings; EOFError if damaged.

    Python's own compression.zstd is there from 3.14 on only.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow

        self._unpacked: Any = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            found = self._unpacked.read(len(buffer))
        except OSError as error:
            raise EOFError(str(error)) from None
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._unpacked.close()
        super().close()


def _decode(raw: bytes, path: AnyPath, line: int, offset: int) -> str:
    body = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{line}: not UTF-8: found byte 0x{body[error.start]:02x} at byte "
            f"{error.start + 1} of the line (offset {offset + error.start} in the file); needed: "
            "UTF-8 text; save the file as UTF-8, for example with iconv -f latin1 -t utf-8"
        ) from error
    return text.removeprefix("\ufeff") if line == 1 else text


def require_text(
    record: Mapping[str, Any], field: str, where: str, *, allow_empty: bool = False
) -> str:
    """Returns the text of `record[field]`, as it stands.

    Args:
        record: one line of a JSONL file.
        field: the field that is needed.
        where: the place that the error names, such as "train.jsonl:7".
        allow_empty: whether a text without any visible character is fine, too.

    Raises:
        DataError: for a field that is missing, empty or not text.
    """
    if field not in record:
        raise DataError(_say_missing(record, field, where))
    value = record[field]
    if not isinstance(value, str):
        quoted = isinstance(value, int | float) and not isinstance(value, bool)
        remedy = f"write it as {json.dumps(json.dumps(value))}" if quoted else "write it as text"
        raise DataError(
            f"{where}: {field}: found {_describe(value)}; needed: text in quotes; {remedy}"
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: {field}: found half a character (\\u{ord(value[error.start]):04x}) at "
            f"character {error.start + 1}; needed: text that UTF-8 can hold; write the whole "
            "surrogate pair or the character itself"
        ) from error
    if not allow_empty and not any(sign.isprintable() and sign != " " for sign in value):
        found = "an empty text" if not value else "a text of blanks only"
        raise DataError(
            f"{where}: {field}: found {found}; needed: at least one visible character; "
            "fill it in or delete the line"
        )
    return value


def require_answer(record: Mapping[str, Any], where: str, field: str = "answer") -> str:
    """Returns a gold answer: a text as it stands, or a number as people write it (36, 2.5).

    Raises:
        DataError: as `require_text`.
    """
    written = number_as_text(record.get(field))
    return require_text(record, field, where) if written is None else written


def read_answer(record: Mapping[str, Any], where: str) -> str:
    """Returns the gold answer as `require_answer` does, or "" where it is missing or null.

    Raises:
        DataError: as `require_text`, for an answer that is there.
    """
    return "" if record.get("answer") is None else require_answer(record, where)


def number_as_text(value: object) -> str | None:
    """A number as people write it, 36.0 as 36; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):  # of any size, which a float could not hold
        return str(value)
    is_whole = value.is_integer() and abs(value) < _MOST_EXACT
    return str(int(value) if is_whole else value) if math.isfinite(value) else None


#: Whole numbers up to here are exact as floats.
_MOST_EXACT = 2**53


#: What others call a field, the likeliest name first.
_ELSEWHERE = {
    "question": ("problem", "prompt", "instruction", "query", "input"),
    "answer": ("gold", "target", "label", "reference", "expected", "output"),
    "gold": ("answer", "target", "label", "reference", "expected"),
    "generated": ("completion", "response", "prediction", "output", "text"),
    "cot": ("thought", "solution", "rationale", "reasoning"),
    "thought": ("cot", "solution", "rationale", "reasoning"),
}


def likely_field(field: str, names: Iterable[Any]) -> str | None:
    """Which of the fields that are there is probably meant by one that is not; None: none.

    One that is spelled nearly so, or what other data sets call it.
    """
    there = [name for name in names if isinstance(name, str)]
    usual = (nearest_name(name, there, 1.0) for name in _ELSEWHERE.get(field, ()))
    return nearest_name(field, there, 0.75) or next(filter(None, usual), nearest_name(field, there))


def _say_missing(record: Mapping[str, Any], field: str, where: str) -> str:
    meant = likely_field(field, record)
    found = ", ".join(shorten(name) for name in islice(record, 8)) or "no field at all"
    remedy = f"rename {shorten(meant)} to {field!r}" if meant else "add it"
    told = f"{where}: {field}: missing, found {found}; needed: a text field {field!r}; {remedy}"
    return told + say_chat(record)


def say_chat(record: Mapping[str, Any]) -> str:
    """What to do with a record that is a chat, for an error's end; empty for any other."""
    if not any(isinstance(record.get(name), list) for name in ("messages", "conversations")):
        return ""
    return (
        "; a chat is not read: make a question of what the user says, a thought of the reasoning "
        "and an answer of the last reply, with the lines in docs/your-data.md#chats"
    )


def _describe(value: object) -> str:
    """Returns what a JSON value is, in words for an error."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"the number {shorten(value)}"
    if isinstance(value, str):
        return f"the text {shorten(value)}"
    return "a list" if isinstance(value, list) else "an object"


def json_line(record: Mapping[str, Any]) -> bytes:
    """Returns one line of a JSONL file, with its line end."""
    try:
        return json.dumps(record, ensure_ascii=False).encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which only JSON's escapes can hold
        return json.dumps(record).encode("ascii") + b"\n"


def write_jsonl(
    path: AnyPath, records: Iterable[Mapping[str, Any]], *, overwrite: bool = False
) -> int:
    """Writes records as JSONL, whole or not at all, and returns how many there were.

    Raises:
        OutputExistsError: if the file exists and `overwrite` is false.
    """
    count = 0
    with atomic_output(path, overwrite=overwrite) as file:
        for record in records:
            file.write(json_line(record))
            count += 1
    return count


def write_dataset(
    output: AnyPath,
    splits: Mapping[str, Iterable[bytes]],
    description: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes `output`/NAME.jsonl for every split, and dataset.json that describes them.

    Either all files appear or, if anything fails on the way, none.

    Args:
        output: the folder; it is made where it is missing.
        splits: name -> pieces of the file, each a whole number of lines.
        description: what else dataset.json says, such as task, settings and seed. It is read
            after the splits are written, so a mapping filled by them is complete.
        overwrite: whether files that exist may be replaced.

    Returns:
        The content of dataset.json: the description, with `counts` (examples of each split),
        `sha256` (of each file) and the version of unspoken.

    Raises:
        OutputExistsError: if one of the files exists and `overwrite` is false.
    """
    folder = Path(output)
    card = folder / "dataset.json"
    files = {name: folder / f"{name}.jsonl" for name in splits}
    refuse_existing([*files.values(), card], overwrite=overwrite)
    counts: dict[str, int] = {}
    digests: dict[str, str] = {}
    # The card is the last to take its name: where it is, all the others are.
    with atomic_outputs([card, *files.values()], overwrite=overwrite) as (card_file, *opened):
        for (name, pieces), file in zip(splits.items(), opened, strict=True):
            digest = hashlib.sha256()
            counts[name] = 0
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                counts[name] += piece.count(b"\n")
            digests[files[name].name] = digest.hexdigest()
        content = {**description, "counts": counts, "sha256": digests, "unspoken": __version__}
        card_file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    return content
