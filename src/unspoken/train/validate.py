"""Validation at each level of removal, and which level's best model is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unspoken.data.example import Example
from unspoken.measure.evaluate import EvaluateOptions, evaluate
from unspoken.measure.predictions import Metrics
from unspoken.recipe import Recipe
from unspoken.recipe.levels import level_name
from unspoken.train.checkpoint import Checkpoints, TrainState, model_card
from unspoken.train.log import TrainingLog
from unspoken.train.schedule import ALL, Removal, level_interval

if TYPE_CHECKING:
    from unspoken.parallel.processes import AnyModel

#: A validation that takes longer shows a bar of its own.
_SECONDS_WITHOUT_A_BAR = 1.5


class Validation:
    """Asks a model validation questions, and keeps the best one of each level that counts."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        recipe: Recipe,
        questions: Sequence[Example],
        removal: Removal,
        *,
        stopping: Callable[[], bool],
    ) -> None:
        """Takes the questions; nothing is asked yet.

        Args:
            checkpoints: of the run, where best models go.
            recipe: its sections `train` and `evaluate` are used.
            questions: with answers; without them the last model of a level is its best.
            removal: of the run.
            stopping: says whether a signal came; it is asked between batches.
        """
        self.checkpoints, self.recipe, self.removal = checkpoints, recipe, removal
        self.questions = list(questions)[: recipe.train.num_valid]
        self.stopping = stopping

    def keeps(self, state: TrainState) -> bool:
        """Whether the best model of the level at which `state` is is kept.

        Of every so many levels the first one is kept at which training stays, since removal may
        jump over others.
        """
        removed, known = state.schedule.removed, state.best
        every = level_interval(self.recipe.train.level_every, self.removal.longest)
        if removed >= ALL or removed == self.removal.initial().removed:
            return True
        if every == 0:
            return False
        stretches = {int(name) // every for name in known if name.isdigit()}
        return level_name(removed) in known or removed // every not in stretches

    def run(
        self, model: AnyModel, state: TrainState, log: TrainingLog, *, is_last: bool
    ) -> tuple[TrainState, float | None]:
        """Measures the level at which `state` is; its best model so far is kept.

        With `is_last` training ends with this step, and its model is kept in any case.

        Returns:
            The state with the level's best figures, and the accuracy, None without questions.

        Raises:
            Interrupted: a signal came before all questions were answered.
        """
        removed = state.schedule.removed
        kept = is_last or self.keeps(state)
        if not self.questions:
            if not kept:
                return state, None
            figures = {"step": state.step}
            self.checkpoints.save_level(model, state, figures)
            return replace(state, best={**state.best, level_name(removed): figures}), None
        metrics = self._measure(model, removed, has_bar=not log.bar.disable)
        accuracy = metrics.accuracy or 0.0
        gone = self.checkpoints.tokens_gone(removed)
        log.write(state.step, "valid", {"removed": gone, **metrics.to_json()})
        best = state.best.get(level_name(removed))
        if kept and (best is None or accuracy >= best["accuracy"]):
            figures = {"step": state.step, "accuracy": accuracy, "tokens": metrics.mean_tokens}
            self.checkpoints.save_level(model, state, figures)
            state = replace(state, best={**state.best, level_name(removed): figures})
        return state, metrics.accuracy

    def _measure(self, model: AnyModel, removed: int, *, has_bar: bool) -> Metrics:
        """Greedy answers at this level; every process answers its share of the questions."""
        there = self.checkpoints
        gone = there.tokens_gone(removed)
        card = model_card(there.dataset, there.tokenizer, there.template, gone, step=0)
        with (
            there.processes.whole(model, everywhere=True) as whole,
            there.gap_closed(whole, removed),
        ):
            _, metrics = evaluate(
                whole,
                there.tokenizer,
                there.template,
                self.questions,
                EvaluateOptions(card.max_new_tokens, self.recipe.evaluate.batch_size),
                process=there.accelerator.state,
                stopping=self.stopping,
                progress="validation" if has_bar else None,
                delay=_SECONDS_WITHOUT_A_BAR,
            )
        return metrics
