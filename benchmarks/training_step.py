"""One optimizer step of unspoken against the straightforward way, with equal losses.

unspoken: `StepwiseInternalization`'s own step. The straightforward way: rows as tensors, tokens
removed row by row, padded to the longest row, an attention mask, the logits of all columns,
transformers' own loss, AdamW as torch has it by default. Same weights, data, batches, removal
counts (with the random offsets) and micro-batches; both steps alternate, and the losses of every
step have to agree, from equal weights at the start of each level of removal on. The learning rate
is small, so that rounding does not drive the two apart meanwhile.

On a CPU the straightforward way has a process of its own, as it has where somebody writes it:
unspoken sets up its process' allocator, which would help the other one, too. They take turns.

Floating-point operations of a step, forward and backward (twice the forward), for tokens that are
no padding; both ways are credited with the same number, what they compute beyond it is waste:

    6 N T + 6 L d sum(t^2) + 6 V d C

N parameters outside the embeddings, T tokens, t tokens of one example, L layers, d width (causal
attention: half of the square), V vocabulary, C tokens with a label (only they need logits). The
clipping, the optimizer and everything that is not a matrix product count as nothing. The machine's
rate is that of one matrix product of 4096 x 4096 x 4096 in the same run (--product).

    python benchmarks/training_step.py --output benchmarks/results/cpu-training-step.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import CASES, CLOCKS, Case, load_case, write_results
from torch.profiler import ProfilerActivity, profile

from unspoken.train.checkpoint import TrainState
from unspoken.train.collate import collate
from unspoken.train.dataset import CoTDataset
from unspoken.train.loop import StepwiseInternalization
from unspoken.train.schedule import ALL, RemovalState, sample_offsets

NUM_EXAMPLES = {"quickstart": 79_500, "gpt2": 1_024}
TOLERANCE = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 2e-2}
#: 10^9 per second, dense bf16, SXM cards.
BF16_PEAK = {"H100": 989_000.0, "H200": 989_000.0, "A100": 312_000.0}
GROUPS = {
    "matrix products": r"aten::(mm|addmm|bmm|baddbmm|matmul|linear)$|mkldnn|gemm",
    "attention": r"scaled_dot_product|flash|efficient_attention|cudnn_attention",
    "softmax and loss": r"softmax|nll_loss|cross_entropy",
    "layer norm": r"layer_norm",
    "clipping": r"vector_norm|_foreach_norm|clamp|_foreach_mul|aten::stack",
    "copy, cat, index": r"copy|clone|contiguous|aten::cat|index|embedding|gather|fill|zero|empty"
    r"|split|slice|select|constant_pad|pad_sequence|new_|resize|detach|aten::full",
}


# --- the straightforward way --------------------------------------------------------------------


class Straightforward:
    """A training step as one writes it first."""

    def __init__(
        self, case: Case, model: Any, dataset: CoTDataset, device: str, precision: str
    ) -> None:
        settings = case.recipe.train
        plain = type(model)(model.config)  # as transformers builds it
        plain.load_state_dict(model.state_dict())
        self.model, self.dataset, self.device = plain.to(device).train(), dataset, device
        self.gap = case.recipe.schedule.positions == "gap"
        self.micro = settings.micro_batch_size or settings.batch_size
        self.max_norm = settings.max_grad_norm
        self.bf16 = precision == "bf16"
        parameters = list(self.model.parameters())
        # not decayed: what unspoken does not decay, or the results would differ
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim >= 2]},
                {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            betas=settings.betas,
        )

    def collate(self, indices: np.ndarray, removed: torch.Tensor) -> dict[str, torch.Tensor]:
        """Rows one by one, then padded to the longest of them."""
        rows = []
        for row, index in enumerate(indices.tolist()):
            start = self.dataset.starts[index]
            prompt = int(self.dataset.prompt_lengths[index])
            thought = int(self.dataset.thought_lengths[index])
            stop = start + prompt + thought + self.dataset.answer_lengths[index]
            tokens = torch.tensor(self.dataset.tokens[start:stop].astype(np.int64))
            cut = prompt + min(removed[row].item(), thought)
            ids = torch.cat([tokens[:prompt], tokens[cut:]])
            labels = ids.clone()
            labels[:prompt] = -100
            positions = torch.arange(len(tokens))
            rows.append((ids, labels, torch.cat([positions[:prompt], positions[cut:]])))
        longest = max(len(ids) for ids, _, _ in rows)
        batch = {
            "input_ids": torch.zeros(len(rows), longest, dtype=torch.long),
            "attention_mask": torch.zeros(len(rows), longest, dtype=torch.long),
            "labels": torch.full((len(rows), longest), -100),
        }
        if self.gap:
            batch["position_ids"] = torch.zeros(len(rows), longest, dtype=torch.long)
        for row, (ids, labels, positions) in enumerate(rows):
            batch["input_ids"][row, : len(ids)] = ids
            batch["attention_mask"][row, : len(ids)] = 1
            batch["labels"][row, : len(ids)] = labels
            if self.gap:
                batch["position_ids"][row, : len(ids)] = positions
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def step(self, indices: np.ndarray, removed: np.ndarray, learning_rate: float) -> float:
        """One optimizer step; returns the loss per label token."""
        counts = torch.from_numpy(removed)
        batches = [
            self.collate(indices[start : start + self.micro], counts[start : start + self.micro])
            for start in range(0, len(indices), self.micro)
        ]
        num_labels = sum((batch["labels"] != -100).sum().item() for batch in batches)
        loss = 0.0
        for batch in batches:
            with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
                part = self.model(**batch, num_items_in_batch=num_labels, use_cache=False).loss
            part.backward()
            loss += part.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


class InAnotherProcess:
    """A `Straightforward` whose process is its own; it computes only when it is asked."""

    def __init__(self, name: str, arguments: argparse.Namespace, precision: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, name, arguments, precision), daemon=True
        )
        self._process.start()

    def load(self, model: Any) -> None:
        """Goes on from these weights, with a fresh optimizer."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pt"
            torch.save(model.state_dict(), path)
            self._ask(path)

    def step(self, indices: np.ndarray, removed: np.ndarray, rate: float) -> tuple[float, float]:
        """One optimizer step; returns its seconds and its loss."""
        return self._ask((indices, removed, rate))

    def end(self) -> None:
        """Ends the process."""
        self._connection.send(None)
        self._process.join()

    def _ask(self, message: Any) -> Any:
        self._connection.send(message)
        return self._connection.recv()


