"""Extraction and equality of answers: one line per case, so that a case is easy to add."""

import doctest
import importlib
import random
import signal
import subprocess
import sys
import threading

import pytest

from unspoken.measure import answers
from unspoken.measure.answers import (
    answers_equal,
    compare_answers,
    digit_accuracy,
    extract_answer,
    split_answer,
)
from unspoken.measure.grade import grade

EXTRACTION = [
    # Markers.
    ("Step 1: 0.15 * 240 = 36\nFinal Answer: 36", "36"),
    ("FINAL ANSWER: 36", "36"),
    ("final answer : 36", "36"),
    ("Final Answer：36", "36"),
    ("**Final Answer:** 36", "36"),
    ("**Final Answer**: 36", "36"),
    ("**Final Answer: 36**", "36"),
    ("### Final Answer\n36", "36"),
    ("**Final Answer**\n\n\\[\n\\boxed{36}\n\\]", "36"),
    ("Final Answer:\n\n36\nThis took two steps.", "36"),
    ("Final Answer:\n---\n36", "36"),
    ("Final Answer: \\boxed{36}", "36"),
    ("Final Answer: $\\boxed{36}$.", "36"),
    ("Final Answer: The answer is 36.", "36"),
    ("Final Answer: Answer: 36", "36"),
    ("So, Final Answer: 36", "36"),
    ("The final answer is 36. I hope it is correct.", "36"),
    ("The final answer is $29.00.", "$29.00"),
    ("The final answer is 12 apples. I hope it is correct.", "12 apples"),
    ("The final answer is: 36", "36"),
    ("Final Answer: 36. I hope it is correct.", "36"),
    ("Answer: 36", "36"),
    ("So the answer is 36.", "36"),
    ("A: 36", "36"),
    ("a: 36", "36"),
    ("<<16-3-4=9>> <<9*2=18>> #### 18", "18"),
    ("1 7 4 3 3 + 0 6 7 8 4 1 #### 1 3 9 4 5 4 2 1", "1 3 9 4 5 4 2 1"),
    ("She makes 9 * 2 = $<<9*2=18>>18.\n#### 18\n", "18"),
    ("####18", "18"),
    ("17433+067841(132281)#13945421", "13945421"),
    ("(132281)#-5", "-5"),
    ("16-3-4=9#1,234.50", "1,234.50"),
    ("#yes", "yes"),
    ("the sum is \\boxed{36} as needed", "36"),
    ("\\boxed{\\frac{3}{4}}", "\\frac{3}{4}"),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
    ("\\boxed{\\boxed{36}}", "36"),
    ("first \\boxed{35}, corrected \\boxed{36}", "36"),
    # More specific markers win, wherever they stand.
    ("Final Answer: 36\n#### 5", "36"),
    ("Final Answer: 36\nSo \\boxed{5}", "36"),
    ("\\boxed{36}\nAnswer: see the box", "36"),
    ("#### 36\nAnswer: 5", "36"),
    ("the final answer is 15 gallons * 8 = 120\n#### 120", "120"),  # so in GSM8K
    ("A: Step 1: 0.15 * 240\nAnswer: 36", "36"),
    ("### Answer:\nStep 1: halve it\nFinal Answer: 36", "36"),
    ("Final Answer: 36\n\nNote that the final answer is an integer.", "36"),
    ("#1 of three steps: add\nAnswer: 36", "36"),
    # First or last.
    ("Final Answer: 35\nWait, that is wrong.\nFinal Answer: 36", "36"),
    ("Final Answer: 36\n\nQ: What is 3 + 4?\nA: 3 + 4 = 7. Final Answer: 7", "36"),
    ("Final Answer: 36\n\n### Question:\nWhat is 3 + 4?\n\n### Answer:\nFinal Answer: 7", "36"),
    ("#### 36\nQuestion: What is 3 + 4?\n#### 7", "36"),
    ("36\n\nQ: What is 3 + 4?\nA: 7", "36"),
    ("1 3 9 4 5 4 2 1\nQ: 1 2 * 3 4\nA: 8", "1 3 9 4 5 4 2 1"),
    ("Q: What is 15% of 240?\nA: 36", "36"),
    ("Q: What is 15% of 240?\nA: 36\nQ: What is 3 + 4?\nA: 7", "36"),
    ("Let us restate the problem first.\nQuestion: 15% of 240?\nFinal Answer: 36", "36"),
    ("<think>The final answer is 35? No.</think>\nIt is 36", "It is 36"),
    ("<think>Final Answer: 35</think>\n\nFinal Answer: 36", "36"),
    ("Final Answer: 36<|im_end|>\n<|im_start|>user\nFinal Answer: 7", "36"),
    ("36</s>", "36"),
    # What is no marker.
    ("End with a line that starts with 'Final Answer:'.\nThe total is 36", "The total is 36"),
    ("BA: 5\n36", "36"),
    ("#### Step 1: Convert\n15% is 0.15\n36", ""),
    ("#### Understanding the problem\nwe convert\n#### 36", "36"),
    ("# Solution\n36", "36"),
    # A text cut short has no answer; an earlier one counts.
    ("so it is \\boxed{36", ""),
    ("Step 1: 0.15 * 240 = 36\nFinal Answer:", ""),
    ("so \\boxed{36}.\nFinal Answer:", "36"),
    ("Final Answer: 36\nFinal Answer:", "36"),
    ("Final Answer:\nFinal Answer:", ""),
    # The last line with content, and clean-up.
    ("15% is 0.15\n0.15 * 240 = 36\n\n", "0.15 * 240 = 36"),
    ("36", "36"),
    ("  36.  ", "36"),
    ("36\n```\n", "36"),
    ("$36$", "36"),
    ("$$36$$", "36"),
    ("\\(36\\)", "36"),
    ("\\[36\\]", "36"),
    ("**36**", "36"),
    ("`36`", "36"),
    ("**36** apples", "36 apples"),
    ("x = 5", "x = 5"),
    ("$29.00", "$29.00"),
    ("B.", "B"),
    ("(B)", "(B)"),
    ("2**3", "2**3"),
    ("", ""),
    (" \n\t\n", ""),
    ("...", ""),
]


