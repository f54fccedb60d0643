"""Checkpoints of a training run, and the models it keeps: everything that it writes beside logs.

    checkpoint-1000/             a plain model folder, with training.pt and state.json beside it
    levels/removed-0007/         the best model of one level of removal, by validation accuracy
    model/                       the final model: the best of the last level

Each is a folder that transformers loads as it is. Resuming from any checkpoint gives the same
weights, bit for bit on a CPU, as a run that was never interrupted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from unspoken import recipe
from unspoken.common.errors import TrainingError
from unspoken.common.files import clean, link_folder, remove, set_aside, write_folder
from unspoken.models.card import ModelCard
from unspoken.models.load import restore_weights, save_model
from unspoken.models.template import Template
from unspoken.parallel.separate_files import share_checkpoint
from unspoken.recipe import layout
from unspoken.recipe.levels import level_folder, level_name
from unspoken.train.dataset import CoTDataset
from unspoken.train.gap import gap_closed, move_positions
from unspoken.train.schedule import RemovalState

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from unspoken.parallel.processes import AnyModel, Processes


Seen = TypeVar("Seen")

logger = logging.getLogger(__name__)

#: In state.json, the bytes of each other file of the checkpoint.
_SIZES = "sizes"


@dataclass(frozen=True)
class TrainState:
    """Everything that a checkpoint holds beside weights, optimizer and random states.

    Attributes:
        step: optimizer steps done.
        schedule: where the removal stands.
        all_removed_at: step at which the last token went or, with adaptive removal that measures,
            had been made up for; None before.
        best: per level of removal, the validation figures of its best model.
        seconds: time in optimizer steps, validation left out.
        num_tokens: tokens that went through the model, padding left out.
        due: figures of the last step, whose validation is still to come, or None.
    """

    step: int = 0
    schedule: RemovalState = field(default_factory=RemovalState)
    all_removed_at: int | None = None
    best: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    num_tokens: int = 0
    due: dict[str, Any] | None = None

    @staticmethod
    def from_json(values: dict[str, Any]) -> TrainState:
        """The state that `dataclasses.asdict` took apart."""
        values = {name: value for name, value in values.items() if name != _SIZES}
        return TrainState(**{**values, "schedule": RemovalState.from_json(values["schedule"])})


class Checkpoints:
    """The folders of one training run."""

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        *,
        dataset: CoTDataset,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        schedule: recipe.Schedule,
        data: recipe.Data | None = None,
        data_sha256: str | None = None,
    ) -> None:
        """Clears away what a crash left half written; see the class for the folders.

        `data` and `data_sha256` say on the models' cards which task and which file they learn.
        """
        self.folder, self.processes, self.dataset = folder, processes, dataset
        self.accelerator = accelerator = processes.accelerator
        self.tokenizer, self.template, self.schedule = tokenizer, template, schedule
        self._learned = {"data_sha256": data_sha256, **({} if data is None else _task_of(data))}
        self.tokens_gone = lru_cache(maxsize=8)(self._tokens_gone)
        if accelerator.is_main_process:
            for place in (folder / layout.LEVELS, folder):
                clean(place)
            _set_damaged_aside(folder)
        accelerator.wait_for_everyone()
        self.resumed_from = self._as_the_main_process_sees(self.last)

    def last(self) -> Path | None:
        """The newest checkpoint."""
        found = layout.checkpoints_in(self.folder)
        return found[-1] if found else None

    def level_folder(self, removed: int) -> Path:
        """Where the best model of a level stands."""
        return level_folder(self.folder, level_name(removed))

    def _as_the_main_process_sees(self, look: Callable[[], Seen]) -> Seen:
        """What it finds: others may see older lists on a network's disk; a collective call."""
        from accelerate.utils import broadcast_object_list

        seen: list[Any] = [look() if self.accelerator.is_main_process else None]
        return broadcast_object_list(seen)[0]

    def load_weights(self, model: AnyModel) -> None:
        """Puts the last checkpoint's weights into the model, before it is wrapped."""
        if self.resumed_from is not None:
            self._put_weights(model, self.resumed_from)

    def _put_weights(self, model: AnyModel, checkpoint: Path) -> None:
        restore_weights(model, checkpoint)
        if self.schedule.positions == "gap":
            removed = _state_in(checkpoint).schedule.removed
            move_positions(model, self.dataset, removed, back=True)

    def go_back(self, model: AnyModel, optimizer: Any, step: int) -> None:
        """Puts weights and optimizer state of the checkpoint after this step into both.

        Random states stay as they are, and so does what the caller knows of steps and data.

        Hosts that see different files are sent the main process's.

        Raises:
            TrainingError: it is not there or damaged; the message names it.
        """
        checkpoint = layout.checkpoint_folder(self.folder, step)
        damage = self._as_the_main_process_sees(lambda: damage_of(checkpoint))
        if damage is not None:
            raise TrainingError(
                f"{checkpoint}: found damage ({damage}); needed: the last level of removal that "
                "had recovered, to go back to it; put the folder back, or begin this training anew"
            )
        share_checkpoint(checkpoint, self.accelerator.state)
        self.processes.change_weights(model, lambda whole: self._put_weights(whole, checkpoint))
        saved = _tensors_of(checkpoint)
        self.processes.reset(optimizer)
        self.processes.load_optimizer_state(model, optimizer, saved["optimizer"])

    def restore(self, model: AnyModel, optimizer: Any) -> TrainState | None:
        """Optimizer, scaler and random states of the last checkpoint; returns its state."""
        if self.resumed_from is None:
            return None
        mmap = self.processes.way != "ddp"  # each process takes its share only
        saved = _tensors_of(self.resumed_from, mmap=mmap)
        self.processes.load_optimizer_state(model, optimizer, saved["optimizer"])
        if self.processes.scaler is not None and saved["scaler"]:
            self.processes.scaler.load_state_dict(saved["scaler"])
        if len(saved["random"]) == self.accelerator.num_processes:
            restore_random_state(saved["random"][self.accelerator.process_index])
        return self._without_lost_levels(_state_in(self.resumed_from))

    def _without_lost_levels(self, state: TrainState) -> TrainState:
        """The state with the figures of those levels whose models are there.

        A checkpoint that was brought here from another run folder knows others, too.
        """

        def find() -> list[str]:
            names = state.best
            return [name for name in names if level_folder(self.folder, name).is_dir()]

        found = self._as_the_main_process_sees(find)
        return replace(state, best={name: state.best[name] for name in found})

    def save(self, model: AnyModel, optimizer: Any, state: TrainState, keep: int) -> None:
        """A checkpoint from which the same recipe goes on.

        Older ones than the last `keep` go, except those to which these may have to go back.
        """
        from accelerate.utils import gather_object

        scaler = self.processes.scaler
        values = {
            "optimizer": self.processes.optimizer_state(model, optimizer),
            "scaler": scaler.state_dict() if scaler else None,
            "random": gather_object([random_state()]),
        }

        tensors = list(_tensors_in(values))

        def write(folder: Path) -> None:
            torch.save(values, folder / layout.CHECKPOINT_TENSORS_FILE)
            sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
            values_of_state = {**asdict(state), _SIZES: sizes}
            (folder / layout.CHECKPOINT_STATE_FILE).write_text(json.dumps(values_of_state))

        self._write(layout.checkpoint_folder(self.folder, state.step), model, state, write, tensors)
        if self.accelerator.is_main_process:
            there = layout.checkpoints_in(self.folder)
            whole = (kept for kept in there[-keep:] if damage_of(kept) is None)
            needed = {_way_back_of(_state_in(kept)) for kept in whole}
            for old in there[:-keep]:
                if layout.checkpoint_step(old) not in needed:
                    remove(old)

    def save_level(self, model: AnyModel, state: TrainState, figures: dict[str, Any]) -> None:
        """The best model so far of the level at which `state` is, with its validation figures."""

        def write(folder: Path) -> None:
            (folder / layout.VALID_FILE).write_text(json.dumps(figures))

        self._write(self.level_folder(state.schedule.removed), model, state, write)

    def finish(self, removed: int) -> Path:
        """Makes model/ of the best model of the last level."""
        target = self.folder / layout.MODEL
        if self.accelerator.is_main_process:
            link_folder(self.level_folder(removed), target)
        self.accelerator.wait_for_everyone()
        return target

    def gap_closed(self, model: AnyModel, removed: int) -> contextlib.AbstractContextManager[None]:
        """Within the block, plain `generate` behaves as training at this level did."""
        if self.schedule.positions == "natural":
            return contextlib.nullcontext()
        return gap_closed(model, self.dataset, removed)

    def _write(
        self,
        folder: Path,
        model: AnyModel,
        state: TrainState,
        extra: Callable[[Path], None],
        tensors: Sequence[torch.Tensor] = (),
    ) -> None:
        """A model folder with its card, and what `extra` writes beside it, `tensors` with it."""
        with self.processes.whole(model) as whole:
            if self.accelerator.is_main_process:
                removed = state.schedule.removed
                gone = self.tokens_gone(removed)
                card = model_card(self.dataset, self.tokenizer, self.template, gone, state.step)
                card = replace(card, **self._learned)

                def write(target: Path) -> None:
                    with self.gap_closed(whole, removed):
                        save_model(whole, self.tokenizer, target, card)
                    extra(target)

                weights = (one for one in whole.parameters() if one.requires_grad)
                num_bytes = sum(one.numel() * one.element_size() for one in (*weights, *tensors))
                write_folder(folder, write, num_bytes=num_bytes)
        self.accelerator.wait_for_everyone()

    def _tokens_gone(self, removed: int) -> int:
        """How many tokens shorter the longest thought is at this level."""
        longest = self.dataset.longest_thought
        if self.schedule.unit == "token":
            return min(removed, longest)
        everyone = np.arange(len(self.dataset))
        gone = self.dataset.tokens_removed(
            everyone, np.full(len(everyone), removed), side=self.schedule.side, unit="step"
        )
        return longest - int((self.dataset.thought_lengths - gone).max())


