import json

import pytest

from unspoken.common.errors import DataError, OutputExistsError
from unspoken.common.files import atomic_output, refuse_existing
from unspoken.data.example import (
    Example,
    iter_examples,
    iter_questions,
    read_examples,
    write_examples,
)
from unspoken.data.jsonl import read_jsonl, read_lines, require_text, write_dataset, write_jsonl

GOOD = b'{"question": "1+1", "thought": "two", "answer": "2"}\n'


def error_of(path, content, **options):
    """Returns what reading that content says, without its folder."""
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_examples(path, **options)
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
            b'{"Qestion": "q", "thought": "t", "answer": "1"}',
            "data.jsonl:2: question: missing, found 'Qestion', 'thought', 'answer'; needed: a text "
            "field 'question'; rename 'Qestion' to 'question'",
        ),
        (
            b'{"question": "q", "thought": "t"}',
            "data.jsonl:2: answer: missing, found 'question', 'thought'; needed: a text field "
            "'answer'; add it",
        ),
        (
            b"{}",
            "data.jsonl:2: question: missing, found no field at all; needed: a text field "
            "'question'; add it",
        ),
        (
            b'{"question": "q", "thought": "t", "answer": " "}',
            "data.jsonl:2: answer: found a text of blanks only; needed: at least one visible "
            "character; fill it in or delete the line",
        ),
        (
            b'{"question": "", "thought": "t", "answer": "1"}',
            "data.jsonl:2: question: found an empty text; needed: at least one visible character; "
            "fill it in or delete the line",
        ),
        (
            b'{"question": "q", "thought": "", "answer": "1"}',
            "data.jsonl:2: thought: found an empty text; needed: at least one visible character; "
            "fill it in or delete the line",
        ),
        (
            b'{"question": "q", "thought": "t", "answer": 36}',
            'data.jsonl:2: answer: found the number 36; needed: text in quotes; write it as "36"',
        ),
        (
            b'{"question": "q", "thought": ["t"], "answer": "1"}',
            "data.jsonl:2: thought: found a list; needed: text in quotes; write it as text",
        ),
        (
            b'{"question": null, "thought": "t", "answer": "1"}',
            "data.jsonl:2: question: found null; needed: text in quotes; write it as text",
        ),
        (
            b'{"question": "q", "thought": "t", "answer": true}',
            "data.jsonl:2: answer: found true; needed: text in quotes; write it as text",
        ),
        (
            b'{"question": "q", "thought": "t", "answer": "1", "id": 7}',
            'data.jsonl:2: id: found the number 7; needed: text in quotes; write it as "7"',
        ),
        (
            b'{"question": "caf\xe9", "thought": "t", "answer": "1"}',
            "data.jsonl:2: not UTF-8: found byte 0xe9 at byte 18 of the line (offset 70 in the "
            "file); needed: UTF-8 text; save the file as UTF-8, for example with "
            "iconv -f latin1 -t utf-8",
        ),
        (
            b'{"question": "\\ud800", "thought": "t", "answer": "1"}',
            "data.jsonl:2: question: found half a character (\\ud800) at character 1; needed: text "
            "that UTF-8 can hold; write the whole surrogate pair or the character itself",
        ),
        (
            b'{"question": "1+1", "thought": "t", "answer": "2"}',
            "data.jsonl:2: question: found '1+1', which already stands in line 1; needed: every "
            "question once; delete line 2 or line 1",
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
    assert len(read_examples(path)) == 1


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
        read_examples(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"found a folder; needed: .*; name a file in that folder"):
        read_examples(tmp_path)


def test_reading_takes_cot_crlf_and_a_byte_order_mark_and_keeps_texts_as_they_are(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"question": " a  b ", "cot": "x\\ny", "answer": "1", "more": [1]}\r\n'
        b'{"id": "k", "question": "\xe2\x80\xa8c", "cot": "u", "thought": "v", "answer": "2"}'
    )
    assert read_examples(path) == [
        Example(" a  b ", "x\ny", "1"),
        Example("\u2028c", "v", "2", id="k"),
    ]


def test_an_empty_thought_is_taken_only_with_leave(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"question": "q", "thought": "", "answer": "1"}')
    assert read_examples(path, allow_empty_thought=True) == [Example("q", "", "1")]
    message = error_of(path, b'{"question": "q", "answer": "1"}', allow_empty_thought=True)
    assert ": thought: missing" in message


def test_limit_reads_no_further(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(GOOD + b"no JSON")
    assert len(read_examples(path, limit=1)) == 1
    with pytest.raises(DataError, match="found a limit of 0; needed: at least 1"):
        read_examples(path, limit=0)


def test_equal_hashes_of_different_questions_are_no_duplicates(tmp_path, monkeypatch):
    path = tmp_path / "data.jsonl"
    write_examples(path, [Example(str(number), "t", "1") for number in range(5)])
    monkeypatch.setattr("unspoken.data.example.hash", lambda _: 0, raising=False)
    assert len(list(iter_examples(path))) == 5


def test_writing_and_reading_is_the_identity(tmp_path):
    path = tmp_path / "new" / "folder" / "data.jsonl"
    examples = [Example("Größe?", 'a\nb\t"c"', "½", id="x-1"), Example("q\u2028", "", "0")]
    assert write_examples(path, examples) == 2
    assert read_examples(path, allow_empty_thought=True) == examples
    assert path.read_text("utf-8").startswith('{"id": "x-1", "question": "Größe?", "thought"')
    assert list(path.parent.iterdir()) == [path]


def test_a_category_is_kept_where_it_is_text(tmp_path):
    path = tmp_path / "data.jsonl"
    examples = [Example("q", "t", "1", category="ratios"), Example("r", "t", "2", id="7")]
    write_examples(path, examples)
    records = [record for _, record in read_jsonl(path)]
    assert [record.get("category") for record in records] == ["ratios", None]
    assert read_examples(path) == examples
    assert [example.category for example in iter_questions(path)] == ["ratios", ""]
    path.write_bytes(b'{"question": "q", "thought": "t", "answer": "1", "category": ["a", 1]}')
    assert read_examples(path) == [Example("q", "t", "1")]


def test_a_question_may_have_several_solutions_if_asked_for(tmp_path):
    path = tmp_path / "data.jsonl"
    solutions = [Example("q", "one way", "1"), Example("q", "another", "1"), Example("r", "t", "2")]
    write_examples(path, solutions)
    assert read_examples(path, unique=False) == solutions
    assert list(iter_examples(path, unique=False)) == solutions
    with pytest.raises(DataError, match="every question once"):
        read_examples(path)
    path.write_bytes(GOOD + b"no JSON")
    with pytest.raises(DataError, match="not JSON"):
        read_examples(path, unique=False)


def test_nothing_is_overwritten_without_leave(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("mine")
    for write in (
        lambda: write_examples(path, []),
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