def _serve(connection: Any, name: str, arguments: argparse.Namespace, precision: str) -> None:
    """What the other process does: weights by their file, or a step, until None comes."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    case = load_case(name, *_overrides(name, arguments))
    dataset = case.dataset(NUM_EXAMPLES[name])
    plain = Straightforward(case, case.model(), dataset, arguments.device, precision)
    while (message := connection.recv()) is not None:
        if isinstance(message, Path):
            plain.model.load_state_dict(torch.load(message))
            plain.optimizer.state.clear()
            connection.send(None)
        else:
            connection.send(timed(lambda m=message: plain.step(*m), arguments.clock))


# --- both ways on the same steps ----------------------------------------------------------------


@dataclass
class Pair:
    """Both ways of training one case, from the same weights."""

    case: Case
    dataset: CoTDataset
    unspoken: StepwiseInternalization
    plain: Straightforward
    device: str
    clock: str
    elsewhere: InAnotherProcess | None

    def batch(self, step: int, removed: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices and removal counts of a step, as unspoken chooses them."""
        recipe = self.case.recipe
        indices = self.dataset.batch_indices(
            step, recipe.train.batch_size, recipe.seed, recipe.train.group_by_length
        )
        smoothing = self.unspoken.removal.smoothing(RemovalState(removed=removed))
        offsets = sample_offsets(recipe.seed, step, len(indices), smoothing)
        return indices, removed + offsets

    def equalize(self) -> None:
        """Both go on from unspoken's weights, with fresh optimizers."""
        self.plain.model.load_state_dict(self.unspoken.bare_model.state_dict())
        self.plain.optimizer.state.clear()
        accelerated: Any = self.unspoken.optimizer
        accelerated.optimizer.state.clear()
        if self.elsewhere is not None:
            self.elsewhere.load(self.unspoken.bare_model)

    def step_unspoken(self, step: int, removed: int) -> float:
        """unspoken's step, as its loop calls it."""
        state = TrainState(step=step, schedule=RemovalState(removed=removed))
        return self.unspoken.step(state).loss

    def step_plain(self, step: int, removed: int) -> float:
        """The same step, the straightforward way."""
        rate = self.unspoken.learning_rate.at(step, None)
        return self.plain.step(*self.batch(step, removed), rate)

    def timed_plain(self, step: int, removed: int) -> tuple[float, float]:
        """Its seconds and its loss, in the process that it is measured in."""
        if self.elsewhere is None:
            return timed(lambda: self.step_plain(step, removed), self.clock)
        rate = self.unspoken.learning_rate.at(step, None)
        return self.elsewhere.step(*self.batch(step, removed), rate)


