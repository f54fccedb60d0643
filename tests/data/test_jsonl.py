import bz2
import gzip
import json
import lzma
import math
import shlex
from pathlib import Path

import pyarrow
import pytest

from unspoken.common.errors import DataError, OutputExistsError
from unspoken.common.files import atomic_output, refuse_existing
from unspoken.data.jsonl import (
    open_data,
    read_jsonl,
    read_lines,
    require_answer,
    require_text,
    write_dataset,
    write_jsonl,
)

GOOD = b'{"question": "1+1", "thought": "two", "answer": "2"}\n'


def zipped(content: bytes) -> bytes:
    """The same bytes in every second: parameters name a test, alike in all workers."""
    return gzip.compress(content, mtime=0)


def error_of(path, content):
    """Returns what reading that content says, without its folder."""
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_jsonl(path))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.replace(str(path), path.name)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            b'{"question": "q" "answer": "1"}',
            "data.jsonl:2: not JSON: Expecting ',' delimiter at column 18, found "
            '\'{"question": "q" "answer": "1"}\'; needed: one JSON object a line; correct the line '
            "or delete it",
        ),
        (
            b'{"question": "q',
            "data.jsonl:2: not JSON: Unterminated string starting at column 14, found "
            '\'{"question": "q\'; needed: one JSON object a line; correct the line or delete it',
        ),
        (
            b'["q", "t", "a"]',
            "data.jsonl:2: not an object: found a list; needed: one JSON object a line, such as "
            '{"question": "...", "answer": "..."}; correct the line or delete it',
        ),
        (
            b"17",
            "data.jsonl:2: not an object: found the number 17; needed: one JSON object a line, "
            'such as {"question": "...", "answer": "..."}; correct the line or delete it',
        ),
        (
            b'{"question": "caf\xe9", "thought": "t", "answer": "1"}',
            "data.jsonl:2: not UTF-8: found byte 0xe9 at byte 18 of the line (offset 70 in the "
            "file); needed: UTF-8 text; save the file as UTF-8, for example with "
            "iconv -f latin1 -t utf-8",
        ),
    ],
)
def test_a_bad_line_is_one_exact_error(tmp_path, line, message):
    assert error_of(tmp_path / "data.jsonl", GOOD + line + b"\n") == message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"question,answer\n1+1,2\n"),
        ("t.tsv", b"question\tanswer\n"),
        ("t.CSV.gz", gzip.compress(b"question,answer\n1+1,2\n", mtime=0)),
        ("t.parquet", b"PAR1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_is_told_how_to_become_jsonl(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    told = r"found a table; needed: .*: unspoken data questions --input .* unspoken data split "
    with pytest.raises(DataError, match=told):
        list(read_jsonl(tmp_path / name))


def test_commands_in_errors_name_a_path_with_blanks_as_one_word(tmp_path):
    table, folder = tmp_path / "a b.csv", tmp_path / "a b"
    table.write_text("question,answer\n1+1,2\n")
    folder.mkdir()
    for path in (table, folder):
        with pytest.raises(DataError) as caught:
            list(read_jsonl(path))
        command = str(caught.value).rpartition("data questions ")[2]
        assert shlex.split(command)[:2] == ["--input", str(path)]


def test_jsonl_may_have_the_name_of_a_table(tmp_path):
    (tmp_path / "t.csv").write_text('{"question": "1+1"}\n')
    assert list(read_jsonl(tmp_path / "t.csv")) == [(1, {"question": "1+1"})]


def test_json_that_python_cannot_hold_is_an_error_of_its_line(tmp_path):
    for text in (b"[" * 100_000, b'{"answer": ' + b"9" * 5000 + b"}"):
        assert error_of(tmp_path / "data.jsonl", GOOD + text).startswith("data.jsonl:2: JSON that")


def test_long_content_is_cut_in_errors(tmp_path):
    message = error_of(tmp_path / "data.jsonl", GOOD + b"x" * 10_000)
    assert len(message) < 250


def test_blank_lines_are_an_error_but_for_the_end(tmp_path):
    path = tmp_path / "data.jsonl"
    message = error_of(path, GOOD + b"\n  \n" + GOOD)
    assert message == (
        "data.jsonl:2: found a blank line; needed: one JSON object a line; delete the blank line"
    )
    path.write_bytes(GOOD + b"\n\n")
    assert len(list(read_jsonl(path))) == 1


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\n"])
def test_an_empty_file_is_an_error_unless_allowed(tmp_path, content):
    path = tmp_path / "data.jsonl"
    assert error_of(path, content) == (
        "data.jsonl: found an empty file; needed: one JSON object a line, at least one; write it "
        "again or name another file"
    )
    assert list(read_jsonl(path, allow_empty=True)) == []


def test_a_missing_file_and_a_folder_are_errors(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: no such file; needed: .*; correct the path"):
        list(read_jsonl(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match=r"found a folder; needed: .*; name a file in that folder"):
        list(read_jsonl(tmp_path))
    with pytest.raises(DataError, match=rf"unspoken data questions --input {tmp_path} --output"):
        list(read_jsonl(tmp_path))


def test_nothing_is_overwritten_without_leave(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("mine")
    for write in (
        lambda: write_jsonl(path, []),
        lambda: refuse_existing([path]),
        lambda: write_dataset(tmp_path, {"data": [b"{}\n"]}, {}),
    ):
        with pytest.raises(OutputExistsError, match=r"data\.jsonl: exists already.*overwrite=true"):
            write()
    assert path.read_text() == "mine"
    write_jsonl(path, [{"a": 1}], overwrite=True)
    assert path.read_text() == '{"a": 1}\n'


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("old")

    def records():
        yield {"a": 1}
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_jsonl(path, records(), overwrite=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="found a file; needed: a folder"):
        write_jsonl(tmp_path / "file" / "data.jsonl", [])
    with (
        pytest.raises(DataError, match="found a folder; needed: the name of a file"),
        atomic_output(tmp_path, overwrite=True),
    ):
        pass


def test_a_dataset_appears_whole_or_not_at_all(tmp_path):
    def broken():
        yield b"{}\n"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_dataset(tmp_path / "a", {"train": [b"{}\n"], "test": broken()}, {"task": "t"})
    assert list((tmp_path / "a").iterdir()) == []
    content = write_dataset(
        tmp_path / "a", {"train": [b"{}\n{}\n", b"{}\n"], "test": [b"{}\n"]}, {"task": "t"}
    )
    assert content["counts"] == {"train": 3, "test": 1}
    assert content["sha256"]["test.jsonl"].startswith("ca3d163bab055381827226140568f3bef7eaac1")
    assert json.loads((tmp_path / "a" / "dataset.json").read_text()) == content


def test_read_lines_ends_lines_only_at_line_feeds(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("a\x0bb\u2028c\r\nd \n".encode())
    assert list(read_lines(path, needed="lines")) == [(1, "a\x0bb\u2028c"), (2, "d ")]


def test_require_text_allows_empty_text_only_with_leave():
    assert require_text({"a": ""}, "a", "here", allow_empty=True) == ""
    with pytest.raises(DataError, match="here: a: found an empty text"):
        require_text({"a": ""}, "a", "here")


def test_a_file_that_gzip_compressed_is_read_as_if_it_were_not(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (2, {"a": 2})]
    other = path.rename(tmp_path / "data.jsonl")  # by what it holds, not by its name
    assert [record["a"] for _, record in read_jsonl(other)] == [1, 2]


@pytest.mark.parametrize("damage", ["cut", "changed", "head"])
def test_a_damaged_gzip_file_is_told(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(b"".join(b'{"a": %d}\n' % i for i in range(5_000)))
    path = tmp_path / "data.jsonl.gz"
    damaged = {
        "cut": whole[:-50],
        "changed": whole[:200] + bytes(50) + whole[250:],
        "head": whole[:5],
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=r"data.jsonl.gz: found a gzip file that is cut off or dam"):
        list(read_jsonl(path))


def zstd(content: bytes) -> bytes:
    return pyarrow.Codec("zstd").compress(content).to_pybytes()


@pytest.mark.parametrize("parts", [1, 2])  # files may be joined as they are
def test_a_file_that_zstd_compressed_is_read_as_if_it_were_not(tmp_path: Path, parts: int) -> None:
    path = tmp_path / "data.jsonl.zst"
    path.write_bytes(zstd(b"".join(b'{"a": %d}\n' % i for i in range(50_000))) * parts)
    assert [record["a"] for _, record in read_jsonl(path)] == [*range(50_000)] * parts
    other = path.rename(tmp_path / "data.jsonl")  # by what it holds, not by its name
    with open_data(other, "a file of lines") as file:
        assert file.read(10) == b'{"a": 0}\n{'


@pytest.mark.parametrize("damage", ["cut", "changed", "head"])
def test_a_damaged_zstd_file_is_told(tmp_path: Path, damage: str) -> None:
    whole = zstd(b"".join(b'{"a": %d}\n' % i for i in range(5_000)))
    changed = whole[:8] + b"\xff" * 20 + whole[28:]
    damaged = {"cut": whole[:-50], "changed": changed, "head": whole[:5]}
    path = tmp_path / "data.jsonl.zst"
    path.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=r"l.zst: found a zstd file that is cut off or damaged"):
        list(read_jsonl(path))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (36, "36"),
        (36.0, "36"),
        (-2.5, "-2.5"),
        (1e300, "1e+300"),
        (10**400, f"1{400 * '0'}"),
        (" a", " a"),
    ],
)
def test_a_number_is_an_answer_as_people_write_it(value: object, text: str) -> None:
    assert require_answer({"answer": value}, "here") == text


@pytest.mark.parametrize("value", [True, None, [3], math.nan, math.inf, ""])
def test_what_is_neither_text_nor_a_number_is_no_answer(value: object) -> None:
    with pytest.raises(DataError, match="here: gold: found"):
        require_answer({"gold": value}, "here", "gold")


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (bz2.compress(b"x"), "a file that bzip2 compressed; needed: .*; unpack it"),
        (lzma.compress(b"x"), "a file that xz compressed"),
        (b"\x28\xb5\x2f\xfd\x00", "a zstd file that is cut off or damaged .*; copy it again"),
        (b"PK\x03\x04\x14\x00", "a ZIP archive, or a table of a spreadsheet"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"ARROW1\x00\x00", "an Arrow file"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x04\x22\x4d\x18abcd", "a file that lz4 compressed"),
        (b"Rar!\x1a\x07\x00", "a RAR archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a table of a spreadsheet"),
        (b"\x80\x04\x95\x00", "a file that Python pickled"),
        (b"\x93NUMPY\x01", "an array of NumPy"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS .*git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"a".ljust(257, b"\0") + b"ustar", "a TAR archive"),
        (zipped(zipped(b"{}")), "a gzip file with one that is compressed itself"),
        (zipped(b"PK\x03\x04\x14"), "a gzip file with a ZIP archive"),
        (zipped("{}".encode("utf-16")), "a gzip file with UTF-16"),
        (zipped(b"a".ljust(257, b"\0") + b"ustar"), "a gzip file with a TAR archive"),
        (b"SQLite format 3\x00", "an SQLite database"),
        ('{"a": 1}\n'.encode("utf-16"), "UTF-16; needed: .*iconv -f utf-16"),
    ],
)
def test_what_is_no_text_is_called_what_it_is(tmp_path: Path, start: bytes, found: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(start)
    with pytest.raises(DataError, match=f"data.jsonl: found {found}"):
        list(read_jsonl(path))


def test_a_field_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\n{"question": "q", "answer": "1", "answer": "2"}\n')
    with pytest.raises(DataError, match=r"data.jsonl:2: found the field 'answer' twice in one"):
        list(read_jsonl(path))


@pytest.mark.parametrize(
    "value", ["", " ", "\t\n", "\0", "\u200b", "\ufeff", "\u2028", "\u00ad\x1b"]
)
def test_a_text_that_nobody_sees_is_none(value: str) -> None:
    with pytest.raises(DataError, match="needed: at least one visible character"):
        require_text({"question": value}, "question", "here")
    assert require_text({"question": f"{value}x"}, "question", "here") == f"{value}x"


def test_a_chat_is_told_what_to_make_of_it():
    chat = {"messages": [{"role": "user", "content": "1+1?"}]}
    with pytest.raises(DataError, match=r"missing, found .messages.; .*your-data.md#chat"):
        require_text(chat, "question", "a.jsonl:1")
