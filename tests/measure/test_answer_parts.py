"""Answers of a text that have parts, and the signs in which they are written."""

from __future__ import annotations

import pytest

from helpers.answers import rows_of
from unspoken.measure.grade import grade

# kind -> (text, gold answer) that say the same
RIGHT = {
    "equations and sets": [
        ("Final Answer: 15 = 3 * 5", "15"),
        ("Final Answer: 15", "15 = 3 * 5"),
        ("Final Answer: x is 2 and y is 5", "x=2, y=5"),
        ("Final Answer: x_1=3, x_2=5", "x=3 or x=5"),
        ("Final Answer: x \\in \\{3, 5\\}", "x=3 or x=5"),
        ("Final Answer: $(r,\\theta)=(2,\\pi)$", "(2,\\pi)"),
        ("Final Answer: x = 3, which is positive", "3"),
        ("Final Answer: ]1; 2]", "(1,2]"),
        ("Final Answer: [[1, 2], [3, 4]]", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"),
        ("Final Answer: [2, 7, 9]", "2, 7, 9"),
        ("Final Answer: $x \\ne 0$", "(-\\infty,0)\\cup(0,\\infty)"),
        ("Final Answer: (2, 3) is the vertex", "(2,3)"),
    ],
    "systems in other signs": [
        ("Final Answer: $x=1\\quad y=5$", "x=1, y=5"),
        ("Final Answer: x := 1, y := 5", "x=1, y=5"),
        ("Final Answer: $x=3 \\lor x=5$", "x=3 or x=5"),
        ('Final Answer: {"x": 2, "y": 5}', "x=2, y=5"),
        ("Final Answer: Solution: x = 2, y = 5", "x=2, y=5"),
    ],
    "lists as others write them": [
        ("Final Answer: 2 und 7", "2, 7"),
        ("Final Answer: 3 y -5", "3y-5"),
        ("Final Answer: 2和7", "2, 7"),
        ("Final Answer: 2 y 1/2", "2.5"),
        ("Final Answer: both 2 and 7", "7, 2"),
        ("Final Answer: I and III only", "I and III"),
        ("Final Answer: 1, 2, \\dots, 10", "1, 2, \\ldots, 10"),
        ("Final Answer: 42,- €", "42"),
        ("Final Answer: CHF 42.-", "42"),
        ("Final Answer: 1_250_000", "1250000"),
        ("Schritt 1\nAntwort: 42 Äpfel", "42"),
        ("Paso 1\n**Respuesta final:** 42", "42"),
        ("정답은 42입니다.", "42"),
    ],
    "inequalities": [
        ("Final Answer: 5 > x > 2", "(2,5)"),
        ("Final Answer: 5 \\ge x > 2", "(2,5]"),
    ],
    "small signs": [
        ("Final Answer: 1101₂", "1101_2"),
        ("Final Answer: x₁ = 2, x₂ = 3", "x_1 = 2, x_2 = 3"),
        ("Final Answer: log₂ 8", "\\log_2 8"),
        ("Final Answer: H₂O", "H_2O"),
        ("Final Answer: x₁₀", "x_{10}"),
        ("Final Answer: \\varnothing", "\\emptyset"),
        ("Final Answer: ∅", "\\varnothing"),
        ("Final Answer: \\{\\}", "\\emptyset"),
        ("Final Answer: (-oo, 2)", "(-\\infty, 2)"),
        ("Final Answer: (-inf, 2)", "(-\\infty, 2)"),
        ("Final Answer: +/- 5", "\\pm 5"),
        ("Final Answer: +-5", "\\pm 5"),
        ("Final Answer: plus or minus 5", "\\pm 5"),
        ("Final Answer: ⟨1, 2⟩", "\\langle 1, 2\\rangle"),
        ("Final Answer: <b>42</b>", "42"),
        ("<p>Final Answer: 42</p>", "42"),
        ("Final Answer: 42<br>", "42"),
        ("Final Answer: \\underline{12}", "12"),
        ("Final Answer: \\textcolor{red}{12}", "12"),
        ("Final Answer: \\mathbb R", "\\mathbb{R}"),
    ],
    "signs of plain text": [
        ("Final Answer: <1, 2>", "\\langle 1, 2\\rangle"),
        ("Final Answer: [1, 2] U [3, 4]", "[1,2]\\cup[3,4]"),
        ("Final Answer: x in [1, 2]", "[1,2]"),
        ("Final Answer: $3{:}00$", "3:00"),
        ("\\boxed{2102}_{3}", "2102_3"),
        ("Final Answer: M = \\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}", "[[1,2],[3,4]]"),
        ("Final Answer: 3k, where k is an integer", "3k"),
        ("Final Answer: n = 3k for some integer k", "n = 3k"),
        ("Das Ergebnis ist 42.", "42"),
        ("Final Answer: 42<end_of_text>", "42"),
    ],
    "around a tuple and a matrix": [
        ("Final Answer: A(2, 3)", "(2,3)"),
        ("Final Answer: (2, 3) cm", "(2,3)"),
        (
            "Final Answer: 2\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}",
            "\\begin{pmatrix}2&0\\\\0&2\\end{pmatrix}",
        ),
        (
            "Final Answer: \\frac{1}{2}\\begin{pmatrix}x\\\\2\\end{pmatrix}",
            "\\begin{pmatrix}x/2\\\\1\\end{pmatrix}",
        ),
        (
            "Final Answer: -\\begin{pmatrix}1\\\\2\\end{pmatrix}",
            "\\begin{pmatrix}-1\\\\-2\\end{pmatrix}",
        ),
    ],
}
# and that do not
WRONG = {
    "equations and sets": [
        ("Final Answer: 15 = 3 * 5", "3 * 5"),
        ("Final Answer: 16 = 3 * 5", "15"),
        ("Final Answer: 12 = 2x", "12"),
        ("Final Answer: x is 2 or y is 5", "x=2, y=5"),
        ("Final Answer: x is not 2 and y is 5", "x=2, y=5"),
        ("Final Answer: x_1=3, x_2=5", "y=3 or y=5"),
        ("Final Answer: x_1=3", "x=3 or x=5"),
        ("Final Answer: A = \\{3, 5\\}", "(3,5)"),
        ("Final Answer: x \\in \\{3\\}", "x=3"),
        ("Final Answer: $(r,\\theta)=(2,\\pi)$", "(\\pi,2)"),
        ("Final Answer: (1, 2), which is not correct", "(1,2)"),
        ("Final Answer: x = 3 (rejected)", "3"),
        ("Final Answer: ]1, 2]", "[1,2]"),
        ("Final Answer: [[1, 2], [3, 4]]", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}"),
        ("Final Answer: [[1, 2], [3, 4]]", "\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}"),
        ("Final Answer: [2, 7]", "2, 7"),
        ("Final Answer: k = 2000", "2k"),
        ("Final Answer: f(k) = 3k", "3000"),
    ],
    "systems in other signs": [
        ("Final Answer: $x=1\\quad y=5$", "x=1"),
        ("Final Answer: $x=1\\quad y=5$", "5"),
        ("Final Answer: p \\lor q", "p \\land q"),
        ('Final Answer: {"x": 2, "y": 5}', "x=5, y=2"),
        ("Final Answer: Solution: no x = 2", "x = 2"),
    ],
    "lists as others write them": [
        ("Final Answer: 2 und 7", "2"),
        ("Final Answer: 79 BCE", "79 CE"),
        ("Final Answer: 79 BCE", "79"),
        ("Final Answer: Tuesday, March 5", "Monday, March 5"),
        ("Final Answer: March 5 (a Tuesday)", "Monday, March 5"),
        ("Final Answer: 5 und 20", "25"),
        ("Final Answer: 42,-5", "42"),
        ("Final Answer: 1_25", "125"),
        ("Final Answer: both 2 and 7", "2"),
        ("Final Answer: I and III only", "I"),
        ("Final Answer: 1, 2, ..., 10", "1, 2, 10"),
        ("Antwort: nicht 42", "42"),
    ],
    "inequalities": [
        ("Final Answer: 5 > x > 2", "(5,2)"),
        ("Final Answer: 5 \\ge x > 2", "[2,5)"),
        ("Final Answer: 5 > x < 2", "(2,5)"),
    ],
    "small signs": [
        ("Final Answer: 1101₂", "1101_3"),
        ("Final Answer: x₁ = 2, x₂ = 3", "x_1 = 3, x_2 = 2"),
        ("Final Answer: (-oo, 2)", "(\\infty, 2)"),
        ("Final Answer: +/- 5", "5"),
        ("Final Answer: +-5", "-5"),
        ("Final Answer: 3 +-5", "3 \\pm 5"),
        ("Final Answer: \\{0\\}", "\\emptyset"),
        ("Final Answer: \\underline{12}", "13"),
    ],
    "signs of plain text": [
        ("Final Answer: <2, 1>", "\\langle 1, 2\\rangle"),
        ("Final Answer: [1, 2] U [3, 4]", "[1,2]"),
        ("Final Answer: x in [1, 2]", "(1,2)"),
        ("\\boxed{2102}_{3}", "2102_4"),
        ("\\boxed{3}\\boxed{5}", "5"),
        ("Final Answer: M = \\begin{bmatrix}1&2\\\\3&5\\end{bmatrix}", "[[1,2],[3,4]]"),
        ("Final Answer: 3000", "3k, where k is an integer"),
        ("Final Answer: la moitié de 42", "42"),
        ("Final Answer: 42的两倍", "42"),
        ("Le résultat n'est pas 42.", "42"),
    ],
    "around a tuple and a matrix": [
        ("Final Answer: A(2, 3)", "(3,2)"),
        ("Final Answer: C(5,2)", "P(5,2)"),
        ("Final Answer: C(5, 2)", "10"),
        (
            "Final Answer: 3\\begin{pmatrix}1\\\\2\\end{pmatrix}",
            "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        ),
        (
            "Final Answer: \\frac{1}{3}\\begin{pmatrix}x\\\\2\\end{pmatrix}",
            "\\begin{pmatrix}x/2\\\\1\\end{pmatrix}",
        ),
    ],
}


@pytest.mark.parametrize(("kind", "text", "gold"), rows_of(RIGHT))
def test_a_text_that_says_the_same_is_right(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is True


@pytest.mark.parametrize(("kind", "text", "gold"), rows_of(WRONG))
def test_a_text_that_says_something_else_is_not(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is not True
