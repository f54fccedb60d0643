"""How long the student is trained, and what that takes in arithmetic, memory and disk."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from unspoken.check.data import Sample
from unspoken.check.learner import Learner, build
from unspoken.data.jsonl import json_line
from unspoken.recipe import Recipe
from unspoken.recipe.plan import plan
from unspoken.train.dataset import CoTDataset
from unspoken.train.fit import count_steps
from unspoken.train.schedule import ALL, Schedule, ScheduleState

#: Bytes of a weight that is not trained itself.
_FROZEN_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
_NF4_BYTES = 0.6  # with the constants of double quantization, and some layers left as they are
#: Bytes of a trained weight, its gradient and the optimizer's moments; weights are fp32.
_TRAINED_BYTES = {"adamw": 16, "adamw_8bit": 10, "paged_adamw_8bit": 10, "sgd": 12}


@dataclass(frozen=True)
class Training:
    """One training of the run: its settings, and optimizer steps at the most."""

    name: str
    recipe: Recipe
    num_steps: int
    steps_per_epoch: int


def check_student(recipe: Recipe, sample: Sample) -> Iterator[str]:
    """Yields what the student's trainings are and take.

    Args:
        recipe: of one phase.
        sample: what it learns from; with a teacher, one example for each trace.

    Raises:
        UnspokenError: model, data and recipe do not fit together; the message says how.
    """
    learner = yield from build(recipe, sample)
    if not sample.num_train:
        return
    share = 1.0 if learner is None else learner.share
    trainings = list(_trainings(recipe, round(sample.num_train * share)))
    for training in trainings:
        if training.name in ("distil", "internalize") or len(trainings) == 1:
            label = f"[{training.name}] " if recipe.distil is not None else ""
            yield label + steps_line(training)
    if recipe.distil is not None and len(trainings) > 1:
        others = [one for one in trainings if one.name not in ("distil", "internalize")]
        if others:
            names = ", ".join(one.name for one in others)
            yield (
                f"baselines: as many steps for {names} as for all this together, at most "
                f"{others[0].num_steps:,}"
            )
    if learner is None:
        return
    if learner.thoughts != "none":
        yield from _removal(recipe, learner.dataset, trainings)
        yield _work(learner, trainings)
    yield _memory(recipe, learner, trainings)
    yield _disk(recipe, learner, sample, trainings)


def steps_line(training: Training) -> str:
    """How long a training is at the most."""
    size = training.recipe.train.batch_size
    return (
        f"steps: at most {training.num_steps:,} of {size} examples; "
        f"{training.steps_per_epoch:,} per epoch"
    )


def training_of(name: str, recipe: Recipe, num_train: int) -> Training:
    """The training of a recipe on so many examples."""
    steps_per_epoch = max(1, num_train // recipe.train.batch_size)
    return Training(name, recipe, count_steps(recipe, steps_per_epoch), steps_per_epoch)


def _trainings(recipe: Recipe, num_train: int) -> Iterator[Training]:
    """All trainings of the student in one phase; those that are to be as long as others are."""
    most: dict[Path, int] = {}
    for one in plan(recipe).students:
        training = training_of(
            one.stage if one.stage != "baselines" else one.name, one.recipe, num_train
        )
        if one.as_many_steps_as:
            training = replace(training, num_steps=sum(most[f] for f in one.as_many_steps_as))
        most[one.folder] = training.num_steps
        yield training


def _removal(recipe: Recipe, dataset: CoTDataset, trainings: list[Training]) -> Iterator[str]:
    found = next((one for one in trainings if one.name == "internalize"), None)
    if found is None or recipe.schedule.removal != "linear":
        return
    unit = dataset.longest_thought if recipe.schedule.unit == "token" else dataset.most_steps
    schedule = Schedule(recipe.schedule, unit, found.steps_per_epoch, found.num_steps)
    end = schedule.advance(ScheduleState(), found.num_steps - 1).removed
    yield (
        f"removal: {'everything' if end >= ALL else f'{end} of {unit}'} removed at the end of "
        "the run" + ("" if end >= ALL else "; give more epochs or a larger schedule.delta")
    )


def _work(learner: Learner, trainings: list[Training]) -> str:
    # forward and back through all weights, and gradients of those that are trained
    per_token = 4.0 * learner.num_parameters + 2.0 * learner.num_trained
    examples = sum(one.recipe.train.batch_size * one.num_steps for one in trainings)
    operations = per_token * float(learner.dataset.lengths.mean()) * examples
    rate = measured_rate()
    hours = operations / rate / 3600
    least = f"{hours:,.1f} h" if hours >= 1 else f"{max(1, math.ceil(60 * hours))} min"
    return (
        f"work: at most {operations:.1e} floating-point operations for all "
        f"{len(trainings)} trainings of the student, thoughts counted whole; this machine reaches "
        f"{rate / 1e9:,.0f} GFLOP/s in large matrix products, so {least} would be enough only at "
        "full use"
    )


def _memory(recipe: Recipe, learner: Learner, trainings: list[Training]) -> str:
    train = recipe.train
    frozen = _NF4_BYTES if recipe.model.quantization else _FROZEN_BYTES[train.precision]
    size = (learner.num_parameters if learner.num_trained < learner.num_parameters else 0) * frozen
    size += max(_TRAINED_BYTES[one.recipe.train.optimizer] for one in trainings) * (
        learner.num_trained
    )
    longest = f"up to {int(learner.dataset.lengths.max())} tokens"
    if learner.thoughts == "none":
        longest = "prompt, thought and answer"
    return (
        f"memory: {size / 1e9:,.2f} GB for weights, gradients and optimizer, and activations for "
        f"{train.micro_batch_size or train.batch_size} examples of {longest}"
    )


def _disk(recipe: Recipe, learner: Learner, sample: Sample, trainings: list[Training]) -> str:
    """Levels that are kept, the checkpoints of one training at a time, and the data."""
    folder = 4.0 * learner.num_trained
    num_folders = sum(_num_levels(one, learner) for one in trainings)
    kept = max(one.recipe.train.keep_checkpoints for one in trainings) + 1  # one being written
    line = sum(len(json_line(one.to_record())) for one in sample.examples) / len(sample.examples)
    copies = 1 if recipe.teacher is None else 3  # questions, traces, what is kept of them
    return (
        f"disk: up to {num_folders} model folders of {_size(folder)} in the end; while it runs, "
        f"{_size(3 * folder * kept)} more for checkpoints; data of about "
        f"{_size(line * sample.num_train * copies)}"
    )


def _num_levels(training: Training, learner: Learner) -> int:
    """Model folders that a training leaves at the most: one for each kept level of removal."""
    schedule, every = training.recipe.schedule, training.recipe.train.level_every
    if schedule.removal in ("none", "all"):
        return 1
    if learner.thoughts == "none":
        return 18  # about 16 by default, the first and the last
    dataset = learner.dataset
    longest = dataset.longest_thought if schedule.unit == "token" else dataset.most_steps
    every = max(1, math.ceil(longest / 16)) if every is None else every
    return 2 + (longest // every if every else 0)


def _size(num_bytes: float) -> str:
    """A size as people write it.

    Example:
        >>> _size(1.2e6), _size(3.4e9)
        ('1.2 MB', '3.4 GB')
    """
    if num_bytes >= 1e9:
        return f"{num_bytes / 1e9:,.1f} GB"
    return f"{num_bytes / 1e6:,.1f} MB"


@cache
def measured_rate() -> float:
    """Floating-point operations per second of a large fp32 matrix product here."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 1024
    one = torch.randn(size, size, device=device)
    for _ in range(2):
        (one @ one).sum().item()
    begin = time.perf_counter()
    product: Any = one
    for _ in range(4):
        product = one @ one
    product.sum().item()
    return 4 * 2 * size**3 / (time.perf_counter() - begin)
