"""The files of a run: taken as they are or converted, and what is wrong with them is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers.recipes import tiny_recipe
from unspoken.check.data import read_sample
from unspoken.common.errors import DataError
from unspoken.data.example import read_questions
from unspoken.run.data import data_settings, make_data


@pytest.mark.parametrize("kind", ["jsonl", "icot", "gsm8k"])
def test_a_test_question_that_stands_twice_is_a_warning_in_every_form(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    forms = {
        "jsonl": '{{"question": "{0} ?", "thought": "{0} , 2", "answer": {1}}}',
        "icot": "{0} ?||{0} , 2 #### {1}",
        "gsm8k": '{{"question": "{0} ?", "answer": "{0} , <<1=1>>2\\n#### {1}"}}',
    }

    def write(name: str, numbers: Sequence[int]) -> str:
        path = tmp_path / (f"{name}.txt" if kind == "icot" else f"{name}.jsonl")
        path.write_text("".join(f"{forms[kind].format(n, n % 2)}\n" for n in numbers))
        return str(path)

    data = {"task": "jsonl", "train": write("train", range(20)), "num_valid": 0}
    data["test"] = write("test", [100, 101, 100, 102, 100])
    recipe = tiny_recipe(tmp_path / "run", data=data)
    said = "test.{}: 2 of its lines have a question of an earlier one (line 3 that of line 1)"
    splits, _ = make_data(recipe, tmp_path / "data", {})
    assert said.format("txt" if kind == "icot" else "jsonl") in caplog.text
    assert splits.test is not None
    assert [one.question for one in read_questions(splits.test)] == ["100 ?", "101 ?", "102 ?"]
    caplog.clear()
    assert read_sample(recipe).num_test == 3
    assert caplog.text.count("2 of its lines") == 1
    strict = tiny_recipe(tmp_path / "run", data={**data, "strict": True})
    with pytest.raises(DataError, match=r"test\.\w+:3: question: found '100 \?', which already"):
        make_data(strict, tmp_path / "strict", {})
    with pytest.raises(DataError, match=r"test\.\w+:3: question: found '100 \?', which already"):
        read_sample(strict)
    twice = tiny_recipe(tmp_path / "run", data={**data, "train": write("again", [1, 1])})
    with pytest.raises(DataError, match=r"again\.\w+:2: question: found '1 \?', which already"):
        make_data(twice, tmp_path / "twice", {})


@pytest.mark.parametrize(
    ("split", "changed", "said"),
    [
        ("train", {"thought": ""}, "thought: found an empty text"),
        ("train", {"answer": [1]}, "answer: found a list"),
        ("train", {"question": "7 ?"}, "question: found '7 ?', which already stands in line 8;"),
        ("train", {"question": "101 ?"}, "question: found 1 in two splits (1 between train and "),
        ("test", {"answer": " "}, "answer: found a text of blanks only"),
    ],
)
def test_an_error_names_a_line_of_the_users_file_not_of_one_made_of_it(
    tmp_path: Path, split: str, changed: dict[str, object], said: str
) -> None:
    rows = [{"question": f"{n} ?", "thought": f"{n} , 2", "answer": n % 2} for n in range(21)]
    asked = [{"question": f"{100 + n % 20} ?", "answer": n % 2} for n in range(21)]  # one twice
    given = {"train": rows, "test": asked}
    given[split][19] |= changed
    files = {name: tmp_path / f"{name}.jsonl" for name in given}
    for name, path in files.items():
        path.write_text("".join(f"{json.dumps(row)}\n" for row in given[name]))
    data = {"task": "jsonl", **{name: str(path) for name, path in files.items()}, "num_valid": 2}
    with pytest.raises(DataError) as raised:
        make_data(tiny_recipe(tmp_path / "run", data=data), tmp_path / "data", {})
    assert str(raised.value).startswith(f"{files[split]}:20: {said}")


def test_of_traces_that_are_learned_from_the_classes_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "traces.jsonl"
    rows = [
        {"question": f"{n} ?", "cot": f"{n} , 2\nFinal Answer: 0", "answer": str(n % 2)}
        for n in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"task": "jsonl", "train": str(path), "num_valid": 0, "choices": [0, 1]}
    _, vetted = make_data(tiny_recipe(tmp_path / "run", data=data), tmp_path / "data", {})
    assert vetted is not None
    assert [one["num_kept"] for one in vetted["classes"].values()] == [5, 0]
    assert "or none: 1 (0 of 5);" in caplog.text


def test_a_folder_in_place_of_a_file_is_told_as_one(tmp_path: Path) -> None:
    made = tiny_recipe(tmp_path / "run", data={"task": "jsonl", "train": str(tmp_path)})
    with pytest.raises(DataError, match=rf"{tmp_path}: found a folder; .*--input {tmp_path} --out"):
        data_settings(made)
