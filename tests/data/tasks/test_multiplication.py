import json
from collections import Counter

import pytest

from helpers.paths import SHARED_DATA
from unspoken.common.errors import DataError, OutputExistsError, SettingError
from unspoken.data.example import Example, read_examples
from unspoken.data.tasks.multiplication import (
    count_problems,
    examples,
    generate,
    solve,
    solve_question,
    write_multiplication,
)

ICOT = SHARED_DATA / "icot"


def spaced(number, width):
    """Returns the digits of a number, least significant first."""
    return " ".join(str(number).zfill(width)[::-1])


def worked(first, second, n, m):
    """Returns an example from Python's whole numbers, independently of the columns."""
    thought, total = "", 0
    for i, digit in enumerate(str(second).zfill(m)[::-1]):
        product = first * int(digit) * 10**i
        total += product
        thought += (" + " if i else "") + spaced(product, n + 1 + i)
        if 0 < i < m - 1:
            thought += f" ( {spaced(total, n + 1 + i)} )"
    return Example(
        f"{spaced(first, n)} * {spaced(second, m)}", thought, spaced(first * second, n + m)
    )


def numbers_of(question):
    return [int(part.replace(" ", "")[::-1]) for part in question.split("*")]


@pytest.mark.parametrize("digits", [4, 5, 9])
def test_the_authors_solutions_are_reproduced_byte_for_byte(digits):
    path = ICOT / f"{digits}_by_{digits}_mult.valid.txt"
    if not path.exists():
        pytest.skip(f"the authors' file is not there: {path}")
    lines = path.read_text().splitlines()
    assert len(lines) == 1000
    for line in lines:
        example = solve_question(line.partition("||")[0])
        assert f"{example.question}||{example.thought} #### {example.answer}" == line


def test_solve_takes_text_and_digits():
    expected = Example(
        "9 1 7 3 * 9 4 3 3",
        "1 7 4 3 3 + 0 6 7 8 4 1 ( 1 3 2 2 8 1 ) + 0 0 7 5 1 1 1 ( 1 3 9 7 9 2 1 ) "
        "+ 0 0 0 7 5 1 1 1",
        "1 3 9 4 5 4 2 1",
    )
    assert solve("9 1 7 3", "9433") == solve([9, 1, 7, 3], (9, 4, 3, 3)) == expected
    assert solve_question("9 1 7 3*9 4 3 3 ") == expected


def test_one_digit_has_one_product_and_nothing_to_add():
    assert solve("2 1", "3") == Example("2 1 * 3", "6 3 0", "6 3 0")
    assert solve("7", "8") == Example("7 * 8", "6 5", "6 5")


@pytest.mark.parametrize("first", ["", "1 a", "-1", [10], [1, -1], "1.5"])
def test_solve_refuses_what_is_no_digit(first):
    with pytest.raises(DataError, match="needed: digits 0 to 9"):
        solve(first, "1")


def test_solve_question_refuses_another_form():
    with pytest.raises(DataError, match="needed: digits, least significant first"):
        solve_question("1 2 + 3 4")


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 2), (2, 3), (1, 4), (4, 1), (9, 9), (11, 11), (20, 20), (25, 3)]
)
def test_all_sizes_agree_with_whole_numbers(size):
    for example in examples([size], 40, 2, 2, seed=3)["train"]:
        first, second = numbers_of(example.question)
        assert (len(str(first)), len(str(second))) == size  # no leading zeros
        expected = worked(first, second, *size)
        assert example == Example(
            expected.question, expected.thought, expected.answer, id=example.id
        )


def test_a_whole_small_space_is_used_once():
    parts = examples([(2, 1)], 700, 60, 50, seed=1)
    questions = [example.question for part in parts.values() for example in part]
    assert len(questions) == len(set(questions)) == 810 == count_problems((2, 1))


def test_more_problems_than_exist_is_an_error():
    with pytest.raises(SettingError) as caught:
        generate([(2, 1)], 800, 6, 5)
    assert str(caught.value) == (
        "digits: found sizes of which 810 problems exist (810 of 2x1 digits), but 811 are asked "
        "for (train 800, valid 6, test 5); needed: no more than exist; lower num_train or add a "
        "size with more digits"
    )


@pytest.mark.parametrize("digits", [[(4, 3)], [(2, 1), (3, 3), (2, 2)], [(12, 12), (9, 9)]])
def test_splits_share_no_question(digits):
    parts = examples(digits, 3000, 100, 100, seed=5)
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 3000,
        "valid": 100,
        "test": 100,
    }
    everything = [example for part in parts.values() for example in part]
    assert len({example.question for example in everything}) == 3200
    assert len({example.id for example in everything}) == 3200


def test_drawing_leaves_out_repetitions_beyond_the_listed_spaces(monkeypatch):
    monkeypatch.setattr("unspoken.data.tasks.multiplication.LISTED", 0)
    monkeypatch.setattr("unspoken.data.tasks.multiplication.BLOCK", 64)
    parts = generate([(2, 2)], 2000, 10, 10, seed=4)  # of 8,100: about every eighth is a repetition
    questions = {example.question for part in parts.values() for example in part.examples()}
    assert len(questions) == 2020


