"""Batched generation of traces against one question at a time, with equal traces.

Both ways go through `unspoken.teach.traces.write.generate_traces` with the transformers engine, the
same model and the same limit; only the batch size differs. `--plain` also asks the first questions
with `model.generate`, as a script without unspoken would: one at a time, and all of them in padded
batches of the same size, each of which waits for its longest answer.

The model has random weights and runs to the limit, which is as many tokens as a worked solution
of the case has. `--model FOLDER` takes a trained teacher instead.

`--skewed` makes the lengths differ widely: weights so large that greedy tokens look random, a
vocabulary of some hundred tokens or more, and every 64th of them ends an answer. So an answer is 64
tokens long on average, the longest of 256 five to six times that, as chance has it.

    python benchmarks/generation.py --output benchmarks/results/cpu-generation.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cases import CLOCKS, Case, as_asked, load_case, plain_model, run_cases

from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import reply_text
from unspoken.teach.engines.transformers import TransformersEngine, transformers_engine
from unspoken.teach.prompts import make_prompt_writer
from unspoken.teach.traces.write import generate_traces

Clock = Callable[[], float]

_TOKENS_TO_AN_END = 64
_SKEWED_LIMIT = 400
_SIGNS = "0123456789*+=()#" + "".join(chr(0x20000 + n) for n in range(496))
#: Recipe overrides for lengths that differ widely.
_SKEWED = {
    "quickstart": (
        "model.config.initializer_range=0.5",
        "model.config.n_positions=512",
        f'model.alphabet="{_SIGNS}"',
    ),
    "gpt2": ("model.config.initializer_range=0.5",),
}


class Measured(NamedTuple):
    """Traces, the seconds that they took, and the tokens in them."""

    traces: list[dict[str, Any]]
    seconds: float
    num_tokens: int

    @property
    def questions_per_s(self) -> float:
        return len(self.traces) / self.seconds

    @property
    def tokens_per_s(self) -> float:
        return self.num_tokens / self.seconds


def measure(
    engine: TransformersEngine, questions: list[dict[str, Any]], sampling: Sampling, clock: Clock
) -> Measured:
    """The traces of `unspoken generate`, written to a file and read again outside of the time."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "traces.jsonl"
        begin = clock()
        summary = generate_traces(engine, questions, output, sampling=sampling)
        seconds = clock() - begin
        lines = output.read_text(encoding="utf-8").splitlines()
    return Measured([json.loads(line) for line in lines], seconds, summary.num_tokens or 0)


def count_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], device: str) -> int:
    """How many traces are the same; stops where one differs, on a GPU where one in ten does.

    Sums of another batch differ in their last bits on a GPU, and two tokens of a random model may
    be as close.
    """
    pairs = list(zip(ours, theirs, strict=True))
    different = [pair for pair in pairs if pair[0] != pair[1]]
    if len(different) > (0 if device == "cpu" else len(pairs) / 10):
        raise SystemExit(f"{len(different)} traces differ:\n{different[0][0]}\n{different[0][1]}")
    return len(pairs) - len(different)


