"""StepwiseInternalization: the one training loop, on Accelerate.

Distilling, internalizing and the baselines are this loop with different schedules. One optimizer
step: the schedule says how many thought tokens are gone, the batch of this very step is made with
that count, the loss is normalized by the label tokens of the whole batch over all processes and
micro-batches, and the schedule hears the loss.
"""

from __future__ import annotations

import contextlib
import json
import math
import resource
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from accelerate import Accelerator
from tqdm import tqdm
from transformers import get_scheduler

from tacit import checkpoint
from tacit.collate import collate
from tacit.dataset import CoTDataset
from tacit.errors import ModelError, RecipeError, TrainingError
from tacit.evaluate import Metrics, evaluate
from tacit.example import Example
from tacit.model import gap_closed, model_card, move_positions, require_gap_support, save_model
from tacit.recipe import Recipe
from tacit.schedule import ALL, Schedule, ScheduleState, sample_offsets
from tacit.template import Template

#: Exit status of a run that was asked to stop, saved a checkpoint and can go on (EX_TEMPFAIL).
EXIT_INTERRUPTED = 75


@dataclass(frozen=True)
class TrainState:
    """Everything that a checkpoint holds beside weights, optimizer and random states.

    Attributes:
        step: optimizer steps done.
        schedule: where the removal stands.
        all_removed_at: step at which the last token went, or None.
        best: per level of removal, the validation figures of its best model.
        seconds: time in the loop.
        num_tokens: tokens that went through the model, padding left out.
    """

    step: int = 0
    schedule: ScheduleState = field(default_factory=ScheduleState)
    all_removed_at: int | None = None
    best: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    num_tokens: int = 0

    @staticmethod
    def from_json(values: dict[str, Any]) -> TrainState:
        """The state that `dataclasses.asdict` took apart."""
        return TrainState(**{**values, "schedule": ScheduleState(**values["schedule"])})


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        folder: the final model: the best by validation at the last level of removal.
        level: name of that level, such as `all` or `0007`.
        state: the last state.
        peak_memory_bytes: of this process, and of its GPU where there is one.
    """

    folder: Path
    level: str
    state: TrainState
    peak_memory_bytes: dict[str, int]


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
            valid: questions with answers; without them the last model is the final one.
            folder: receives checkpoints/, levels/, model/ and metrics.jsonl.
            num_steps: exactly so many optimizer steps, whatever the recipe says.
            progress: show a bar.
        """
        settings = recipe.train
        self.recipe, self.settings, self.folder = recipe, settings, folder
        self.tokenizer, self.template = tokenizer, template
        self.train, self.valid = train, valid
        self.accelerator = _accelerator(recipe, folder)
        self._check_batch_size()
        steps_per_epoch = train.steps_per_epoch(settings.batch_size)
        self.num_steps = num_steps or _num_steps(recipe, steps_per_epoch)
        self.settle_steps = None if num_steps else settings.settle_steps
        longest = train.longest_thought if recipe.schedule.unit == "token" else train.most_steps
        self.schedule = Schedule(recipe.schedule, longest, steps_per_epoch, self.num_steps)
        if recipe.schedule.positions == "gap":
            require_gap_support(model, train, recipe.schedule.unit)
        longest_example = int(train.lengths.max())
        _require_positions(model, longest_example)
        self.progress = progress and self.accelerator.is_main_process
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.resumed_from = self._load_weights(model)
        optimizer = _optimizer(model, recipe)
        self.learning_rate_at = _learning_rate(optimizer, recipe, self.num_steps)
        if settings.compile:
            model = torch.compile(model, dynamic=True)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.stop_signal: int | None = None

    # --- the loop -------------------------------------------------------------------------------

    def run(self) -> TrainResult:
        """Trains to the end, from the last checkpoint where there is one.

        Raises:
            TrainingError: the loss is not finite; the message has the step and the checkpoint.
            SystemExit: with EXIT_INTERRUPTED after SIGTERM or SIGINT, when all is saved.
        """
        state = self._restore()
        self.model.train()
        bar = tqdm(
            total=self.num_steps,
            initial=state.step,
            desc=self.folder.name,
            disable=not self.progress,
            unit="step",
        )
        with self._signals(), bar, self._metrics_file(state.step):
            while state.step < self._last_step(state):
                state = self._advance(state, bar)
        self._write_final(state)
        level = _level_name(state.schedule.removed)
        return TrainResult(self.folder / "model", level, state, _peak_memory())

    def _advance(self, state: TrainState, bar: tqdm) -> TrainState:
        """One optimizer step and all that is due after it."""
        begin = time.perf_counter()
        before = state.schedule
        loss, norm, num_tokens = self._step(state)
        if not math.isfinite(loss):
            raise TrainingError(self._not_finite(state.step, loss))
        step = state.step + 1
        state = replace(state, step=step, num_tokens=state.num_tokens + num_tokens)
        seconds = time.perf_counter() - begin
        state = replace(state, seconds=state.seconds + seconds)
        due = step % self.settings.evaluate_every == 0 or step >= self._last_step(state)
        accuracy = None
        if due:
            state, accuracy = self._validate(state, before.removed)
        after = self.schedule.advance(before, step, loss, accuracy)
        if after.removed != before.removed:
            if not due and self._keeps(before.removed):
                state, _ = self._validate(state, before.removed)
            if self.schedule.reset_needed(before, after):
                _unwrapped(self.optimizer).state.clear()
            if self.schedule.finished(after):
                state = replace(state, all_removed_at=step)
        state = replace(state, schedule=after)
        self._log_step(state, before.removed, loss, norm, seconds, bar)
        interrupted = self._interrupted()
        if interrupted or step % self.settings.checkpoint_every == 0:
            self._save(state)
        if interrupted:
            self._leave(state)
        return state

    def _step(self, state: TrainState) -> tuple[float, float, int]:
        """Forward, backward and update for optimizer step `state.step`.

        Returns:
            mean loss per label token, gradient norm before clipping, tokens in the batch.
        """
        schedule, settings = self.recipe.schedule, self.settings
        size, world = settings.batch_size, self.accelerator.num_processes
        seed = self.recipe.seed
        indices = self.train.batch_indices(state.step, size, seed, settings.group_by_length)
        removed = state.schedule.removed + sample_offsets(
            seed, state.step, size, schedule.smoothing if schedule.removal != "none" else None
        )
        # Every process knows the whole batch, so its label tokens are counted without asking.
        gone = self.train.tokens_removed(indices, removed, side=schedule.side, unit=schedule.unit)
        lengths = self.train.lengths[indices] - gone
        num_labels = int((lengths - self.train.prompt_lengths[indices]).sum())
        mine = np.argsort(lengths, kind="stable")[self.accelerator.process_index :: world]
        micro = settings.micro_batch_size or len(mine)
        device = self.accelerator.device
        total = torch.zeros((), device=device)
        for start in range(0, len(mine), micro):
            rows = mine[start : start + micro]
            batch = collate(
                self.train,
                indices[rows],
                removed[rows],
                pad_token_id=self.tokenizer.pad_token_id,
                side=schedule.side,
                unit=schedule.unit,
                positions=schedule.positions,
            )
            last = start + micro >= len(mine)
            sync = contextlib.nullcontext() if last else self.accelerator.no_sync(self.model)
            with sync:
                nll = _negative_log_likelihood(self.model, batch.tensors(device))
                # DDP takes the mean over processes; their sum is wanted
                self.accelerator.backward(nll * (world / num_labels))
            total += nll.detach()
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm)
        self._set_learning_rate(state)
        self.optimizer.step()
        self.optimizer.zero_grad()
        loss = self.accelerator.reduce(total, "sum").item() / num_labels
        return loss, float(norm), int(lengths.sum())

    def _last_step(self, state: TrainState) -> int:
        if self.settle_steps is None or state.all_removed_at is None:
            return self.num_steps
        return min(self.num_steps, state.all_removed_at + self.settle_steps)

    def _set_learning_rate(self, state: TrainState) -> None:
        """Warm-up and schedule; after the last removal a decay to 0 over the settling steps."""
        rate = self.learning_rate_at(state.step)
        if self.settings.settle_decay and self.settle_steps and state.all_removed_at is not None:
            rate *= max(0.0, 1 - (state.step - state.all_removed_at) / self.settle_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    # --- validation and levels ------------------------------------------------------------------

    def _validate(self, state: TrainState, removed: int) -> tuple[TrainState, float | None]:
        """Accuracy on validation questions at this level; keeps the level's best model."""
        if not self.valid:
            self._keep_level(state, removed, {"step": state.step})
            return state, None
        metrics = self._accuracy(removed)
        figures = {"step": state.step, "accuracy": metrics.accuracy, "tokens": metrics.mean_tokens}
        record = {"event": "valid", "removed": self._tokens_gone(removed), **metrics.to_json()}
        self._write_metrics({"step": state.step, **record})
        self.accelerator.log({"valid/accuracy": metrics.accuracy}, step=state.step)
        name = _level_name(removed)
        best = state.best.get(name)
        if best is None or metrics.accuracy >= best["accuracy"]:
            self._keep_level(state, removed, figures)
            state = replace(state, best={**state.best, name: figures})
        return state, metrics.accuracy

    def _accuracy(self, removed: int) -> Metrics:
        """Greedy answers on this level; every process answers its share of the questions."""
        count, world = self.settings.num_valid, self.accelerator.num_processes
        chosen = list(self.valid[:count])
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        card = model_card(self.train, self.tokenizer, self.template, self._tokens_gone(removed), 0)
        share = chosen[self.accelerator.process_index :: world]
        with self._gap_closed(removed):
            predictions, metrics = evaluate(
                model,
                self.tokenizer,
                self.template,
                share,
                max_new_tokens=card.max_new_tokens,
                batch_size=self.recipe.evaluate.batch_size,
            )
        if world == 1:
            return metrics
        from accelerate.utils import gather_object

        from tacit.evaluate import summarize

        everyone = gather_object(predictions)
        slowest = max(gather_object([len(share) / metrics.examples_per_s]))
        return summarize(everyone, slowest, metrics.batch_size)

    def _keeps(self, removed: int) -> bool:
        """Whether the model of this level is kept when the level ends."""
        every = self.settings.level_every
        if removed == self.schedule.initial().removed:
            return True
        return every > 0 and (removed >= ALL or removed % every == 0)

    def _keep_level(self, state: TrainState, removed: int, figures: dict[str, Any]) -> None:
        if not (self._keeps(removed) or removed >= ALL or state.step >= self._last_step(state)):
            return
        folder = self.folder / "levels" / f"removed-{_level_name(removed)}"
        self._write_folder(folder, replace(state, schedule=ScheduleState(removed=removed)), figures)

    def _tokens_gone(self, removed: int) -> int:
        """Most tokens that this level removes from a thought."""
        everyone = np.arange(len(self.train))
        if removed >= ALL:
            return self.train.longest_thought
        if self.recipe.schedule.unit == "token":
            return min(removed, self.train.longest_thought)
        kept = self.train.thought_lengths - self.train.tokens_removed(
            everyone, np.full(len(everyone), removed), side=self.recipe.schedule.side, unit="step"
        )
        return self.train.longest_thought - int(kept.max())

    def _gap_closed(self, removed: int) -> contextlib.AbstractContextManager[None]:
        if self.recipe.schedule.positions == "natural":
            return contextlib.nullcontext()
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        return gap_closed(model, self.train, removed)

    # --- checkpoints ----------------------------------------------------------------------------

    def _save(self, state: TrainState) -> None:
        """A checkpoint from which any later run of the same recipe goes on."""
        parent = self.folder / "checkpoints"
        self._write_folder(checkpoint.step_folder(parent, state.step), state, training=True)
        if self.accelerator.is_main_process:
            checkpoint.prune(parent, self.settings.keep_checkpoints)

    def _write_folder(
        self,
        folder: Path,
        state: TrainState,
        figures: dict[str, Any] | None = None,
        training: bool = False,
    ) -> None:
        """A plain Hugging Face folder; with `training` all that resuming needs beside it."""
        from accelerate.utils import gather_object

        random_states = gather_object([checkpoint.random_state()]) if training else []
        if self.accelerator.is_main_process:
            model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            removed = state.schedule.removed
            gone = self._tokens_gone(removed)
            card = model_card(self.train, self.tokenizer, self.template, gone, state.step)
            scaler = self.accelerator.scaler

            def write(target: Path) -> None:
                with self._gap_closed(removed):
                    save_model(model, self.tokenizer, target, card)
                if figures is not None:
                    (target / "valid.json").write_text(json.dumps(figures))
                if training:
                    values = {
                        "optimizer": self.optimizer.state_dict(),
                        "scaler": scaler.state_dict() if scaler else None,
                        "random": random_states,
                    }
                    torch.save(values, target / "training.pt")
                    (target / "state.json").write_text(json.dumps(asdict(state)))

            checkpoint.write_folder(folder, write)
        self.accelerator.wait_for_everyone()

    def _load_weights(self, model: Any) -> Path | None:
        """Puts the last checkpoint's weights into `model`; returns its folder, if there is one."""
        parent = self.folder / "checkpoints"
        if self.accelerator.is_main_process:
            for place in (parent, self.folder / "levels", self.folder):
                checkpoint.clean(place)
        self.accelerator.wait_for_everyone()
        found = checkpoint.checkpoints(parent)
        if not found:
            return None
        saved = type(model).from_pretrained(found[-1], dtype=torch.float32)
        model.load_state_dict(saved.state_dict())
        if self.recipe.schedule.positions == "gap":
            state = json.loads((found[-1] / "state.json").read_text())
            move_positions(model, self.train, state["schedule"]["removed"], back=True)
        return found[-1]

    def _restore(self) -> TrainState:
        """The state to start from: the last checkpoint's, or the first."""
        if self.resumed_from is None:
            return TrainState(schedule=self.schedule.initial())
        saved = torch.load(
            self.resumed_from / "training.pt", map_location="cpu", weights_only=False
        )
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.accelerator.scaler is not None and saved["scaler"]:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        if len(saved["random"]) == self.accelerator.num_processes:
            checkpoint.restore_random_state(saved["random"][self.accelerator.process_index])
        state = json.loads((self.resumed_from / "state.json").read_text())
        return TrainState.from_json(state)

    def _write_final(self, state: TrainState) -> None:
        """model/: the best model of the last level; checkpoints are no longer needed."""
        if self.accelerator.is_main_process:
            level = self.folder / "levels" / f"removed-{_level_name(state.schedule.removed)}"
            checkpoint.link_folder(level, self.folder / "model")
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.end_training()

    # --- signals, logs --------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT are remembered and obeyed after the step; a second SIGINT at once."""

        def remember(number: int, _frame: Any) -> None:
            if number == signal.SIGINT and self.stop_signal is not None:
                raise KeyboardInterrupt
            self.stop_signal = number

        numbers = (signal.SIGTERM, signal.SIGINT)
        try:
            before = {number: signal.signal(number, remember) for number in numbers}
        except ValueError:  # not in the main thread: whoever owns it decides
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupted(self) -> bool:
        if self.accelerator.num_processes == 1:
            return self.stop_signal is not None
        flag = torch.tensor(float(self.stop_signal is not None), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum").item() > 0)

    def _leave(self, state: TrainState) -> None:
        self.accelerator.print(
            f"stopped by a signal at step {state.step}; everything is saved in {self.folder}; "
            "the same command goes on from there"
        )
        raise SystemExit(EXIT_INTERRUPTED)

    @contextlib.contextmanager
    def _metrics_file(self, step: int) -> Iterator[None]:
        """Opens metrics.jsonl; lines from after the checkpoint that we resume from are dropped."""
        self._metrics = None
        if self.accelerator.is_main_process:
            path = self.folder / "metrics.jsonl"
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in lines if _step_of(line) <= step]
            checkpoint.write_file(path, "".join(f"{line}\n" for line in kept))
            self._metrics = path.open("a", encoding="utf-8")
        try:
            yield
        finally:
            if self._metrics is not None:
                self._metrics.close()

    def _write_metrics(self, record: dict[str, Any]) -> None:
        if self._metrics is not None:
            self._metrics.write(json.dumps(record) + "\n")
            self._metrics.flush()

    def _log_step(
        self, state: TrainState, removed: int, loss: float, norm: float, seconds: float, bar: tqdm
    ) -> None:
        bar.update(1)
        if state.step % self.settings.log_every:
            return
        record = {
            "loss": loss,
            "removed": self._tokens_gone(removed),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": norm,
            "examples_per_s": self.settings.batch_size / seconds,
        }
        self._write_metrics({"step": state.step, "event": "train", **record})
        self.accelerator.log({f"train/{name}": v for name, v in record.items()}, step=state.step)
        shown = {"loss": f"{loss:.3f}", "removed": record["removed"]}
        bar.set_postfix({**shown, "ex/s": f"{record['examples_per_s']:.0f}"}, refresh=False)

    def _not_finite(self, step: int, loss: float) -> str:
        kept = checkpoint.checkpoints(self.folder / "checkpoints")
        where = (
            f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was written yet"
        )
        return (
            f"step {step}: the loss is {loss}; {where}; lower train.learning_rate, or use "
            "train.precision: bf16 instead of fp16"
        )

    def _check_batch_size(self) -> None:
        size, world = self.settings.batch_size, self.accelerator.num_processes
        if size % world:
            raise RecipeError(
                f"train.batch_size: found {size}; it must be a multiple of the {world} processes"
            )


def _negative_log_likelihood(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sum over the batch's label tokens of -log P(token), a scalar; eq. 1 of the paper."""
    labels = inputs.pop("labels")  # (B, C)
    logits = model(**inputs, use_cache=False).logits  # (B, C, V)
    return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="sum")


def _accelerator(recipe: Recipe, folder: Path) -> Accelerator:
    precision = {"fp32": "no"}.get(recipe.train.precision, recipe.train.precision)
    if precision == "fp16" and not torch.cuda.is_available():
        raise RecipeError(
            "train.precision: found fp16 on a machine without a GPU; needed: bf16 or fp32"
        )
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        mixed_precision=precision, log_with=list(recipe.train.trackers), project_dir=folder
    )
    if recipe.train.trackers:
        accelerator.init_trackers(recipe.name, config={"seed": recipe.seed})
    return accelerator


