"""A LoRA step of SmolLM2 against TRL's SFTTrainer: same weights, tokens and settings, equal losses.

TRL is no dependency. It is taken from a folder of its own, and what it needs is here already:

    python -m pip install --no-deps --target /tmp/trl 'trl==1.16.*'
    python benchmarks/trl_step.py --trl /tmp/trl --model models/smollm2 --threads 1 \
        --clock processor --output benchmarks/results/cpu-trl-step.json

Each way has a model of its own with the same adapters, and a process of its own, as a user has it:
unspoken sets up its process' allocator. They take turns step by step, in fp32 and in bf16; the
losses of each step must agree. TRL trains as SFTTrainer does by itself: its collator, its loss over
completions, Trainer's optimizer and clipping, and bf16 as its `bf16=True` has it, without
gradient checkpointing, which would cost time. A step is timed from its begin to its end as its
loop tells them to a callback.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import CLOCKS, write_results

from unspoken.data.tasks.arithmetic import generate
from unspoken.models.load import load_model, load_tokenizer
from unspoken.models.template import Template
from unspoken.recipe import Recipe, recipe_from
from unspoken.train.checkpoint import TrainState
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples
from unspoken.train.loop import StepwiseInternalization

#: By how much the losses of a step may differ.
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2}


@dataclass
class Ours:
    """unspoken's training, one step at a time."""

    trainer: StepwiseInternalization

    @classmethod
    def of(cls, recipe: Recipe, folder: Path) -> Ours:
        tokenizer = load_tokenizer(recipe.model)
        template = Template(recipe.template, tokenizer)
        drawn = generate(recipe.data.num_train, 0, 0, difficulty=recipe.data.difficulty)
        examples = [question.example for question in drawn["train"]]
        dataset = encode_examples(examples, tokenizer, template)
        dtype = "bfloat16" if recipe.train.precision == "bf16" else "float32"
        model = load_model(recipe.model, tokenizer, seed=recipe.seed, lora=recipe.lora, dtype=dtype)
        one = StepwiseInternalization(
            model, tokenizer, template, recipe, train=dataset, folder=folder, progress=False
        )
        one.model.train()
        return cls(one)

    def step(self, number: int) -> float:
        """One optimizer step; returns its loss per label token."""
        return self.trainer.step(TrainState(step=number)).loss

    def rows(self, num_steps: int) -> list[dict[str, list[int]]]:
        """The examples of the first steps in their order, as TRL takes them: ids and labels."""
        settings, dataset = self.trainer.settings, self.trainer.train
        batches = [
            dataset.batch_indices(step, settings.batch_size, self.trainer.recipe.seed)
            for step in range(num_steps)
        ]
        return [_row(dataset, index) for index in np.concatenate(batches).tolist()]


def _row(dataset: CoTDataset, index: int) -> dict[str, list[int]]:
    start, prompt = int(dataset.starts[index]), int(dataset.prompt_lengths[index])
    ids = dataset.tokens[start : start + int(dataset.lengths[index])].tolist()
    return {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]}


def train_by_turns(ours: Ours, recipe: Recipe, arguments: argparse.Namespace) -> dict[str, Any]:
    """A step of TRL's, in its own process, then the same one of ours, and so on."""
    clock = CLOCKS[arguments.clock]
    num_steps = arguments.warmup + arguments.steps
    seconds: dict[str, list[float]] = {"unspoken": [], "trl": []}
    losses: dict[str, list[float]] = {"unspoken": [], "trl": []}
    context = multiprocessing.get_context("spawn")
    connection, theirs = context.Pipe()
    rows = ours.rows(num_steps)
    process = context.Process(
        target=train_by_trl, args=(theirs, recipe, rows, num_steps, arguments), daemon=True
    )
    process.start()
    theirs.close()  # or the end of its process would not be heard of
    for number in range(num_steps):
        try:
            connection.send("go")
            took, loss = connection.recv()
        except (EOFError, OSError):
            process.join()
            raise SystemExit(
                f"TRL's process ended with status {process.exitcode}; what it said stands above"
            ) from None
        seconds["trl"].append(took)
        losses["trl"].append(loss)
        begin = clock()
        losses["unspoken"].append(ours.step(number))
        seconds["unspoken"].append(clock() - begin)
        print(
            f"  step {number}: TRL {took:.2f} s, unspoken {seconds['unspoken'][-1]:.2f} s; losses "
            f"{loss:.5f} and {losses['unspoken'][-1]:.5f}",
            flush=True,
        )
    process.join()
    return _figures(seconds, losses, arguments, recipe.train.precision)


