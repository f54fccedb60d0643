"""StepwiseInternalization: the one training loop, on Accelerate.

Distilling, internalizing and the baselines are this loop with different schedules. One optimizer
step: the schedule says how many thought tokens are gone, the batch of this very step is made with
that count, the loss is normalized by the label tokens of the whole batch over all processes and
micro-batches, and the schedule hears the loss.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from unspoken.common.errors import RecipeError, TrainingError
from unspoken.common.interrupt import EXIT_INTERRUPTED, Interrupted, StopRequest
from unspoken.common.memory import peak_memory
from unspoken.data.example import Example
from unspoken.measure.evaluate import EvaluateOptions, evaluate
from unspoken.measure.predictions import Metrics
from unspoken.models.template import Template
from unspoken.parallel.processes import Processes
from unspoken.parallel.world import read_world
from unspoken.recipe import Recipe
from unspoken.train.checkpoint import Checkpoints, TrainState, level_name, model_card
from unspoken.train.collate import IGNORE, collate
from unspoken.train.dataset import CoTDataset
from unspoken.train.fit import count_steps, require_fit
from unspoken.train.log import TrainingLog
from unspoken.train.optimizer import learning_rate_of, make_optimizer
from unspoken.train.schedule import ALL, Schedule, ScheduleState, level_interval, sample_offsets


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        folder: the final model: the best by validation at the last level of removal.
        level: name of that level, such as `all` or `0007`.
        state: the last state.
        peak_memory_bytes: of this process (`host`), and of its GPU where there is one (`gpu`).
    """

    folder: Path
    level: str
    state: TrainState
    peak_memory_bytes: dict[str, int]


class StepFigures(NamedTuple):
    """One optimizer step: loss per label token, gradient norm before clipping, time."""

    loss: float
    learning_rate: float
    gradient_norm: float
    num_tokens: int
    seconds: float
    stop: bool


