import pytest

from unspoken.common.errors import DataError
from unspoken.data.leaks import Leak, Place, check_leaks, find_leaks, normalize


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How  many\tapples?", "how many apples? "),
        ("She pays $1,000 .", "She pays $1000."),
        ("It is 3.0 kg.", "It is 3 kg."),
        ("It is 2.50 kg", "It is 2.5kg"),
        ("It is .5 kg", "It is 0.5 kg"),
        ("1,234,567.00 m", "1234567 m"),
        ("12 * 34 =", "12*34="),
        ("１２ apples", "12 apples"),
        ("5\u00a0km", "5 km"),
        ("1 2 * 3", "12*3"),
    ],
)
def test_the_same_but_for_writing(one, other):
    assert normalize(one) == normalize(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0 1 2 * 3", "1 2 * 3"),  # least significant digit first: 210 and 21
        ("1 2 0 * 3", "1 2 * 3"),
        ("1 2 * 3 4", "1 2 3 * 4"),
        ("1 2 * 3 4", "3 4 * 1 2"),
        ("3.05 kg", "3.5 kg"),
        ("3.0 kg", "30 kg"),
        ("100 kg", "10 kg"),
        ("1, 200 and 3", "1,200 and 3"),
        ("version 1.0.0", "version 1.0"),
        ("12 + 3", "12 - 3"),
        ("an apple", "anapple"),
    ],
)
def test_different_questions_stay_different(one, other):
    assert normalize(one) != normalize(other)


def test_exact_and_normalized_leaks_are_found_between_all_splits():
    leaks = find_leaks(
        {
            "train": iter(["a", "It costs 1,000.", "b", "b"]),
            "valid": ["c", "It costs 1000."],
            "test": ["C", "b"],
        }
    )
    assert leaks == [
        Leak(Place("valid", 1, "c"), Place("test", 1, "C")),
        Leak(Place("train", 2, "It costs 1,000."), Place("valid", 2, "It costs 1000.")),
        Leak(Place("train", 3, "b"), Place("test", 2, "b")),
        Leak(Place("train", 4, "b"), Place("test", 2, "b")),
    ]
    assert [leak.exact for leak in leaks] == [False, False, True, True]


def test_a_question_of_three_splits_leaks_between_each_two_of_them():
    leaks = find_leaks({"valid": ["a"], "test": ["b", "a"], "more": ["a"]})
    pairs = [(leak.first.split, leak.second.split) for leak in leaks]
    assert pairs == [("valid", "test"), ("valid", "more"), ("test", "more")]


def test_what_repeats_within_a_split_or_between_training_sets_is_no_leak():
    assert find_leaks({"train": ["a", "a"], "test": ["b", "b"]}) == []
    assert find_leaks({"d/train.jsonl": ["a"], "d/train-2.jsonl": ["a"], "d/test.jsonl": []}) == []


def test_a_leak_is_an_error_unless_allowed():
    splits = {"train.jsonl": ["a", "b"], "test.jsonl": ["x", "b"], "valid.jsonl": ["A"]}
    with pytest.raises(DataError) as caught:
        check_leaks(splits)
    assert str(caught.value) == (
        "train.jsonl:1: question: found 2 in two splits (1 between train.jsonl and valid.jsonl, 1 "
        "between train.jsonl and test.jsonl); 'a' is, but for spacing and the writing of numbers, "
        "valid.jsonl:1 'A'; needed: splits that share no question; delete it from one of them, or "
        "allow leaks: data.allow_leaks=true"
    )
    assert len(check_leaks(splits, allow=True)) == 2
    assert check_leaks({"train": ["a"], "test": ["b"]}) == []
    with pytest.raises(DataError, match="'b' is test:1; needed"):
        check_leaks({"train": ["b"], "test": ["b"]})
