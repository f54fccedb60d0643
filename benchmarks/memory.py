"""Peak memory of training on a million 9x9 examples, beside the model and the optimizer.

Every stage runs in a process of its own:

    generate    write the JSONL files, as `unspoken data multiplication` does
    encode      tokenize them into the cache
    batches     open the memory-mapped data set, make batches for many steps, without a model
    train-M     the same with GPT-2 small: unspoken's own optimizer steps, M examples at once

`peak` is the largest resident set (VmHWM). `anonymous` is the part of it that cannot be dropped,
sampled every 10 ms; the rest are pages of files, which the system takes back when memory is
short: libraries and the memory-mapped tokens. `beside` is the peak without weights, gradients and
optimizer states (16 bytes a parameter); Python, torch and all activations are still in it. Worker
processes of `encode` are not in its peak; the largest of them is told as `worker`. Linux only.

    python benchmarks/memory.py --output benchmarks/results/cpu-memory.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

SIZE = (9, 9)
MIB = 2**20
BATCH_SIZE = 32


class Watch:
    """Measures time and memory of this process within the block."""

    def __enter__(self) -> Watch:
        self.before = status()
        self.anonymous = self.before["RssAnon"]
        self.file = self.before["RssFile"]
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()
        self.processor = sum(os.times()[:4])
        self.begin = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self.begin
        self.processor = sum(os.times()[:4]) - self.processor
        self.done.set()
        self.thread.join()

    def _sample(self) -> None:
        while not self.done.wait(0.01):
            now = status()
            self.anonymous = max(self.anonymous, now["RssAnon"])
            self.file = max(self.file, now["RssFile"])

    def figures(self) -> dict[str, float]:
        """What a stage took; `before` is what Python and the libraries need."""
        return {
            "seconds": self.seconds,
            "processor_seconds": self.processor,  # of all processes and threads
            "before_mib": self.before["VmRSS"] / MIB,
            "peak_mib": status()["VmHWM"] / MIB,
            "peak_anonymous_mib": self.anonymous / MIB,
            "peak_file_mib": self.file / MIB,
        }


def status() -> dict[str, int]:
    """Memory of this process in bytes, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = (line.split() for line in lines if line.startswith(("Vm", "Rss")))
    return {field[0].rstrip(":"): int(field[1]) * 1024 for field in fields}


# --- stages: each in a fresh process --------------------------------------------------------------


