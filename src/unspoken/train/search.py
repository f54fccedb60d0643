"""Adaptive removal that measures: how much goes next, what is undone, and when the search ends.

A level of removal has recovered once the tokens that it keeps are as likely, to within a margin,
as they were for the model that wrote the whole thought, and the answer among them to within one of
its own. Where it has, more is removed at once; where it does not, the removal is undone and a
smaller one is tried. All of it is a pure function of what was measured; `unspoken.train.recovery`
measures, and the loop goes the way back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unspoken import recipe

#: A level that recovers within so many measurements does so at once.
AT_ONCE = 3
#: Several at once get this part of `patience`. Where they are easy, that is enough; half of it was
#: lost twice on the quickstart, 180 steps each time.
GAMBLE = 4
#: A level gets on as long as its loss becomes smaller by this share.
PROGRESS = 0.03
#: Each try that was not enough for a single one lets it be worse by this share of the margin more.
WIDER = 0.25
#: Nats by which the answer's loss may be larger at the most where its margin grows with each
#: try, too: less than the ln 10 = 2.3 of a digit that is a mere guess.
NO_GUESS = 2.1
#: The explicit model gets on as long as its loss becomes smaller by this share, ...
EXPLICIT_PROGRESS = 0.2
#: ... and by this share of `last_margin`: less makes no difference to any level.
EXPLICIT_GAIN = 0.05


@dataclass(frozen=True)
class Search:
    """What the search for a way to full removal remembers; losses are nats a question.

    Attributes:
        reference: of the explicit model, of the tokens that are kept, by how many are removed.
        kept: how many tokens these are on average; empty in records of before they were counted.
        recovered: the last level that had recovered, in tokens (or steps) removed.
        left_at: optimizer step after which it was left, whose checkpoint a way back leads to; None
            while the explicit model is trained.
        size: how many the removal took at once that is being made up for.
        failures: how often a single one has not been made up for in time; `tries` at the end.
        undone: removals that were undone, altogether.
        too_far: the highest level to which a removal that was undone led.
        best: the smallest loss at this level, None before its first measurement. Where the answer
            was further above what is needed than all that is kept: what would be as far above.
        best_held: steps that the level had been held when it was measured.
        best_losses: of that measurement, but for the explicit model's: of all that is kept, and of
            the answer alone.
    """

    reference: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    recovered: int = 0
    left_at: int | None = None
    size: int = 1
    failures: int = 0
    undone: int = 0
    too_far: int = 0
    best: float | None = None
    best_held: int = 0
    best_losses: list[float] = field(default_factory=list)

    @staticmethod
    def from_json(values: dict[str, Any] | None) -> Search | None:
        """The search that `dataclasses.asdict` took apart."""
        return None if values is None else Search(**values)

    def heard_explicit(
        self, settings: recipe.Schedule, losses: Sequence[float], held: int
    ) -> Search:
        """After a measurement of the explicit model, by how many tokens are removed."""
        loss, best = _at(losses, self.recovered), self.best
        gain = _smallest_gain(settings)
        if best is not None and loss > min(best * (1 - EXPLICIT_PROGRESS), best - gain):
            # as good as before: the better figures are the reference, progress is counted on
            better = loss < _at(self.reference, self.recovered)
            return replace(self, reference=list(losses)) if better else self
        return replace(self, reference=list(losses), best=loss, best_held=held)

    def heard(
        self, settings: recipe.Schedule, removed: int, losses: Sequence[float], held: int
    ) -> Search:
        """After a measurement of a level: the loss of what it keeps, and that of the answer."""
        kept, answer = losses
        loss = max(kept, answer + self._beyond_answer(settings, removed))
        if self.best is not None and loss > self.best * (1 - PROGRESS):
            return self
        return replace(self, best=loss, best_held=held, best_losses=list(losses))

    def _beyond_answer(self, settings: recipe.Schedule, removed: int) -> float:
        """By how much the kept tokens' loss may be larger than the answer's.

        For the kept tokens as at the first try, for the answer as in this one.
        """
        allowed = replace(self, failures=0).loss_needed(settings, removed)
        return allowed - self.answer_needed(settings)

    def describe_best(self, settings: recipe.Schedule, removed: int) -> str:
        """How near this level came to being recovered, for people."""
        best, needed, whose = self.best, self.loss_needed(settings, removed), "loss"
        if self.best_losses:  # a record from before the answer had a margin has none
            best, answer = self.best_losses
            allowed = self.answer_needed(settings)
            if answer - allowed > best - needed:
                best, needed, whose = answer, allowed, "answer's loss"
        found = "was not measured" if best is None else f"never came below {best:.2f}"
        return f"the {whose} {found} (needed: {needed:.2f} nats a question)"

    def has_recovered(
        self, settings: recipe.Schedule, removed: int, losses: Sequence[float]
    ) -> bool:
        """Whether this level's losses, of what it keeps and of the answer, are as they must be."""
        kept, answer = losses
        is_kept = kept <= self.loss_needed(settings, removed)
        return is_kept and answer <= self.answer_needed(settings)

    def is_explicit_done(
        self, settings: recipe.Schedule, held: int, *, starts_explicit: bool
    ) -> bool:
        """Whether the explicit model is what it is to be held against, once it is measured.

        It is where nothing is left to be gained, or nothing was for `patience` steps.

        Args:
            settings: of the removal.
            held: steps that it was trained.
            starts_explicit: whether it wrote its thought before the first of them.
        """
        # that may be below the best which was progress
        lowest = _at(self.reference, self.recovered)
        perfect = lowest <= _smallest_gain(settings)
        return starts_explicit or perfect or held - self.best_held >= settings.patience

    def loss_needed(self, settings: recipe.Schedule, removed: int) -> float:
        """What counts as recovery: the explicit model's loss on the same kept tokens, and a margin.

        On the way it becomes wider with each try that was not enough: what a token costs is learned
        while others go, too, and the end, with its own margin, decides. On 3x3 a level was at 2.6
        to 3.2 nats for 1,800 steps where 2.5 were needed.

        It grows with the tokens that are kept, too: they vary all the time while weights are
        trained. Of word problems with 116 tokens of thought and answer a level was 8 nats worse,
        the answer itself by 0.2.

        Args:
            settings: that have the margins.
            removed: the level; all that there is, or more, means that only the answer is kept.
        """
        last = len(self.reference) - 1
        kept = _at(self.kept, removed) if self.kept else 0.0
        wider = max(settings.margin, settings.margin_per_token * kept)
        wider *= 1 + WIDER * self.failures
        margin = wider if removed < last else settings.last_margin
        return _at(self.reference, removed) + margin

    def answer_needed(self, settings: recipe.Schedule) -> float:
        """What the answer's loss may be at any level.

        A digit of the answer that is a mere guess costs ln 10 = 2.3 nats, and is hardly learned
        again once the thought is gone: on 3x3 a model that had lost one on the way stood at 12 %
        right for 4,300 steps with everything removed. A margin below `NO_GUESS` becomes wider by
        itself with each try that was not enough, up to there.
        """
        margin = settings.answer_margin
        if margin is None:
            return math.inf
        wider = max(margin, min(NO_GUESS, margin * (1 + self.failures)))
        return self.reference[-1] + wider

    def is_given_up(self, settings: recipe.Schedule, held: int) -> bool:
        """Whether a level gets no further.

        A single token is waited for as long as there is progress, and after it failed for longer;
        several at once are a gamble, which ends after a quarter of `patience` in all.
        """
        if is_limit_reached(settings, held):
            return True
        if self.size > 1:
            return held >= max(1, settings.patience // GAMBLE)
        return held - self.best_held >= settings.patience * 2**self.failures

    def next_size(self, settings: recipe.Schedule, held: int) -> int:
        """How many go next: twice as many after a level that recovered at once, else half.

        No more than now where a larger removal has just failed, until its level has recovered.
        """
        if held > AT_ONCE * settings.measure_every:
            return max(1, self.size // 2)
        if self.recovered < self.too_far:
            return self.size
        return min(settings.most_at_once, self.size * 2)

    def held_longer(self, held: int) -> Search:
        """A single one that has not been made up for in time gets twice as long, from where it is.

        Nothing smaller could be tried, and what has been learned without it would be lost: on 3x3,
        undone removals of single tokens took a quarter of a run's steps.
        """
        return replace(self, failures=self.failures + 1, best_held=held)

    def after_failure(self) -> Search:
        """Back at the last level that had recovered; half as many go next."""
        return replace(
            self,
            too_far=max(self.too_far, self.recovered + self.size),
            size=max(1, self.size // 2),
            failures=self.failures + (self.size == 1),
            undone=self.undone + 1,
        )


def is_limit_reached(settings: recipe.Schedule, held: int) -> bool:
    """Whether a level has been held for `max_hold` steps, however well it gets on."""
    return settings.max_hold is not None and held >= settings.max_hold


def _at(losses: Sequence[float], removed: int) -> float:
    """The loss at a level; beyond the longest thought that is measured only the answer is kept."""
    return losses[min(removed, len(losses) - 1)]


def _smallest_gain(settings: recipe.Schedule) -> float:
    """Nats a question by which an explicit model has to become better, or it counts as done."""
    return EXPLICIT_GAIN * settings.last_margin
