"""StepwiseInternalization: the one training loop, on Accelerate.

Distilling, internalizing and the baselines are this loop with different schedules. One optimizer
step: the schedule says how many thought tokens are gone, the batch of this very step is made with
that count, the loss is normalized by the label tokens of the whole batch over all processes and
micro-batches, and the schedule hears the loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import numpy as np
import torch

from unspoken.common.errors import RecipeError, TrainingError, setting
from unspoken.common.interrupt import EXIT_INTERRUPTED, Interrupted, StopRequest
from unspoken.common.memory import FreedMemory, peak_memory
from unspoken.data.example import Example
from unspoken.models.card import ModelCard
from unspoken.models.load import width_of
from unspoken.models.template import Template
from unspoken.parallel.precision import resolve_precision
from unspoken.parallel.start import start_processes
from unspoken.parallel.world import read_world
from unspoken.recipe import Recipe
from unspoken.recipe.levels import level_name
from unspoken.train.checkpoint import Checkpoints, TrainState
from unspoken.train.dataset import CoTDataset
from unspoken.train.fit import Length, require_fit
from unspoken.train.gradient import Gradient, Loss
from unspoken.train.learning_rate import LearningRate
from unspoken.train.log import TrainingLog, require_trackers, start_trackers
from unspoken.train.loss import negative_log_likelihood
from unspoken.train.optimizer import make_optimizer
from unspoken.train.recovery import Recovery, measured_examples
from unspoken.train.room import AtOnce, Room
from unspoken.train.schedule import Removal, RemovalState, sample_offsets
from unspoken.train.validate import Validation

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: What `watch` is told before it happens.
Moment = Literal["step", "validation"]


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        folder: the final model: the best by validation at the last level of removal.
        level: name of that level, such as `all` or `0007`.
        state: the last state.
        precision: of the arithmetic in this process: fp32, bf16 or fp16.
        peak_memory_bytes: of this process (`host`), and of its GPU where there is one (`gpu`).
    """

    folder: Path
    level: str
    state: TrainState
    precision: str
    peak_memory_bytes: dict[str, int]


class StepFigures(NamedTuple):
    """One optimizer step: losses per label token, gradient norm before clipping, time."""

    loss: float
    learning_rate: float
    gradient_norm: float
    num_tokens: int
    seconds: float
    stop: bool
    auxiliary_loss: float = 0.0  # checkpoints of before it was logged have none


