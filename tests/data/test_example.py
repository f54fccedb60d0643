import json
from pathlib import Path

import pytest

from unspoken.common.errors import DataError, OutputExistsError
from unspoken.data.example import (
    Example,
    iter_examples,
    iter_questions,
    read_examples,
    read_questions,
    write_examples,
)
from unspoken.data.jsonl import read_jsonl
from unspoken.data.questions import read_questions_from

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
            b'{"Qestion": "q", "thought": "t", "answer": "1"}',
            "data.jsonl:2: question: missing, found 'Qestion', 'thought', 'answer'; needed: a text "
            "field 'question'; rename 'Qestion' to 'question'",
        ),
        (
            b'{"Problem": "q", "solution": "t"}',
            "data.jsonl:2: question: missing, found 'Problem', 'solution'; needed: a text field "
            "'question'; rename 'Problem' to 'question'",
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
            b'{"question": "q", "thought": 36, "answer": "36"}',
            'data.jsonl:2: thought: found the number 36; needed: text in quotes; write it as "36"',
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


def test_what_is_no_line_of_a_jsonl_file_is_an_error_of_reading(tmp_path):
    path = tmp_path / "data.jsonl"
    assert error_of(path, GOOD + b"no JSON").startswith("data.jsonl:2: not JSON")
    assert error_of(path, b"").startswith("data.jsonl: found an empty file")
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        read_examples(tmp_path / "none.jsonl")


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
    with pytest.raises(OutputExistsError, match=r"data\.jsonl: exists already.*overwrite=true"):
        write_examples(path, [])
    assert path.read_text() == "mine"


def test_questions_keep_their_thoughts_where_that_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "valid.jsonl"
    lines = [
        {"question": "1+1", "thought": "one more", "answer": "2"},
        {"question": "2+1", "cot": "count", "answer": "3"},
        {"question": "5+1", "answer": "6"},
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert [each.thought for each in read_questions(path)] == ["", "", ""]
    kept = read_questions(path, with_thoughts=True)
    assert [each.thought for each in kept] == ["one more", "count", ""]
    assert [each.answer for each in kept] == ["2", "3", "6"]


def test_a_test_question_that_stands_twice_is_asked_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [("1+1", "2"), ("2+2", "4"), ("1+1", "3"), ("1+1", "2")]
    records = [{"question": question, "answer": answer} for question, answer in lines]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    found = read_questions(path, strict=False)
    assert [(one.question, one.answer) for one in found] == [("1+1", "2"), ("2+2", "4")]
    assert "2 of its lines have a question of an earlier one (line 3 that of line 1)" in caplog.text
    caplog.clear()
    assert [one.question for one in read_questions(path, limit=2, strict=False)] == ["1+1", "2+2"]
    assert not caplog.text  # what is not read is not counted
    with pytest.raises(DataError, match=r"test\.jsonl:3: question: found '1\+1'"):
        read_questions(path)


def test_null_is_no_answer_as_an_empty_cell_is_none(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "a", "answer": null}\n{"question": "b", "answer": 5}\n')
    assert [each.answer for each in read_questions(path)] == ["", "5"]
    given = read_questions_from(str(path))
    assert list(given) == [{"question": "a"}, {"question": "b", "answer": "5"}]
