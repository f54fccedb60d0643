import json
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from helpers.paths import SHARED_DATA
from unspoken.common.errors import DataError, OutputExistsError, SettingError
from unspoken.data.example import Example, read_examples
from unspoken.data.tasks.gsm8k import equations, parse, sentences, write_gsm8k
from unspoken.data.tasks.icot import iter_lines

DATA = SHARED_DATA
RAW = {
    "question": "How many clips did Natalia sell?",
    "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>1,072 clips altogether.\n#### 1,072",
}


def needs(folder):
    if not folder.exists():
        pytest.skip(f"the data are not there: {folder}")
    return folder


def test_a_solution_is_written_in_either_style():
    assert parse(RAW) == Example(RAW["question"], "<<48/2=24>> <<48+24=72>>", "1072")
    assert parse(RAW, "sentences").thought == (
        "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 1,072 clips altogether."
    )


@pytest.mark.parametrize(
    ("solution", "thought", "source"),
    [
        ("Half: 4/2 = <<4/2=2>>2", "<<4/2=2>>", "marks"),
        ("Female:44(.50)=22\nPregnant:22(.50)=11 cows", "<<44(.50)=22>> <<22(.50)=11>>", "text"),
        ("It is $80 000 x 20/100 = $16 000.", "<<80000*20/100=16000>>", "text"),
        ("Let [X + 2] * 3 = 1,000, so x is a = 5 apples.", "<<(X+2)*3=1000>> <<a=5>>", "text"),
        ("y/(18+y)=1/4.\n4y=18+y\n3y=18", "<<y/(18+y)=1/4>> <<4y=18+y>> <<3y=18>>", "text"),
        ("Multiplying by -1: -x = -13", "<<-x=-13>>", "text"),
        ("The flat rate - $45 = $65 -$45.", "The flat rate - $45 = $65 -$45.", "sentences"),
        ("Birds eat 2 - 1/2 = 1 1/2 cups.", "Birds eat 2 - 1/2 = 1 1/2 cups.", "sentences"),
        ("2:10+0:41 = 2:51 AM.", "2:10+0:41 = 2:51 AM.", "sentences"),
        ("It is one.\n\nSo one.", "It is one.\nSo one.", "sentences"),
    ],
)
def test_equations_are_found_without_marks(solution, thought, source):
    assert equations(solution) == (thought, source)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"question": "q", "answer": "It is 3."}, "here: answer: found no '####'; needed"),
        ({"question": "q", "answer": "It is 3.\n#### "}, "here: answer: found nothing after"),
        ({"question": "q", "answer": "#### 3"}, "here: answer: found no solution before"),
        ({"question": "q"}, "here: answer: missing"),
        ({"question": "q", "answer": 3}, "here: answer: found the number 3"),
        ({"question": "", "answer": "a\n#### 3"}, "here: question: found an empty text"),
    ],
)
def test_records_that_cannot_be_read(record, message):
    with pytest.raises(DataError, match=message):
        parse(record, where="here")


def test_every_raw_record_is_parsed():
    folder = needs(DATA / "gsm8k")
    sources = Counter()
    for split, count in (("train", 7473), ("test", 1319)):
        records = [json.loads(line) for line in (folder / f"{split}.jsonl").open(encoding="utf-8")]
        assert len(records) == count
        for record in records:
            example = parse(record)
            assert example.thought
            assert str(int(example.answer)) == example.answer
            assert "<<" not in parse(record, "sentences").thought
            sources[equations(record["answer"].rpartition("####")[0])[1]] += 1
    assert sources == {"marks": 8679, "text": 107, "sentences": 6}


def test_equations_equal_the_authors():
    theirs = list(iter_lines(needs(DATA / "icot") / "gsm8k.valid.txt"))
    raw = (json.loads(line) for line in (DATA / "gsm8k/train.jsonl").open(encoding="utf-8"))
    ours = {record["question"]: parse(record) for record in raw}
    for example in theirs:
        assert ours[example.question].answer == example.answer.replace(",", "")
        # They leave the thought empty where there is no mark.
        assert example.thought in ("", ours[example.question].thought)
    assert sum(not example.thought for example in theirs) == 6


