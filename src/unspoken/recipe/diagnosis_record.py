"""What `unspoken diagnose` found out, in diagnosis.json, as types."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic.dataclasses import dataclass

from unspoken.recipe.records import Interval, JsonRecord


@dataclass(frozen=True)
class DigitsAtLevel:
    """Right answers by digit, of one level's model.

    Attributes:
        level: of removal.
        step: optimizer step at which the model was saved.
        accuracy: of whole answers.
        places: share of right digits at each place; a place is a power of ten, or counted from the
            first digit where answers are rows of digits.
    """

    level: str
    step: int | None
    accuracy: float | None
    places: dict[str, float]


@dataclass(frozen=True)
class Probe:
    """How well a linear map reads the digits of a thought off the hidden states of a model.

    Attributes:
        model: of the run, such as internalized.
        where: at the last token of the prompt, before anything is written; or at the tokens from
            which the answer is written.
        shares: of right digits on questions that the map was not fitted to; for each layer, the
            embeddings first, one of each target.
    """

    model: str
    where: Literal["prompt", "answer"]
    shares: list[list[float]]


@dataclass(frozen=True)
class Probes:
    """Linear probes for the intermediate values that a thought holds.

    Attributes:
        targets: names of the digits that are read: `2.1` is the first digit of the second number.
        chance: for each of them, the share of its most frequent digit.
        example: a thought, to see what is meant.
        num_fitted, num_tested: questions.
    """

    targets: list[str]
    chance: list[float]
    example: str
    num_fitted: int
    num_tested: int
    probes: list[Probe]


@dataclass(frozen=True)
class OtherSize:
    """A model asked questions of another size than it was trained on.

    Attributes:
        size: such as `3 x 3` or `hard`.
        is_trained: the size is the one that it was trained on.
    """

    size: str
    model: str
    is_trained: bool
    num_questions: int
    accuracy: float | None
    interval: Interval | None


@dataclass(frozen=True)
class ThoughtAgain:
    """Whether a model can still write its thought.

    Attributes:
        model: of the run.
        unasked: share of questions for which it begins with the thought's first token by itself.
        tokens: for each token of the thought, share that is the likeliest one after those before.
        whole: share of thoughts that it writes right to the end, given the first token.
        accuracy: of the answers after that.
        num_questions: that were asked.
    """

    model: str
    unasked: float
    tokens: list[float]
    whole: float
    accuracy: float | None
    num_questions: int


@dataclass(frozen=True, kw_only=True)
class Diagnosis(JsonRecord):
    """diagnosis.json: what a look into the models of a run found; empty is what it did not have.

    Attributes:
        digits: over the levels of the run, the whole thought first.
        probes: None where thoughts hold no numbers.
        sizes: empty where the task has no other sizes.
        again: of the model that writes its thought, and of the internalized one.
        notes: what was left out, and why.
        model_sha256: of the internalized model that was looked into.
    """

    digits: list[DigitsAtLevel] = field(default_factory=list)
    probes: Probes | None = None
    sizes: list[OtherSize] = field(default_factory=list)
    again: list[ThoughtAgain] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    model_sha256: str | None = None
