"""Draw questions by category without repetition, and write the files of a data set.

A million lines are written as they are drawn: what is held is one hash for every question, to
draw none twice, and one for every problem that is held out, to train on none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from unspoken.common.errors import DataError, SettingError, setting
from unspoken.common.files import AnyPath, refuse_existing
from unspoken.common.settings import LARGEST_SEED, MOST_EXAMPLES, require_at_least
from unspoken.data.example import Example
from unspoken.data.jsonl import json_line, write_dataset
from unspoken.data.leaks import normalize
from unspoken.data.tasks.arithmetic.categories import CATEGORIES
from unspoken.data.tasks.arithmetic.form import LEVELS, Form
from unspoken.recipe.sections import SIZES

SPLITS = ("train", "valid", "test")
_QUESTION_FILES = {"train": "raw_questions", "valid": "valid_questions", "test": "test_questions"}

_SIZES = SIZES["arithmetic"]

#: Draws in a row without a new question, after which (nearly) none are left.
MAX_REPETITIONS = 20_000


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its place and its worked example.

    Attributes:
        id: `{split}-{line number}`.
        category: one of `CATEGORIES`.
        kind: the form within it, such as `percent_of`.
        example: question, thought (the steps) and answer.
    """

    id: str
    category: str
    kind: str
    example: Example

    def to_record(self, with_thought: bool) -> dict[str, str]:
        """Its line in a JSONL file."""
        example = self.example
        thought = {"thought": example.thought} if with_thought else {}
        return {
            "id": self.id,
            "question": example.question,
            **thought,
            "answer": example.answer,
            "category": self.category,
        }


