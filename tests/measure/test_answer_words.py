"""Words around the answer of a text, and answers that are words or a letter."""

from __future__ import annotations

import pytest

from helpers.answers import rows_of
from unspoken.measure.grade import grade

# kind -> (text, gold answer) that say the same
RIGHT = {
    "words around an answer": [
        ("Final Answer: 15, rounded to the nearest whole number", "15"),
        ("Final Answer: 84 apples, including the green ones", "84"),
        ("Final Answer: 84 as calculated above", "84"),
        ("Final Answer: (1, 2), which is the vertex", "(1, 2)"),
        ("Final Answer: x = 3 is the only solution", "x = 3"),
        ("Final Answer: Hay 42 manzanas.", "42"),
        ("Final Answer: Sono 42 mele", "42"),
        ("Final Answer: 15 \U0001f389", "15"),
        ("Final Answer: \u2705 15", "15"),
        ("[ANSWER]42[/ANSWER]", "42"),
    ],
    "one word in a sentence": [
        ("Final Answer: It was a Tuesday.", "Tuesday"),
        ("Final Answer: The meeting is on Tuesday.", "Tuesday"),
        ("Final Answer: The graph is an ellipse.", "ellipse"),
        ("Final Answer: There are no real solutions.", "no real solution"),
        ("Final Answer: He needs 2 hours and 30 minutes.", "2 hours 30 minutes"),
        ("Final Answer: 2 hours 30 minutes (150 minutes)", "2 hours 30 minutes"),
        ("Final Answer: There will be 15 cookies left over.", "15"),
        ("Final Answer: 18, so Janet makes $18 a day.", "18"),
        ("Final Answer: 3 and 5 (both primes)", "3, 5"),
        ("Final Answer: So the correct option is C.", "C"),
        ("I'd go with C.", "C"),
        ("Final Answer: C and not D", "C"),
        ("Final Answer: C rather than D", "C"),
        ("Final Answer: C, as 84 is the only even number", "C"),
        ("Final Answer: C (84)", "C"),
    ],
    "what there is": [
        ("Final Answer: There are 10 ways to choose.", "10"),
        ("Final Answer: So there are 24 ways to arrange them.", "24"),
        ("Final Answer: D is correct because of X", "D"),
        ("<THINK>Final Answer: 41</THINK>42", "42"),
    ],
    "words before a structure": [
        ("Final Answer: the point (1, 2)", "(1,2)"),
        ("Final Answer: vertex: (1, 2)", "(1,2)"),
        ("Final Answer: The vertex is at (1, 2).", "(1,2)"),
        ("Final Answer: a ratio of 3:2", "3:2"),
    ],
    "labels": [
        ("Final Answer: Bob: 4, Alice: 3", "Alice: 3, Bob: 4"),
        ("Final Answer: Alice: 3; Bob: 4", "Bob: 4; Alice: 3"),
        ("Final Answer: Width: 5, Length: 10", "Length: 10, Width: 5"),
        ("Final Answer: x: 2, y: 3", "x = 2, y = 3"),
        ("Final Answer: min: 3, max: 7", "max: 7, min: 3"),
        ("Final Answer: Total: 12", "12"),
        ("Final Answer: The total is 12", "The sum is 12"),
        ("Final Answer: boys: 12", "12"),
        ("Final Answer: Alice has 3", "3"),
        ("Final Answer: Alice has 3", "Alice: 3"),
        ("Final Answer: The total number of apples is 12", "Number of apples: 12"),
    ],
    "articles and spaces": [
        ("Final Answer: the Eiffel Tower", "Eiffel Tower"),
        ("Final Answer: Eiffel Tower", "The Eiffel Tower"),
        ("Final Answer: an apple", "apple"),
        ("Final Answer: a dog", "dog"),
        ("Final Answer: the 1990s", "1990s"),
        ("Final Answer: center (1, 2), radius 3", "center (1,2), radius 3"),
        ("Final Answer: gcd(12, 18)", "gcd(12,18)"),
    ],
    "letters of a choice": [
        ("Final Answer: Option C is correct.", "C"),
        ("Option C is the correct answer", "C"),
        ("Therefore, option C is the correct answer.", "C"),
        ("Final Answer: C - Paris", "C"),
        ("Final Answer: C – Paris", "C"),
        ("Final Answer: C — Paris", "(C)"),
        ("Final Answer: C - Paris", "Paris"),
        ("Final Answer: C - D", "C - D"),
    ],
    "a letter and its text": [
        ("The correct choice is D: 42", "D"),
        ("The correct choice is D: 42", "42"),
        ("Answer: It should be C", "C"),
        ("Answer: I'm going with C", "C"),
    ],
    "given in the sentence": [
        ("Final Answer: In 5 days she reads 60 pages.", "60"),
        ("Final Answer: After selling 5 apples, Tom has 12 left.", "12"),
        ("Final Answer: Each of the 4 friends gets 6 cookies.", "6"),
        ("Final Answer: The 3 friends each get 12 candies.", "12"),
        ("Final Answer: It costs $24 in total to buy 3 shirts.", "24"),
        ("Final Answer: He sold 48 in April and 24 in May, 72 altogether.", "72"),
        ("Final Answer: He made 5 and she made 7, for a total of 12.", "12"),
        ("Final Answer: She has no apples left.", "0"),
        ("Final Answer: The probability is one in six.", "\\frac{1}{6}"),
    ],
    "remarks with a number": [
        ("Final Answer: 84 (12 + 72)", "84"),
        ("Final Answer: 84 (7 times 12)", "84"),
        ("Final Answer: 84; see step 3", "84"),
        ("Final Answer: 2, 7 (in increasing order)", "2, 7"),
        ("Final Answer: in 12 days", "12"),
        ("Final Answer: for $12", "12"),
    ],
    "a text and its letter": [
        ("Final Answer: Paris (C)", "C"),
        ("Final Answer: Paris (C)", "Paris"),
        ("Final Answer: Paris (option C)", "C"),
        ("Final Answer: Select C", "C"),
        ("Final Answer: A and B", "A, B"),
    ],
}
# and that do not
WRONG = {
    "words around an answer": [
        ("Final Answer: 15, rounded down from 15.6", "15"),
        ("Final Answer: (1, 2), which is not the vertex 3", "(1, 2)"),
        ("Final Answer: (1, 2), which is the vertex", "(2, 1)"),
        ("Final Answer: x = 3 is the only solution", "x = 4"),
        ("Final Answer: No hay 42 manzanas.", "42"),
        ("Final Answer: 15 \u274c", "15"),
        ("Put it as [ANSWER] here. Final Answer: 3", "4"),
    ],
    "one word in a sentence": [
        ("Final Answer: It was not a Tuesday.", "Tuesday"),
        ("Final Answer: It will be Tuesday or Friday.", "Tuesday"),
        ("Final Answer: The opposite is even.", "even"),
        ("Final Answer: There are no real solutions.", "no solution"),
        ("Final Answer: He needs 2 hours and 30 minutes.", "2 hours"),
        ("Final Answer: He works 2 hours and 30 minutes and rests 10 minutes.", "150 minutes"),
        ("Final Answer: He needs less than 2 hours and 30 minutes.", "2 hours 30 minutes"),
        ("Final Answer: 2 hours 30 minutes (120 minutes)", "120 minutes"),
        ("Final Answer: There are over 15 left.", "15"),
        ("Final Answer: 18, so it is -18", "18"),
        ("Final Answer: 3 and 5 (5 is extraneous)", "3, 5"),
        ("Final Answer: So C or D", "C"),
        ("Final Answer: C rather than D", "D"),
        ("Final Answer: C(5,2)", "C"),
        ("Final Answer: C (or D)", "C"),
    ],
    "what there is": [
        ("Final Answer: There are 10 to 20 ways to choose.", "10"),
        ("Final Answer: There are not 10 ways to choose.", "10"),
        ("Final Answer: There are 10 ways more than before.", "10"),
        ("Final Answer: D is correct because of X", "C"),
        ("Final Answer: D is not correct because of X", "D"),
        ("<THINK>Final Answer: 41", "41"),
    ],
    "words before a structure": [
        ("Final Answer: the point (1, 2)", "(2,1)"),
        ("Final Answer: not the point (1, 2)", "(1,2)"),
        ("Final Answer: a ratio of 3:2", "2:3"),
        ("Final Answer: a ratio of 3:2", "3"),
    ],
    "labels": [
        ("Final Answer: Alice: 3, Bob: 4", "Carol: 3, Bob: 4"),
        ("Final Answer: Alice: 3, Bob: 4", "Alice: 4, Bob: 3"),
        ("Final Answer: Alice: 3, Bob: 4", "Alice: 3"),
        ("Final Answer: boys: 12", "girls: 12"),
        ("Final Answer: Alice has 3", "Bob has 3"),
        ("Final Answer: Alice is 3", "Bob is 3"),
        ("Final Answer: Monday: 5", "Tuesday: 5"),
        ("Final Answer: The perimeter is 12", "The area is 12"),
        ("Final Answer: Alice has 3 and Bob has 4", "Carol has 3 and Bob has 4"),
    ],
    "articles and spaces": [
        ("Final Answer: an apple", "apples and pears"),
        ("Final Answer: the other Tower", "Tower"),
        ("Final Answer: a + b", "b"),
        ("Final Answer: a xyz", "xyz"),
        ("Final Answer: A", "apple"),
        ("Final Answer: gcd(12, 18)", "gcd(12,16)"),
    ],
    "letters of a choice": [
        ("Final Answer: Option C is incorrect.", "C"),
        ("Final Answer: Option C is not correct.", "C"),
        ("Therefore, option C is the correct answer.", "D"),
        ("Final Answer: C - Paris", "B"),
        ("Final Answer: C - D", "C"),
        ("Final Answer: C - 12", "C"),
        ("Final Answer: A - abc", "A"),
    ],
    "a letter and its text": [
        ("The answer is D: 42", "C"),
        ("The answer is D: 42", "43"),
        ("Answer: It should not be C", "C"),
    ],
    "given in the sentence": [
        ("Final Answer: In 5 days she reads 60 pages.", "5"),
        ("Final Answer: With 3 more he would have 12.", "12"),
        ("Final Answer: Each of the 3 boys gets 4 candies and 5 toys.", "4"),
        ("Final Answer: On Monday he sold 5, on Tuesday 7.", "7"),
        ("Final Answer: In 2020, sales were at most 50.", "50"),
        ("Final Answer: She needs 20 dollars to buy 4 books.", "4"),
        ("Final Answer: He made 5 and she made 7, for a total of 12.", "7"),
        ("Final Answer: No one is left.", "0"),
        ("Final Answer: The total is twenty or thirty.", "20"),
    ],
    "remarks with a number": [
        ("Final Answer: 84 (7 * 13)", "84"),
        ("Final Answer: 84 (12 + 72)", "12"),
        ("Final Answer: 2, 7 (or 9)", "2, 7"),
        ("Final Answer: A, B, C (in that order)", "C, B, A"),
        ("Final Answer: in 3 of 4", "3"),
        ("Final Answer: with 5 or 6", "5"),
    ],
    "a text and its letter": [
        ("Final Answer: Paris (C)", "B"),
        ("Final Answer: Not Paris (C)", "C"),
        ("Final Answer: f(C)", "C"),
        ("Final Answer: Choose B", "C"),
        ("Final Answer: A or B", "A, B"),
        ("Final Answer: red or blue", "red and blue"),
    ],
}


@pytest.mark.parametrize(("kind", "text", "gold"), rows_of(RIGHT))
def test_a_text_that_says_the_same_is_right(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is True


@pytest.mark.parametrize(("kind", "text", "gold"), rows_of(WRONG))
def test_a_text_that_says_something_else_is_not(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is not True