def test_more_training_examples_leave_valid_and_test_as_they_are():
    small, large = (examples([(9, 9)], count, 20, 20, seed=2) for count in (50, 70_000))
    assert small["valid"] == large["valid"]
    assert small["test"] == large["test"]
    assert small["train"] == [*large["train"][:50]]


def sizes_of(part):
    return Counter(
        tuple(len(side.split()) for side in example.question.split("*")) for example in part
    )


def test_sizes_have_equal_shares_and_are_shuffled():
    parts = examples([(4, 4), (5, 3), (9, 9)], 3000, 30, 30)
    for part in parts.values():
        assert set(sizes_of(part).values()) == {len(part) // 3}
    assert len(sizes_of(parts["train"][:30])) == 3
    rest = examples([(4, 4), (5, 3), (9, 9)], 5, 0, 0)["train"]
    assert sizes_of(rest) == {(4, 4): 2, (5, 3): 2, (9, 9): 1}


def test_a_small_size_gives_all_it_has_and_others_make_up_for_it():
    parts = examples([(3, 3), (1, 1), (2, 2)], 20_000, 200, 200)
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 20_000,
        "valid": 200,
        "test": 200,
    }
    totals = sum((sizes_of(part) for part in parts.values()), Counter())
    assert totals == {(1, 1): 81, (2, 2): 8100, (3, 3): 20_400 - 8181}
    assert sizes_of(parts["valid"])[1, 1] >= 1
    assert sizes_of(parts["train"])[1, 1] >= 78


def test_the_seed_decides_everything():
    arguments = [(3, 2), (2, 2)], 50, 5, 5
    assert examples(*arguments, seed=7) == examples(*arguments, seed=7)
    assert examples(*arguments, seed=7) != examples(*arguments, seed=8)
    # Pinned, so that a data set can be made again from its dataset.json.
    assert (
        examples([(9, 9)], 1, 1, 1, seed=0)["valid"][0].question
        == "2 8 8 4 1 3 6 7 3 * 8 8 0 1 5 6 0 2 9"
    )
    assert examples([(3, 2)], 1, 1, 1, seed=0)["valid"][0].question == "8 0 3 * 2 9"


def test_written_lines_are_plain_json(tmp_path):
    content = write_multiplication(tmp_path / "out", [(4, 4), (3, 2)], 9000, 20, 10, seed=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dataset.json",
        "test.jsonl",
        "train.jsonl",
        "valid.jsonl",
    ]
    assert content["counts"] == {"train": 9000, "valid": 20, "test": 10}
    assert content["task"] == "multiplication"
    assert content["settings"] == {"digits": [[4, 4], [3, 2]]}
    assert content["sizes"]["train"] == {"4x4": 4500, "3x2": 4500}
    lines = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    for number in (0, 1, 8191, 8192, 8999):
        record = json.loads(lines[number])
        assert json.dumps(record) == lines[number]
        assert record["id"] == f"train-{number + 1:07d}"
        assert list(record) == ["id", "question", "thought", "answer"]
    in_memory = examples([(4, 4), (3, 2)], 9000, 20, 10, seed=1)
    for split in ("train", "valid", "test"):
        assert read_examples(tmp_path / "out" / f"{split}.jsonl") == in_memory[split]


def test_nothing_is_overwritten_without_leave(tmp_path):
    (tmp_path / "test.jsonl").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"test\.jsonl: exists already"):
        write_multiplication(tmp_path, [(2, 2)], 10, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["test.jsonl"]
    write_multiplication(tmp_path, [(2, 2)], 10, 1, 1, overwrite=True)
    assert len(read_examples(tmp_path / "test.jsonl")) == 1


@pytest.mark.parametrize(
    ("digits", "message"),
    [
        ([], r"^digits: found no size"),
        ([(4,)], r"^digits: found 4; needed: pairs"),
        ([(0, 2)], r"^digits: found 0 2; needed: pairs"),
        ([(2, 2), (2, 2)], r"^digits: found 2 2 twice"),
        (
            [(10**9, 2)],
            r"^digits: found 1000000000 2; needed: pairs of whole numbers from 1 to 1,0",
        ),
    ],
)
def test_sizes_that_cannot_be(digits, message):
    with pytest.raises(SettingError, match=message):
        generate(digits, 1, 1, 1)


def test_counts_and_seeds_that_cannot_be(tmp_path):
    with pytest.raises(SettingError, match=r"^num_train: found -1; needed: at least 0"):
        generate([(2, 2)], -1, 1, 1)
    with pytest.raises(SettingError, match=r"^seed: found -1; needed: at least 0"):
        generate([(2, 2)], 1, 1, 1, seed=-1)
    with pytest.raises(SettingError, match=r"^num_valid: found 0; needed: at least 1"):
        write_multiplication(tmp_path, [(2, 2)], 1, 0, 1)
    assert generate([(2, 2)], 0, 0, 0)["train"].order.tolist() == []
