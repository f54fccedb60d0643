from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from unspoken.common.errors import DataError, SettingError, UnspokenError
from unspoken.data.questions import read_questions_from

GSM8K = [
    {"question": "How many?", "answer": "1 + 1 = <<1+1=2>>2\n#### 2"},
    {"question": "How much?", "answer": "2 + 1 = <<2+1=3>>3\n#### 3"},
]
TABLE = [
    {"problem": "1 + 1", "gold": 2, "level": "easy", "points": 1.5, "tags": ["a"], "id": 7},
    {"problem": "1 / 2", "gold": 0.5, "level": None, "points": 2.0, "tags": [], "id": 8},
]
NAMES = {"question_field": "problem", "answer_field": "gold"}
READ = [
    {"id": 7, "question": "1 + 1", "answer": "2", "level": "easy", "points": 1.5},
    {"id": 8, "question": "1 / 2", "answer": "0.5", "points": 2.0},
]


@pytest.fixture(autouse=True)
def _own_data_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path


def test_jsonl_is_read_as_it_stands(tmp_path: Path) -> None:
    records = [{"id": "a", "question": " 1 + 1 ", "answer": "2", "tags": ["x"]}, {"question": "2"}]
    path = write_jsonl(tmp_path / "questions.jsonl", records)
    assert read_questions_from(path) == records
    assert read_questions_from(str(path)) == records
    path = write_jsonl(tmp_path / "other.txt", [{"q": "1 + 1", "a": "2", "question": "no"}])
    read = read_questions_from(path, question_field="q", answer_field="a")
    assert read == [{"question": "1 + 1", "answer": "2"}]
    path = write_jsonl(tmp_path / "why.jsonl", [{"question": "1", "why": "so", "thought": "no"}])
    assert read_questions_from(path, thought_field="why") == [{"question": "1", "thought": "so"}]
    with pytest.raises(DataError, match=r"because: missing.*named with thought_field"):
        read_questions_from(path, thought_field="because")


def test_what_is_wrong_with_jsonl_names_the_line_and_the_fields(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "q.jsonl", [{"question": "1"}, {"task": "2", "gold": "3"}])
    with pytest.raises(DataError, match=r"q.jsonl:2: question: missing; found the fields task, go"):
        read_questions_from(path)
    with pytest.raises(DataError, match=r"q.jsonl:1: gold: missing.*named with answer_field"):
        read_questions_from(path, answer_field="gold")
    path = write_jsonl(tmp_path / "q.jsonl", [{"question": "1", "answer": 3}])
    assert read_questions_from(path) == [{"question": "1", "answer": "3"}]
    path = write_jsonl(tmp_path / "q.jsonl", [{"question": 1, "answer": [3]}])
    with pytest.raises(DataError, match=r"q.jsonl:1: question: found the number 1"):
        read_questions_from(path)
    path = write_jsonl(tmp_path / "q.jsonl", [{"question": "1", "answer": [3]}])
    with pytest.raises(DataError, match=r"q.jsonl:1: answer: found a list"):
        read_questions_from(path)
    path = write_jsonl(tmp_path / "q.jsonl", [{"question": "1"}, {"question": "2", "id": "0"}])
    with pytest.raises(DataError, match=r"q.jsonl:2: id: found '0', which question 1 has, too"):
        read_questions_from(path)


def test_a_json_list_and_json_lines_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(GSM8K, indent=1))
    assert read_questions_from(path) == GSM8K
    write_jsonl(path, GSM8K)
    assert read_questions_from(path) == GSM8K
    path.write_text('[{"question": "1"}, 3]')
    with pytest.raises(DataError, match=r"object 2: found 3"):
        read_questions_from(path)
    path.write_text("[{")
    with pytest.raises(DataError, match=r"questions.json: cannot be read"):
        read_questions_from(path)


def test_csv_cells_stay_the_text_that_they_are(tmp_path: Path) -> None:
    text = '\ufeffproblem,gold,level\n"1, then 2",007,easy\n"two\nlines",NA,\nthree,,hard\n'
    path = tmp_path / "train.csv"
    path.write_text(text, encoding="utf-8")
    expected = [
        {"question": "1, then 2", "answer": "007", "level": "easy"},
        {"question": "two\nlines", "answer": "NA", "level": ""},
        {"question": "three", "level": "hard"},
    ]
    assert read_questions_from(path, **NAMES) == expected
    assert read_questions_from(tmp_path, **NAMES) == expected  # by way of datasets
    path.write_text("question,answer\n1,2\n3,4,5\n")
    with pytest.raises(DataError, match=r"train.csv:3: found 3 cells; needed: 2"):
        read_questions_from(path)


