"""Questions as people write them become the task's, and its answers become theirs."""

from __future__ import annotations

import pytest

from unspoken.common.errors import DataError
from unspoken.data.notation import Formulas, Notation, ReversedDigits, in_plain_signs, notation_of

DIGITS = ReversedDigits([(3, 2)])


@pytest.mark.parametrize(
    "question",
    ["123*45", "123 * 45 =", "what is 123 times 45?", "What's 123 x 45?", "123×45", "0123*45",
     "the product of 123 and 45", "Multiply 123 by 45.", "Compute: 123 multiplied by 45",
     "3 2 1 * 5 4", "45*123", "5 4 * 3 2 1", "１２３＊４５", "１２３ × ４５ ＝ ？",
     "١٢٣*٤٥", "१२३ · ४५", "123 ⋅ 45", "123∙45", "123 ✕ 45", "What’s 123 times 45?", "\ufeff123*45",
     "123\u00a0×\u200b45", "123\n*45", r"$123 \times 45$", r"123\cdot45", "Calculate 123 x 45 = ?"],
)  # fmt: skip
def test_a_product_is_read_in_every_form_that_people_write(question: str) -> None:
    assert DIGITS.to_task(question) == "3 2 1 * 5 4"
    assert DIGITS.solve(question) == "5535"


@pytest.mark.parametrize("typed", ["1,234", "1 234", "1'234", "1’234", "1_234", "1\u202f234"])
def test_what_stands_between_thousands_is_no_digit(typed: str) -> None:
    assert ReversedDigits().to_task(f"{typed} * 5") == "4 3 2 1 * 5"
    assert ReversedDigits().solve(f"{typed},000 * 5") == "6170000"


@pytest.mark.parametrize(
    "question",
    ["", "capital of France?", "12+3", "123*4.5", "-123*45", "2 + 123*45", "123*45*6", "1,23*45",
     "123*", "three times four", "2 boxes of 123*45", "−123*45", "+123*45", "12³*45", "①②③*45",
     "Ⅻ*45", "1.234*5", "123**45", "123*45\0", "a " * 20_000, "9" * 5_000 + "*-1"],
)  # fmt: skip
def test_what_is_no_product_of_two_whole_numbers_is_said(question: str) -> None:
    with pytest.raises(DataError, match=r"found .*; needed: a product of two whole numbers"):
        DIGITS.to_task(question)


def test_sizes_that_the_model_has_not_seen_are_said() -> None:
    with pytest.raises(DataError, match="factors of 2 and 1 digits; needed: 3 by 2 digits"):
        DIGITS.to_task("what is 12 times 3?")
    assert ReversedDigits([(3, 2), (2, 1)]).to_task("what is 12 times 3?") == "2 1 * 3"
    assert ReversedDigits().to_task("12*3") == "2 1 * 3"


def test_products_of_any_length_are_put_though_not_all_can_be_worked_out() -> None:
    long = f"{'1' * 5_000}*{'2' * 5_000}"
    assert len(ReversedDigits().to_task(long)) == 20_001
    assert ReversedDigits().solve(long) is None
    with pytest.raises(DataError, match="factors of 5000 and 5000 digits") as caught:
        DIGITS.to_task(long)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("example", "typed", "put"),
    [
        ("3+4+5=", "3 + 4 + 5", "3+4+5="),
        ("3+4+5=", "3+4+5=", "3+4+5="),
        ("3+4+5=", "３＋４＋５＝？", "3+4+5="),
        ("3+4", "3 + 4 = ?", "3+4"),
        ("3+4=?", "3+4", "3+4=?"),
        ("(12-7)*3", " ( 12 - 7 ) * 3", "(12-7)*3"),
        ("3+4+5=", "what is 3+4+5?", "whatis3+4+5="),  # whose signs the model is asked for
    ],
)
def test_formulas_without_spaces_are_put_without_spaces(example: str, typed: str, put: str) -> None:
    assert notation_of("jsonl", [], example).to_task(typed) == put


def test_signs_of_other_scripts_become_plain_where_they_say_the_same() -> None:
    assert in_plain_signs("１２，３％ ٤２ ?\u200f") == "12,3% 42 ?"
    assert in_plain_signs("é ² ½ Ⅻ × 三 。") == "é ² ½ Ⅻ × 三 。"


@pytest.mark.parametrize(
    ("answer", "read"),
    [("5 3 5 5 0", "5535"), ("53550", "5535"), ("0 0 0", "0"), ("7#2", None), ("", None),
     ("²", None)],
)  # fmt: skip
def test_answers_are_read_back(answer: str, read: str | None) -> None:
    assert DIGITS.to_person(answer) == read


def test_other_tasks_write_as_people_do() -> None:
    plain = Notation()
    assert plain.to_task("What is 15% of 240?") == "What is 15% of 240?"
    assert (plain.to_person(" 36 "), plain.to_person(" "), plain.solve("1+1")) == ("36", None, None)


@pytest.mark.parametrize(
    ("task", "example", "kind"),
    [
        ("multiplication", "321*54", ReversedDigits),
        (None, "3 2 1 * 5 4", ReversedDigits),  # the paper's files, given as one's own
        ("jsonl", "3 2 1 * 5 4", ReversedDigits),
        (None, "321*54", Formulas),
        ("jsonl", "3 * 5", Notation),
        ("jsonl", "12 boxes", Notation),
        ("jsonl", "x+1=2", Notation),
        ("jsonl", "42", Notation),
        ("jsonl", "?", Notation),
        ("arithmetic", "3 2 * 5", Notation),
        ("arithmetic", "3+2=", Notation),
        ("gsm8k", "Natalia sold 48 clips.", Notation),
        (None, "", Notation),
    ],
)
def test_the_notation_follows_from_what_is_known(
    task: str | None, example: str, kind: type[Notation]
) -> None:
    assert type(notation_of(task, [], example)) is kind


def test_a_model_that_learned_wide_signs_is_asked_with_them() -> None:
    assert notation_of(None, example="\uff13\uff0b\uff14\uff1d").to_task(
        "\uff11\uff0b\uff12\uff1d"
    ) == ("\uff11\uff0b\uff12\uff1d")
    assert notation_of(None, example="3\u00d74=").to_task("1 \u00d7 2") == "1\u00d72="