class StepwiseInternalization:
    """Trains a causal language model while its chain of thought is removed.

    Examples:
        >>> trainer = StepwiseInternalization(
        ...     model, tokenizer, template, recipe, train=train, valid=valid, folder=folder
        ... )  # doctest: +SKIP
        >>> trainer.run().folder  # doctest: +SKIP
        PosixPath('runs/quickstart/internalized/model')
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        recipe: Recipe,
        *,
        train: CoTDataset,
        folder: Path,
        valid: Sequence[Example] = (),
        data_sha256: str | None = None,
        num_steps: int | None = None,
        progress: bool = True,
        watch: Callable[[Moment, TrainState], None] | None = None,
        say: Callable[[str], None] = print,
        loss: Loss = negative_log_likelihood,
    ) -> None:
        """Prepares a run in `folder`, or what is left of it when checkpoints are there.

        Args:
            model, tokenizer, template: what learns, and how questions are put to it.
            recipe: its sections `schedule` and `train` and its seed are used.
            train: encoded examples.
            folder: receives checkpoint-*/, levels/, model/ and metrics.jsonl.
            valid: questions with answers; without them the last model is the final one.
            data_sha256: of the file of `train`; a model that learned to write these very thoughts
                says so on its card.
            num_steps: exactly so many optimizer steps, whatever the recipe says.
            progress: show a bar.
            watch: called before each optimizer step and each validation, with the state.
            say: gets what is worth a line: how far removal came, a stop by a signal.
            loss: of a micro-batch. Schedules that wait for the loss hear this one.

        Raises:
            UnspokenError: model, data and recipe do not fit together; the message says how.
        """
        require_trackers(recipe.train)
        self.recipe = recipe = resolve_precision(recipe, width_of(model.config))
        self.settings, self.folder, self.train = recipe.train, folder, train
        self.progress, self.watch = progress, watch or (lambda moment, state: None)
        self._start_process()
        self.say = say if self.accelerator.is_local_main_process else lambda text: None
        require_fit(
            recipe,
            model,
            train,
            num_processes=self.accelerator.num_processes,
            num_valid=sum(bool(each.answer) for each in valid[: recipe.train.num_valid]),
        )
        steps_per_epoch = train.steps_per_epoch(recipe.train.batch_size)
        self.length = Length.of(recipe, steps_per_epoch, exactly=num_steps)
        self.recovery = self._make_recovery(valid, tokenizer, template)
        self.removal = self._make_removal(steps_per_epoch, data_sha256)
        self.checkpoints = Checkpoints(
            folder,
            self.processes,
            dataset=train,
            tokenizer=tokenizer,
            template=template,
            schedule=recipe.schedule,
            data=recipe.data,
            data_sha256=data_sha256,
        )
        self.validation = Validation(
            self.checkpoints, recipe, valid, self.removal, stopping=lambda: self.stop.requested
        )
        self.bare_model = model
        self.room = Room(recipe, folder, self.checkpoints.last, self.accelerator.num_processes)
        self.gradient = Gradient(model, recipe, train, self.processes, self.room, loss=loss)
        with self.room.told("before its first step"):
            self._wrap(model)

    def _start_process(self) -> None:
        """Threads, memory, signals and trackers of this process, and what it shares."""
        settings = self.settings
        self._threads_before = torch.get_num_threads()
        if settings.threads:  # until the run ends
            torch.set_num_threads(settings.threads)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processes = start_processes(self.recipe, self.folder)
        self.accelerator = self.processes.accelerator
        self.freed = FreedMemory() if self.accelerator.device.type == "cpu" else None
        start_trackers(self.accelerator, self.recipe)
        self.stop = StopRequest(is_launched=read_world().is_launched)

    def _make_recovery(
        self, valid: Sequence[Example], tokenizer: PreTrainedTokenizerBase, template: Template
    ) -> Recovery | None:
        """What measures each level, where the schedule asks for it.

        Raises:
            RecipeError: weights cannot be put back while training goes on.
        """
        if not self.recipe.schedule.measures:
            return None
        if self.processes.way == "zero":
            raise RecipeError(
                f"{setting('schedule.removal')}: adaptive: found DeepSpeed, under which weights "
                "cannot be put back in the middle of a run; needed: another way, such as "
                f"configs/fsdp2.yaml, or {setting('schedule.loss_below', 0.06)}, which only holds"
            )
        measured = measured_examples(self.recipe, valid, self.train, tokenizer, template)
        return Recovery(self.recipe, self.processes, measured)

    def _make_removal(self, steps_per_epoch: int, data_sha256: str | None) -> Removal:
        """What says how many thought tokens are gone at each step."""
        schedule = self.recipe.schedule
        return Removal(
            schedule,
            self.train.longest(schedule.unit),
            steps_per_epoch,
            self.length.num_steps,
            kept=self.recovery.kept_tokens() if self.recovery else (),
            starts_explicit=_writes_thoughts(self.recipe, data_sha256),
        )

    def _wrap(self, model: PreTrainedModel | PeftModel) -> None:
        """Loads the last checkpoint's weights and makes the model ready to be called."""
        self.checkpoints.load_weights(model)
        self.processes.remember(model)
        if self.settings.gradient_checkpointing:
            # its name of before transformers 5.2x, too
            enable: Any = getattr(model, "activation_checkpointing_enable", None)
            (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
            if self.recipe.lora is not None:  # or no gradient would reach the first adapters
                model.enable_input_require_grads()
        if self.accelerator.num_processes > 1:  # or every process would draw the same dropout
            torch.manual_seed(self.recipe.seed + self.accelerator.process_index)
        optimizer = make_optimizer(model, self.recipe)
        self.learning_rate = LearningRate(self.recipe, self.length)
        wrapped: Any = torch.compile(model, dynamic=True) if self.settings.compile else model
        self.model, self.optimizer = self.processes.prepare(wrapped, optimizer)

    def run(self) -> TrainResult:
        """Trains to the end, from the last checkpoint where there is one.

        Raises:
            TrainingError: the loss is not finite, or memory ran out; the message has the step and
                the checkpoint.
            SystemExit: with EXIT_INTERRUPTED after SIGTERM or SIGINT, when all is saved.
        """
        try:
            with torch.enable_grad():  # a notebook may have switched it off for all of its cells
                return self._run()
        finally:  # what comes after it in this process has its own number
            torch.set_num_threads(self._threads_before)
            self.gradient.close()

    def _run(self) -> TrainResult:
        """`run`, with the threads of this training."""
        with self.room.told("before its first step"):
            state = self.checkpoints.restore(self.bare_model, self.optimizer)
        if state is None:
            first = self.removal.initial()
            state = TrainState(
                schedule=first, all_removed_at=0 if self.removal.has_settled(first) else None
            )
        self.model.train()
        with (
            self.stop,
            TrainingLog(
                self.folder,
                self.accelerator,
                num_steps=self.length.num_steps,
                step=state.step - (state.due is not None),
                progress=self.progress,
            ) as self.log,
        ):
            with self.room.told(f"step {state.step}"):
                state = self._make_up_for(state)
            while not self._is_last(state):
                with self.room.told(f"step {state.step + 1}"):
                    state = self._advance(state)
            with self.room.told(f"step {state.step}"):
                state = self._end(state)
        removed = state.schedule.removed
        model = self.checkpoints.finish(removed)
        for tracker in self.accelerator.trackers:  # end_training would also end the processes
            tracker.finish()
        precision = self.settings.precision
        return TrainResult(model, level_name(removed), state, precision, peak_memory())

    def step(self, state: TrainState) -> StepFigures:
        """Forward, backward and update for optimizer step `state.step`."""
        begin = time.perf_counter()
        settings, schedule, seed = self.settings, self.recipe.schedule, self.recipe.seed
        indices = self.train.batch_indices(
            state.step, settings.batch_size, seed, settings.group_by_length
        )
        smoothing = self.removal.smoothing(state.schedule)
        offsets = sample_offsets(seed, state.step, len(indices), smoothing)
        removed = self.train.tokens_removed(
            indices, state.schedule.removed + offsets, side=schedule.side, unit=schedule.unit
        )
        # Every process knows the whole batch, so its label tokens are counted without asking.
        lengths = self.train.lengths[indices] - removed
        num_labels = int((lengths - self.train.prompt_lengths[indices]).sum())
        world = self.accelerator.num_processes
        mine = np.argsort(lengths, kind="stable")[self.accelerator.process_index :: world]
        rate = self.learning_rate.at(state.step, state.all_removed_at)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Gradients become the mean over processes; their sum is wanted.
        losses = self.gradient.add(
            self.model, indices, removed, mine, step=state.step, scale=world / num_labels
        )
        norm = self.processes.step(self.model, self.optimizer, settings.max_grad_norm)
        nll, auxiliary, stop, norm = self._exchange(losses, norm)
        if self.freed is not None:
            self.freed.bound()
        return StepFigures(
            loss=nll / num_labels,
            learning_rate=rate,
            gradient_norm=norm,
            num_tokens=int(lengths.sum()),
            seconds=time.perf_counter() - begin,
            stop=stop > 0,
            auxiliary_loss=auxiliary / num_labels,
        )

    def _exchange(self, losses: torch.Tensor, norm: torch.Tensor) -> list[float]:
        """Both losses summed over the processes, how many are asked to stop, and the norm.

        One message, and the only time that a step waits for the GPU.

        Args:
            losses: this process' summed ones, (2,).
            norm: of the gradients over all processes, the same in each of them, a scalar.
        """
        stopping = torch.full_like(losses[:1], float(self.stop.requested))
        sums: Any = torch.cat([losses, stopping])
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums, "sum")
        return torch.cat([sums, norm.to(losses)[None]]).tolist()

    def _advance(self, state: TrainState) -> TrainState:
        """One optimizer step and all that is due after it."""
        self.watch("step", state)
        figures = self.step(state)
        self._require_finite(state.step, figures)
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

    def _complete(self, state: TrainState, figures: StepFigures) -> TrainState:
        """What is due after a step: validation, removal, log, checkpoint, the end."""
        before = state.schedule
        state = replace(state, due=None)
        accuracy = None
        if self._is_validated(state):
            state, accuracy = self._validate(state)
        after = before  # the last step's level is the final one
        if not self._is_last(state):
            measured = self._measure(state)
            after = self.removal.advance(before, state.step, figures.loss, accuracy, measured)
            self._log_recovery(state, after, measured)
            if (failure := self.removal.describe_failure(before, after)) is not None:
                self.say(failure)
        goes_back = self.removal.goes_back(before, after)
        if after.removed != before.removed and not goes_back:
            state = self._leave_level(state, after, validated=accuracy is not None)
        self._log(state, before.removed, figures)
        if goes_back:  # no signal may interrupt from here on
            self._go_back(after)
        settles = state.all_removed_at is None and self.removal.has_settled(after)
        state = replace(
            state, schedule=after, all_removed_at=state.step if settles else state.all_removed_at
        )
        if figures.stop:
            self._stop(state)
        is_due = state.step % self.settings.checkpoint_every == 0
        if is_due or self.removal.is_left(before, after):  # a way back would lead here
            self._save(state)
        return state

    def _measure(self, state: TrainState) -> list[float] | None:
        """How likely kept tokens and the answer are, where the schedule wants to know it."""
        schedule = state.schedule
        if self.recovery is None or not self.removal.is_measured(schedule, state.step):
            return None
        explicit = self.removal.is_explicit(schedule)
        ask = self.recovery.measure_reference if explicit else self.recovery.measure
        examples, most = self.recovery.examples, self.recovery.count
        size = min(most, self.settings.micro_batch_size or self.settings.batch_size)
        self.room.at_once = AtOnce(size, int(examples.lengths[:most].max()))
        found = ask(self.bare_model, schedule.removed)
        self.room.at_once = None
        return found

    def _go_back(self, after: RemovalState) -> None:
        """Weights and optimizer as they were when the last level that had recovered was left."""
        search = after.search
        if search is None or search.left_at is None:
            raise ValueError("no level has recovered to which a way could lead back")
        self.checkpoints.go_back(self.bare_model, self.optimizer, search.left_at)

    def _leave_level(
        self, state: TrainState, after: RemovalState, *, validated: bool
    ) -> TrainState:
        """What is due when more is removed: the level's last validation, the optimizer reset."""
        if not validated and self.validation.keeps(state):
            state, _ = self._validate(state)
        if self.removal.reset_needed(state.schedule, after):
            self.processes.reset(self.optimizer)
        return state

    def _end(self, state: TrainState) -> TrainState:
        """The state after the last step, at a level that has recovered where that is measured."""
        end = self.removal.given_up(state.schedule)
        if self.removal.goes_back(state.schedule, end):
            self._go_back(end)
            state = replace(state, schedule=end)
        if end.stopped and end.search is not None:
            state = self._make_up_for(state)
        if (outcome := self.removal.describe_end(end)) is not None:
            self.say(outcome)
        return state

    def _make_up_for(self, state: TrainState) -> TrainState:
        """What is missing of the last step that a checkpoint holds."""
        try:
            if state.due is not None:
                return self._complete(state, StepFigures(**state.due, stop=False))
            if self._is_last(state) and level_name(state.schedule.removed) not in state.best:
                return self._validate(state)[0]  # its best model was lost on the way
        except Interrupted:
            self._stop(state)
        return state

    def _validate(self, state: TrainState) -> tuple[TrainState, float | None]:
        self.watch("validation", state)
        is_last = self._is_last(state)
        return self.validation.run(self.bare_model, state, self.log, is_last=is_last)

    def _is_last(self, state: TrainState) -> bool:
        if state.schedule.stopped and state.schedule.search is not None:
            return True
        return state.step >= self.length.last_step(state.all_removed_at)

    def _is_validated(self, state: TrainState) -> bool:
        return self._is_last(state) or state.step % self.settings.evaluate_every == 0

    def _save(self, state: TrainState) -> None:
        keep = self.settings.keep_checkpoints
        self.checkpoints.save(self.bare_model, self.optimizer, state, keep)

    def _stop(self, state: TrainState) -> NoReturn:
        self._save(state)
        self.say(
            f"stopped by a signal after step {state.step}; everything is saved in "
            f"{self.folder}; the same command goes on from there"
        )
        raise SystemExit(EXIT_INTERRUPTED)

    def _log_recovery(
        self, state: TrainState, after: RemovalState, measured: list[float] | None
    ) -> None:
        before = state.schedule
        if measured is None or before.search is None or after.search is None:
            return
        gone = self.checkpoints.tokens_gone
        level, settings = gone(before.removed), self.recipe.schedule
        if self.removal.is_explicit(before):
            loss = measured[min(before.removed, len(measured) - 1)]
            values = {"removed": level, "loss": loss}
        else:
            needed = before.search.loss_needed(settings, before.removed)
            values = {"removed": level, "loss": measured[0], "needed": needed}
            if settings.answer_margin is not None:
                allowed = before.search.answer_needed(settings)
                values |= {"answer": measured[1], "answer_needed": allowed}
        if self.removal.goes_back(before, after):
            values["back_to"] = gone(after.search.recovered)
        self.log.write(state.step, "recovery", values)

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
            if self.recipe.schedule.auxiliary_loss:
                values["auxiliary_loss"] = figures.auxiliary_loss
            self.log.train(state.step, values)

    def _require_finite(self, step: int, figures: StepFigures) -> None:
        """Raises a TrainingError where a step went wrong; nothing of it is saved."""
        values = {"loss": figures.loss, "gradient norm": figures.gradient_norm}
        other = ""
        if self.processes.scaler is not None:  # fp16: the scaler skips steps that overflow
            del values["gradient norm"]
            other = f", or set {setting('train.precision', 'bf16')}"
        for what, value in values.items():
            if math.isfinite(value):
                continue
            last = self.checkpoints.last()
            where = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
            raise TrainingError(
                f"step {step + 1}: the {what} is {value}; {where}; lower "
                f"{setting('train.learning_rate')}{other}; the training begins anew then"
            )


def _writes_thoughts(recipe: Recipe, data_sha256: str | None) -> bool:
    """Whether the model learned to write the thoughts of these very examples, and none is removed.

    One that learned from others is trained with the whole thought first, like any other model; and
    one that never went without what `schedule.start` removes, with the rest of it.
    """
    card = ModelCard.read(recipe.model.name) if recipe.model.name else None
    if card is None or card.removed != 0 or card.template != recipe.template:
        return False
    if recipe.schedule.start:
        return False
    return data_sha256 is not None and card.data_sha256 == data_sha256
