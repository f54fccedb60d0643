import hashlib
import json
import operator
import re
from collections import Counter
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

from unspoken.cli.main import main
from unspoken.common.errors import DataError, OutputExistsError, SettingError
from unspoken.data.example import read_examples, read_questions
from unspoken.data.leaks import check_leaks, normalize
from unspoken.data.tasks.arithmetic import (
    CATEGORIES,
    DIFFICULTIES,
    generate,
    solve_question,
    write_arithmetic,
    write_cot,
)
from unspoken.data.tasks.arithmetic.calculation import calculate
from unspoken.data.tasks.arithmetic.dataset import share_out
from unspoken.data.tasks.arithmetic.form import money
from unspoken.measure.answers import answers_equal, extract_answer
from unspoken.models.tokenizer import PRINTABLE

NUMBER = r"-?\d+(?:\.\d+)?(?:/\d+)?"
SIGNS = {"+": operator.add, "-": operator.sub, "×": operator.mul, "÷": operator.truediv}


@cache
def sample(difficulty):
    return generate(2500, 0, difficulty=difficulty, seed=3)["train"]


def of_category(category, difficulty):
    return [q.example for q in sample(difficulty) if q.category == category]


def value(text):
    """Returns the number that an expression with spaces around its signs is worth."""
    while brackets := re.search(r"\(([^()]*)\)", text):
        text = text.replace(brackets[0], f"{value(brackets[1])}")
    tokens = text.replace("$", "").split()
    for signs in ("×÷", "+-"):
        place = 1
        while place < len(tokens):
            if tokens[place] in signs:
                left, right = Fraction(tokens[place - 1]), Fraction(tokens[place + 1])
                tokens[place - 1 : place + 2] = [str(SIGNS[tokens[place]](left, right))]
            else:
                place += 2
    assert len(tokens) == 1
    return Fraction(tokens[0])


def numbers(text):
    return [Fraction(number) for number in re.findall(NUMBER, text.replace("$", ""))]


# --- solutions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_answer_is_found_in_the_solution_and_the_solution_in_the_question(difficulty):
    for question in sample(difficulty):
        example = question.example
        text = write_cot(example)
        assert text.splitlines()[-1] == f"Final Answer: {example.answer}"
        assert all(
            line.startswith(f"Step {n}: ") for n, line in enumerate(example.thought.split("\n"), 1)
        )
        assert extract_answer(text) == example.answer
        assert answers_equal(extract_answer(text), example.answer)
        assert solve_question(f"{example.question}\n").thought == example.thought
        assert solve_question(example.question) == example


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_every_equation_in_a_solution_holds(difficulty):
    plain = rf"\$?{NUMBER}(?: [-+×÷] \$?{NUMBER})*"
    side = rf"(?:(?:{plain} \+ )?\({plain}\) ÷ {NUMBER}|{plain})"
    equation = re.compile(rf"{side}(?: = {side})+")
    found = 0
    for question in sample(difficulty):
        for clause in re.split(r": |, | and |\n", question.example.thought):
            if equation.fullmatch(clause):
                first, *others = map(value, clause.split(" = "))
                found += len(others)
                assert all(other == first for other in others), question
    assert found > 2 * len(sample(difficulty))


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_arithmetic_is_right(difficulty):
    for example in of_category("arithmetic", difficulty):
        text, answer = example.question, Fraction(example.answer)
        if found := re.search(r"[\d(][\d.() ]*[-+×÷][-+×÷\d.() ]*[\d)]", text):
            assert value(found[0].rstrip(".")) == answer, example
            continue
        a, b = numbers(text)
        expected = {
            "Add|sum|add ": a + b,
            "Subtract|taken away": abs(a - b),
            "greater": a - b,
            "Multiply|product|times .*and|is .* times": a * b,
            "Divide|divided": a / b,
            "How many times": b / a,
        }
        assert answer == next(
            result for words, result in expected.items() if re.search(words, text)
        )


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_percentages_are_right(difficulty):
    for example in of_category("percentages", difficulty):
        text, answer = example.question, Fraction(example.answer.strip("$%"))
        percent = [Fraction(p) / 100 for p in re.findall(r"([\d.]+)%", text)]
        a, *more = numbers(re.sub(r"[\d.]+%", "", text))
        if len(percent) == 2:
            expected = a * (1 + percent[0]) * (1 - percent[1])
        elif not percent:
            b = more[0]
            changes = re.search(r"rises|raised|grows|falls|lowered|shrinks", text)
            of = (a, b) if re.search(r"^What perc|^A test", text) else (b, a)
            expected = 100 * (abs(b - a) / a if changes else of[1] / of[0])
        elif re.search(r"Increase|grows|more|Add", text):
            expected = a * (1 + percent[0])
        elif re.search(r"Decrease|loss|less|Reduce|reduced|off|discount", text):
            expected = a * (1 - percent[0])
        elif re.search(r"which number|a number", text, re.IGNORECASE):
            expected = a / percent[0]
        else:
            expected = a * percent[0]
        assert answer == expected, example
        assert example.answer.endswith("%") == (not percent)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_fractions_are_right(difficulty):
    for example in of_category("fractions", difficulty):
        text, answer = example.question, Fraction(example.answer)
        assert example.answer == str(answer)  # in lowest terms
        if found := re.search(r"\d+/\d+(?: [-+×÷] \d+/\d+)+", text):
            assert value(found[0]) == answer
            continue
        a, b = numbers(text.replace(". ", " "))
        small, large = sorted((a, b))
        expected = {
            "added to|missing|jug": b - a,
            "Add|sum": a + b,
            "Subtract": b - a,
            "exceed": a - b,
            "Multiply|product": a * b,
            "Divide|divided": a / b,
            "reads|paints|mows": 1 - a - b,
            "gives away|sells|packs": large * (1 - small),
            "a number|which number": large / small,
            "": a * b,
        }
        assert answer == next(
            result for words, result in expected.items() if re.search(words, text)
        ), example


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_solution_of_an_equation_fulfils_it(difficulty):
    tested = 0
    for example in of_category("algebra", difficulty):
        equation = re.search(
            r"(?:: | if | equation | that | satisfies )([^,:]* = .*?)(?:,.*| for .)?[.?]?$",
            example.question,
        )
        if equation is None:
            continue  # asked in words
        text = re.sub(r"(\d)(?=[(a-z])", r"\1*", equation[1])
        text = re.sub(r"[a-z]", "solution", re.sub(r"\d+", r"F(\g<0>)", text))
        names = {"F": Fraction, "solution": Fraction(example.answer)}
        left, right = (eval(side, names) for side in text.split("="))
        assert left == right, example
        tested += 1
    assert tested > 150


