import json

import pytest

from unspoken.common.errors import DataError, OutputExistsError
from unspoken.common.files import atomic_output, refuse_existing
from unspoken.data.jsonl import read_jsonl, read_lines, require_text, write_dataset, write_jsonl

GOOD = b'{"question": "1+1", "thought": "two", "answer": "2"}\n'


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
    with pytest.raises(DataError, match="cannot be written"):
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
