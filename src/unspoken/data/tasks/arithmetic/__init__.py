"""School arithmetic in six categories, each question with a worked solution, step by step.

The question set for distilling a teacher, and a training set of its own: arithmetic, percentages,
algebra, word problems, fractions, ratios. `form` says what a kind of question is, `dataset` draws
and writes; the other modules have the kinds, a few of a category each.

Answers are exact: no float occurs. Numbers are whole, decimals with an end, or fractions in
lowest terms; money has two decimals where it is not whole; word problems have their unit.
"""

from unspoken.data.tasks.arithmetic.categories import CATEGORIES, solve_question, write_cot
from unspoken.data.tasks.arithmetic.dataset import SPLITS, Question, generate, write_arithmetic
from unspoken.data.tasks.arithmetic.form import LEVELS as DIFFICULTIES

__all__ = [
    "CATEGORIES",
    "DIFFICULTIES",
    "SPLITS",
    "Question",
    "generate",
    "solve_question",
    "write_arithmetic",
    "write_cot",
]