@pytest.mark.parametrize(("text", "expected"), EXTRACTION)
def test_the_answer_is_found_in_a_text(text, expected):
    assert extract_answer(text) == expected


@pytest.mark.parametrize("text", [text for text, _ in EXTRACTION])
def test_extracting_from_an_answer_changes_nothing(text):
    answer = extract_answer(text)
    if "boxed" not in answer and not answer.startswith("It is"):
        assert extract_answer(answer) == answer


SPLITS = [
    ("Step 1: 0.15 * 240 = 36\nFinal Answer: 36", ("Step 1: 0.15 * 240 = 36", "36")),
    ("4321+06420#53550", ("4321+06420", "53550")),
    ("<<9*2=18>> #### 18", ("<<9*2=18>>", "18")),
    ("... so x = \\boxed{5}", ("... so x =", "5")),
    ("It costs more.\n**Final Answer:** \\$1,234.50", ("It costs more.", "\\$1,234.50")),
    ("Answer: 36", ("", "36")),
    # Thought and answer of thinking models.
    ("<think>\nStep 1\n</think>\n\n36", ("Step 1", "36")),
    ("Step 1\n</think>\nSo it is 30 + 6.\n**Answer:** 36", ("Step 1", "36")),
    ("<think>\n\n</think>\n\nStep 1\nFinal Answer: 36", ("Step 1", "36")),
    ("<think>Final Answer: 35</think>Final Answer: 36<|im_end|>", ("Final Answer: 35", "36")),
    ("<think>Step 1\nFinal Answer: 36", None),
    ("<think>Step 1\nFinal Answer: 36</think>\n", None),
    ("<think>Step 1</think><|im_end|>", None),
    ("<think>Step 1</think>\nFinal Answer:", None),
    # What leads to a marker goes with it.
    ("Step 1\n\nTherefore, the final answer is: $\\boxed{36}$", ("Step 1", "36")),
    ("We get 36. So the answer is $\\boxed{36}$.", ("We get 36.", "36")),
    ("**Step 1**\n\n---\n\n### **Final Answer**\n36", ("**Step 1**", "36")),
    ("Step 1\n\n\\[\n\\boxed{36}\n\\]", ("Step 1", "36")),
    ("It is **36**. **Answer:** 36", ("It is **36**.", "36")),
    ("> **Answer:** 36", ("", "36")),
    ("```\n30 + 6\n```\nFinal Answer: 36", ("```\n30 + 6\n```", "36")),
    ("\\boxed{\\boxed{36}}", ("", "36")),
    # A writer who corrects himself, and one who goes on.
    ("Final Answer: 35\nNo.\nFinal Answer: 36", ("Final Answer: 35\nNo.", "36")),
    ("Step 1\nFinal Answer: 36\n\nQ: 3 + 4?\nA: 3 + 4 = 7. Final Answer: 7", ("Step 1", "36")),
    ("Step 1\nFinal Answer: 36\nI hope it is correct.", ("Step 1", "36")),
    # No marker, or nothing after it.
    ("Step 1\n36", None),
    ("36\n\nQ: What is 3 + 4?\nA: 7", None),
    ("Step 1\nFinal Answer:", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "expected"), SPLITS)
