import pytest

from helpers.paths import SHARED_DATA
from unspoken.common.errors import DataError, OutputExistsError
from unspoken.data.example import Example, read_examples, write_examples
from unspoken.data.tasks.icot import convert, format_line, iter_lines, parse_line

ICOT = SHARED_DATA / "icot"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("4_by_4_mult.valid.txt", 1000),
        ("5_by_5_mult.valid.txt", 1000),
        ("9_by_9_mult.valid.txt", 1000),
        ("gsm8k.valid.txt", 500),
    ],
)
def test_the_authors_files_come_back_byte_for_byte(tmp_path, name, count):
    if not ICOT.exists():
        pytest.skip(f"the authors' files are not there: {ICOT}")
    there, back = tmp_path / "there.jsonl", tmp_path / "back.txt"
    assert convert(ICOT / name, there) == count
    assert len(read_examples(there, allow_empty_thought=True)) == count
    assert convert(there, back) == count
    assert back.read_bytes() == (ICOT / name).read_bytes()


@pytest.mark.parametrize(
    ("line", "example"),
    [
        ("2 1 * 3||6 3 0 #### 6 3 0", Example("2 1 * 3", "6 3 0", "6 3 0")),
        ("Why?|| #### 9", Example("Why?", "", "9")),
        (" a  b ||  c   #### 1 ", Example(" a  b ", "  c  ", "1 ")),
        ("q||a||b #### c #### 1", Example("q", "a||b #### c", "1")),
    ],
)
def test_lines_keep_their_spacing(line, example):
    assert parse_line(line) == example
    assert format_line(example) == line


def test_tight_hashes_are_read_too():
    assert parse_line("q||t####1") == Example("q", "t", "1")
    assert parse_line("q||####1") == Example("q", "", "1")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "a question|thought #### 1",
            "data.txt:2: found no '||' in 'a question|thought #### 1'; needed: "
            "'question||thought #### answer'; correct the line or delete it",
        ),
        (
            "#### a ||1",
            "data.txt:2: found no '####' after '||' in '#### a ||1'; needed: "
            "'question||thought #### answer'; correct the line or delete it",
        ),
        (
            " ||t #### 1",
            "data.txt:2: question: found a text of blanks only; needed: at least one visible "
            "character; fill it in or delete the line",
        ),
        (
            "q||t #### ",
            "data.txt:2: answer: found an empty text; needed: at least one visible character; fill "
            "it in or delete the line",
        ),
        (
            "first||t #### 2",
            "data.txt:2: question: found 'first', which already stands in line 1; needed: every "
            "question once; delete line 2 or line 1",
        ),
    ],
)
def test_a_bad_line_is_one_exact_error_and_nothing_is_written(tmp_path, line, message):
    path = tmp_path / "data.txt"
    path.write_text(f"first||t #### 1\n{line}\n")
    with pytest.raises(DataError) as caught:
        convert(path, tmp_path / "out.jsonl")
    assert str(caught.value).replace(str(path), path.name) == message
    assert list(tmp_path.iterdir()) == [path]


def test_crlf_is_a_line_end(tmp_path):
    path = tmp_path / "data.txt"
    path.write_bytes(b"q||t #### 1\r\n")
    assert list(iter_lines(path)) == [Example("q", "t", "1")]


@pytest.mark.parametrize(
    ("example", "field"),
    [
        (Example("a||b", "t", "1"), "question"),
        (Example("a|", "t", "1"), "question"),
        (Example("q", "a\nb", "1"), "thought"),
        (Example("q", "t", "1 #### 2"), "answer"),
    ],
)
def test_what_would_not_come_back_is_not_written(tmp_path, example, field):
    source = tmp_path / "data.jsonl"
    write_examples(source, [Example("fine", "t", "1"), example])
    with pytest.raises(DataError, match=rf"data\.jsonl:2: {field}: found .*needed: text that fits"):
        convert(source, tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("a.txt", "b.txt"),
        ("a.jsonl", "b.jsonl"),
        ("a.txt", "b"),
        ("a", "b.jsonl"),
        ("a.txt", "b.json"),
    ],
)
def test_suffixes_must_say_the_direction(tmp_path, source, target):
    (tmp_path / source).write_text("q||t #### 1\n")
    with pytest.raises(DataError, match=r"needed: \.txt -> \.jsonl or \.jsonl -> \.txt"):
        convert(tmp_path / source, tmp_path / target)


def test_nothing_is_overwritten_without_leave(tmp_path):
    (tmp_path / "a.txt").write_text("q||t #### 1\n")
    (tmp_path / "b.jsonl").write_text("mine")
    with pytest.raises(OutputExistsError, match="overwrite=true"):
        convert(tmp_path / "a.txt", tmp_path / "b.jsonl")
    assert (tmp_path / "b.jsonl").read_text() == "mine"
    assert convert(tmp_path / "a.txt", tmp_path / "b.jsonl", overwrite=True) == 1
