"""Where the answer of a text is found, and where the text before it ends: one line a case."""

import pytest

from unspoken.measure.answers import extract_answer, split_answer

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


@pytest.mark.parametrize("word", ["Answer", "ANSWER", "anſwer", "AnſWER"])
def test_a_marker_is_found_in_any_letter_case(word):
    assert extract_answer(f"So 4 * 9 = 36.\n{word}: 36\nThat took two steps.") == "36"
