"""Where the answer of a text stands: markers, boxes, tokens, lines, and what takes it back."""

from __future__ import annotations

import pytest

from unspoken.measure.answers import extract_answer
from unspoken.measure.grade import grade

# Which part of a text is its answer: (text, gold answer).
RIGHT_TEXTS = [
    ("Case 1: x = \\boxed{3}\nCase 2: x = \\boxed{5}", "5"),
    ("$$\\boxed{x = 1, y = 5}$$", "x=1, y=5"),
    ("Thus $\\boxed{1}$ and $\\boxed{-1}$.", "-1, 1"),
    ("The solutions are $x = \\boxed{2}$ or $x = \\boxed{-2}$.", "\\pm 2"),
    (
        "so \\[\\boxed{\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}}\\]",
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
    ),
    ("The final answer is: $\\boxed{\\text{Yes}}$", "yes"),
    ("### Final Answer\nThe total is **72** clips.", "72"),
    ("**Answer:** 72 clips", "72"),
    ("Answer: \\$72", "72"),
    ("The answer is 72 because 48+24=72.", "72"),
    ("So the answer is 72.\n\nLet me know if you need more help!", "72"),
    ("<think>Let me think. \\boxed{5}</think>The answer is \\boxed{72}.", "72"),
    ("<think>x</think>\n\n**72**", "72"),
    ("<think>x</think>\nNatalia sold 72 clips in total.", "72"),
    ("Final Answer: 72<|im_end|>\n<|im_start|>user\nFinal Answer: 3", "72"),
    ("The answer is (B).", "B"),
    ("The correct answer is B) Paris", "B"),
    ("Answer: B. Paris", "B"),
    ("Final Answer: B\nExplanation: A is wrong", "B"),
    ("答案是：42个苹果", "42"),
    ("因此，答案为 $\\boxed{42}$。", "42"),
    ("最终答案是42", "42"),
    ("所以正确答案是B。", "B"),
    ("####42", "42"),
    ("#### $42", "42"),
    ("#### 42 apples", "42"),
    ("A: 42", "42"),
    ("The answer is 4,200.", "4200"),
    ("The answer is 4.200,50 €.", "4200.5"),
    ("Final Answer: x = 5 or x = 3", "x=3 or x=5"),
    ("Final Answer: (x, y) = (1, 2)", "(1,2)"),
    ("Final Answer: $(x,y)=(1,2)$", "x=1, y=2"),
    ("Final Answer: The ordered pair is (1, 2).", "(1,2)"),
    ("Final Answer: The set is {1, 2}.", "\\{1,2\\}"),
    ("Final Answer: The solutions are x = 3 and x = 5.", "x=3 or x=5"),
    ("Final Answer: the numbers are 3 and 5", "3, 5"),
    ("Final Answer: The values are 3, 5, and 7.", "3, 5, 7"),
    ("Final Answer: The time is 4:45 PM.", "16:45"),
    ("Final Answer: It is March 5, 2024.", "2024-03-05"),
    ("Final Answer: The interval is [1, 2).", "[1,2)"),
    ("Final Answer: The ratio of boys to girls is 3:2.", "3:2"),
    ("Final Answer: The probability is 1/4 or 25%.", "1/4"),
    (
        "Final Answer: The matrix is \\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
    ),
    ("Final Answer: The expression simplifies to $2\\sqrt{3}$.", "\\sqrt{12}"),
    ("Final Answer: The answer is $x^2+1$", "1+x^2"),
    ("Final Answer: x equals 5", "5"),
    ("Final Answer: x is equal to 5", "x=5"),
    ("Final Answer: The value of x is 5.", "x = 5"),
    ("Final Answer: The equation is y = 2x + 1", "y=2x+1"),
    ("Final Answer: Alice", "alice"),
    ("Final Answer: Alice, because she is tall.", "Alice"),
    ("Final Answer: Monday.", "monday"),
]
WRONG_TEXTS = [
    ("<think>Final Answer: 72</think>Final Answer: 5", "72"),
    ("Final Answer: 72 apples", "72 pears"),
    ("The answer is 72 or 73.", "72"),
    ("Final Answer: Not 72", "72"),
    ("Final Answer: 72?", "73"),
    ("\\boxed{72}, \\boxed{73}", "72"),
    ("\\boxed{}", "72"),
    ("Final Answer: ", "72"),
    ("I think 72, maybe 73", "73"),
    ("72\n73", "72"),
    ("The clips: 72 in April. 24 in May.", "72"),
    ("She sold 48 clips and then 24 more.", "24"),
    ("Step 1: she sold 72 clips", "72"),
    ("She sold 72 clips\nShe sold 72 clips", "72"),
    ("Final Answer: The solutions are x = 3 and x = 5.", "5"),
    ("Final Answer: The ordered pair is (1, 2).", "(2,1)"),
    ("Final Answer: The solution is x = 3, y = 5", "5"),
    ("Final Answer: The ratio is 3:2", "2"),
    ("Final Answer: The time is 4:45 PM", "4:45 AM"),
    ("Final Answer: The probability is 1/4 or 25%", "4"),
    ("Final Answer: between 3 and 5", "5"),
    ("Final Answer: The interval is [1,2)", "[1,2]"),
    ("Final Answer: x is at least 5", "5"),
    ("Final Answer: x is not 5", "x = 5"),
    ("Final Answer: The value of x is 5", "y = 6"),
]


@pytest.mark.parametrize(("text", "gold"), RIGHT_TEXTS)
def test_texts_that_state_the_answer(text: str, gold: str) -> None:
    assert grade(text, gold).correct is True


@pytest.mark.parametrize(("text", "gold"), WRONG_TEXTS)
def test_texts_that_state_another_answer(text: str, gold: str) -> None:
    assert grade(text, gold).correct is False


@pytest.mark.parametrize("word", ["Answer", "ANSWER", "anſwer", "AnſWER"])
def test_a_marker_is_found_in_any_letter_case(word):
    assert extract_answer(f"So 4 * 9 = 36.\n{word}: 36\nThat took two steps.") == "36"