def train_by_trl(
    connection: Any,
    recipe: Recipe,
    rows: list[dict[str, list[int]]],
    num_steps: int,
    arguments: argparse.Namespace,
) -> None:
    """TRL's own training loop, which waits before each step until it is told to go on."""
    sys.path.append(str(arguments.trl))
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

    clock = CLOCKS[arguments.clock]
    losses: list[float] = []

    class Recording(SFTTrainer):
        def compute_loss(self, *positional: Any, **named: Any) -> Any:
            loss = super().compute_loss(*positional, **named)
            losses.append(float(loss.detach()))
            return loss

    class Turns(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            connection.recv()
            self.began = clock()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            connection.send((clock() - self.began, losses[-1]))

    settings = recipe.train
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            max_steps=num_steps,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            bf16=settings.precision == "bf16",
            use_cpu=True,
            gradient_checkpointing=False,  # SFTConfig's default is true, which takes more time
            train_sampling_strategy="sequential",
            dataset_kwargs={"skip_prepare_dataset": True},
            save_strategy="no",
            report_to="none",
            logging_steps=1_000,
            disable_tqdm=True,
            max_length=None,
        )
        tokenizer = load_tokenizer(recipe.model)
        # the same adapters as ours have; the frozen weights in fp32, as TRL has them
        model = load_model(recipe.model, tokenizer, seed=recipe.seed, lora=recipe.lora)
        trainer = Recording(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[Turns()],
        )
        trainer.train()


def _figures(
    seconds: dict[str, list[float]],
    losses: dict[str, list[float]],
    arguments: argparse.Namespace,
    precision: str,
) -> dict[str, Any]:
    counted = {way: values[arguments.warmup :] for way, values in seconds.items()}
    median = {way: statistics.median(values) for way, values in counted.items()}
    pairs = zip(counted["trl"], counted["unspoken"], strict=True)
    worst = max(abs(a - b) for a, b in zip(losses["trl"], losses["unspoken"], strict=True))
    return {
        "num_steps": arguments.steps,
        "seconds": median,
        "seconds_range": {way: [min(v), max(v)] for way, v in counted.items()},
        "ratio": statistics.median(trl / ours for trl, ours in pairs),
        "largest_loss_difference": worst,
        "losses_agree": worst <= TOLERANCE[precision],
    }


def main() -> None:
    """Measures, prints, and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trl", type=Path, required=True, help="folder that TRL was put into")
    parser.add_argument("--model", required=True, help="folder of SmolLM2, or of another model")
    parser.add_argument("--precision", nargs="+", choices=TOLERANCE, default=list(TOLERANCE))
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=1, help="steps that are not counted")
    parser.add_argument("--steps", type=int, default=5, help="steps that are counted")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    if not (arguments.trl / "trl").is_dir():
        parser.error(
            f"--trl: found no TRL in {arguments.trl}; needed: the folder that it was put into; "
            f"python -m pip install --no-deps --target {arguments.trl} 'trl==1.16.*'"
        )
    os.environ["ACCELERATE_USE_CPU"] = "true"
    load = os.getloadavg()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = {}
    for precision in arguments.precision:
        recipe = _recipe(arguments, precision)
        with tempfile.TemporaryDirectory() as folder:
            figures = train_by_turns(Ours.of(recipe, Path(folder)), recipe, arguments)
        results[precision] = figures
        write_results(arguments.output, results, load)
        print(
            f"{precision}: unspoken {figures['seconds']['unspoken']:.2f} s, TRL "
            f"{figures['seconds']['trl']:.2f} s a step, ratio {figures['ratio']:.2f}; losses "
            f"within {figures['largest_loss_difference']:.0e}",
            flush=True,
        )
    if not all(figures["losses_agree"] for figures in results.values()):
        raise SystemExit("the losses of both ways differ by more than rounding; see above")


def _recipe(arguments: argparse.Namespace, precision: str) -> Recipe:
    return recipe_from(
        {
            "template": "qa",
            "data": {"task": "arithmetic", "difficulty": "easy", "num_train": 377},
            "model": {"name": arguments.model, "local_files_only": True},
            "lora": {"r": 8, "alpha": 16, "dropout": 0.0},
            "train": {
                "max_steps": 1_000,
                "batch_size": arguments.batch_size,
                "learning_rate": 1e-4,
                "precision": precision,
            },
        },
        [],
    )


if __name__ == "__main__":
    main()
