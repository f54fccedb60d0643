r"""Extract a final answer from a text, and decide whether two answers are equal.

Stands between decoding and the statistics: evaluation, vetting and unspoken score call
extract_answer on what a model wrote and answers_equal on the result and the gold answer.

    >>> extract_answer("Step 1: 0.15 * 240 = 36\nFinal Answer: $36.00.")
    '$36.00'

The rules of equality are exact. Numbers are compared as fractions without any tolerance, and a
rule that reads an answer decides it; expressions (roots, polynomials) are calculated last. Every
step is bounded by the length of the texts, and needs no alarm, thread or process.

    predicted    gold             equal   because
    $1,234.50    1234.5 dollars   True    spelling does not change a number
    12 apples    12               True    a missing unit agrees with any
    5 km         5 m              False   two units that differ do not
    50%          0.5              False   50% equals 50, as gold answers are often written
    2 1/2        2.5              True    fractions are exact,
    0.33         1/3              False   and a rounded number is another one
    3:2          6 to 4           True    ratios are proportions
    1 3 9 4      1 3 9 4 0        False   spaced digits are a row, where each zero counts
    (B) Paris    B.               True    the letter of a choice is enough
    7 * 8 = 56   56               True    of an equation the value counts,
    7 * 8        56               False   but the question repeated is no answer
    x=1, y=5     x=2, y=5         False   each name has its value,
    3, 5         x=5 or x=3       True    lists have no order,
    5            x=3 or x=5       False   and a part is not the whole
    6:00         3:00             False   a time is no ratio
    84 (total)   84               True    words around an answer are no answer
    \sqrt{8}     2\sqrt{2}        True    expressions are compared by value

The table is tested by reading it: no row may differ from what answers_equal says.

    >>> import re
    >>> rows = re.findall(r"^ +(\S.*?)  +(\S.*?)  +(True|False)  ", __doc__, re.MULTILINE)
    >>> [row for row in rows if str(answers_equal(row[0], row[1])) != row[2]], len(rows)
    ([], 17)
"""

from __future__ import annotations

from unspoken.measure.answers.digits import digit_accuracy
from unspoken.measure.answers.equal import answers_equal, compare_answers
from unspoken.measure.answers.extract import (
    MAX_CHARACTERS,
    extract_answer,
    read_answer,
    split_answer,
)
from unspoken.measure.answers.prose import Words

__all__ = [
    "MAX_CHARACTERS",
    "Words",
    "answers_equal",
    "compare_answers",
    "digit_accuracy",
    "extract_answer",
    "read_answer",
    "split_answer",
]