def test_blanks_and_signs_of_no_width_around_a_column_name_do_not_count(tmp_path: Path) -> None:
    expected = [{"question": "007", "answer": "02"}]
    path = tmp_path / "train.csv"
    for text in (
        "question , answer\n007,02\n",
        "\ufeff\ufeffquestion,answer\n007,02\n",
        "\u200bquestion;\u00a0answer\n007;02\n",
    ):
        path.write_text(text, encoding="utf-8")
        assert read_questions_from(path) == expected
    path.write_text("question , answer\n007,02\n")
    assert read_questions_from(tmp_path) == expected  # by way of datasets
    path.write_text("question,answer, answer\n1,2,3\n")
    with pytest.raises(DataError, match=r"train.csv:1: found the column 'answer' 2 times"):
        read_questions_from(path)
    path = write_jsonl(tmp_path / "q.jsonl", [{"question ": "1"}])
    with pytest.raises(DataError, match=r"found the fields 'question '; needed"):
        read_questions_from(path)


def test_an_answer_by_nearly_its_name_is_not_left_out_in_silence(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "q.jsonl", [{"question": "1", "Answer": "2"}])
    with pytest.raises(
        DataError, match=r"q.jsonl:1: answer: missing; found the fields question, A"
    ):
        read_questions_from(path)
    assert read_questions_from(path, answer_field="Answer") == [{"question": "1", "answer": "2"}]


def test_parquet_and_arrow_give_texts_and_numbers(tmp_path: Path) -> None:
    table = datasets.Dataset.from_list(TABLE)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    one = tmp_path / "one" / "train-00000-of-00001.parquet"
    table.to_parquet(str(one))
    table.save_to_disk(str(tmp_path / "saved"))
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    two = arrow.rename(tmp_path / "two" / "data.arrow")
    for source in (one, one.parent, two, two.parent):
        assert read_questions_from(source, **NAMES) == READ
    with pytest.raises(DataError, match=r"row 1: question: missing; found the fields problem, go"):
        read_questions_from(one)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"broken.parquet: cannot be read"):
        read_questions_from(broken)


def test_a_folder_that_was_saved_to_disk_is_read_by_split(tmp_path: Path) -> None:
    table = datasets.Dataset.from_list(GSM8K)
    splits = datasets.DatasetDict({"train": table.select([0]), "test": table.select([1])})
    table.save_to_disk(str(tmp_path / "single"))
    splits.save_to_disk(str(tmp_path / "several"))
    assert read_questions_from(tmp_path / "single") == GSM8K
    assert read_questions_from(tmp_path / "several") == GSM8K[:1]
    assert read_questions_from(tmp_path / "several", split="test") == GSM8K[1:]
    for folder in ("single", "several"):
        assert read_questions_from(tmp_path / folder, split="all") == GSM8K
    with pytest.raises(SettingError, match=r"^split: found dev with .* has: train, test"):
        read_questions_from(tmp_path / "several", split="dev")
    with pytest.raises(SettingError, match=r"^split: found test with .* as a single split"):
        read_questions_from(tmp_path / "single", split="test")
    with pytest.raises(SettingError, match=r"^subset: found main"):
        read_questions_from(tmp_path / "several", subset="main")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: cannot be read"):
        read_questions_from(tmp_path / "empty")


def test_what_is_wrong_with_a_file_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "questions.json").write_text('{"question": [1,}')
    with pytest.raises(DataError, match=r"cannot be read \((?!An error occurred).*JSON"):
        list(read_questions_from(tmp_path))


def test_a_hub_name_is_loaded_with_its_subset_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*names: Any, **options: Any) -> Any:
        asked.append((names, options))
        return GSM8K

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read_questions_from("openai/gsm8k", subset="main", split="test") == GSM8K
    assert asked == [(("openai/gsm8k", "main"), {"split": "test"})]