def test_a_percentage_asked_for_in_the_usual_words_is_solved_and_never_drawn():
    """Never, so that a seed's files stay as they are."""
    asked = solve_question("What is 15% of 240?")
    assert asked.answer == "36"
    assert asked.thought == solve_question("How much is 15% of 240?").thought
    assert not re.search(r"What is \d+% of", "\n".join(q.example.question for q in sample("easy")))


def test_another_question_is_refused():
    for question in ("What is the capital of France?", "What is 3 +?", ""):
        with pytest.raises(
            DataError, match="needed: a question as `unspoken data arithmetic` writes"
        ):
            solve_question(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is 5 ÷ 0?",
        "How much is 3 times 0?",
        "Calculate (44 + 40) ÷ 0.",
        "46 is 0% of which number?",
        "Solve for z: 0z + 16 = 28",
        "3 mugs cost $1. What do 4 mugs cost at the same price?",
        "Ben buys 9 mugs for $18 each and pays with $100. How much change is due?",
        "Amara has 35 toys: 0.5 green ones, and the rest black. "
        "Give the ratio of green to black in lowest terms.",
        f"What is {'9' * 5000} + 3?",
    ],
)
def test_a_question_whose_numbers_have_no_solution_is_refused(question):
    with pytest.raises(DataError, match="needed: a question as `unspoken data arithmetic` writes"):
        solve_question(question)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 7 ÷ 2?", "3.5"),
        ("How many times does 4 go into 10?", "2.5"),
        ("What is 100000 ÷ 3?", "100000/3"),
        ("What is 2.5 × 3?", "7.5"),
    ],
)
def test_other_numbers_than_are_drawn_have_a_right_answer(question, answer):
    example = solve_question(question)
    assert example.answer == answer
    assert example.thought.endswith(f" = {answer}")
    assert "1/2" not in example.thought


