"""How long the student is trained, and what that takes in arithmetic, memory and disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unspoken.check.data import Sample
from unspoken.check.estimate import (
    Estimate,
    Steps,
    add_steps,
    count_likely,
    limit_of_answers,
    measure_rate,
    say_time,
    work_per_step,
)
from unspoken.check.finding import Finding
from unspoken.check.learner import Learner, build_learner
from unspoken.common.places import human
from unspoken.data.jsonl import json_line
from unspoken.models.load import width_of
from unspoken.parallel.precision import describe_precision, resolve_precision
from unspoken.parallel.products import BY_ONEDNN, takes_onednn
from unspoken.recipe import Recipe
from unspoken.recipe.layout import UNTRAINED
from unspoken.recipe.plan import OnlyMeasured, PlannedFrontier, Training
from unspoken.train.dataset import CoTDataset
from unspoken.train.fit import count_steps
from unspoken.train.schedule import ALL, MOST_LEVELS, Removal, RemovalState, level_interval

#: Bytes of a weight that is not trained itself.
_FROZEN_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
_NF4_BYTES = 0.6  # with the constants of double quantization, and some layers left as they are
#: Bytes of a trained weight, its gradient and the optimizer's moments; weights are fp32.
_TRAINED_BYTES = {"adamw": 16, "adamw_8bit": 10, "paged_adamw_8bit": 10, "muon": 16, "sgd": 12}


@dataclass(frozen=True)
class CountedTraining:
    """One training of the plan, and how long it is.

    Attributes:
        training: as the plan has it.
        num_steps: optimizer steps at the most.
        steps_per_epoch: of them, in one pass over the data.
    """

    training: Training
    num_steps: int
    steps_per_epoch: int


def check_students(
    recipe: Recipe,
    students: Sequence[Training],
    sample: Sample,
    *,
    others: Sequence[OnlyMeasured],
    elsewhere: bool,
    estimate: Estimate | None,
) -> Iterator[Finding]:
    """Yields what the student's trainings are and take.

    `others` are only measured. `estimate` gets the time of it all; None: this machine is not timed.

    Raises:
        UnspokenError: model, data and recipe do not fit together; the message says how.
    """
    learner = yield from build_learner(recipe, sample)
    if not sample.num_train:
        return
    share = 1.0 if learner is None else learner.share
    trainings = count_trainings(students, round(sample.num_train * share))
    yield from _lengths(trainings, distils=recipe.distil is not None)
    if learner is None:
        return
    if learner.thoughts != "none":
        yield from _removal(learner.dataset, trainings)
        num_unknown = 0
        if estimate is not None:
            num_unknown = len(estimate.unknown)
            _time(estimate, learner, sample, trainings, others)
            num_unknown = len(estimate.unknown) - num_unknown
        yield _work(learner, trainings, with_rate=num_unknown > 0)
    if not elsewhere:
        yield from _arithmetic(learner, trainings)
    yield _memory(recipe, learner, trainings)
    yield _disk(recipe, learner, sample, trainings)


def describe_frontier(frontier: PlannedFrontier) -> str | None:
    """What a frontier adds to a run, for people; None where it trains nothing."""
    if not frontier.num_levels:
        return None
    whole = "" if frontier.explicit is not None else ", and the first one,"
    return (
        f"frontier: up to {frontier.num_levels} levels of removal{whole} are trained on for "
        f"{frontier.recipe.frontier.steps:,} steps each"
    )


def count_trainings(students: Iterable[Training], num_train: int) -> list[CountedTraining]:
    """How long trainings on so many examples are; some are as long as others together."""
    counted: dict[Path, CountedTraining] = {}
    for one in students:
        steps_per_epoch = max(1, num_train // one.recipe.train.batch_size)
        if one.as_many_steps_as:
            num_steps = sum(counted[folder].num_steps for folder in one.as_many_steps_as)
        else:
            num_steps = count_steps(one.recipe, steps_per_epoch)
        counted[one.folder] = CountedTraining(one, num_steps, steps_per_epoch)
    return list(counted.values())


def describe_length(counted: CountedTraining) -> str:
    """How long a training is at the most, for people."""
    return (
        f"steps: at most {counted.num_steps:,} of {counted.training.recipe.train.batch_size} "
        f"examples; {counted.steps_per_epoch:,} per epoch"
    )


def _lengths(trainings: list[CountedTraining], *, distils: bool) -> Iterator[Finding]:
    """Of the trainings that have a length of their own, and of the baselines."""
    own = [one for one in trainings if not one.training.as_many_steps_as]
    for one in own:
        yield Finding("steps", describe_length(one), one.training.stage if distils else "")
    alike: dict[tuple[Path, ...], list[CountedTraining]] = {}
    for one in trainings:
        alike.setdefault(one.training.as_many_steps_as, []).append(one)
    alike.pop((), None)
    for folders, others in alike.items() if distils else ():
        names = ", ".join(one.training.name for one in others)
        all_of_them = len(folders) == len(own)
        whole = "all this together" if all_of_them else " and ".join(map(str, folders))
        yield Finding(
            "steps",
            f"baselines: as many steps for {names} as for {whole}, at most {others[0].num_steps:,}",
        )


def _removal(dataset: CoTDataset, trainings: list[CountedTraining]) -> Iterator[Finding]:
    """How much of the thought a schedule that counts steps removes."""
    for one in trainings:
        settings = one.training.recipe.schedule
        if settings.removal != "linear":
            continue
        longest = dataset.longest(settings.unit)
        removal = Removal(settings, longest, one.steps_per_epoch, one.num_steps)
        end = removal.advance(RemovalState(), one.num_steps - 1).removed
        yield Finding(
            "steps",
            f"removal: {'everything' if end >= ALL else f'{end} of {longest}'} removed at the end "
            "of the run" + ("" if end >= ALL else "; give more epochs or a larger schedule.delta"),
        )


def _time(
    estimate: Estimate,
    learner: Learner,
    sample: Sample,
    trainings: list[CountedTraining],
    others: Sequence[OnlyMeasured],
) -> None:
    """Adds the time of all trainings, and of what is asked afterwards."""
    steps: dict[Path, Steps] = {}
    answer = float(learner.dataset.answer_lengths.mean())
    whole = answer + float(learner.dataset.thought_lengths.mean())
    for one in trainings:
        training = one.training
        own = steps[training.folder] = _count(one, learner, steps)
        estimate.add_training(training, own, learner, sample.num_valid or 0)
        written = answer if own.bare else whole
        estimate.add_answers(training.name, training.recipe, learner, sample.num_asked, written)
    for model in others:  # one that was not trained does not know when to end
        written = limit_of_answers(learner) if model.name == UNTRAINED else whole
        estimate.add_answers(model.name, model.recipe, learner, sample.num_asked, written)


def _count(one: CountedTraining, learner: Learner, others: Mapping[Path, Steps]) -> Steps:
    """The steps of a training; some are as long as others together."""
    training = one.training
    if not training.as_many_steps_as:
        return count_likely(training, learner.dataset, one.steps_per_epoch, one.num_steps)
    counted = [others[folder] for folder in training.as_many_steps_as]
    return add_steps(counted, bare=training.recipe.schedule.removal == "all")


def _work(learner: Learner, trainings: list[CountedTraining], *, with_rate: bool) -> Finding:
    operations = sum(
        work_per_step(one.training.recipe, learner) * one.num_steps for one in trainings
    )
    text = (
        f"work: at most {operations:.1e} floating-point operations for all "
        f"{len(trainings)} trainings of the student, thoughts counted whole"
    )
    if with_rate:
        rate = measure_rate()
        text += (
            f"; this machine reaches {rate / 1e9:,.0f} GFLOP/s in large matrix products, so "
            f"{say_time(operations / rate)} would be enough only at full use"
        )
    return Finding("work", text)


def _arithmetic(learner: Learner, trainings: list[CountedTraining]) -> Iterator[Finding]:
    """The precision of each training on this machine, and what compiling costs on a CPU."""
    import torch

    width = width_of(learner.model.config)
    said: dict[str, list[str]] = {}
    had: set[str] = set()
    for training in (one.training for one in trainings):
        precision = resolve_precision(training.recipe, width).train.precision
        text = describe_precision(training.recipe.train, precision)
        said.setdefault(text, []).append(training.name)
        had.add(precision)
    for text, names in said.items():
        yield Finding("machine", text + (f" for {', '.join(names)}" if len(said) > 1 else ""))
    if any(takes_onednn(precision, width) for precision in had):
        yield Finding("machine", BY_ONEDNN)
    compiled = [one for one in trainings if one.training.recipe.train.compile]
    if compiled and not torch.cuda.is_available():
        yield Finding(
            "warning",
            "warning: train.compile on a CPU: measured, a small model's steps became 20 % slower, "
            "and compiling took minutes (205 s for GPT-2 small); train.compile=false leaves it out",
        )


def _memory(recipe: Recipe, learner: Learner, trainings: list[CountedTraining]) -> Finding:
    train = recipe.train
    precision = resolve_precision(recipe, width_of(learner.model.config)).train.precision
    frozen = _NF4_BYTES if recipe.model.quantization else _FROZEN_BYTES[precision]
    size = (learner.num_parameters if learner.num_trained < learner.num_parameters else 0) * frozen
    optimizers = {one.training.recipe.train.optimizer for one in trainings}
    size += max(_TRAINED_BYTES[name] for name in optimizers) * learner.num_trained
    longest = f"up to {int(learner.dataset.lengths.max())} tokens"
    if learner.thoughts == "none":
        longest = "prompt, thought and answer"
    return Finding(
        "memory",
        f"memory: {size / 1e9:,.2f} GB for weights, gradients and optimizer, and activations for "
        f"{train.micro_batch_size or train.batch_size} examples of {longest}",
    )


def _disk(
    recipe: Recipe, learner: Learner, sample: Sample, trainings: list[CountedTraining]
) -> Finding:
    """Levels that are kept, the checkpoints of one training at a time, and the data."""
    folder = 4.0 * learner.num_trained
    num_folders = sum(_count_levels(one.training, learner) for one in trainings)
    kept = max(one.training.recipe.train.keep_checkpoints for one in trainings)
    kept += 1  # one is being written
    line = sum(len(json_line(one.to_record())) for one in sample.examples) / len(sample.examples)
    copies = 1 if recipe.teacher is None else 3  # questions, traces, what is kept of them
    return Finding(
        "disk",
        f"disk: up to {num_folders} model folders of {human(folder)} in the end; while it runs, "
        f"{human(3 * folder * kept)} more for checkpoints; data of about "
        f"{human(line * sample.num_train * copies)}",
    )


def _count_levels(training: Training, learner: Learner) -> int:
    """Model folders that a training leaves at the most: one for each kept level of removal."""
    schedule = training.recipe.schedule
    if schedule.removal in ("none", "all"):
        return 1
    if learner.thoughts == "none":
        return 2 + MOST_LEVELS  # the first and the last, and those between by default
    longest = learner.dataset.longest(schedule.unit)
    every = level_interval(training.recipe.train.level_every, longest)
    return 2 + (longest // every if every else 0)
