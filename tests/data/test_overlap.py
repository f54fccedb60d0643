"""Test questions that are found again in other words, and template siblings that are not."""

import json
import random

import pytest

from unspoken.common.errors import DataError
from unspoken.data.overlap import QuestionIndex, split_words
from unspoken.data.tasks.arithmetic import write_arithmetic

MEADOW = (
    "A triangular meadow has a base of 33 meters and a height of 8 meters. What is its area in "
    "square meters?"
)
RIDDLE = (
    "All bakers in the village sing, and nobody who sings is ever sad on a market day. Is a baker "
    "from that village ever sad on a market day?"
)
SHORT = "How much is 19% of 657?"
ALGEBRA = "Given that y/15 + 4 = -35, what is y?"


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "test.jsonl"
    questions = [SHORT, MEADOW, RIDDLE, ALGEBRA]
    path.write_text("".join(json.dumps({"question": q}) + "\n" for q in questions))
    return QuestionIndex([path])


@pytest.mark.parametrize(
    ("question", "line", "how"),
    [
        (MEADOW, 2, "exact"),
        (f" {MEADOW}\n", 2, "exact"),
        (MEADOW.upper().replace(" ", "  "), 2, "normalized"),
        ("how much is 19 % of 657.0?", 1, "normalized"),
        (f"Ann owns 5 cows. {MEADOW} Round to 2 decimals.", 2, "8-gram"),
        (MEADOW.replace("triangular meadow", "three-sided field"), 2, "8-gram"),
        (MEADOW.removesuffix(" What is its area in square meters?"), 2, "8-gram"),
        (MEADOW.replace("33 meters", "33.00 meters,"), 2, "8-gram"),
        (f"Think well. {RIDDLE}", 3, "8-gram"),
        (f"Please help: {ALGEBRA}", 4, "8-gram"),
    ],
)
def test_a_test_question_is_found_again(index, question, line, how):
    found = index.find(question)
    assert found is not None
    assert (found.place.line, found.how) == (line, how)


def test_a_number_counts_as_often_as_it_stands(tmp_path):
    index = _index_of(tmp_path / "test.jsonl", f"{MEADOW} It has 8 goats.", least=0.5)
    assert index.find(f"{MEADOW} It has 8 goats now.") is not None
    assert index.find(f"{MEADOW} It has 33 goats now.") is None


@pytest.mark.parametrize(
    "question",
    [
        MEADOW.replace("33", "34"),
        MEADOW.replace("33", "8").replace("a height of 8", "a height of 33"),
        f"Please help: {ALGEBRA}".replace("+", "-"),
        f"Please help: {ALGEBRA}".replace("-35", "35"),
        f"Please help: {SHORT}",  # fewer than eight words: as a whole or not at all
        MEADOW.partition(" and ")[0] + ". Ann walks around it 8 times and is very tired.",
        RIDDLE.replace("nobody who sings is ever sad", "some singers are glad"),
        "",
    ],
)
def test_another_question_is_not_found(index, question):
    assert index.find(question) is None


def _in_template(rng, words):
    """A question that begins as all do; what it says of its own may have a number in it."""
    own = [rng.choice(words) for _ in range(rng.randint(2, 20))]
    if rng.random() < 0.4:
        own.insert(rng.randrange(len(own)), str(rng.randint(1, 9)))
    return " ".join(["say in one word what the writer of this wants of us:", *own])


def _index_of(path, *questions, least):
    path.write_text("".join(json.dumps({"question": q}) + "\n" for q in questions))
    return QuestionIndex([path], least)


@pytest.mark.parametrize("least", [0.1, 0.5, 0.9])
def test_among_many_the_same_is_found_as_in_each_alone(tmp_path, least):
    rng = random.Random(1)
    words = [f"{first}{second}" for first in "bdfglm" for second in ("ara", "ela", "ono")]
    tests = [*(_in_template(rng, words) for _ in range(90)), MEADOW, RIDDLE]
    index = _index_of(tmp_path / "test.jsonl", *tests, least=least)
    alone = [_index_of(tmp_path / "alone.jsonl", each, least=least) for each in tests]
    asked = [_in_template(rng, words) for _ in range(40)]
    asked += [f"{q} {rng.choice(words)} now" for q in tests[::4]] + [f"Go: {MEADOW}", RIDDLE[5:]]
    for question in asked:
        shares = [each.share if (each := one.find(question)) else 0 for one in alone]
        found = index.find(question)
        best = shares.index(max(shares)) + 1
        wanted = (best, max(shares)) if any(shares) else None
        assert (found and (found.place.line, found.share)) == wanted, question