def test_known_questions_have_their_solutions():
    assert write_cot(solve_question("Calculate 15% of 240.")) == (
        "Step 1: 15% of 240 is 15 × 240 ÷ 100\n"
        "Step 2: 15 × 240 = 15 × 200 + 15 × 40 = 3000 + 600 = 3600\n"
        "Step 3: 3600 ÷ 100 = 36\nFinal Answer: 36"
    )
    answers = {
        "What is 1.5 + 2.25?": "3.75",
        "Find x if 4x - 3 = 7.": "2.5",
        "Solve for y: 3y + 1 = 8": "7/3",
        "Calculate 1/2 + 1/2.": "1",
        "What is (2 + 3) × 4 - 6 ÷ 2?": "17",
        "What do 3 mugs cost at $2.50 apiece?": "$7.50",
        "Find t in the proportion 2:3 = 8:t.": "12",
    }
    assert {question: solve_question(question).answer for question in answers} == answers


@pytest.mark.parametrize(
    ("left", "sign", "right", "expected"),
    [
        (8, "+", 5, "8 + 5 = 13"),
        (14, "+", 6, "14 + 6 = 20"),
        (43, "+", 38, "43 + 38 = 43 + 30 + 8 = 73 + 8 = 81"),
        (43, "+", 30, "43 + 30 = 73"),
        (520, "-", 135, "520 - 135 = 520 - 100 - 30 - 5 = 420 - 30 - 5 = 390 - 5 = 385"),
        (-18, "+", 25, "-18 + 25 = 7"),
        (18, "-", 25, "18 - 25 = -7"),
        (80, "×", 7, "80 × 7 = 560"),
        (28, "×", 3, "28 × 3 = 20 × 3 + 8 × 3 = 60 + 24 = 60 + 20 + 4 = 80 + 4 = 84"),
        (
            28,
            "×",
            34,
            "28 × 34 = 28 × 30 + 28 × 4 = 840 + 112 = 840 + 100 + 10 + 2 = 940 + 10 + 2 "
            "= 950 + 2 = 952",
        ),
        (
            6,
            "×",
            345,
            "6 × 345 = 6 × 300 + 6 × 40 + 6 × 5 = 1800 + 240 + 30 = 1800 + 200 + 40 + 30 "
            "= 2000 + 40 + 30 = 2040 + 30 = 2070",
        ),
        (
            35,
            "×",
            1234,
            "35 × 1234 = 30 × 1234 + 5 × 1234 = 37020 + 6170 = 37020 + 6000 + 100 + 70 "
            "= 43020 + 100 + 70 = 43120 + 70 = 43190",
        ),
        (1111, "×", 1234, "1111 × 1234 = 1370974"),
        (46, "×", 100, "46 × 100 = 4600"),
        (1, "×", 11, "1 × 11 = 11"),
        (Fraction(1, 4), "×", 8, "0.25 × 8 = 0.2 × 8 + 0.05 × 8 = 1.6 + 0.4 = 2"),
        (Fraction(1, 3), "×", 6, "1/3 × 6 = 2"),
        (36, "÷", 4, "36 ÷ 4 = 9"),
        (48, "÷", 12, "48 ÷ 12 = 4"),
        (108, "÷", 12, "108 ÷ 12 = 5 + (108 - 60) ÷ 12 = 5 + 48 ÷ 12 = 5 + 4 = 9"),
        (3500, "÷", 50, "3500 ÷ 50 = 70"),
        (660, "÷", 11, "660 ÷ 11 = 50 + (660 - 550) ÷ 11 = 50 + 110 ÷ 11 = 50 + 10 = 60"),
        (116, "÷", 4, "116 ÷ 4 = 20 + (116 - 80) ÷ 4 = 20 + 36 ÷ 4 = 20 + 9 = 29"),
        (306, "÷", 3, "306 ÷ 3 = 100 + (306 - 300) ÷ 3 = 100 + 6 ÷ 3 = 100 + 2 = 102"),
        (
            384,
            "÷",
            3,
            "384 ÷ 3 = 100 + (384 - 300) ÷ 3 = 100 + 84 ÷ 3 = 100 + 20 + (84 - 60) ÷ 3 "
            "= 100 + 20 + 24 ÷ 3 = 100 + 20 + 8 = 128",
        ),
        (51, "÷", 4, "51 ÷ 4 = 12.75"),
        (1, "÷", Fraction(1, 3), "1 ÷ 1/3 = 3"),
        (3600, "÷", 100, "3600 ÷ 100 = 36"),
        (
            87,
            "÷",
            2,
            "87 ÷ 2 = 40 + (87 - 80) ÷ 2 = 40 + 7 ÷ 2 = 40 + 3 + (7 - 6) ÷ 2 = 40 + 3 + 1 ÷ 2 "
            "= 40 + 3 + 0.5 = 43.5",
        ),
        (7, "÷", 3, "7 ÷ 3 = 7/3"),
    ],
)
def test_a_calculation_is_taken_apart_where_a_number_has_several_places(
    left, sign, right, expected
):
    assert calculate(left, sign, right) == expected
    first, *others = map(value, expected.split(" = "))
    assert all(other == first for other in others)