def timed(run: Callable[[], Any], clock: str) -> tuple[float, Any]:
    """Seconds by this clock, and what `run` returned."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begin = CLOCKS[clock]()
    value = run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return CLOCKS[clock]() - begin, value


def measure_level(
    pair: Pair, removed: int, steps: range, num_warmup: int, tolerance: float
) -> dict[str, Any]:
    """Both ways in turn over these steps; the first ones are not counted."""
    pair.equalize()
    seconds: dict[str, list[float]] = {"unspoken": [], "plain": []}
    work, tokens, worst = [], [], 0.0
    for number, step in enumerate(steps):
        ours, loss = timed(lambda s=step: pair.step_unspoken(s, removed), pair.clock)
        theirs, other = pair.timed_plain(step, removed)
        worst = max(worst, abs(loss - other))
        if number >= num_warmup:
            seconds["unspoken"].append(ours)
            seconds["plain"].append(theirs)
            flops, count = step_work(pair, step, removed)
            work.append(flops)
            tokens.append(count)
    median = {way: statistics.median(values) for way, values in seconds.items()}
    return {
        "removed": "all" if removed >= ALL else removed,
        "num_steps": len(work),
        "seconds": median,
        "seconds_range": {way: [min(v), max(v)] for way, v in seconds.items()},
        "ratio": median["plain"] / median["unspoken"],
        "ratio_of_fastest": min(seconds["plain"]) / min(seconds["unspoken"]),
        "tokens_per_step": statistics.mean(tokens),
        "tokens_per_s": {way: statistics.mean(tokens) / s for way, s in median.items()},
        "flops_per_step": statistics.mean(work),
        "gflops_per_s": {way: statistics.mean(work) / s / 1e9 for way, s in median.items()},
        "largest_loss_difference": worst,
        "losses_agree": worst <= tolerance,
    }


def step_work(pair: Pair, step: int, removed: int) -> tuple[float, int]:
    """Floating-point operations (see the top) and tokens of one step."""
    indices, counts = pair.batch(step, removed)
    dataset, config = pair.dataset, pair.plain.model.config
    gone = dataset.tokens_removed(indices, counts)
    lengths = (dataset.lengths[indices] - gone).astype(np.float64)
    labels = (lengths - dataset.prompt_lengths[indices]).sum()
    embeddings = {"wte", "wpe", "lm_head"}
    parameters = sum(
        parameter.numel()
        for name, parameter in pair.plain.model.named_parameters()
        if not embeddings & set(name.split("."))
    )
    flops = (
        6 * parameters * lengths.sum()
        + 6 * config.num_hidden_layers * config.hidden_size * (lengths**2).sum()
        + 6 * config.vocab_size * config.hidden_size * labels
    )
    return float(flops), int(lengths.sum())


def measure_collate(pair: Pair, removed: int, repeats: int = 30) -> dict[str, float]:
    """Seconds for making one whole batch, without the model."""
    schedule = pair.case.recipe.schedule
    seconds: dict[str, list[float]] = {"unspoken": [], "plain": []}
    for step in range(repeats):
        indices, counts = pair.batch(step, removed)

        def ours(i: np.ndarray = indices, n: np.ndarray = counts) -> Any:
            batch = collate(pair.dataset, i, n, positions=schedule.positions)
            return batch.tensors(pair.device)

        def theirs(i: np.ndarray = indices, n: np.ndarray = counts) -> Any:
            return pair.plain.collate(i, torch.from_numpy(n))

        seconds["unspoken"].append(timed(ours, pair.clock)[0])
        seconds["plain"].append(timed(theirs, pair.clock)[0])
    return {way: statistics.median(values) for way, values in seconds.items()}


# --- where the time goes ------------------------------------------------------------------------


def profile_steps(run: Callable[[int], Any], steps: range, device: str) -> dict[str, float]:
    """Shares of the wall time, by groups of operations (their own time, without what they call).

    On a GPU the time of the kernels counts, and `other` is the time in which it waits.
    """
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        whole = timed(lambda: [run(step) for step in steps], "wall")[0]
    groups = dict.fromkeys([*GROUPS, "elementwise", "optimizer"], 0.0)
    for event in profiler.events() or []:
        if event.device_type != torch.autograd.DeviceType.CPU:
            continue
        group = _group(event)
        if group is not None:
            on_gpu = device == "cuda"
            took = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            groups[group] += took / 1e6
    groups["other (Python, autograd)"] = max(0.0, whole - sum(groups.values()))
    return {group: seconds / whole for group, seconds in groups.items()}


def _group(event: Any) -> str | None:
    """The group of one profiled operation; None for the bookkeeping around operations."""
    if not event.name.startswith(("aten::", "mkldnn")):
        return None
    parent = event
    while parent is not None:
        if parent.name.startswith("Optimizer.") or "adamw" in parent.name:
            return "optimizer"
        parent = parent.cpu_parent
    found = (group for group, pattern in GROUPS.items() if re.search(pattern, event.name))
    return next(found, "elementwise")


def matmul_rate(pair: Pair, dtype: torch.dtype, shape: tuple[int, int, int]) -> float:
    """Floating-point operations per second of one matrix product; the best of several."""
    rows, inner, columns = shape
    left = torch.randn(rows, inner, device=pair.device).to(dtype)
    right = torch.randn(inner, columns, device=pair.device).to(dtype)
    flops = 2 * rows * inner * columns
    repeats = max(3, min(200, round(2e11 / flops)))
    seconds = [timed(lambda: left @ right, pair.clock)[0] for _ in range(repeats)]
    return flops / min(seconds)


# --- the run ------------------------------------------------------------------------------------


def measure_case(
    name: str, arguments: argparse.Namespace, plain_precision: str, folder: Path
) -> dict[str, Any]:
    """All figures of one case, against the straightforward way in one precision."""
    precision, device = arguments.precision, arguments.device
    torch.backends.cuda.matmul.allow_tf32 = plain_precision == "tf32"
    case = load_case(name, *_overrides(name, arguments))
    model = case.model()
    dataset = case.dataset(NUM_EXAMPLES[name])
    plain = Straightforward(case, model, dataset, device, plain_precision)
    trainer = StepwiseInternalization(
        model,
        case.tokenizer,
        case.template,
        case.recipe,
        train=dataset,
        folder=folder / f"{name}-{plain_precision}",
        progress=False,
    )
    trainer.model.train()
    elsewhere = None if device == "cuda" else InAnotherProcess(name, arguments, plain_precision)
    pair = Pair(case, dataset, trainer, plain, device, arguments.clock, elsewhere)
    num_warmup = 1 if name == "gpt2" else 3
    num_steps = arguments.steps or (2 if name == "gpt2" else 30)
    longest = dataset.longest_thought
    tolerance = max(TOLERANCE[precision], TOLERANCE[plain_precision])
    figures: dict[str, Any] = {"batch_size": case.recipe.train.batch_size, "levels": []}
    figures["micro_batch_size"] = plain.micro
    figures["num_parameters"] = sum(p.numel() for p in model.parameters())
    figures["precision"] = {"unspoken": precision, "plain": plain_precision}
    figures["matmul_gflops_per_s"] = matmul_rates(pair, precision, arguments.product)
    step = 0
    for removed in (0, longest // 2, ALL)[: arguments.levels]:
        steps = range(step, step + num_warmup + num_steps)
        step = steps.stop
        level = measure_level(pair, removed, steps, num_warmup, tolerance)
        level["collate_seconds"] = measure_collate(pair, removed)
        rate = figures["matmul_gflops_per_s"]["large"]
        level["share_of_matmul_rate"] = {
            way: value / rate for way, value in level["gflops_per_s"].items()
        }
        if (peak := peak_gflops()) is not None:
            level["share_of_peak"] = {
                way: value / peak for way, value in level["gflops_per_s"].items()
            }
        if device == "cuda":
            level["peak_memory_mib"] = peak_memory_mib(pair, step, removed)
            step += 1
        figures["levels"].append(level)
        show_level(name, level)
        if removed in (0, ALL) and not arguments.no_profile:
            count = 1 if name == "gpt2" else min(10, num_steps)
            ways = {"unspoken": pair.step_unspoken, "plain": pair.step_plain}
            level["where_time_goes"] = {
                way: profile_steps(
                    lambda s, run=run, n=removed: run(s, n),
                    range(step, step + count),
                    device,
                )
                for way, run in ways.items()
            }
            show_profile(level["where_time_goes"])
            step += count
    if elsewhere is not None:
        elsewhere.end()
    return figures


def peak_gflops() -> float | None:
    """10^9 operations per second of dense bf16 products by the vendor's data sheet, where known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((rate for gpu, rate in BF16_PEAK.items() if gpu in name), None)