def test_a_hub_out_of_reach_says_how_to_bring_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> Any:
        raise ConnectionError("Couldn't reach the Hub\nat all")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError) as caught:
        read_questions_from("openai/gsm8k", subset="main")
    assert str(caught.value) == (
        "openai/gsm8k: cannot be read (Couldn't reach the Hub at all); needed: a file, a folder, "
        "or a data set on the hub and a network; correct the name; or, on a node with a network, "
        "run datasets.load_dataset('openai/gsm8k', 'main').save_to_disk(FOLDER) and give that "
        "folder with split=train"
    )

    def no_subset(*_: Any, **__: Any) -> Any:
        raise ValueError("Config name is missing.")

    monkeypatch.setattr(datasets, "load_dataset", no_subset)
    with pytest.raises(DataError, match=r"Config name is missing.*correct subset and split"):
        read_questions_from("openai/gsm8k")


def test_a_misspelled_file_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    for source in ("data/raw_question.jsonl", "x.parquet", "x.json", "../data", tmp_path / "none"):
        with pytest.raises(UnspokenError, match="no such file"):
            read_questions_from(source)
    path = write_jsonl(tmp_path / "questions.jsonl", GSM8K)
    with pytest.raises(SettingError, match=r"^split: found test with .*questions\.jsonl"):
        read_questions_from(path, split="test")


@pytest.mark.parametrize("header", ["question,answer,answer", "question,question,answer"])
def test_a_column_that_stands_twice_is_named(tmp_path: Path, header: str) -> None:
    path = tmp_path / "train.csv"
    path.write_text(f"{header}\n1,2,3\n")
    double = header.split(",")[1]
    for source in (path, tmp_path):
        with pytest.raises(DataError, match=rf"train.csv:1: found the column '{double}' 2 times"):
            read_questions_from(source)


def test_nameless_columns_of_a_spreadsheet_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("question,answer,,\n1,2,,\n\n3,4,,\n")
    assert [one["answer"] for one in read_questions_from(path)] == ["2", "4"]


@pytest.mark.parametrize("name", ["q.CSV", "q.csv.gz", "q.Csv.GZ", "q.tsv", "q.TSV"])
def test_tables_are_known_by_their_names_however_written(tmp_path: Path, name: str) -> None:
    comma = "\t" if "tsv" in name.lower() else ","
    content = f"question{comma}answer\n1 + 1{comma}2\n".encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if "gz" in name.lower() else content)
    assert read_questions_from(path) == [{"question": "1 + 1", "answer": "2"}]


@pytest.mark.parametrize("name", ["q.JSON", "q.json.gz", "q.jsonl.gz", "Q.JSONL"])
def test_json_is_known_by_its_name_however_written(tmp_path: Path, name: str) -> None:
    text = json.dumps(GSM8K) if "jsonl" not in name.lower() else json.dumps(GSM8K[0])
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if "gz" in name else text.encode())
    assert read_questions_from(path)[:1] == GSM8K[:1]


@pytest.mark.parametrize("name", ["q.csv", "q.json", "q.jsonl", "nowhere.csv.gz", "q.tsv"])
def test_what_is_no_text_or_not_there_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if "nowhere" not in name:
        path.write_bytes(b"PK\x03\x04\xff\xff")
    with pytest.raises(DataError, match=r"found a ZIP archive|no such file"):
        read_questions_from(path)


def test_a_row_with_too_few_cells_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("question,answer\n1,2\n3\n")
    with pytest.raises(DataError, match=r"q.csv:3: found 1 cells; needed: 2"):
        read_questions_from(path)


@pytest.mark.parametrize("name", ["q.csv", "q.tsv", "q.tsv.gz", "q.csv.gz"])
@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_a_table_is_read_with_what_stands_between_its_names(
    tmp_path: Path, name: str, sign: str
) -> None:
    """Whatever it is called: a spreadsheet with decimal commas writes semicolons into a .csv."""
    rows = [("question", "answer"), ('"a, b; c | d\te"', "2,5".replace(",", ".")), ("3", "4")]
    text = "\r\n" + "\r\n".join(sign.join(row) for row in rows)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    expected = [{"question": "a, b; c | d\te", "answer": "2.5"}, {"question": "3", "answer": "4"}]
    assert read_questions_from(path) == expected