def _num_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimizer steps at the most: the shorter of epochs and max_steps."""
    limits = [recipe.train.max_steps]
    if recipe.train.epochs is not None:
        limits.append(max(1, round(recipe.train.epochs * steps_per_epoch)))
    return min(limit for limit in limits if limit is not None)


def _optimizer(model: Any, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with fp32 state; biases and norms are not decayed."""
    settings = recipe.train
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=settings.betas, eps=1e-8, fused=True
    )


def _learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, num_steps: int) -> Any:
    """step -> learning rate, by transformers' schedules; it has no state to save."""
    settings = recipe.train
    warmup = settings.warmup_steps
    num_warmup = round(warmup * num_steps) if 0 < warmup < 1 else round(warmup)
    scheduler = get_scheduler(
        settings.lr_schedule,
        optimizer,
        num_warmup_steps=num_warmup,
        num_training_steps=num_steps,
    )
    multiplier = scheduler.lr_lambdas[0]
    return lambda step: settings.learning_rate * multiplier(step)


def _require_positions(model: Any, longest: int) -> None:
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and longest > limit:
        raise ModelError(
            f"the longest example has {longest} tokens but the model {limit} positions; "
            f"set data.max_length={limit}, or take a model with more positions"
        )


def _unwrapped(optimizer: Any) -> torch.optim.Optimizer:
    return getattr(optimizer, "optimizer", optimizer)


def _level_name(removed: int) -> str:
    return "all" if removed >= ALL else f"{removed:04d}"


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):  # a line that a crash cut off
        return 1 << 62


def _peak_memory() -> dict[str, int]:
    peak = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated()
    return peak