def with_generate(
    engine: TransformersEngine,
    model: Any,
    traces: list[dict[str, Any]],
    max_new_tokens: int,
    clock: Clock,
    *,
    batch_size: int,
) -> float:
    """Questions per second with plain `generate`; stops where an answer differs.

    In batches prompts are padded on the left, which changes sums in their last bits: one answer in
    ten may differ there.
    """
    writer, tokenizer = make_prompt_writer(engine.style), engine.tokenizer
    ends, different = engine.end_tokens(), 0
    begin = clock()
    for start in range(0, len(traces), batch_size):
        part = traces[start : start + batch_size]
        prompts = engine.encode([writer(trace["question"]) for trace in part])
        longest = max(map(len, prompts))
        pads = [longest - len(ids) for ids in prompts]
        padded = [
            [tokenizer.pad_token_id] * pad + ids for pad, ids in zip(pads, prompts, strict=True)
        ]
        mask = [[0] * pad + [1] * (longest - pad) for pad in pads]
        output = model.generate(
            torch.tensor(padded, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        for trace, row in zip(part, output[:, longest:].tolist(), strict=True):
            length = next((at for at, token in enumerate(row) if token in ends), len(row))
            text = tokenizer.decode(row[:length], skip_special_tokens=True)
            different += reply_text(text, writer.stop) != trace["cot"]
    seconds = clock() - begin
    if different > (0 if batch_size == 1 else len(traces) / 10):
        raise SystemExit(f"plain generate, {batch_size} at once: {different} traces differ")
    return len(traces) / seconds


def teacher_of(
    case: Case, arguments: argparse.Namespace
) -> tuple[Callable[[int], TransformersEngine], Any]:
    """A function that makes an engine of a batch size, and the model for plain `generate`."""
    if arguments.model:
        first = transformers_engine(arguments.model)
        model, plain = (
            first.loaded_model(),
            plain_model(arguments.model, first.loaded_model().dtype),
        )
        options: dict[str, Any] = {"style": first.style, "template": first.template}
        tokenizer = first.tokenizer
    else:
        plain = case.model().to(arguments.device).eval()
        if arguments.skewed:
            ends = range(_TOKENS_TO_AN_END - 1, plain.config.vocab_size, _TOKENS_TO_AN_END)
            plain.generation_config.eos_token_id = list(ends)
        model = as_asked(plain)
        options, tokenizer = {"style": "trained", "template": case.template}, case.tokenizer

    def engine(batch_size: int) -> TransformersEngine:
        return TransformersEngine(
            lambda: model, tokenizer, model=case.name, batch_size=batch_size, **options
        )

    return engine, plain


def measure_case(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both ways for one model."""
    case, clock = (
        load_case(name, *(_SKEWED[name] if arguments.skewed else ())),
        CLOCKS[arguments.clock],
    )
    engine, plain = teacher_of(case, arguments)
    dataset = case.dataset(8)
    limit = dataset.longest_thought + int(dataset.answer_lengths.max())
    limit = arguments.max_new_tokens or (_SKEWED_LIMIT if arguments.skewed else limit)
    sampling = Sampling(max_new_tokens=limit)
    examples = case.examples(arguments.questions)
    questions = [{"question": example.question, "answer": example.answer} for example in examples]
    for batch_size in (arguments.batch_size, 1):  # warms up
        measure(engine(batch_size), questions[:2], Sampling(max_new_tokens=2), clock)
    ours = measure(engine(arguments.batch_size), questions, sampling, clock)
    alone = ours.traces[: arguments.alone or None]
    theirs = measure(engine(1), questions[: len(alone)], sampling, clock)
    num_same = count_same(alone, theirs.traces, arguments.device)
    figures = {
        "num_questions": len(ours.traces),
        "num_questions_one_at_a_time": len(theirs.traces),
        "batch_size": arguments.batch_size,
        "max_new_tokens": limit,
        "mean_tokens": ours.num_tokens / len(ours.traces),
        "most_tokens": max(trace["num_tokens"] for trace in ours.traces),
        "seconds": {"batched": ours.seconds, "one_at_a_time": theirs.seconds},
        "tokens_per_s": {"batched": ours.tokens_per_s, "one_at_a_time": theirs.tokens_per_s},
        "ratio": ours.questions_per_s / theirs.questions_per_s,
    }
    print(
        f"{name:>10}: {figures['mean_tokens']:.0f} tokens each (most: {figures['most_tokens']}): "
        f"batches of {arguments.batch_size} "
        f"{ours.tokens_per_s:,.0f} tokens/s, one at a time {theirs.tokens_per_s:,.0f}, ratio "
        f"{figures['ratio']:.1f}; {num_same} of {len(theirs.traces)} traces are equal",
        flush=True,
    )
    if arguments.plain:
        rate = with_generate(engine(1), plain, alone[: arguments.plain], limit, clock, batch_size=1)
        figures["questions_per_s_plain"] = rate
        figures["ratio_plain"] = ours.questions_per_s / rate
        size, rates, ratios = arguments.batch_size, [], []
        for _ in range(arguments.rounds):  # in turns: the first one of a size also gets its memory
            rate = with_generate(engine(1), plain, ours.traces, limit, clock, batch_size=size)
            again = measure(engine(size), questions, sampling, clock)
            rates.append(rate)
            ratios.append(again.questions_per_s / rate)
        figures["questions_per_s_plain_batched"] = statistics.median(rates)
        figures["ratio_plain_batched"] = statistics.median(ratios)
        figures["ratios_plain_batched"] = ratios
        print(
            f"{name:>10}: ratio to plain generate {figures['ratio_plain']:.1f}, to padded batches "
            f"of it {figures['ratio_plain_batched']:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    return figures


def main() -> None:
    """Measures, prints, and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="folder of a trained teacher of the case")
    parser.add_argument("--skewed", action="store_true", help="lengths that differ widely")
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--alone", type=int, help="of them one at a time (default: all)")
    parser.add_argument("--plain", type=int, default=0, help="of them with plain generate, too")
    parser.add_argument("--rounds", type=int, default=1, help="of --plain in padded batches")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--max_new_tokens", type=int, help="default: as a worked solution has")
    run_cases(parser, measure_case, default=("quickstart",))


if __name__ == "__main__":
    main()