def _state_in(checkpoint: Path) -> TrainState:
    return TrainState.from_json(
        json.loads((checkpoint / layout.CHECKPOINT_STATE_FILE).read_text("utf-8"))
    )


def _tensors_of(checkpoint: Path, *, mmap: bool = False) -> dict[str, Any]:
    path = checkpoint / layout.CHECKPOINT_TENSORS_FILE
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def _way_back_of(state: TrainState) -> int | None:
    """The step of the checkpoint to which a run in this state may have to go back."""
    search = state.schedule.search
    return None if search is None else search.left_at


def _tensors_in(values: Any) -> Iterator[torch.Tensor]:
    """Yields every tensor in nested dicts, lists and tuples."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, dict | list | tuple):
        for each in values.values() if isinstance(values, dict) else values:
            yield from _tensors_in(each)


def damage_of(checkpoint: Path, *, is_named: bool = True) -> str | None:
    """What is wrong with a checkpoint, in words; None where nothing is, as far as can be told soon.

    Its state is read, its files are as long as they were, and its tensors are where they should be;
    the tensors themselves are not read.

    Args:
        checkpoint: its folder.
        is_named: whether it has its own name, that of its step.
    """
    try:
        values = json.loads((checkpoint / layout.CHECKPOINT_STATE_FILE).read_text("utf-8"))
        step = TrainState.from_json(values).step
        if is_named and step != layout.checkpoint_step(checkpoint):
            return f"{layout.CHECKPOINT_STATE_FILE} is of another step"
        for name, size in values.get(_SIZES, {}).items():
            if (checkpoint / name).stat().st_size != size:
                return f"{name} is not whole"
        tensors = checkpoint / layout.CHECKPOINT_TENSORS_FILE
        torch.load(tensors, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # of any kind: what it reads may be anything
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None


def _set_damaged_aside(folder: Path) -> None:
    """Sees to it that the newest checkpoint of a training is a whole one, or that there is none."""
    for checkpoint in reversed(layout.checkpoints_in(folder)):
        damage = damage_of(checkpoint)
        if damage is None:
            return
        logger.warning(
            "%s: damaged (%s); it is kept as %s, and training goes on from the one before, or anew",
            checkpoint, damage, set_aside(checkpoint).name,
        )  # fmt: skip


def remove_checkpoints(folder: Path) -> None:
    """Removes the checkpoints of a run that is done; whole, or under a name that `clean` knows."""
    for path in layout.checkpoints_in(folder):
        remove(path)


def _task_of(data: recipe.Data) -> dict[str, Any]:
    """What a card says of the task; nothing of examples of the user's own."""
    if data.task == "jsonl":
        return {}
    return {"task": data.task, "digits": data.digits if data.task == "multiplication" else ()}


def random_state() -> dict[str, Any]:
    """The state of every random generator that training may use, in this process."""
    state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, gauss = state
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """The opposite of `random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def model_card(
    dataset: CoTDataset,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    removed: int,
    step: int,
) -> ModelCard:
    """The card for a model at this level of removal.

    The limit on new tokens leaves room for a thought that grew by a few tokens.
    """
    prompt = str(tokenizer.decode(dataset.prompts([0])[0]))
    start = tokenizer.bos_token
    if isinstance(start, str) and template.adds_special_tokens:  # it is added again when asked
        prompt = prompt.removeprefix(start)
    kept = max(0, dataset.longest_thought - removed)
    return ModelCard(
        template=template.name,
        removed=int(removed) if kept else None,
        max_new_tokens=kept + int(dataset.answer_lengths.max()) + 8,
        step=step,
        example_prompt=prompt,
        choices=template.choices,
    )
