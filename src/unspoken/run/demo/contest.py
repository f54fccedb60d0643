"""What the page of a run shows: two models that answer one question, and a race over ten."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from unspoken.common.errors import ModelError
from unspoken.data.example import Example, read_questions
from unspoken.data.notation import Notation
from unspoken.measure.ask import LoadedModel, WrittenAnswer, load, take_turns
from unspoken.measure.grade import is_right
from unspoken.recipe import layout
from unspoken.recipe.levels import SPOKEN
from unspoken.recipe.load import load_values
from unspoken.recipe.named_model import find_model, last_phase, models_of, run_remedy
from unspoken.run.data import Splits

#: Questions of a race, and examples on the page.
NUM_RACE = 10
NUM_EXAMPLES = 5


@dataclass(frozen=True)
class Score:
    """How a model stands in a race.

    Attributes:
        title: of the model.
        num_asked, num_right: questions so far.
        num_tokens, seconds: that it wrote, and took, so far.
    """

    title: str
    num_asked: int = 0
    num_right: int = 0
    num_tokens: int = 0
    seconds: float = 0.0

    def after(self, reply: WrittenAnswer, correct: bool) -> Score:
        """The score with one more reply."""
        return replace(
            self,
            num_asked=self.num_asked + 1,
            num_right=self.num_right + correct,
            num_tokens=self.num_tokens + reply.num_tokens,
            seconds=self.seconds + reply.seconds,
        )


class Contest:
    """The models of a run, loaded when they are first asked, and the questions that measured them.

    Attributes:
        split: of these questions: `test`, else `valid`; None where the run has neither.
    """

    def __init__(self, run: str | Path) -> None:
        """Of a run folder.

        Raises:
            ModelError: there is no such run, or it has no model that writes its thought.
        """
        found = find_model(run)
        if found.run is None:
            raise ModelError(
                f"{run}: found no run folder; needed: one that unspoken run has finished; "
                f"{run_remedy(run) or 'name one, such as runs/quickstart'}; a single model is "
                "asked with unspoken ask"
            )
        self.run: Path = found.run
        self._lock = threading.Lock()
        self._models: dict[str, LoadedModel] = {}
        values, _ = load_values(self.run / layout.RECIPE_FILE)
        self.name = str(values.get("name", self.run.name))
        last = (values.get("phases") or [{}])[-1]
        self._schedule = {**(values.get("schedule") or {}), **(last.get("schedule") or {})}
        self.opponents = self._opponents()
        self.split, self._questions = self._find_questions()
        self._examples = (
            read_questions(self._questions) if self._questions and self._questions.is_file() else []
        )

    def _opponents(self) -> list[str]:
        """Names of what stands on the right: the kept levels, most thought first."""
        names = models_of(self.run)
        levels = [name for name in names if name.startswith(SPOKEN) and name != f"{SPOKEN}0"]
        last = [name for name in (layout.INTERNALIZED,) if name in names]
        if last and levels and levels[-1] == f"{SPOKEN}all":
            levels = levels[:-1]  # the internalized model is that level's
        if not levels and not last:
            raise ModelError(
                f"{self.run}: found no internalized model; needed: one beside the model that "
                "writes its thought; finish the run with unspoken run, or ask its models one by "
                "one with unspoken ask"
            )
        return [*levels, *last]

    def _find_questions(self) -> tuple[str | None, Path | None]:
        """The split that the last phase was measured with, and its file: in the run or a user's."""
        splits = Splits.read(last_phase(self.run, layout.DATA), self.run)
        return (splits and splits.measured) or (None, None)

    def model(self, name: str) -> LoadedModel:
        """The model of this name, such as explicit, level-7 or internalized."""
        if name not in self._models:
            self._models[name] = load(f"{self.run}:{name}", local_files_only=True)
        return self._models[name]

    def label(self, opponent: str) -> str:
        """The name of what stands on the right, for people."""
        if opponent == layout.INTERNALIZED:
            title = find_model(f"{self.run}:{opponent}").title
            return "answers at once" if title == opponent else title
        number = opponent.removeprefix(SPOKEN)
        end = "last" if self._schedule.get("side") == "right" else "first"
        unit = self._schedule.get("unit", "token")
        return f"without the {end} {unit if number == '1' else f'{number} {unit}s'} of its thought"

    @property
    def remark(self) -> str:
        """What people need to know to read what the models write."""
        return self.model(self.opponents[-1]).notation.remark

    def examples(self, number: int = NUM_EXAMPLES) -> list[str]:
        """Questions that the run was measured with, as people write them."""
        notation = self.model(self.opponents[-1]).notation
        return [notation.question_to_person(each.question) for each in self._examples[:number]]

    @property
    def num_race(self) -> int:
        """Questions of a race."""
        return min(NUM_RACE, len(self._examples))

    def ask(self, question: str, opponent: str) -> Iterator[list[WrittenAnswer]]:
        """Yields the replies of both models as they are written; errors as of `take_turns`."""
        with self._lock:
            models = [self.model("explicit"), self.model(opponent)]
            yield from take_turns(models, question)

    def race(self, opponent: str, seed: int | None = None) -> Iterator[tuple[str, list[Score]]]:
        """Yields each question, as people write it, and the scores after it.

        Args:
            opponent: of the model that writes its thought.
            seed: of the questions; None: other ones each time.

        Raises:
            ModelError: the run has no questions to race with.
        """
        if not self._examples:
            remedy = f"put {self._questions} back, or " if self._questions else ""
            raise ModelError(
                f"{self.run}: found no test and no validation questions; needed: those that the "
                f"run was measured with; {remedy}ask questions of your own"
            )
        chosen = Random(seed).sample(self._examples, self.num_race)
        with self._lock:
            models = [self.model("explicit"), self.model(opponent)]
            scores = [Score("thinks aloud"), Score(self.label(opponent))]
            for example in chosen:
                question = models[0].notation.question_to_person(example.question)
                replies = deque(take_turns(models, question), maxlen=1).pop()
                scores = [
                    score.after(reply, is_correct(reply, example, models[0].notation))
                    for score, reply in zip(scores, replies, strict=True)
                ]
                yield question, scores


def is_correct(reply: WrittenAnswer, example: Example, notation: Notation) -> bool:
    """Whether a reply gives an example's answer."""
    gold = notation.to_person(example.answer) or example.answer
    return bool(reply.answer) and is_right(reply.answer, gold)