def test_a_text_is_split_where_its_answer_begins(text, expected):
    assert split_answer(text) == expected


@pytest.mark.parametrize("text", [text for text, _ in EXTRACTION])
def test_a_split_has_the_answer_that_is_extracted(text):
    split = split_answer(text)
    assert split is None or split[1] == extract_answer(text) != ""


@pytest.mark.parametrize("filler", ["*", " ", "the ", "\n", "---\n", "#### ", "\\boxed{", "$"])
@pytest.mark.timeout(60)  # a moment; a rule that backtracks takes hours
def test_splitting_a_degenerate_text_takes_no_time(filler):
    text = f"Step 1 {filler * 20_000} Final Answer: 36"
    assert split_answer(text) is not None


EQUAL = [
    # Text.
    ("36", "36"),
    (" 36. ", "36"),
    ("Yes", "yes"),
    ("yes.", "Yes"),
    ("Yes!", "yes"),
    ("**Paris**", "paris"),
    ('"Paris"', "Paris"),
    ("\\text{Paris}", "Paris"),
    ("\\boxed{36}", "36"),
    ("$x+1$", "x + 1"),
    # Currency.
    ("$29.00", "29"),
    ("$29.00", "$29"),
    ("\\$29", "29"),
    ("\\$18", "18"),
    ("\\$1,234.50", "1234.5"),
    ("$ 29", "29"),
    ("29 dollars", "$29"),
    ("29 dollars", "29"),
    ("29$", "29 USD"),
    ("USD 29", "29"),
    ("US$29", "$29"),
    ("€29", "29 euros"),
    ("29€", "€29.0"),
    ("£5", "5 pounds"),
    ("-$5", "$-5"),
    ("$5k", "5000"),
    ("$29 per hour", "29 dollars per hour"),
    ("50 cents", "50"),
    ("$29$", "29"),
    # Separators.
    ("1,234", "1234"),
    ("1,234,567.0", "1234567"),
    ("1{,}234", "1234"),
    ("1\\,234", "1234"),
    ("1 234 567", "1,234,567"),
    ("109,200,000", "109200000"),
    # Plain numbers.
    ("36.0", "36"),
    ("036", "36"),
    (".5", "0.5"),
    ("5.", "5"),
    ("+5", "5"),
    ("-5", "−5"),
    ("–5", "-5"),
    ("- 5", "-5"),
    ("-0", "0"),
    ("３６", "36"),
    ("5 million", "5000000"),
    ("$5 million", "5,000,000 dollars"),
    ("21st", "21"),
    # Units.
    ("12 apples", "12"),
    ("12", "12 apples"),
    ("12 apples", "12 apple"),
    ("12 red apples", "12 apples"),
    ("12 apples left", "12 apples"),
    ("12 boxes", "12 box"),
    ("5 km", "5"),
    ("5km", "5 km"),
    ("5 km", "5 kilometers"),
    ("5 \\text{ km}", "5 km"),
    ("5 km/h", "5 kilometers per hour"),
    ("5 m^2", "5 square meters"),
    ("5 m²", "5 m^2"),
    ("45°", "45 degrees"),
    ("45^\\circ", "45"),
    ("20 °C", "20 degrees Celsius"),
    ("3 hrs", "3 hours"),
    ("5 feet", "5 ft"),
    ("3/4 cup", "0.75"),
    # Fractions.
    ("3/4", "0.75"),
    ("6/8", "3/4"),
    ("\\frac{3}{4}", "0.75"),
    ("\\dfrac{3}{4}", "3/4"),
    ("\\frac34", "3/4"),
    ("-\\frac{3}{4}", "-0.75"),
    ("\\frac{-3}{4}", "-3/4"),
    ("3/-4", "-0.75"),
    ("2 1/2", "2.5"),
    ("2\\frac{1}{2}", "5/2"),
    ("2 and 1/2", "2.5"),
    ("-2 1/2", "-2.5"),
    ("2½", "2.5"),
    ("½", "1/2"),
    ("3 / 4", "3/4"),
    ("8/4", "2"),
    # Percent.
    ("50%", "50 %"),
    ("50%", "50"),
    ("50", "50%"),
    ("50\\%", "50%"),
    ("50 percent", "50%"),
    ("12.50%", "12.5%"),
    ("15% increase", "15%"),
    ("50％", "50%"),
    # Ratios.
    ("3:2", "6:4"),
    ("3:2", "3 : 2"),
    ("3 to 2", "3:2"),
    ("3：2", "3:2"),
    ("1.5:1", "3:2"),
    ("1:2:3", "2:4:6"),
    ("3/2", "3:2"),
    ("6:4", "3/2"),
    ("The ratio is 3:2", "3:2"),
    ("0:5", "0:1"),
    # Powers of ten.
    ("1e3", "1000"),
    ("1.5e-2", "0.015"),
    ("1.5 \\times 10^3", "1500"),
    ("1.5 × 10^{3}", "1500"),
    ("1.5 x 10^3", "1500"),
    ("1.5 * 10^-2", "0.015"),
    ("10^3", "1000"),
    ("10³", "1000"),
    # Spaced digits.
    ("1 3 9 4", "1 3 9 4"),
    ("1394", "1 3 9 4"),
    ("1 3 9 4", "1394"),
    ("1 3  9 4", "1 3 9 4"),
    ("0 1 0", "010"),
    # Choices.
    ("(B)", "B"),
    ("B.", "B"),
    ("b", "B"),
    ("B)", "(b)"),
    ("[B]", "B"),
    ("\\text{(B)}", "B"),
    ("\\textbf{B}", "(B)"),
    ("(B) Paris", "B"),
    ("B. Paris", "(B)"),
    ("B. Paris", "Paris"),
    ("B: 36", "36"),
    ("Option B", "B"),
    # Equations and sentences.
    ("x = 5", "5"),
    ("5", "x = 5"),
    ("x=5", "x = 5.0"),
    ("5 = x", "x = 5"),
    ("5 = x", "5"),
    ("= 36", "36"),
    ("7 * 8 = 56", "56"),
    ("0.15 * 240 = 36", "36"),
    ("7 * 8 = 50 + 6 = 56", "56"),
    ("7 × 8 = 56", "7 * 8 = 56"),
    ("8 * 7 = 56", "7 * 8 = 56"),
    ("y = 2x + 1", "2x + 1"),
    ("y = 1 + 2x", "y = 2x + 1"),
    ("Total = $36", "36"),
    ("The total is $36", "36"),
    ("There are 12 apples left", "12"),
    ("Total: 36", "36"),
    ("x is 1 3 9 4", "1 3 9 4"),
    # Expressions.
    ("\\sqrt{2}/2", "\\frac{1}{\\sqrt{2}}"),
    ("sqrt(2)", "\\sqrt{2}"),
    ("√2", "\\sqrt{2}"),
    ("2π", "2\\pi"),
    ("2 pi", "2\\pi"),
    ("\\sqrt{1296}", "36"),
    ("2^{10}", "1024"),
    ("2^10", "1024"),
    ("2^{20}", "1048576"),
    ("2**10", "1024"),
    ("2^(10)", "1024"),
    ("(x+1)^2", "x^2 + 2x + 1"),
    ("2x", "x*2"),
    ("(1,2)", "(1, 2)"),
    ("1, 2", "1,2"),
    ("\\{2, 1\\}", "\\{1,2\\}"),
    ("[1, 2)", "[1,2)"),
    ("(-∞, 2]", "(-\\infty,2]"),
    ("x ≥ 5", "x >= 5"),
    ("8 * 7", "7 * 8"),
]

