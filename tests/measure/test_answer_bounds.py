"""Hostile, long and random answers: judged in a bounded time, in any thread, without an error."""

import random
import signal
import subprocess
import sys
import threading

import pytest

from unspoken.measure.answers import (
    answers_equal,
    compare_answers,
    digit_accuracy,
    extract_answer,
    split_answer,
)
from unspoken.measure.grade import grade


@pytest.mark.parametrize("filler", ["*", " ", "the ", "\n", "---\n", "#### ", "\\boxed{", "$"])
@pytest.mark.timeout(60)  # a moment; a rule that backtracks takes hours
def test_splitting_a_degenerate_text_takes_no_time(filler):
    text = f"Step 1 {filler * 20_000} Final Answer: 36"
    assert split_answer(text) is not None


@pytest.mark.parametrize(
    "tower",
    [
        "9^9^9^9",
        "9**9**9**9",
        "9^{9^{9^{9}}}",
        "(9^{999})^{999}",
        "((9^{999})^{999})^{999}",
        "9^{99999999}",
        "9^(9^(9^9))",
        "2^{9*9*9*9*9}",
        "exp(exp(exp(9)))",
        "99999999!",
        "\\binom{99999999}{9999999}",
        "10^999999999",
        "1e999999999",
        "9" * 5000,
        "(" * 1500,
        "((((" * 40 + "x" + "))))" * 40,
        "a) " * 600 + "5",
        "5 ab" + " 1" * 40 + "|",
    ],
)
@pytest.mark.timeout(60)
def test_an_answer_that_could_take_for_ever_is_just_wrong(tower):
    assert not answers_equal(tower, "\\sqrt{2}")
    assert not answers_equal("x^2", tower)
    assert compare_answers(tower, "\\sqrt{2}") is not True


DEGENERATE = {
    "bold": "**a " * 30_000,
    "hash": "#1" + " " * 50_000 + "x",
    "boxed": "\\boxed{" * 3_000,
    "marker": "Final Answer:\n" * 5_000,
    "lines": "\n" * 50_000,
    "dollars": "$" * 50_000,
    "questions": "Q:\n" * 10_000,
    "brackets": "( " * 50_000,
    "hashes": "#### x\n" * 5_000,
}


@pytest.mark.parametrize("text", DEGENERATE.values(), ids=DEGENERATE.keys())
@pytest.mark.timeout(60)  # a second or two; a rule that backtracks takes hours
def test_a_degenerate_text_takes_little_time(text):
    answers_equal(extract_answer(text), "36")
    answers_equal(text, "36")


MEGABYTES = [
    "answer: ",
    "Final Answer:\n",
    "the answer is ",
    "#### x\n",
    "\\boxed{",
    "\\boxed{3}, ",
]
MEGABYTES += ["<answer>", "Q:\n", "A:\n", "\\[\n", "---\n", "<|end|>", "答案是", "{"]