def write_raw(folder, num_train=30, num_test=5):
    folder.mkdir()
    for split, count in (("train", num_train), ("test", num_test)):
        lines = (
            json.dumps({"question": f"{split} {number}?", "answer": f"It is {number}.\n#### 7"})
            for number in range(count)
        )
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_valid_is_taken_out_of_train_by_the_seed(tmp_path):
    raw = write_raw(tmp_path / "raw")
    content = write_gsm8k(tmp_path / "out", raw, num_valid=10, seed=1)
    assert content["counts"] == {"train": 20, "valid": 10, "test": 5}
    assert content["thoughts_from"]["valid"] == {"sentences": 10}
    parts = {
        split: read_examples(tmp_path / "out" / f"{split}.jsonl")
        for split in ("train", "valid", "test")
    }
    lines = [int(example.id.removeprefix("train-")) for example in parts["valid"]]
    assert lines == sorted(lines)
    assert all(e.question == f"train {int(e.id[6:]) - 1}?" for e in parts["valid"])
    assert len({e.question for e in parts["train"]} | {e.question for e in parts["valid"]}) == 30
    again = write_gsm8k(tmp_path / "again", raw, num_valid=10, seed=1)
    other = write_gsm8k(tmp_path / "other", raw, num_valid=10, seed=2)
    assert again["sha256"] == content["sha256"] != other["sha256"]


def test_a_repeated_question_is_an_error(tmp_path):
    raw = write_raw(tmp_path / "raw")
    path = raw / "test.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[1])
    with pytest.raises(DataError, match=r"test\.jsonl:6: question: found 'test 1\?', .* line 2;"):
        write_gsm8k(tmp_path / "out", raw, num_valid=1)
    assert not (tmp_path / "out").exists()


def test_a_validation_split_may_be_left_out(tmp_path):
    content = write_gsm8k(tmp_path / "out", write_raw(tmp_path / "raw"), num_valid=0)
    assert (content["counts"]["train"], content["counts"]["valid"]) == (30, 0)


def test_settings_that_cannot_be(tmp_path):
    raw = write_raw(tmp_path / "raw")
    with pytest.raises(SettingError, match=r"^num_valid: found 30; needed: 0 to 29"):
        write_gsm8k(tmp_path / "out", raw, num_valid=30)
    with pytest.raises(SettingError, match=r"^thought: found 'prose'; needed: equations or"):
        write_gsm8k(tmp_path / "out", raw, "prose")  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match=r"none: no such folder; needed: .*correct source"):
        write_gsm8k(tmp_path / "out", tmp_path / "none")
    write_gsm8k(tmp_path / "out", raw, num_valid=1)
    with pytest.raises(OutputExistsError, match="overwrite=true"):
        write_gsm8k(tmp_path / "out", raw, num_valid=1)


def test_the_hub_is_asked_for_the_main_configuration(tmp_path, monkeypatch):
    rows = [{"question": f"{number}?", "answer": "a\n#### 1"} for number in range(9)]
    asked = []

    def load_dataset(*arguments):
        asked.append(arguments)
        return {"train": rows[:6], "test": rows[6:]}

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    content = write_gsm8k(tmp_path / "out", num_valid=2)
    assert content["counts"] == {"train": 4, "valid": 2, "test": 3}
    assert asked == [("openai/gsm8k", "main")]


def test_a_hub_out_of_reach_says_what_to_do(tmp_path, monkeypatch):
    def load_dataset(*_):
        raise ConnectionError("Couldn't reach the Hub\nat all")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(DataError) as caught:
        write_gsm8k(tmp_path / "out", "openai/gsm8k")
    assert str(caught.value) == (
        "openai/gsm8k: cannot be loaded from the hub (Couldn't reach the Hub); needed: a network "
        "or a copy in the Hugging Face cache; download the raw train.jsonl and test.jsonl where "
        "there is a network and give their folder with source"
    )


def test_sentences_drop_marks_and_empty_lines():
    assert sentences("a <<1+1=2>>2 b \n\n c\n") == "a 2 b\nc"
