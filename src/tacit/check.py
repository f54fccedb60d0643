"""`tacit check`: what can be known about a recipe before time is spent on it.

Data is read or, for a task, sampled; the model is built without memory; steps, tokens, floating-
point operations and memory are counted. What cannot be known here, such as a hub model without a
network, is said and not guessed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tacit.dataset import CoTDataset, encode_examples
from tacit.errors import DataError, ModelError
from tacit.example import Example, read_examples
from tacit.leaks import check_leaks
from tacit.model import build_empty, load_tokenizer
from tacit.pipeline import variants
from tacit.recipe import Data, Recipe
from tacit.schedule import ALL, Schedule, ScheduleState
from tacit.splits import iter_split_questions
from tacit.template import Template
from tacit.train import count_steps, require_fit

#: Examples that a task is sampled with.
_SAMPLE = 400


@dataclass(frozen=True)
class _Sample:
    """Some of the training examples, and how many there will be."""

    examples: Sequence[Example]
    num_train: int
    note: str


def check_recipe(recipe: Recipe) -> Iterator[str]:
    """Yields one line per finding.

    Raises:
        TacitError: the recipe cannot run as it stands; the message says what to do.
    """
    phases = recipe.resolved_phases()
    yield f"recipe {recipe.name}: {len(phases)} phase(s), run folder {recipe.folder}"
    names = [variant.name for variant in variants(recipe)]
    borrowed = recipe.baselines.explicit == "before_removal"
    yield f"models: {', '.join(names)}{', explicit (from before the removal)' if borrowed else ''}"
    for number, phase in enumerate(phases):
        prefix = "" if len(phases) == 1 else f"[{number + 1} {phase.name}] "
        for line in _check_phase(phase, len(names)):
            yield prefix + line


def _check_phase(recipe: Recipe, num_models: int) -> Iterator[str]:
    sample = _sample(recipe.data, recipe.seed)
    yield f"data: {sample.note}"
    try:
        tokenizer = load_tokenizer(recipe.model)
        model = build_empty(recipe.model, tokenizer)
    except ModelError as error:
        yield f"model: not known here: {error}"
        return
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    yield f"model: {model.config.model_type}, {num_parameters / 1e6:,.1f} M parameters"
    if not sample.examples:
        return
    template = Template(recipe.template, tokenizer)
    dataset = encode_examples(
        sample.examples, tokenizer, template, max_length=recipe.data.max_length
    )
    require_fit(recipe, model, dataset, num_processes=1, num_valid=1)
    share = len(dataset) / (len(dataset) + dataset.num_dropped)
    num_train = round(sample.num_train * share)
    yield (
        f"tokens: prompt {_range(dataset.prompt_lengths)}, thought "
        f"{_range(dataset.thought_lengths)}, answer {_range(dataset.answer_lengths)}; "
        f"{1 - share:.1%} of the examples are over data.max_length and left out"
    )
    yield from _check_training(recipe, dataset, num_train, num_parameters, num_models)


def _check_training(
    recipe: Recipe, dataset: CoTDataset, num_train: int, num_parameters: int, num_models: int
) -> Iterator[str]:
    size = recipe.train.batch_size
    steps_per_epoch = max(1, num_train // size)
    num_steps = count_steps(recipe, steps_per_epoch)
    yield f"steps: at most {num_steps:,} of {size} examples; {steps_per_epoch:,} per epoch"
    if recipe.schedule.removal == "linear":
        unit = dataset.longest_thought if recipe.schedule.unit == "token" else dataset.most_steps
        schedule = Schedule(recipe.schedule, unit, steps_per_epoch, num_steps)
        end = schedule.advance(ScheduleState(), num_steps - 1).removed
        yield (
            f"removal: {'everything' if end >= ALL else f'{end} of {unit}'} removed at the end of "
            "the run" + ("" if end >= ALL else "; give more epochs or a larger schedule.delta")
        )
    tokens = float(dataset.lengths.mean()) * size
    operations = 6.0 * num_parameters * tokens * num_steps * num_models
    rate = _measured_rate()
    yield (
        f"work: at most {operations:.1e} floating-point operations for all models, thoughts "
        f"counted whole; this machine reaches {rate / 1e9:,.0f} GFLOP/s in large matrix products, "
        f"so {operations / rate / 3600:,.1f} h is a lower bound at full use"
    )
    micro = recipe.train.micro_batch_size or size
    yield (
        f"memory: {16 * num_parameters / 1e9:,.2f} GB for weights, gradients and optimizer in "
        f"fp32, and activations for {micro} examples of up to {int(dataset.lengths.max())} tokens"
    )


def _sample(data: Data, seed: int) -> _Sample:
    if data.task == "multiplication":
        from tacit.tasks.multiplication import examples, generate

        counts = (data.num_train, data.num_valid, data.num_test)
        generate(data.digits, *counts, seed=seed)  # says so where there are not enough problems
        some = examples(data.digits, min(_SAMPLE, data.num_train), 0, 0, seed=seed)["train"]
        sizes = ", ".join(f"{first}x{second}" for first, second in data.digits)
        return _Sample(some, data.num_train, f"multiplication {sizes}, {data.num_train:,} examples")
    if data.task == "gsm8k":
        return _gsm8k_sample(data)
    return _files_sample(data)


def _gsm8k_sample(data: Data) -> _Sample:
    from tacit.example import read_jsonl
    from tacit.tasks.gsm8k import parse

    if data.source is None or not Path(data.source).is_dir():
        return _Sample([], 0, "GSM8K from the hub; sizes are known once it is fetched")
    path = Path(data.source) / "train.jsonl"
    some = [parse(r, data.thought, f"{path}:{line}") for line, r in read_jsonl(path)]
    count = len(some) - data.num_valid
    return _Sample(some, count, f"GSM8K from {data.source}, {count:,} training examples")


def _files_sample(data: Data) -> _Sample:
    if data.train is None:
        raise DataError("data.train: missing")
    given = {"train": data.train, "valid": data.valid, "test": data.test}
    files = {name: path for name, path in given.items() if path is not None}
    for name, path in files.items():
        if not path.is_file():
            raise DataError(f"data.{name}: {path}: no such file; correct data.{name}")
    check_leaks(
        {name: iter_split_questions(path) for name, path in files.items()}, allow=data.allow_leaks
    )
    some = _read_any(data.train, data)
    note = f"{len(some):,} examples in {data.train}"
    if "valid" not in files:
        note += f"; {min(data.num_valid, len(some) // 10)} of them are held out for validation"
    if "test" not in files:
        note += "; no test file, so validation questions are asked at the end"
    return _Sample(some, len(some), note)


def _read_any(path: Path, data: Data) -> list[Example]:
    """The examples of a file in any form that a run reads."""
    from tacit.example import read_jsonl
    from tacit.tasks import gsm8k, icot

    if path.suffix == ".txt":
        return list(icot.iter_lines(path))
    if gsm8k.is_raw(path):
        return [gsm8k.parse(r, data.thought, f"{path}:{line}") for line, r in read_jsonl(path)]
    return read_examples(path, allow_empty_thought=data.allow_empty_thoughts)


def _range(lengths: np.ndarray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return str(low) if low == high else f"{low}-{high}"


def _measured_rate() -> float:
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