def test_a_calculation_with_dollars_has_them_in_every_step():
    times = calculate(6, "×", 17, right_as=money)
    assert times == "6 × $17 = 6 × $10 + 6 × $7 = $60 + $42 = $60 + $40 + $2 = $100 + $2 = $102"
    shared = calculate(Fraction(51, 2), "÷", 2, left_as=money)
    assert shared == "$25.50 ÷ 2 = $12.75"
    price = calculate(117, "÷", 9, left_as=money)
    assert price == "$117 ÷ 9 = $10 + ($117 - $90) ÷ 9 = $10 + $27 ÷ 9 = $10 + $3 = $13"
    left = calculate(100, "-", Fraction(171, 2), left_as=money, right_as=money)
    assert (
        left == "$100 - $85.50 = $100 - $80 - $5 - $0.50 = $20 - $5 - $0.50 = $15 - $0.50 = $14.50"
    )


# --- language -----------------------------------------------------------------------------------


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_english_is_right(difficulty):
    wrong = re.compile(
        r"(?<![\d./])1 (?:hours|years|meters|days|people|workers|cm|notebooks|mugs|candles|books"
        r"|plants|posters|scarves|puzzles|lamps|toys|grams|cans|beads|tiles|parts)\b"
        r"|\b[Aa] (?:[aeio]|8|11\b|18\b)|\b[Aa]n (?![aeiou8]|11\b|18\b)|  |[{}]|\b(\w+) \1\b"
    )
    for question in sample(difficulty):
        text = question.example.question
        assert not wrong.search(text), text
        assert text[0].isupper() or text[0].isdigit()
        assert text[-1] in ".?" or text.startswith("Solve for")
        counts = wrong.search(question.example.thought)
        assert not counts or not counts[0].startswith("1"), question


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_ages_lengths_and_money_are_positive(difficulty):
    for question in sample(difficulty):
        if question.category in ("word_problems", "ratios", "percentages"):
            assert "-" not in question.example.answer, question
        if question.kind.startswith("age"):
            assert 2 <= int(question.example.answer) <= 110
        if "$" in question.example.answer:
            assert re.fullmatch(r"\$\d+(\.\d\d)?", question.example.answer)


# --- data sets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_built_in_tokenizer_knows_every_symbol(difficulty):
    examples = [each.example for each in sample(difficulty)]
    text = "".join(f"{one.question}{one.thought}{one.answer}" for one in examples)
    assert set(text) <= set(PRINTABLE)


def test_the_default_has_the_sizes_and_proportions_of_the_plan(tmp_path):
    content = write_arithmetic(tmp_path)
    assert content["counts"] == {"raw_questions": 377, "test_questions": 95}
    assert list(content["categories"]["train"].values()) == [76, 60, 60, 91, 45, 45]
    assert list(content["categories"]["test"].values()) == [19, 15, 15, 23, 12, 11]
    assert list(share_out(500, tuple(CATEGORIES)).values()) == [100, 80, 80, 120, 60, 60]
    assert json.loads((tmp_path / "dataset.json").read_text()) == content
    questions = {}
    for name, count in content["counts"].items():
        path = tmp_path / f"{name}.jsonl"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == content["sha256"][path.name]
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert all(list(r) == ["id", "question", "answer", "category"] for r in records)
        questions[name] = [example.question for example in read_questions(path)]
        assert len(questions[name]) == count
    assert len({normalize(q) for split in questions.values() for q in split}) == 472
    check_leaks(questions)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dataset.json",
        "raw_questions.jsonl",
        "test_questions.jsonl",
    ]