def peak_memory_mib(pair: Pair, step: int, removed: int) -> dict[str, float]:
    """GPU memory at the peak of one more step of each way, both models and optimizers included."""
    ways = {"unspoken": pair.step_unspoken, "plain": pair.step_plain}
    peaks = {}
    for way, run in ways.items():
        torch.cuda.reset_peak_memory_stats()
        run(step, removed)
        torch.cuda.synchronize()
        peaks[way] = torch.cuda.max_memory_allocated() / 2**20
    return peaks


def matmul_rates(pair: Pair, precision: str, side: int) -> dict[str, float]:
    """Rates of a large product and of one in the model's own shape, in 10^9 per second."""
    width = pair.plain.model.config.hidden_size
    tokens = pair.plain.micro * int(pair.dataset.lengths[0])
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    rates = {"large": matmul_rate(pair, dtype, (side, side, side)) / 1e9}
    rates["model_shape"] = matmul_rate(pair, dtype, (tokens, width, 4 * width)) / 1e9
    print(
        f"\n{pair.case.name}: matrix products reach {rates['large']:,.0f} GFLOP/s at {side}^3, "
        f"{rates['model_shape']:,.0f} at {tokens} x {width} x {4 * width} ({precision})"
    )
    return rates


def _overrides(name: str, arguments: argparse.Namespace) -> list[str]:
    overrides = [f"train.precision={arguments.precision}", "train.learning_rate=5e-5"]
    overrides.append(f"train.compile={'true' if arguments.compile else 'false'}")
    if name == "gpt2":
        overrides.append(f"train.batch_size={arguments.batch_size}")
        overrides.append(f"train.micro_batch_size={arguments.micro_batch_size}")
        if arguments.layers:
            overrides.append(f"model.config.n_layer={arguments.layers}")
        if arguments.width:
            overrides.append(f"model.config.n_embd={arguments.width}")
    return overrides