def stage_generate(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the examples."""
    from unspoken.data.tasks.multiplication import write_multiplication

    with Watch() as watch:
        write_multiplication(folder / "data", [SIZE], arguments.num_train, 100, 100)
    return watch.figures() | {"file_mib": (folder / "data" / "train.jsonl").stat().st_size / MIB}


def stage_encode(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Tokenizes them."""
    case = _case()
    with Watch() as watch:
        dataset = _dataset(folder, case)
    return watch.figures() | {
        "examples_per_s": len(dataset) / watch.seconds,
        "worker_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "cache_mib": sum(path.stat().st_size for path in folder.glob("cache/**/*")) / MIB,
    }


def stage_batches(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Batches as the training loop makes them."""
    import numpy as np

    from unspoken.train.collate import collate
    from unspoken.train.schedule import sample_offsets

    case, micro = _case(), arguments.micro_batch_sizes[0]
    with Watch() as watch:
        dataset = _dataset(folder, case)
        opened = time.perf_counter() - watch.begin
        for step in range(arguments.batches):
            indices = dataset.batch_indices(step, BATCH_SIZE, seed=0)
            removed = step * 246 // arguments.batches + sample_offsets(0, step, len(indices), 4.0)
            lengths = dataset.lengths[indices] - dataset.tokens_removed(indices, removed)
            order = np.argsort(lengths, kind="stable")
            for start in range(0, len(order), micro):
                mine = order[start : start + micro]
                collate(dataset, indices[mine], removed[mine]).tensors("cpu")
    spent = (watch.seconds - opened) / arguments.batches
    return watch.figures() | {
        "num_examples": len(dataset),
        "seconds_to_open": opened,
        "milliseconds_per_step": spent * 1e3,
    }


def stage_train(folder: Path, arguments: argparse.Namespace, micro: int) -> dict[str, Any]:
    """Optimizer steps of the whole loop: nothing removed, half, everything."""
    from unspoken.train.checkpoint import TrainState
    from unspoken.train.loop import StepwiseInternalization
    from unspoken.train.schedule import ALL, RemovalState

    case = _case(
        f"train.micro_batch_size={micro}",
        f"train.batch_size={BATCH_SIZE}",
        *([f"model.config.n_layer={arguments.layers}"] if arguments.layers else []),
    )
    with Watch() as watch:
        dataset = _dataset(folder, case)
        trainer = StepwiseInternalization(
            case.model(),
            case.tokenizer,
            case.template,
            case.recipe,
            train=dataset,
            folder=folder / "run",
            progress=False,
        )
        trainer.model.train()
        for step in range(arguments.steps):
            removed = (0, 123, ALL)[step * 3 // arguments.steps]
            trainer.step(TrainState(step=step, schedule=RemovalState(removed=removed)))
    parameters = sum(p.numel() for p in trainer.bare_model.parameters())
    own = 16 * parameters / MIB
    figures = watch.figures()
    return figures | {
        "num_parameters": parameters,
        "model_and_optimizer_mib": own,
        "beside_mib": figures["peak_mib"] - own,
        "beside_anonymous_mib": figures["peak_anonymous_mib"] - own,
        "num_steps": arguments.steps,
        "batch_size": BATCH_SIZE,
        "micro_batch_size": micro,
    }


def _case(*overrides: str) -> Any:
    from cases import load_case

    return load_case("gpt2", *overrides)


def _dataset(folder: Path, case: Any) -> Any:
    from unspoken.train.encode import encode_file

    return encode_file(
        folder / "data" / "train.jsonl",
        case.tokenizer,
        case.template,
        cache=folder / "cache",
        progress=False,
    )


Stage = Callable[[Path, argparse.Namespace], dict[str, Any]]


def stages(arguments: argparse.Namespace) -> dict[str, Stage]:
    """All stages in order."""
    first: dict[str, Stage] = {
        "generate": stage_generate,
        "encode": stage_encode,
        "batches": stage_batches,
    }
    sizes = arguments.micro_batch_sizes
    return first | {f"train-{micro}": partial(stage_train, micro=micro) for micro in sizes}


def main() -> None:
    """Runs the stages and prints what they needed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--num_train", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=2_000, help="steps of the stage `batches`")
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps of the stage `train`")
    parser.add_argument("--micro_batch_sizes", type=int, nargs="+", default=(2, 4))
    parser.add_argument("--layers", type=int, help="fewer layers of GPT-2, to try the script")
    parser.add_argument("--folder", type=Path, help="for the files; default a temporary one")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    load = os.getloadavg()
    results: dict[str, Any] = {"num_train": arguments.num_train, "stages": {}}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, stage in stages(arguments).items():
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
                figures = pool.submit(stage, Path(folder), arguments).result()
            results["stages"][name] = figures
            show(name, figures)
    from cases import write_results

    write_results(arguments.output, results, load)


def show(name: str, figures: dict[str, Any]) -> None:
    """One line for one stage."""
    text = (
        f"{name:>9}: {figures['seconds']:,.1f} s ({figures['processor_seconds']:,.1f} s of "
        f"processor), peak {figures['peak_mib']:,.0f} MiB "
        f"({figures['peak_anonymous_mib']:,.0f} anonymous)"
    )
    for key, wording in {
        "examples_per_s": "{:,.0f} examples/s",
        "worker_mib": "largest worker {:,.0f} MiB",
        "milliseconds_per_step": "{:.2f} ms a step",
        "beside_mib": "beside model and optimizer {:,.0f} MiB",
        "beside_anonymous_mib": "of it anonymous {:,.0f} MiB",
    }.items():
        if key in figures:
            text += ", " + wording.format(figures[key])
    print(text, flush=True)


if __name__ == "__main__":
    main()