def test_with_thoughts_the_same_questions_can_be_trained_on(tmp_path):
    sizes = {"num_train": 60, "num_test": 20, "num_valid": 10, "seed": 5}
    write_arithmetic(tmp_path / "plain", **sizes)
    content = write_arithmetic(tmp_path / "thoughts", with_thoughts=True, **sizes)
    assert content["counts"] == {"test": 20, "valid": 10, "train": 60}
    files = {"train": "raw_questions", "valid": "valid_questions", "test": "test_questions"}
    expected = generate(**sizes)
    for split, name in files.items():
        examples = read_examples(tmp_path / "thoughts" / f"{split}.jsonl")
        plain = read_questions(tmp_path / "plain" / f"{name}.jsonl")
        assert [e.question for e in examples] == [e.question for e in plain]
        assert [(q.id, q.example.thought) for q in expected[split]] == [
            (e.id, e.thought) for e in examples
        ]


def test_the_seed_decides_and_more_training_leaves_the_test_as_it_is():
    assert generate(50, 20, seed=1) == generate(50, 20, seed=1)
    assert generate(50, 20, seed=1)["test"] == generate(90, 20, seed=1)["test"]
    assert generate(50, 20, seed=1)["test"] != generate(50, 20, seed=2)["test"]
    first = generate(1, 0)["train"][0].example.question  # on every machine
    assert (
        first == "The perimeter of a rectangular courtyard is 192 meters, and its length is 53 "
        "meters. Find its area in square meters."
    )


def test_no_problem_is_tested_that_was_trained_on_in_other_words():
    splits = generate(3000, 300, 300, difficulty="easy", categories=["arithmetic"])
    problems = {
        split: {
            tuple(sorted(numbers(q.example.question))) for q in questions if q.kind == "division"
        }
        for split, questions in splits.items()
    }
    assert not problems["train"] & (problems["test"] | problems["valid"])
    assert not problems["valid"] & problems["test"]


def test_one_category_alone_and_every_kind_of_a_difficulty():
    only = generate(30, 10, categories=["ratios", "algebra"])
    assert {q.category for q in only["train"]} == {"ratios", "algebra"}
    kinds = [{q.kind for q in sample(difficulty)} for difficulty in DIFFICULTIES]
    assert len(kinds[2]) > len(kinds[1]) > len(kinds[0]) > 30
    assert {q.category for q in sample("hard")} == set(CATEGORIES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train": 0}, r"^num_train: found 0; needed: at least 1"),
        ({"num_test": -1}, r"^num_test: found -1; needed: at least 0"),
        ({"seed": -1}, r"^seed: found -1"),
        ({"difficulty": "brutal"}, r"^difficulty: found 'brutal'; needed: easy, medium, hard"),
        ({"categories": ["ratio"]}, r"^categories: found 'ratio'; needed: some of arithmetic"),
        ({"categories": ["ratios", "ratios"]}, r"^categories: found 'ratios' twice"),
        ({"categories": []}, r"^categories: found none"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(SettingError, match=message):
        generate(**arguments)


def test_more_questions_than_there_are_is_an_error_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("unspoken.data.tasks.arithmetic.dataset.MAX_REPETITIONS", 1)
    with pytest.raises(DataError, match="no more new questions were found in category 'algebra'"):
        write_arithmetic(tmp_path, num_train=9000, difficulty="easy", categories=["algebra"])
    assert list(tmp_path.iterdir()) == []


def test_files_are_replaced_only_when_asked(tmp_path):
    write_arithmetic(tmp_path, num_train=5, num_test=2, num_valid=2)
    with pytest.raises(OutputExistsError, match="exists already"):
        write_arithmetic(tmp_path, num_train=5, num_test=2)
    write_arithmetic(tmp_path, num_train=4, num_test=0, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dataset.json",
        "raw_questions.jsonl",
    ]


def test_the_verb_writes_377_questions_and_95_others_into_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no flag at all; each category has its share of 100 : 80 : 80 : 120 : 60 : 60."""
    monkeypatch.chdir(tmp_path)
    main(["data", "arithmetic"])
    lines = Path("data/raw_questions.jsonl").read_text().splitlines()
    counts = Counter(json.loads(line)["category"] for line in lines)
    assert counts == {
        "arithmetic": 76, "percentages": 60, "algebra": 60, "word_problems": 91, "fractions": 45,
        "ratios": 45,
    }  # fmt: skip
    assert len(Path("data/test_questions.jsonl").read_text().splitlines()) == 95