def show_level(name: str, level: dict[str, Any]) -> None:
    seconds, share = level["seconds"], level["share_of_matmul_rate"]
    collating = level["collate_seconds"]
    print(
        f"{name:>10}, removed {level['removed']!s:>4}: unspoken {seconds['unspoken']:.4f} s, "
        f"straightforward {seconds['plain']:.4f} s a step, ratio {level['ratio']:.2f} (of the "
        f"fastest steps {level['ratio_of_fastest']:.2f}); unspoken "
        f"{level['tokens_per_s']['unspoken']:,.0f} tokens/s, "
        f"{level['gflops_per_s']['unspoken']:,.0f} GFLOP/s ({share['unspoken']:.0%} of the matrix "
        f"product's; straightforward {share['plain']:.0%}); "
        f"collate {collating['unspoken'] * 1e3:.2f} ms and {collating['plain'] * 1e3:.2f} ms; "
        f"losses within {level['largest_loss_difference']:.0e}",
        flush=True,
    )


def show_profile(ways: dict[str, dict[str, float]]) -> None:
    for group, share in ways["unspoken"].items():
        print(f"{group:>28}: unspoken {share:6.1%}   straightforward {ways['plain'][group]:6.1%}")


def main() -> None:
    """Measures, prints, and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--steps", type=int, help="timed steps per level (30, and 2 for gpt2)")
    parser.add_argument("--levels", type=int, default=3, help="of removal: 0, half, all")
    parser.add_argument("--no_profile", action="store_true", help="not where the time goes")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument(
        "--plain_precision",
        choices=tuple(TOLERANCE),
        nargs="+",
        help="of the straightforward way, one after the other; default as --precision",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile, unspoken's model only"
    )
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--batch_size", type=int, default=32, help="gpt2 only")
    parser.add_argument("--micro_batch_size", type=int, default=4, help="gpt2 only")
    parser.add_argument("--layers", type=int, help="gpt2 only: fewer layers, to try the script")
    parser.add_argument("--width", type=int, help="gpt2 only: of 12 heads, to try the script")
    parser.add_argument("--product", type=int, default=4096, help="side of the large matrices")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    load = os.getloadavg()
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results: dict[str, Any] = {}
    agree = True
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.cases:
            for plain in arguments.plain_precision or [arguments.precision]:
                figures = measure_case(name, arguments, plain, Path(folder))
                several = len(arguments.plain_precision or "-") > 1
                results[f"{name}, {plain}" if several else name] = figures
                write_results(arguments.output, results, load)
                agree &= all(level["losses_agree"] for level in figures["levels"])
    if not agree:
        raise SystemExit("the losses of both ways differ by more than rounding; see above")


if __name__ == "__main__":
    main()
