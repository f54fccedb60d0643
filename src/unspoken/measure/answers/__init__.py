r"""Extract a final answer from a text, and decide whether two answers are equal.

Stands between decoding and the statistics: evaluation, vetting and unspoken score call
extract_answer on what a model wrote and answers_equal on the result and the gold answer.

    >>> extract_answer("Step 1: 0.15 * 240 = 36\nFinal Answer: $36.00.")
    '$36.00'

The rules of equality are exact. Numbers are compared as fractions without any tolerance, and a
rule that reads an answer decides it; math-verify is asked last, only about short mathematical
expressions (roots, polynomials, sets, intervals) that no rule here reads.

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
    \sqrt{8}     2\sqrt{2}        True    math-verify says so

The table is tested by reading it: no row may differ from what answers_equal says.

    >>> import re
    >>> rows = re.findall(r"^ +(\S.*?)  +(\S.*?)  +(True|False)  ", __doc__, re.MULTILINE)
    >>> [row for row in rows if str(answers_equal(row[0], row[1])) != row[2]], len(rows)
    ([], 12)
"""

from __future__ import annotations

from unspoken.measure.answers.digits import digit_accuracy
from unspoken.measure.answers.equal import answers_equal
from unspoken.measure.answers.extract import extract_answer, split_answer

__all__ = ["answers_equal", "digit_accuracy", "extract_answer", "split_answer"]