def test_the_share_is_told_and_can_be_set(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"question": MEADOW}))
    changed = MEADOW.replace("a base", "one base")
    found = QuestionIndex([path]).find(changed)
    assert found is not None
    assert str(found) == f"{path}:1 (8-gram with 77% of its words)"  # 17 of 22
    assert found.share == 17 / 22
    assert str(QuestionIndex([path]).find(MEADOW)) == f"{path}:1 (exact)"
    assert QuestionIndex([path], overlap=0.77).find(changed) is not None
    assert QuestionIndex([path], overlap=0.78).find(changed) is None


def test_a_question_counts_as_the_other_from_half_of_its_words_on(tmp_path):
    path = tmp_path / "test.jsonl"
    common = "Ann has 5 cows and wants to sell"  # eight words
    path.write_text(json.dumps({"question": f"{common} each of them on market day in town"}))
    index = QuestionIndex([path])
    found = index.find(f"{common} some more milk before the winter begins again")
    assert found is not None
    assert found.share == 0.5
    assert index.find(f"{common} some more milk before the winter begins again now") is not None
    path.write_text(json.dumps({"question": f"{common} each of them on market day in town now"}))
    assert (
        QuestionIndex([path]).find(f"{common} more milk before the hard winter begins again too")
        is None
    )


def test_messages_behind_one_instruction_are_no_leaks_of_each_other(tmp_path):
    """A number in one of two messages says nothing of the other: the instruction is no question."""
    asked = (
        "Classify this message of a customer as billing, login or other, and answer with the label "
        "alone: "
    )
    path = tmp_path / "test.jsonl"
    path.write_text(
        json.dumps({"question": f"{asked}the invoice of last month never came to my address"})
        + "\n"
        + json.dumps({"question": f"{asked}order 4711 was charged to my old card and not refunded"})
        + "\n"
    )
    index = QuestionIndex([path])
    assert index.find(f"{asked}my password does not work on 2 phones of mine any more") is None
    assert index.find(f"{asked}I would like to know when your shop opens on Sundays") is None


def test_a_stricter_share_holds_for_questions_without_numbers_as_well(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"question": RIDDLE}))
    changed = RIDDLE.replace("All bakers", "Some bakers")
    found = QuestionIndex([path]).find(changed)
    assert found is not None
    assert 0.8 < found.share < 0.99
    assert QuestionIndex([path], overlap=0.99).find(changed) is None


def test_the_best_of_several_is_told(tmp_path):
    path = tmp_path / "test.jsonl"
    questions = [MEADOW.replace("its area", "the area"), MEADOW]
    path.write_text("".join(json.dumps({"question": q}) + "\n" for q in questions))
    found = QuestionIndex([path]).find(f"Now: {MEADOW}")
    assert found is not None
    assert (found.place.line, found.share) == (2, 1.0)


def test_generated_siblings_do_not_leak(tmp_path):
    write_arithmetic(tmp_path, num_train=3000, num_test=300, seed=1)
    index = QuestionIndex([tmp_path / "test_questions.jsonl"])
    lines = (tmp_path / "raw_questions.jsonl").read_text().splitlines()
    assert [q for line in lines if index.find(q := json.loads(line)["question"])] == []


def test_gsm8k_does_not_leak_into_itself(shared_data):
    folder = shared_data / "gsm8k"
    index = QuestionIndex([folder / "test.jsonl"])
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert [q for line in lines if index.find(q := json.loads(line)["question"])] == []


def test_words_keep_numbers_and_signs_but_no_hyphens():
    assert split_words("twenty-five km/h × −3 (1,000.0)") == [
        *("twenty", "five", "km", "h", "*", "-3", "(", "1000", ")")
    ]


def test_a_file_without_questions_is_an_error(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match=r"test\.jsonl:1: question: missing"):
        QuestionIndex([path])