UNEQUAL = [
    ("36", "37"),
    ("", "36"),
    ("36", ""),
    ("", ""),
    ("yes", "no"),
    ("no", "on"),
    ("cab", "bac"),
    ("Paris", "London"),
    ("cannot be determined", "36"),
    # Currency and units.
    ("$29", "€29"),
    ("$29.01", "29"),
    ("$290", "29"),
    ("5 km", "5 m"),
    ("5 km", "5 km/h"),
    ("5 m^2", "5 m"),
    ("5 m^2", "5 m^3"),
    ("12 apples", "12 oranges"),
    ("12 apples", "13"),
    ("5 million", "5"),
    ("36 or more", "36"),
    ("5 or 6", "5"),
    ("5x", "5"),
    ("5 x", "5"),
    ("2xy", "2"),
    ("5!", "5"),
    ("5n", "5"),
    ("5 pi", "5"),
    ("2 halves", "2"),
    ("20 °C", "20 °F"),
    # Separators and numbers.
    ("1,2", "12"),
    ("1,23", "123"),
    ("12,34", "1234"),
    ("1,2345", "12345"),
    ("0,234", "234"),
    ("1, 234", "1234"),
    ("1.234", "1234"),
    ("5", "-5"),
    ("5", "−5"),
    ("1.2.3", "1.23"),
    ("0.33", "1/3"),
    ("0.3333333333333333", "1/3"),
    ("\\sqrt{2}", "1.414214"),
    ("\\sqrt{2}", "1.4142136"),
    ("3/4", "4/3"),
    ("2 1/2", "21/2"),
    ("2 1/2", "1"),
    ("1/0", "0"),
    ("1/0", "2/0"),
    ("36 37", "37"),
    ("Step 3", "3"),
    # Percent.
    ("50%", "0.5"),
    ("50%", "1/2"),
    ("0.5", "50%"),
    ("50%", "51%"),
    # Ratios.
    ("3:2", "3:5"),
    ("3:2", "2:3"),
    ("3:2", "3:2:1"),
    ("3:2", "1.5"),
    ("3:2", "2/3"),
    ("3:2", "2"),
    ("0:0", "3:2"),
    ("3 to 2", "3 to 5"),
    # Powers of ten.
    ("1e3", "100"),
    ("1.5 \\times 10^3", "15000"),
    ("10^3", "10^4"),
    ("1e3", "1e999999999"),
    # Spaced digits.
    ("1 3 9 4", "1 3 9 4 0"),
    ("1 3 9 4 0", "1 3 9 4"),
    ("0 1 3 9 4", "1 3 9 4"),
    ("01394", "1 3 9 4"),
    ("13940", "1 3 9 4"),
    ("1 2 3", "9 9 3"),
    ("1394.0", "1 3 9 4"),
    ("$1394", "1 3 9 4"),
    ("4 9 3 1", "1 3 9 4"),
    # Choices.
    ("A", "B"),
    ("(A) Paris", "B"),
    ("(A) Paris", "(B) Paris"),
    ("(B) Paris", "(B) London"),
    ("A cat", "A"),
    ("a", "5"),
    # Equations and sentences.
    ("x = 5", "y = 5"),
    ("x = 5", "6"),
    ("x = 5", "x = 6"),
    ("7 * 8 = 56", "9 * 9 = 56"),
    ("7 * 8 = 56", "4 * 14 = 56"),
    ("8 - 7 = 1", "7 - 8 = 1"),
    ("7 * 8 = 56", "7"),
    ("y = 2x + 1", "y = 2x + 2"),
    ("The total is not 36", "36"),
    ("The total is 36 or 37", "36"),
    # Arithmetic that was not carried out is the question again.
    ("7 * 8", "56"),
    ("7 × 8", "56"),
    ("12 + 24", "36"),
    ("40 - 4", "36"),
    ("3/4 + 1/4", "1"),
    ("9 - 5", "5 - 9"),
    # Expressions.
    ("(1,2)", "(2,1)"),
    ("[1,2)", "[1,2]"),
    ("\\{1,2\\}", "\\{1,3\\}"),
    ("2x", "2y"),
    ("x > 5", "x < 5"),
    ("x \\ge 5", "5"),
    ("\\sqrt{2}", "\\sqrt{3}"),
    ("2^{10}", "1025"),
]


