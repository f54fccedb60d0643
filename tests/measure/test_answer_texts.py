"""Whole texts that were judged wrongly once, by kind, each beside texts that nearly say it."""

from __future__ import annotations

import pytest

from unspoken.measure.grade import grade

# kind -> (text, gold answer) that say the same
RIGHT = {
    "taken back": [
        ("Final Answer: 12. This is correct.", "12"),
        ("Final Answer: 12. That is right.", "12"),
        ("Final Answer: 12. I hope it is correct.", "12"),
        ("The answer is 12. Note that it is even.", "12"),
        ("Final Answer: 12\n\nThis is correct.", "12"),
        ("Final Answer: 12\n\nLet me know.", "12"),
        ("\\boxed{6} is correct.", "6"),
        ("\\boxed{6} is the answer, not 7.", "6"),
        ("The answer is \\boxed{6}.", "6"),
        ("The answer is 4.200,50 €.", "4200.5"),
    ],
    "units of other scripts": [
        ("Final Answer: 42分钟", "42"),
        ("Final Answer: 42分钟", "42 minutes"),
        ("Final Answer: 42小时", "42 hours"),
        ("Final Answer: 42分", "42"),
        ("Final Answer: 42 ชิ้น", "42"),
        ("Final Answer: 42 แอปเปิล", "42"),
        ("Final Answer: 42 ផ្លែ", "42"),
        ("Final Answer: 42 ລູກ", "42"),
        ("Final Answer: 42個", "42"),
        ("Final Answer: 42 яблока", "42"),
        ("Final Answer: 42개", "42"),
        ("Final Answer: 42 سنة", "42"),
        ("Final Answer: 42 minuti", "42"),
    ],
    "around a box": [
        ("The total is $\\boxed{4}$ hours.", "4 hours"),
        ("The total is $\\boxed{4}$ hours.", "4"),
        ("\\boxed{4} km", "4 km"),
        ("\\boxed{4}\\text{ m}", "4 m"),
        ("\\boxed{4}\\text{ m}^2", "4 square meters"),
        ("\\boxed{60} miles per hour.", "60 mph"),
        ("\\boxed{20}\\%", "20%"),
        ("\\boxed{\\frac{3}{4}} hours", "3/4"),
        ("\\boxed{4} apples", "4 apples"),
        ("\\boxed{4} is the total.", "4"),
        ("\\boxed{4} days a week", "4"),
        ("\\boxed{3}\\times 10^5", "300000"),
        ("\\boxed{4}/5", "4/5"),
        ("\\boxed{4} thousand dollars", "4000"),
        ("\\boxed{5} hundred", "500"),
        ("\\boxed{4}.5", "4.5"),
        ("(\\boxed{4}, 5)", "(4, 5)"),
        ("The ratio is \\boxed{3}:\\boxed{2}.", "3:2"),
        ("The ratio is $\\boxed{3}$ to $\\boxed{2}$.", "3:2"),
        ("The answer is \\boxed{4}!", "4"),
        ("So we get $\\boxed{4}$!", "4"),
        ("The answer is (\\boxed{4}).", "4"),
        ("\\(\\boxed{4}\\)", "4"),
        ("\\boxed{4}\n5", "4"),
        ("In 2 days (see above, \\boxed{4}) it ends.", "4"),
        ("2\\boxed{\\sqrt{3}}", "2\\sqrt{3}"),
    ],
}
# and that do not
WRONG = {
    "taken back": [
        ("Final Answer: 12. But it's 13.", "12"),
        ("Final Answer: 12. However, it should be 13.", "12"),
        ("Final Answer: 12. Correction: 13.", "12"),
        ("Final Answer: 12. On second thought, 13.", "12"),
        ("The answer is 12. But wait, it is 13.", "12"),
        ("The answer is 12. Hmm, it should be 13.", "12"),
        ("The answer is 12. This is not right.", "12"),
        ("The answer is 12. That isn't right.", "12"),
        ("\\boxed{6} is not correct. The correct answer is 7.", "6"),
        ("$\\boxed{6}$ is wrong.", "6"),
        ("\\boxed{6}. That is wrong.", "6"),
        ("Final Answer: 12. Hold on.", "12"),
        ("Final Answer: 12. Hmm, let me recheck. 13.", "12"),
        ("Final Answer: 12\n\nCorrection: 13", "12"),
        ("\\boxed{12}\n\nWait, that's wrong. It should be 13.", "12"),
        ("Final Answer: x = 12. That is wrong.", "12"),
        ("not \\boxed{x = 5}", "5"),
        ("The answer is 12. However, that is wrong; it is 13.", "12"),
        ("\\boxed{6} isn't right.", "6"),
        ("\\boxed{6} cannot be the answer.", "6"),
    ],
    "units of other scripts": [
        ("Final Answer: 42 с половиной", "42"),
        ("Final Answer: 42 или больше", "42"),
        ("Final Answer: 42 и более", "42"),
        ("Final Answer: 42 не подходит", "42"),
        ("Final Answer: 42 неверно", "42"),
        ("Final Answer: 42 이상", "42"),
        ("Final Answer: 42 이하", "42"),
        ("Final Answer: 42 미만", "42"),
        ("Final Answer: 42가 아닙니다", "42"),
        ("Final Answer: 42未満", "42"),
        ("Final Answer: 42ではない", "42"),
        ("Final Answer: 42 とは限らない", "42"),
        ("Final Answer: 42 से अधिक", "42"),
        ("Final Answer: 42 से कम", "42"),
        ("Final Answer: 42 नहीं", "42"),
        ("Final Answer: 42 على الأقل", "42"),
        ("Final Answer: 42 eller mer", "42"),
        ("Final Answer: 42 lub więcej", "42"),
        ("Final Answer: 42 veya daha fazla", "42"),
        ("Final Answer: 42 atau lebih", "42"),
        ("Final Answer: 42 hoặc hơn", "42"),
        ("Final Answer: 42 trở lên", "42"),
        ("Final Answer: 42 rưỡi", "42"),
        ("Final Answer: 42 mindestens", "42"),
        ("Final Answer: 42 como mínimo", "42"),
        ("Final Answer: 42分之一", "42"),
        ("Final Answer: 42分钟", "42 hours"),
        ("Final Answer: 42 ขึ้นไป", "42"),
        ("Final Answer: 42/", "42"),
    ],
    "around a box": [
        ("The total is $\\boxed{4}$ hours.", "4 minutes"),
        ("\\boxed{4} km", "4 m"),
        ("\\boxed{4}\\text{ m}", "4 km"),
        ("\\boxed{4}\\text{ m}^2", "4 m"),
        ("Answer: \\boxed{12} cents", "$12"),
        ("1\\boxed{4}", "4"),
        ("\\boxed{4}00", "4"),
        ("\\boxed{4}.5", "4"),
        ("\\boxed{4}!", "4"),
        ("$\\boxed{4}!$", "4"),
        ("(\\boxed{4}, 5)", "4"),
        ("(5, \\boxed{4})", "4"),
        ("The ratio is \\boxed{3}:\\boxed{2}.", "2"),
        ("\\boxed{2} to \\boxed{5}", "5"),
        ("\\boxed{3}\\times 10^5", "3"),
        ("\\boxed{4} thousand dollars", "4"),
        ("\\boxed{4}2", "4"),
    ],
}


def _rows(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(kind, *row) for kind, rows in table.items() for row in rows]


@pytest.mark.parametrize(("kind", "text", "gold"), _rows(RIGHT))
def test_a_text_that_says_the_same_is_right(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is True


@pytest.mark.parametrize(("kind", "text", "gold"), _rows(WRONG))
def test_a_text_that_says_something_else_is_not(kind: str, text: str, gold: str) -> None:
    assert grade(text, gold).correct is not True