def share_out(count: int, categories: Sequence[str]) -> dict[str, int]:
    """Returns how many of `count` questions each category has: its proportion, rounded.

    What rounding down leaves over goes to those that lost most.

    Examples:
        >>> list(share_out(377, CATEGORIES).values()), list(share_out(95, CATEGORIES).values())
        ([76, 60, 60, 91, 45, 45], [19, 15, 15, 23, 12, 11])
    """
    weights = {category: CATEGORIES[category][0] for category in categories}
    total = sum(weights.values())
    given = {category: count * weight // total for category, weight in weights.items()}
    lost = sorted(categories, key=lambda category: -(count * weights[category] % total))
    for category in lost[: count - sum(given.values())]:
        given[category] += 1
    return given


class _Drawing:
    """The state of one drawing: streams of chance, and what was drawn already."""

    def __init__(self, difficulty: str, categories: Sequence[str], seed: int) -> None:
        self.level = LEVELS.index(difficulty)
        self.categories = categories
        self.name = f"arithmetic {seed} {difficulty}"
        self.streams = {name: Random(f"{self.name} {name}") for name in categories}
        self.groups = {
            name: [[form for form in group if self.level in form.levels] for group in groups]
            for name, (_, groups) in CATEGORIES.items()
        }
        self.questions: set[int] = set()
        self.held_out: set[int] = set()
        self.counts: dict[str, dict[str, int]] = {}

    def draw_split(self, name: str, count: int) -> Iterator[Question]:
        """Yields the questions of a split; those of `train` have to be drawn last."""
        self.counts[name] = share_out(count, self.categories)
        order = [index for index, n in enumerate(self.counts[name].values()) for _ in range(n)]
        Random(f"{self.name} {name}").shuffle(order)
        width = max(7, len(str(count)))
        problems: set[int] = set()
        for line, index in enumerate(order, start=1):
            category = self.categories[index]
            form, example, problem = self._draw_new(category)
            if name != "train":
                problems.add(problem)
            yield Question(f"{name}-{line:0{width}}", category, form.kind, example)
        self.held_out |= problems

    def _draw_new(self, category: str) -> tuple[Form, Example, int]:
        """Draws a question that is new, its form and the hash of its problem.

        Raises:
            DataError: there is none any more, or hardly one.
        """
        rng = self.streams[category]
        for _ in range(MAX_REPETITIONS):
            form = rng.choice(rng.choice(self.groups[category]))
            values = form.draw(rng, self.level)
            question = rng.choice(form.phrasings).render(values, rng)
            key, problem = _hash(normalize(question)), _hash(form.numbers(values))
            if key not in self.questions and problem not in self.held_out:
                self.questions.add(key)
                return form, form.solve(question, values), problem
        raise DataError(
            f"{setting('num_train')}: no more new questions were found in category {category!r} at "
            f"difficulty {LEVELS[self.level]!r} after {len(self.questions):,} of all categories; "
            f"needed: no more than there are; lower {setting('num_train')} or "
            f"{setting('num_test')}, or raise {setting('difficulty')}"
        )


def _hash(text: str) -> int:
    # Not hash(), which differs from run to run: two equal ones would make a seed mean two things.
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def generate(
    num_train: int = _SIZES["num_train"],
    num_test: int = _SIZES["num_test"],
    num_valid: int = _SIZES["num_valid"],
    *,
    difficulty: str = "medium",
    categories: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, list[Question]]:
    """Returns the questions of train, valid and test.

    Every split has the categories in the proportions 100 : 80 : 80 : 120 : 60 : 60, rounded, and
    in mixed order. No question is drawn twice, also not with other spacing or letter case
    (`leaks.normalize`), and no split asks what another one asks in other words: problems that
    differ in their phrasing, names and things only, or in the order of their numbers, are in the
    same split. The same arguments give the same questions on every machine. Test is drawn first
    and valid next, so more training questions leave both as they are.

    The default of 377 and 95 is what 500 drawn questions leave if 28 of them are repetitions and
    the other 472 are split 80 to 20. How many repeat is not left to chance here: what repeats is
    drawn again until every category of every split is full.

    Where a kind of question has few problems, as many at `easy` do, a large data set has all of
    them, and more of the other kinds.

    Args:
        num_train: questions to train with.
        num_test: questions to test with.
        num_valid: questions to validate with.
        difficulty: `easy`, `medium` or `hard`: the size of the numbers, the number of steps, and
            whether decimals, negative solutions and equations with brackets occur.
        categories: some of `CATEGORIES`; all without it.
        seed: a whole number of at least 0.

    Raises:
        SettingError: for a setting that cannot be.
        DataError: for more questions than there are.
    """
    counts = {"test": num_test, "valid": num_valid, "train": num_train}
    drawing = _begin_drawing(difficulty, categories, seed, counts)
    drawn = {name: list(drawing.draw_split(name, count)) for name, count in counts.items()}
    return {name: drawn[name] for name in SPLITS}


def write_arithmetic(
    output: AnyPath,
    *,
    num_train: int = _SIZES["num_train"],
    num_test: int = _SIZES["num_test"],
    num_valid: int = _SIZES["num_valid"],
    difficulty: str = "medium",
    categories: Sequence[str] | None = None,
    seed: int = 0,
    with_thoughts: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes the questions of `generate` and dataset.json, and returns the latter.

    Without thoughts the files are raw_questions.jsonl (train), test_questions.jsonl and, if any,
    valid_questions.jsonl, with `id`, `question`, `answer` and `category`: the input of a teacher,
    which finds no solution in it. `solve_question` works it out from the question. With thoughts
    they are train.jsonl, test.jsonl and valid.jsonl, with `thought` as well, to train on
    directly. Both have the same questions under the same ids. A split of 0 has no file; with
    `overwrite`, one that an earlier call left is removed.

    Raises:
        SettingError, DataError: as `generate`.
        OutputExistsError: if one of the files exists and `overwrite` is false.
    """
    counts = {"test": num_test, "valid": num_valid, "train": num_train}
    drawing = _begin_drawing(difficulty, categories, seed, counts)
    files = {name: name if with_thoughts else _QUESTION_FILES[name] for name in SPLITS}
    paths = {name: Path(output) / f"{file}.jsonl" for name, file in files.items()}
    refuse_existing([*paths.values(), Path(output) / "dataset.json"], overwrite=overwrite)
    pieces = {
        files[name]: (
            json_line(q.to_record(with_thoughts)) for q in drawing.draw_split(name, count)
        )
        for name, count in counts.items()
        if count
    }
    description = {
        "task": "arithmetic",
        "settings": {
            "difficulty": difficulty,
            "categories": list(drawing.categories),
            "with_thoughts": with_thoughts,
        },
        "seed": seed,
        "categories": drawing.counts,  # filled while the files are written
    }
    content = write_dataset(output, pieces, description, overwrite=overwrite)
    for name, path in paths.items():
        if not counts[name]:  # an earlier call may have left it
            path.unlink(missing_ok=True)
    return content


def _begin_drawing(
    difficulty: str, categories: Sequence[str] | None, seed: int, counts: dict[str, int]
) -> _Drawing:
    """Returns a drawing that has not begun, once its settings are found to be possible.

    Raises:
        SettingError: one of them is not.
    """
    if difficulty not in LEVELS:
        raise SettingError(
            "difficulty",
            found=repr(difficulty),
            needed=", ".join(LEVELS),
            remedy="name one of them",
        )
    require_at_least(1, MOST_EXAMPLES, num_train=counts["train"])
    require_at_least(0, MOST_EXAMPLES, num_valid=counts["valid"], num_test=counts["test"])
    require_at_least(0, LARGEST_SEED, seed=seed)
    return _Drawing(difficulty, _choose_categories(categories), seed)


def _choose_categories(categories: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the categories that are named; all where none is."""
    chosen = tuple(CATEGORIES if categories is None else categories)
    problem = None if chosen else "none"
    for name, times in Counter(chosen).items():
        if name not in CATEGORIES or times > 1:
            problem = f"{name!r}{' twice' * (name in CATEGORIES)}"
    if problem is not None:
        raise SettingError(
            "categories",
            found=problem,
            needed=f"some of {', '.join(CATEGORIES)}, each once",
            remedy="correct it, or leave it out for all",
        )
    return chosen