class StepwiseInternalization:
    """Trains a causal language model while its chain of thought is removed.

    Example:
        >>> trainer = StepwiseInternalization(
        ...     model, tokenizer, template, recipe, train=train, valid=valid, folder=folder
        ... )  # doctest: +SKIP
        >>> trainer.run().folder  # doctest: +SKIP
        PosixPath('runs/quickstart/internalized/model')
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        template: Template,
        recipe: Recipe,
        *,
        train: CoTDataset,
        folder: Path,
        valid: Sequence[Example] = (),
        num_steps: int | None = None,
        progress: bool = True,
    ) -> None:
        """Prepares a run in `folder`, or what is left of it when checkpoints are there.

        Args:
            model, tokenizer, template: what learns, and how questions are put to it.
            recipe: its sections `schedule` and `train` and its seed are used.
            train: encoded examples.
            folder: receives checkpoint-*/, levels/, model/ and metrics.jsonl.
            valid: questions with answers; without them the last model is the final one.
            num_steps: exactly so many optimizer steps, whatever the recipe says.
            progress: show a bar.

        Raises:
            UnspokenError: model, data and recipe do not fit together; the message says how.
        """
        settings = recipe.train
        self.recipe, self.settings, self.folder = recipe, settings, folder
        self.tokenizer, self.template = tokenizer, template
        self.train, self.valid = train, list(valid)[: settings.num_valid]
        self.progress = progress
        self.processes = _processes(recipe, folder)
        self.accelerator = self.processes.accelerator
        require_fit(
            recipe,
            model,
            train,
            num_processes=self.accelerator.num_processes,
            num_valid=len(self.valid),
        )
        steps_per_epoch = train.steps_per_epoch(settings.batch_size)
        self.num_steps = num_steps or count_steps(recipe, steps_per_epoch)
        self.ends_after_settling = num_steps is None and settings.settle_steps is not None
        longest = train.longest_thought if recipe.schedule.unit == "token" else train.most_steps
        self.schedule = Schedule(recipe.schedule, longest, steps_per_epoch, self.num_steps)
        self.checkpoints = Checkpoints(
            folder,
            self.processes,
            dataset=train,
            tokenizer=tokenizer,
            template=template,
            schedule=recipe.schedule,
        )
        self.checkpoints.load_weights(model)
        self.processes.remember(model)
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            if recipe.lora is not None:  # or no gradient would reach the first adapters
                model.enable_input_require_grads()
        if self.accelerator.num_processes > 1:  # or every process would draw the same dropout
            torch.manual_seed(recipe.seed + self.accelerator.process_index)
        self.bare_model = model
        optimizer = make_optimizer(model, recipe)
        self.learning_rate_at = learning_rate_of(optimizer, recipe, self.num_steps)
        wrapped = torch.compile(model, dynamic=True) if settings.compile else model
        self.model, self.optimizer = self.processes.prepare(wrapped, optimizer)

    def run(self) -> TrainResult:
        """Trains to the end, from the last checkpoint where there is one.

        Raises:
            TrainingError: the loss is not finite; the message has the step and the checkpoint.
            SystemExit: with EXIT_INTERRUPTED after SIGTERM or SIGINT, when all is saved.
        """
        state = self.checkpoints.restore(self.optimizer)
        if state is None:
            first = self.schedule.initial()
            state = TrainState(schedule=first, all_removed_at=0 if first.removed >= ALL else None)
        self.model.train()
        with (
            StopRequest(is_launched=read_world().is_launched) as self.stop,
            TrainingLog(
                self.folder,
                self.accelerator,
                num_steps=self.num_steps,
                step=state.step - (state.due is not None),
                progress=self.progress,
            ) as self.log,
        ):
            state = self._make_up_for(state)
            while state.step < self._last_step(state):
                state = self._advance(state)
        removed = state.schedule.removed
        model = self.checkpoints.finish(removed)
        for tracker in self.accelerator.trackers:  # end_training would also end the processes
            tracker.finish()
        return TrainResult(model, level_name(removed), state, peak_memory())

    def _make_up_for(self, state: TrainState) -> TrainState:
        """What is missing of the last step that a checkpoint holds."""
        try:
            if state.due is not None:
                return self._complete(state, StepFigures(**state.due, stop=False))
            is_last = state.step >= self._last_step(state)
            if is_last and level_name(state.schedule.removed) not in state.best:
                return self._validate(state)[0]  # its best model was lost on the way
        except Interrupted:
            self._stop(state)
        return state

    def _advance(self, state: TrainState) -> TrainState:
        """One optimizer step and all that is due after it."""
        figures = self._step(state)
        overflow_is_normal = self.accelerator.scaler is not None  # the scaler skips such steps
        if not math.isfinite(figures.loss):
            raise TrainingError(self._not_finite(state.step, "loss", figures.loss))
        if not (math.isfinite(figures.gradient_norm) or overflow_is_normal):
            raise TrainingError(
                self._not_finite(state.step, "gradient norm", figures.gradient_norm)
            )
        state = replace(
            state,
            step=state.step + 1,
            num_tokens=state.num_tokens + figures.num_tokens,
            seconds=state.seconds + figures.seconds,
        )
        due = {key: value for key, value in figures._asdict().items() if key != "stop"}
        waiting = replace(state, due=due)
        if figures.stop and self._is_validated(state):  # it may take longer than there is time
            self._stop(waiting)
        try:
            return self._complete(state, figures)
        except Interrupted:
            self._stop(waiting)

    def _is_validated(self, state: TrainState) -> bool:
        is_last = state.step >= self._last_step(state)
        return is_last or state.step % self.settings.evaluate_every == 0

    def _complete(self, state: TrainState, figures: StepFigures) -> TrainState:
        """What is due after a step: validation, removal, log, checkpoint, the end."""
        before = state.schedule
        state = replace(state, due=None)
        is_last = state.step >= self._last_step(state)
        accuracy = None
        if self._is_validated(state):
            state, accuracy = self._validate(state)
        after = before  # the last step's level is the final one
        if not is_last:
            after = self.schedule.advance(before, state.step, figures.loss, accuracy)
        if after.removed != before.removed:
            state = self._leave_level(state, after, validated=accuracy is not None)
        self._log(state, before.removed, figures)
        state = replace(state, schedule=after)
        if figures.stop:
            self._stop(state)
        if state.step % self.settings.checkpoint_every == 0:
            self._save(state)
        return state

    def _save(self, state: TrainState) -> None:
        keep = self.settings.keep_checkpoints
        self.checkpoints.save(self.bare_model, self.optimizer, state, keep)

    def _stop(self, state: TrainState) -> NoReturn:
        self._save(state)
        self.accelerator.print(
            f"stopped by a signal after step {state.step}; everything is saved in "
            f"{self.folder}; the same command goes on from there"
        )
        raise SystemExit(EXIT_INTERRUPTED)

    def _step(self, state: TrainState) -> StepFigures:
        """Forward, backward and update for optimizer step `state.step`."""
        begin = time.perf_counter()
        settings, schedule = self.settings, self.recipe.schedule
        indices = self.train.batch_indices(
            state.step, settings.batch_size, self.recipe.seed, settings.group_by_length
        )
        smoothing = None if schedule.removal == "none" else schedule.smoothing
        offsets = sample_offsets(self.recipe.seed, state.step, len(indices), smoothing)
        removed = state.schedule.removed + offsets
        # Every process knows the whole batch, so its label tokens are counted without asking.
        gone = self.train.tokens_removed(indices, removed, side=schedule.side, unit=schedule.unit)
        labels = self.train.thought_lengths[indices] + self.train.answer_lengths[indices] - gone
        lengths = self.train.prompt_lengths[indices] + labels
        num_labels = int(labels.sum())
        world = self.accelerator.num_processes
        mine = np.argsort(lengths, kind="stable")[self.accelerator.process_index :: world]
        rate = self._learning_rate(state)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Gradients become the mean over processes; their sum is wanted.
        total = self._backward(indices[mine], removed[mine], scale=world / num_labels)
        norm = self.processes.clip(self.model, settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        # One message for both, and the only time a step waits for the GPU.
        asked = torch.tensor(float(self.stop.requested), device=total.device)
        sums: Any = self.accelerator.reduce(torch.stack([total, asked]), "sum")
        nll, stop = sums.tolist()
        seconds = time.perf_counter() - begin
        return StepFigures(nll / num_labels, rate, norm, int(lengths.sum()), seconds, stop > 0)

    def _backward(self, indices: np.ndarray, removed: np.ndarray, scale: float) -> torch.Tensor:
        """Adds `scale` times the gradient of these examples; returns their summed loss."""
        schedule, device = self.recipe.schedule, self.accelerator.device
        micro = self.settings.micro_batch_size or len(indices)
        total = torch.zeros((), device=device)
        for start in range(0, len(indices), micro):
            batch = collate(
                self.train,
                indices[start : start + micro],
                removed[start : start + micro],
                side=schedule.side,
                unit=schedule.unit,
                positions=schedule.positions,
            )
            inputs = batch.tensors(device)
            nll = self.processes.backward(
                self.model,
                functools.partial(negative_log_likelihood, self.model, inputs),
                scale=scale,
                last=start + micro >= len(indices),
            )
            total += nll
        return total

    def _last_step(self, state: TrainState) -> int:
        if not self.ends_after_settling or state.all_removed_at is None:
            return self.num_steps
        return min(self.num_steps, state.all_removed_at + (self.settings.settle_steps or 0))

    def _learning_rate(self, state: TrainState) -> float:
        """Warm-up and schedule, and a decay to 0 over the last `settle_steps` steps.

        A baseline of fixed length decays over as many steps, or it would be at a disadvantage.
        """
        rate = self.learning_rate_at(state.step)
        settle = self.settings.settle_steps
        if not (self.settings.settle_decay and settle):
            return rate
        if not self.ends_after_settling:
            start = self.num_steps - settle
        elif state.all_removed_at is not None:
            start = state.all_removed_at
        else:
            return rate
        return rate * min(1.0, max(0.0, 1 - (state.step - start) / settle))

    def _leave_level(
        self, state: TrainState, after: ScheduleState, *, validated: bool
    ) -> TrainState:
        """What is due when more is removed: the level's last validation, the optimizer reset."""
        if not validated and self._keeps(state.schedule.removed):
            state, _ = self._validate(state)
        if self.schedule.reset_needed(state.schedule, after):
            self.processes.reset(self.optimizer)
        return replace(state, all_removed_at=state.step) if after.removed >= ALL else state

    def _validate(self, state: TrainState) -> tuple[TrainState, float | None]:
        """Accuracy on validation questions at this level; its best model is kept."""
        removed = state.schedule.removed
        kept = self._keeps(removed) or state.step >= self._last_step(state)
        if not self.valid:
            if kept:
                self.checkpoints.save_level(self.bare_model, state, {"step": state.step})
            return state, None
        metrics = self._measure(removed)
        accuracy = metrics.accuracy or 0.0
        gone = self.checkpoints.tokens_gone(removed)
        self.log.valid(state.step, {"removed": gone, **metrics.to_json()})
        best = state.best.get(level_name(removed))
        if kept and (best is None or accuracy >= best["accuracy"]):
            figures = {"step": state.step, "accuracy": accuracy, "tokens": metrics.mean_tokens}
            self.checkpoints.save_level(self.bare_model, state, figures)
            state = replace(state, best={**state.best, level_name(removed): figures})
        return state, metrics.accuracy

    def _measure(self, removed: int) -> Metrics:
        """Greedy answers at this level; every process answers its share of the questions."""
        gone = self.checkpoints.tokens_gone(removed)
        card = model_card(self.train, self.tokenizer, self.template, gone, step=0)
        with (
            self.processes.whole(self.bare_model, everywhere=True) as model,
            self.checkpoints.gap_closed(model, removed),
        ):
            _, metrics = evaluate(
                model,
                self.tokenizer,
                self.template,
                self.valid,
                EvaluateOptions(card.max_new_tokens, self.recipe.evaluate.batch_size),
                process=self.accelerator.state,
                stopping=lambda: self.stop.requested,
            )
        return metrics

    def _keeps(self, removed: int) -> bool:
        """Whether the best model of this level is kept."""
        every = level_interval(self.settings.level_every, self.schedule.longest)
        is_end = removed >= ALL or removed == self.schedule.initial().removed
        return is_end or (every > 0 and removed % every == 0)

    def _log(self, state: TrainState, removed: int, figures: StepFigures) -> None:
        self.log.bar.update(1)
        if state.step % self.settings.log_every == 0:
            values = {
                "loss": figures.loss,
                "removed": self.checkpoints.tokens_gone(removed),
                "learning_rate": figures.learning_rate,
                "gradient_norm": figures.gradient_norm,
                "examples_per_s": self.settings.batch_size / figures.seconds,
            }
            self.log.train(state.step, values)

    def _not_finite(self, step: int, what: str, value: float) -> str:
        last = self.checkpoints.last()
        where = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        return (
            f"step {step + 1}: the {what} is {value}; {where}; lower train.learning_rate, or use "
            "train.precision: bf16 instead of fp16"
        )


def negative_log_likelihood(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum over the batch's label tokens of -log P(token), a scalar; the paper's loss."""
    labels = inputs.pop("labels")  # (B, C)
    logits = model(**inputs, use_cache=False).logits  # (B, C, V)
    return F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORE, reduction="sum"
    )


def _processes(recipe: Recipe, folder: Path) -> Processes:
    if recipe.train.precision == "fp16" and not torch.cuda.is_available():
        raise RecipeError(
            "train.precision: found fp16 on a machine without a GPU; needed: bf16 or fp32; "
            "set train.precision=bf16"
        )
    for tracker in recipe.train.trackers:  # Accelerate drops a missing one without a word
        if importlib.util.find_spec(tracker) is None:
            raise RecipeError(
                f"train.trackers: {tracker} is not installed; pip install 'unspoken[{tracker}]', "
                "or leave it out"
            )
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    folder.mkdir(parents=True, exist_ok=True)
    processes = Processes(recipe, folder)
    if recipe.train.trackers:
        settings = _flat(recipe.model_dump(mode="json"))
        processes.accelerator.init_trackers("unspoken", config=settings)
    return processes


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, int | float | str) else str(value)
    return flat