@pytest.mark.parametrize("filler", MEGABYTES)
@pytest.mark.timeout(60)  # half a second each; what is not linear takes hours
def test_a_megabyte_takes_little_time(filler):
    text = filler * (1_000_000 // len(filler))
    assert grade(text, "36").correct is False
    assert grade(f"Step 1\n{text}\nFinal Answer: 36", "36").undecided is False
    assert grade("36", text).correct is False


def test_a_text_beyond_all_bounds_is_undecided():
    assert grade("Step 1\n" * 200_000 + "Final Answer: 36", "36")[1:] == ("36", False, True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.timeout(60)
def test_random_mathematics_takes_little_time_and_never_raises(seed):
    generator = random.Random(seed)

    def expression(depth: int) -> str:
        if depth > 4 or generator.random() < 0.3:
            return generator.choice(["x", "y", "2", "37", "\\pi", "e", "n", "0.5", "1000000007"])
        first, second = expression(depth + 1), expression(depth + 1)
        forms = ["({0}+{1})", "\\frac{{{0}}}{{{1}}}", "\\sqrt{{{0}}}", "({0})^{{{1}}}", "{0}-{1}"]
        forms += ["\\sin({0})", "\\ln({0})", "({0})!", "\\binom{{{0}}}{{{1}}}", "\\sqrt[5]{{{0}}}"]
        return generator.choice(forms).format(first, second)

    for _ in range(300):
        first, second = expression(0), expression(0)
        assert compare_answers(first, second) in (True, False, None)
        assert compare_answers(f"{first}, {second}", f"{second}, {first}") in (True, None)


def test_equality_works_off_the_main_thread():
    verdicts = []
    cases = [("\\sqrt{8}", "2\\sqrt{2}"), ("\\sqrt{8}", "2\\sqrt{3}"), ("9^9^9^9", "\\sqrt{2}")]

    def judge():
        verdicts.extend(answers_equal(*case) for case in cases)

    thread = threading.Thread(target=judge)
    thread.start()
    thread.join(timeout=60)
    assert verdicts == [True, False, False]


def test_threads_that_judge_at_once_do_not_disturb_each_other():
    wrong = []

    def judge(number):
        for _ in range(50):
            if not answers_equal(f"\\sqrt{{{2 * number**2}}}", f"{number}\\sqrt{{2}}"):
                wrong.append(number)

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(3, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert wrong == []


@pytest.mark.parametrize("name", ["alarm", "setitimer", "signal"])
def test_an_alarm_of_the_program_is_never_touched(monkeypatch, name):
    if not hasattr(signal, name):
        pytest.skip(f"needs {name}")
    touched = []
    monkeypatch.setattr(signal, name, lambda *arguments: touched.append(arguments))
    assert answers_equal("\\sqrt{8}", "2\\sqrt{2}")
    assert not answers_equal("9^{9^{9^{9}}}", "2\\sqrt{2}")
    monkeypatch.undo()
    assert touched == []


@pytest.mark.parametrize(
    ("predicted", "gold"),
    [
        ("9^{9^{9^{9}}}", "2"),
        ("99999999!", "2"),
        ("exp(exp(exp(9)))", "2"),
        ("(" * 60 + "x" + ")" * 60, "x"),
        ("x + 2^{30000}", "x"),
        ("e^{400} + 1", "e^{400}"),
        ("\\frac{" + "1" * 70 + "}{x}", "2"),
        ("(1, 9^{9^{9^{9}}})", "(1, 2)"),
    ],
)
def test_what_cannot_be_decided_is_said_and_never_right(predicted, gold):
    assert compare_answers(predicted, gold) is None
    assert answers_equal(predicted, gold) is False


@pytest.mark.integration
def test_mpmath_is_imported_only_when_it_is_asked():
    code = (
        "import sys; from unspoken.measure.answers import answers_equal as e\n"
        "e('$29.00', '29'); e('yes', 'no')\n"
        "assert 'mpmath' not in sys.modules and 'torch' not in sys.modules\n"
        "e('\\\\sqrt{8}', '2\\\\sqrt{2}'); assert 'mpmath' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


SIGNS = list("0123456789+-*/^=:,.()[]{}<>|!%$€#&~_'\"\\ \n\tabxyzABIkm½²−×：𝟙٣\x00\ud800")
LATEX = ["\\frac", "\\sqrt", "\\boxed{", "\\text{", "\\pi", "\\left(", " to ", " is ", "1e9"]
WORDS = ["Final Answer:", "####", "A:", "Q:", "answer is", " km", " per ", "%", "**", "10^"]
ALPHABET = SIGNS + LATEX + WORDS


@pytest.mark.parametrize("seed", range(4))
def test_no_string_raises(seed):
    generator = random.Random(seed)
    for _ in range(1500):
        first, second = (
            "".join(generator.choices(ALPHABET, k=generator.randint(0, 14))) for _ in range(2)
        )
        found = extract_answer(first)
        assert isinstance(found, str)
        assert answers_equal(found, second) in (True, False)
        assert answers_equal(first, first.strip() or "x") in (True, False)
        share = digit_accuracy(first, second)
        assert share is None or 0 <= share <= 1