@pytest.mark.parametrize(("predicted", "gold"), EQUAL)
def test_answers_of_equal_value_are_equal_both_ways(predicted, gold):
    assert answers_equal(predicted, gold) is True
    assert answers_equal(gold, predicted) is True


@pytest.mark.parametrize(("predicted", "gold"), UNEQUAL)
def test_answers_of_other_value_are_unequal_both_ways(predicted, gold):
    assert answers_equal(predicted, gold) is False
    assert answers_equal(gold, predicted) is False


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


@pytest.mark.parametrize("seed", range(2))
def test_equality_of_random_rationals_is_exact(seed):
    generator = random.Random(seed)
    for _ in range(500):
        top, bottom = generator.randint(-9999, 9999), generator.randint(1, 40)
        factor = generator.randint(2, 9)
        assert answers_equal(f"{top}/{bottom}", f"{top * factor}/{bottom * factor}")
        assert not answers_equal(f"{top}/{bottom}", f"{top * factor + 1}/{bottom * factor}")
        assert answers_equal(f"${top * 1000:,}.00", str(top * 1000))


DIGITS = [
    ("1394", "1394", 1.0),
    ("1294", "1394", 0.75),
    ("394", "1394", 0.75),
    ("139", "1394", 0.0),
    ("11394", "1394", 0.8),
    ("1,394", "$1394", 1.0),
    ("x = 1394", "1394", 1.0),
    ("The total is 1294", "1394", 0.75),
    ("18.0", "18", 1.0),
    ("018", "18", 1.0),
    ("18.5", "18", 2 / 3),
    ("0.25", "0.75", 2 / 3),
    ("3/4", "0.75", 1.0),
    ("1/3", "0.75", 0.0),
    ("-36", "36", 2 / 3),
    ("-36", "-36", 1.0),
    ("no idea", "36", 0.0),
    ("", "36", 0.0),
    ("1500", "1.5e3", 1.0),
    # Rows of digits: aligned at the first one, zeros count.
    ("1 3 9 4", "1 3 9 4", 1.0),
    ("1394", "1 3 9 4", 1.0),
    ("1 3 9", "1 3 9 4", 0.75),
    ("3 9 4", "1 3 9 4", 0.0),
    ("1 3 9 4 0", "1 3 9 4", 0.8),
    ("1 3 0 4", "1 3 9 4", 0.75),
    ("1 2 9 4", "1394", 0.75),
    ("words", "1 3 9 4", 0.0),
    # Gold answers that are no number.
    ("yes", "yes", None),
    ("36", "", None),
    ("3/4", "3/4", None),
    ("3:2", "3:2", None),
]


@pytest.mark.parametrize(("predicted", "gold", "expected"), DIGITS)
def test_digits_are_compared_place_by_place(predicted, gold, expected):
    assert digit_accuracy(predicted, gold) == expected


@pytest.mark.parametrize(
    "name",
    [
        "clean",
        "digits",
        "equal",
        "expression",
        "extract",
        "prose",
        "quantity",
        "structure",
        "times",
    ],
)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(f"unspoken.measure.answers.{name}")).failed == 0


def test_the_table_of_examples():
    assert doctest.testmod(answers).failed == 0
