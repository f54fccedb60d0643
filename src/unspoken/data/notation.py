"""How people write questions and answers, where a task writes them otherwise: 123*45 and 5535.

`notation_of` says which one a model was trained with. Most tasks write as people do. The digits of
a multiplication stand least significant first, a space between them (`3 2 1 * 5 4`), as
`unspoken.data.tasks.multiplication` has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from unspoken.common.errors import DataError, setting, shorten

_ROW = r"\d(?: \d)*"
_IN_ROWS = re.compile(rf"\s*({_ROW}) ?\* ?({_ROW})\s*")
#: Between thousands stand commas, apostrophes, underscores or spaces, narrow ones too.
_NUMBER = r"(\d{1,3}(?:[,'’_ \u00a0\u2009\u202f]\d{3})+|\d+)"
_TIMES = r"(?:[*xX×·⋅∙•∗⨯✕✖]|\\?times|\\cdot|multiplied (?:by|with))"
#: A question of figures and signs alone, at least one of each, without spaces.
_FORMULA = re.compile(r"(?=\D*\d)(?=\d*\D)(?:\d|[^\w\s])+")
_LETTER = r"[^\W\d_]"
_WORDS, _END = rf"{_LETTER}(?:{_LETTER}|[\s'’:,])*?\s|", r"[\s=?.!]*"
_PRODUCTS = tuple(
    re.compile(rf"\s*(?:{_WORDS}){words}{_END}", re.IGNORECASE)
    for words in (
        rf"{_NUMBER}\s*{_TIMES}\s*{_NUMBER}",
        rf"product of {_NUMBER} (?:and|with) {_NUMBER}",
        rf"multiply {_NUMBER} (?:by|with|and|times) {_NUMBER}",
    )
)


class Notation:
    """That of people: questions and answers of the task are what they write.

    Attributes:
        remark: what people need to know to read what a model writes; empty for nothing.
    """

    remark = ""

    def to_task(self, question: str) -> str:
        """The question as the task writes it.

        Raises:
            DataError: it is no question that this task has.
        """
        return question

    def question_to_person(self, question: str) -> str:
        """A question of the task as people write it."""
        return question

    def to_person(self, answer: str) -> str | None:
        """The answer as people write it; None where it cannot be read as one of the task's."""
        return answer.strip() or None

    def solve(self, question: str) -> str | None:
        """The right answer as people write it, where the task can be worked out, else None."""
        return None


class Formulas(Notation):
    """Formulas that are written without spaces, such as 3+4+5=."""

    def __init__(self, example: str) -> None:
        """Of a model that learned such questions.

        Args:
            example: one of them; the = or =? at its end is at the end of all.
        """
        self._end = example[len(example.rstrip("=?")) :]

    def to_task(self, question: str) -> str:
        """`3 + 4 + 5` as `3+4+5=`."""
        return "".join(in_plain_signs(question).split()).rstrip("=?") + self._end


class ReversedDigits(Notation):
    """Products of whole numbers, digits least significant first."""

    remark = (
        "Inside, digits stand least significant first, and zeros fill the number up: 5535 is "
        "written 5\u00a03\u00a05\u00a05\u00a00."
    )

    def __init__(self, sizes: Sequence[tuple[int, int]] = ()) -> None:
        """Of a model that learned these sizes.

        Args:
            sizes: digits of both factors; empty: not known, so every size is asked.
        """
        self.sizes = [(int(first), int(second)) for first, second in sizes]

    def to_task(self, question: str) -> str:
        """`123*45`, `what is 123 times 45?` or `3 2 1 * 5 4` as `3 2 1 * 5 4`.

        Where the model knows the sizes of the factors the other way round only, they change places.

        Raises:
            DataError: it is no product of two whole numbers, or of sizes that were not learned.
        """
        factors = self._factors(question)
        sizes = tuple(map(len, factors))
        if self.sizes and sizes not in self.sizes:
            factors, sizes = factors[::-1], sizes[::-1]
        if self.sizes and sizes not in self.sizes:
            known = " or ".join(f"{first} by {second}" for first, second in self.sizes)
            raise DataError(
                f"question: found {shorten(question)}, factors of {sizes[1]} and {sizes[0]} "
                f"digits; needed: {known} digits, which is all that this model has seen; ask so, "
                f"or give {setting('raw', True)} and the digits as it reads them, least "
                "significant first"
            )
        return " * ".join(" ".join(reversed(factor)) for factor in factors)

    def question_to_person(self, question: str) -> str:
        """`3 2 1 * 5 4` as `123*45`."""
        return "*".join(self._factors(question))

    def to_person(self, answer: str) -> str | None:
        """`5 3 5 5 0` as `5535`."""
        digits = answer.replace(" ", "")
        is_number = digits.isascii() and digits.isdigit()
        return (digits[::-1].lstrip("0") or "0") if is_number else None

    def solve(self, question: str) -> str | None:
        """The product; None for one of thousands of digits, which Python does not write."""
        try:
            first, second = map(int, self._factors(question))
            return str(first * second)
        except ValueError:
            return None

    def _factors(self, question: str) -> tuple[str, str]:
        """The factors as people write them: without commas and leading zeros."""
        typed, question = question, in_plain_signs(question).strip("$ ")
        rows = _IN_ROWS.fullmatch(question)
        if rows is not None and " " in rows[1].strip() + rows[2].strip():
            first, second = (row.replace(" ", "")[::-1] for row in rows.groups())
            return first, second
        for product in _PRODUCTS:
            found = product.fullmatch(question)
            if found is not None:
                first, second = (
                    re.sub(r"\D", "", each).lstrip("0") or "0" for each in found.groups()
                )
                return first, second
        raise DataError(
            f"question: found {shorten(typed)}; needed: a product of two whole numbers from 0 "
            "on, such as 123*45, which is all that this model was trained for; ask for one"
        )


def in_plain_signs(text: str) -> str:
    """The text with digits of every script as 0 to 9, and signs as wide as a Chinese one as ASCII.

    What nobody sees, such as marks of the direction of writing, is left out. Digits that are
    raised or in a circle mean something else and stay.

    Examples:
        >>> in_plain_signs("１２３＊４５"), in_plain_signs("12²")
        ('123*45', '12²')
    """
    return text if text.isascii() else "".join(map(_plain_sign, text))


def _plain_sign(sign: str) -> str:
    digit = unicodedata.decimal(sign, None)
    if digit is not None:
        return str(digit)
    if unicodedata.east_asian_width(sign) == "F":
        return unicodedata.normalize("NFKC", sign)
    return "" if unicodedata.category(sign) == "Cf" else sign


def notation_of(
    task: str | None, sizes: Sequence[tuple[int, int]] = (), example: str = ""
) -> Notation:
    """How questions to a model are written.

    Args:
        task: that it was trained for, as a recipe names it; None: not known.
        sizes: of a multiplication, digits of both factors.
        example: a question that it was trained on. Rows of single digits with a star between them
            are the paper's multiplications, wherever they come from.
    """
    rows = _IN_ROWS.fullmatch(example)
    is_in_rows = rows is not None and " " in rows[1] + rows[2]
    if task == "multiplication":
        return ReversedDigits(sizes)
    if is_in_rows and task != "arithmetic":
        return ReversedDigits()
    is_formula = _FORMULA.fullmatch(example) and in_plain_signs(example) == example
    return Formulas(example) if is_formula and task != "arithmetic" else Notation()