def test_what_stands_between_the_most_names_separates_them(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("Frage;Preis, EUR;Antwort\nWas?;1;2\n")
    (found,) = read_questions_from(path, question_field="Frage", answer_field="Antwort")
    assert (found["question"], found["answer"], found["Preis, EUR"]) == ("Was?", "2", "1")


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;\r"])
def test_a_line_that_names_the_separator_is_no_name(tmp_path: Path, line: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(f"{line}\nquestion;answer\n1,5+1;2,5\n3\n")
    with pytest.raises(DataError, match=r"q.csv:4: found 1 cells; needed: 2"):
        read_questions_from(path)
    path.write_text(f"{line}\nquestion;answer\n1,5+1;2,5\n")
    assert read_questions_from(path) == [{"question": "1,5+1", "answer": "2,5"}]


def test_one_column_whose_name_is_in_quotes_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text('"Problem; or question"\n"1; 2"\n')
    found = read_questions_from(path, question_field="Problem; or question")
    assert found == [{"question": "1; 2"}]


def test_a_folder_of_tables_is_read_with_what_stands_between_its_names(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "train-1.csv").write_text("question;answer\n007;2,5\n")
    (folder / "train-2.csv").write_text("question;answer\nNA;b\n")
    expected = [{"question": "007", "answer": "2,5"}, {"question": "NA", "answer": "b"}]
    assert read_questions_from(folder) == expected
    (folder / "train-2.csv").write_text("question,answer\n1,2\n")
    told = r"train-2.csv: found names with commas between them; needed: semicolons, as in .*n-1.csv"
    with pytest.raises(DataError, match=told):
        read_questions_from(folder)


@pytest.mark.parametrize("name", ["test", "my-test", "valid", "dev.tables", "tables"])
def test_names_above_a_folder_and_of_one_split_only_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "test" / name
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("question,answer\n1,2\n")
    assert read_questions_from(folder) == [{"question": "1", "answer": "2"}]
    monkeypatch.chdir(folder)
    assert read_questions_from(".") == [{"question": "1", "answer": "2"}]
    (folder / "a.csv").rename(folder / f"{name}.csv")
    assert read_questions_from(folder) == [{"question": "1", "answer": "2"}]


def test_names_in_a_folder_of_tables_tell_the_splits(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()

    def ask(split: str) -> list[str]:
        return [one["question"] for one in read_questions_from(folder, split=split)]

    names = ("a-train.csv", "b training 2.csv", "latest.csv", "test.csv", ".train.csv")
    for number, name in enumerate(names):
        (folder / name).write_text(f"question,answer\n{number},2\n")
    assert (ask("train"), ask("test")) == (["0", "1"], ["3"])
    assert ask("train[1:]") == ["1"]
    assert ask("train+test") == ["0", "1", "3"]
    with pytest.raises(SettingError, match=r"found validation with .*one that it has: train, test"):
        ask("validation")
    (folder / "dev" / "train").mkdir(parents=True)  # folders count before files
    (folder / "dev" / "x.csv").write_text("question,answer\n5,2\n")
    (folder / "dev" / "train" / "x.csv").write_text("question,answer\n6,2\n")
    assert (ask("train"), ask("validation")) == (["6"], ["6", "5"])


def write_shard(path: Path, *questions: str) -> None:
    """A file of questions, of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": question, "answer": "007"} for question in questions]
    if path.suffix == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(str(path))
    elif path.suffix == ".csv":
        path.write_text("question,answer\n" + "".join(f"{each},007\n" for each in questions))
    else:
        write_jsonl(path, rows)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize("place", ["", "data"])
def test_shards_are_of_the_split_that_they_are_named_after(
    tmp_path: Path, kind: str, place: str
) -> None:
    folder = tmp_path / "tables"

    def ask(split: str) -> str:
        read = read_questions_from(folder, split=split)
        assert {one["answer"] for one in read} == {"007"}
        return "".join(one["question"] for one in read)

    write_shard(folder / place / f"train-00001-of-00002.{kind}", "c", "d")
    write_shard(folder / place / f"train-00000-of-00002.{kind}", "a", "b")
    assert (ask("train"), ask("all"), ask("train[1:3]")) == ("abcd", "abcd", "bc")
    write_shard(folder / place / f"en-00000-of-00001-0a1b.{kind}", "g")
    write_shard(folder / place / f"test-00000-of-00001.{kind}", "e", "f")
    assert [ask(split) for split in ("train", "test", "en")] == ["abcd", "ef", "g"]
    assert (ask("all"), ask("en+test[:1]")) == ("abcdefg", "ge")
    told = r"^split: found dev with .*tables; needed: one that it has: train, test, en; name one$"
    for split in ("dev", "train+dev", "dev[:1]"):
        with pytest.raises(SettingError, match=told):
            ask(split)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_lone_split_of_shards_is_it_and_two_are_not_mixed(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "tables"
    write_shard(folder / f"en-00000-of-00001.{kind}", "a")
    for split in ("train", "en", "all"):
        assert [one["question"] for one in read_questions_from(folder, split=split)] == ["a"]
    with pytest.raises(SettingError, match=r"^split: found fr with .* has: en; name one$"):
        read_questions_from(folder, split="fr")
    write_shard(folder / f"fr-00000-of-00001.{kind}", "b")
    with pytest.raises(SettingError, match=r"^split: found train with .* has: en, fr; name one$"):
        read_questions_from(folder)
    assert [one["question"] for one in read_questions_from(folder, split="fr")] == ["b"]


def test_shards_beside_other_files_are_told_apart_as_those_are(tmp_path: Path) -> None:
    folder = tmp_path / "tables"

    def ask(split: str) -> list[str]:
        return [one["question"] for one in read_questions_from(folder, split=split)]

    write_shard(folder / "train-00000-of-00001.csv", "a")
    write_shard(folder / "test.csv", "b")
    assert (ask("train"), ask("test"), ask("all")) == (["a"], ["b"], ["a", "b"])
    # these count alone, as on the hub
    write_shard(folder / "data" / "hard-00000-of-00001.csv", "c")
    assert (ask("train"), ask("hard"), ask("all")) == (["c"], ["c"], ["c"])


@pytest.mark.parametrize("blank", ["", " ", ";", ";;", ' ;"";'])
def test_rows_without_any_text_are_none(tmp_path: Path, blank: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(f"question;answer;who\n1;2;\n{blank}\n3;;\n{blank}\n")
    assert [one["question"] for one in read_questions_from(path)] == ["1", "3"]


def test_a_table_in_another_encoding_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_bytes("question;answer\nLärm;1\n".encode("cp1252"))
    told = r"q.csv, or after it: not UTF-8: found the byte 0xe4; .*save it as CSV UTF-8"
    with pytest.raises(DataError, match=told):
        read_questions_from(path)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "q.csv",
            "question;answer\n1;2\n3;4;5\n",
            "q.csv:3: found 3 cells.*with semicolons in quo",
        ),
        ("q.csv", 'question,answer\n1,2\n"3,4\n5,6\n', "q.csv:2, or after it: cannot be read"),
        ("q.json", '[{"question": "a", "answer": "1", "answer": "2"}]', "field 'answer' twice"),
        ("q.json", '[{"question": "a", "answer": "1", "m": {"x": 1, "x": 2}}]', "field 'x' twice"),
        ("q.json", '[{"question": "a", "answer": "1", "w": NaN}]', "object 1: 'w': found nan"),
        ("q.jsonl", '{"question": "a", "answer": "1", "w": [1e400]}', "q.jsonl:1: 'w': found .inf"),
        ("q.jsonl", '{"question": "a", "answer": "1", "id": -Infinity}', "'id': found -inf"),
        ("q.jsonl", '{"question": "a", "answer": "1", "id": null}', "id: found None; needed: text"),
        ("q.jsonl", '{"question": "a", "answer": "1", "id": true}', "id: found True"),
        ("q.jsonl", '{"question": "a", "answer": "1", "id": ["a"]}', "id: found .'a'.; needed"),
        ("q.jsonl", '{"question": "a", "answer": "1", "id": ""}', "id: found an empty text"),
        ("q.jsonl", r'{"question": "a", "answer": "1", "id": "\ud83d"}', "id: found half a char"),
    ],
)
def test_what_would_be_read_in_another_way_is_told(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    with pytest.raises(DataError, match=told):
        read_questions_from(path)


@pytest.mark.parametrize(
    "text", ["\n\nquestion,answer\n1,2\n", "question\n1;2\n", f"question\n{'x' * 200_000}\n"]
)
def test_what_looks_odd_and_is_not_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "q.csv"
    path.write_text(text)
    assert len(read_questions_from(path)) == 1
