"""Questions of the sizes that a model learned, and of the sizes next to them.

None of them was learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from unspoken.data.example import Example
from unspoken.data.leaks import normalize
from unspoken.recipe import Recipe
from unspoken.run.data import iter_split_questions

#: Questions of each size at the most.
NUM_OF_SIZE = 200


class QuestionsOfSize(NamedTuple):
    """Questions of one size.

    Attributes:
        size: such as `2 x 3` digits, or a difficulty.
        is_trained: whether the model learned from questions of this size.
        examples: the questions, which it did not learn from.
    """

    size: str
    is_trained: bool
    examples: list[Example]


def questions_of_sizes(
    recipe: Recipe, valid: Sequence[Example], train: Path
) -> tuple[list[QuestionsOfSize], list[str]]:
    """Questions of the sizes that were learned, and of others.

    Args:
        recipe: whose task says what a size is.
        valid: validation examples: the sizes that were learned are asked by them.
        train: the file that was learned from.

    Returns:
        The questions, and sentences on sizes of which there are none.
    """
    if recipe.data.task == "multiplication":
        found = list(_of_digits(recipe, valid))
    elif recipe.data.task == "arithmetic":
        found = list(_of_difficulties(recipe, valid, train))
    else:
        return [], [f"Task {recipe.data.task} makes no questions of other sizes."]
    notes = [_why_none(one) for one in found if not one.examples]
    return [one for one in found if one.examples], notes


def _why_none(size: QuestionsOfSize) -> str:
    if size.is_trained:
        return f"{size.size}: none of the validation questions is of it."
    return f"{size.size}: all questions of it were learned from."


def _of_digits(recipe: Recipe, valid: Sequence[Example]) -> Iterator[QuestionsOfSize]:
    """Of multiplications: those that were learned by validation questions, others made."""
    from unspoken.data.tasks import multiplication

    trained = set(recipe.data.digits)
    for size in sorted({*trained, *_neighbours(trained)}):
        count = min(NUM_OF_SIZE, multiplication.count_problems(size))
        if size in trained:  # drawn anew, most of a small size would stand in the training
            examples = [one for one in valid if _digits_of(one) == size][:count]
        else:
            seed = recipe.seed + 1
            examples = multiplication.examples([size], 0, 0, count, seed=seed)["test"]
        yield QuestionsOfSize(f"{size[0]} x {size[1]}", size in trained, examples)


def _digits_of(example: Example) -> tuple[int, ...]:
    """How many digits the factors of a multiplication have."""
    return tuple(len(factor.split()) for factor in example.question.split("*"))


def _neighbours(trained: set[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for first, second in trained:
        for more in (-1, 1):
            for size in ((first + more, second), (first, second + more)):
                if min(size) > 0:
                    yield size


def _of_difficulties(
    recipe: Recipe, valid: Sequence[Example], train: Path
) -> Iterator[QuestionsOfSize]:
    """Of arithmetic; an easy question may be among medium ones, where it was learned from."""
    from unspoken.data.tasks import arithmetic

    data = recipe.data
    learned = {normalize(question) for question in iter_split_questions(train)}
    for difficulty in arithmetic.DIFFICULTIES:
        examples = list(valid[:NUM_OF_SIZE])
        if difficulty != data.difficulty:
            made = arithmetic.generate(
                num_train=1,  # the fewest that there can be
                num_test=NUM_OF_SIZE,
                difficulty=difficulty,
                categories=data.categories,
                seed=recipe.seed + 1,
            )
            asked = [one.example for one in made["test"]]
            examples = [one for one in asked if normalize(one.question) not in learned]
        yield QuestionsOfSize(difficulty, difficulty == data.difficulty, examples)
