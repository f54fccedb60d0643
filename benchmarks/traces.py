"""Traces of a real language model against plain `generate`, one question at a time.

The questions are those of the arithmetic task, asked as a teacher is asked; the answers of a model
that was not trained for them differ widely in length. Plain `generate` takes its turns before,
between and after ours, so that other work on the machine meets both. Greedy texts must be equal in
fp32; in bf16 the share of equal ones is told.

    python benchmarks/traces.py --model models/smollm2 --threads 1 --clock processor \
        --output benchmarks/results/cpu-traces-smollm2.json
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from cases import CLOCKS, plain_model, write_results

from unspoken.data.tasks.arithmetic import generate
from unspoken.measure.decode import Decoder
from unspoken.measure.stats import percentile
from unspoken.teach.engines.transformers import TransformersEngine, transformers_engine
from unspoken.teach.prompts import make_prompt_writer

#: Parts of the questions that plain `generate` is asked, with our turns in between.
_NUM_PARTS = 4


class Written(NamedTuple):
    """Completions by the number of their prompt, without end tokens, and how long they took."""

    texts: dict[int, list[int]]
    num_tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.num_tokens / self.seconds


def write_together(
    engine: TransformersEngine, prompts: Sequence[list[int]], arguments: argparse.Namespace
) -> Written:
    """All prompts by unspoken's decoder, the longest first as an engine sorts them."""
    decoder = Decoder(
        engine.loaded_model(),
        eos_token_id=engine.end_tokens(),
        pad_token_id=engine.tokenizer.pad_token_id,
        batch_size=arguments.batch_size,
    )
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]), reverse=True)
    clock = CLOCKS[arguments.clock]
    begin = clock()
    found = dict(decoder.stream([prompts[n] for n in order], arguments.max_new_tokens))
    seconds = clock() - begin
    texts = {order[place]: completion.token_ids for place, completion in found.items()}
    return Written(texts, sum(one.num_tokens for one in found.values()), seconds)


def write_alone(
    model: Any,
    engine: TransformersEngine,
    prompts: Sequence[list[int]],
    numbers: Sequence[int],
    arguments: argparse.Namespace,
) -> Written:
    """These prompts by plain `generate`, one at a time, with a model as transformers loads it."""
    ends, clock = set(engine.end_tokens()), CLOCKS[arguments.clock]
    texts, num_tokens, begin = {}, 0, clock()
    for number in numbers:
        prompt = torch.tensor([prompts[number]], device=model.device)
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=arguments.max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(ends),
            pad_token_id=engine.tokenizer.pad_token_id,
        )
        written = output[0, prompt.shape[1] :].tolist()
        num_tokens += len(written)
        texts[number] = written[:-1] if written[-1] in ends else written
    return Written(texts, num_tokens, clock() - begin)


def share_equal(ours: Written, theirs: Written) -> float:
    """Of the questions that both were asked."""
    same = sum(ours.texts[number] == text for number, text in theirs.texts.items())
    return same / len(theirs.texts)


def take_turns(
    engines: dict[str, TransformersEngine],
    prompts: Sequence[list[int]],
    arguments: argparse.Namespace,
) -> tuple[dict[str, Written], list[Written]]:
    """Ours in each precision, and plain `generate` in fp32 before, between and after."""
    step = max(1, len(prompts) // (arguments.plain or len(prompts)))
    asked = list(range(0, len(prompts), step))[: arguments.plain]
    warm = argparse.Namespace(**{**vars(arguments), "max_new_tokens": 2})
    for engine in engines.values():
        write_together(engine, prompts[:2], warm)
    ours, parts, waiting = {}, [], dict(engines)
    plain = plain_model(arguments.model)
    for part in range(_NUM_PARTS):
        numbers = asked[part::_NUM_PARTS]
        parts.append(write_alone(plain, engines["fp32"], prompts, numbers, arguments))
        print(f"plain: {parts[-1].tokens_per_s:.1f} tokens/s", flush=True)
        if waiting:
            name = next(iter(waiting))
            ours[name] = write_together(waiting.pop(name), prompts, arguments)
            print(f"{name}: {ours[name].tokens_per_s:.1f} tokens/s", flush=True)
    return ours, parts


def figures_of(ours: dict[str, Written], parts: Sequence[Written]) -> dict[str, Any]:
    """What these runs amount to."""
    plain = Written(
        {number: text for part in parts for number, text in part.texts.items()},
        sum(part.num_tokens for part in parts),
        sum(part.seconds for part in parts),
    )
    lengths = [len(text) for text in ours["fp32"].texts.values()]
    return {
        "num_questions": len(lengths),
        "num_questions_plain": len(plain.texts),
        "tokens": {f"percentile {q}": percentile(lengths, q) for q in (0, 25, 50, 75, 100)},
        "tokens_per_s": {
            "plain_fp32": plain.tokens_per_s,
            "plain_fp32_by_part": [part.tokens_per_s for part in parts],
            **{name: one.tokens_per_s for name, one in ours.items()},
        },
        "ratio": {name: one.tokens_per_s / plain.tokens_per_s for name, one in ours.items()},
        "share_equal_to_plain": {name: share_equal(one, plain) for name, one in ours.items()},
    }


def main() -> None:
    """Measures, prints, and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a chat model")
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--plain", type=int, help="of them with plain generate (default: all)")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--max_new_tokens", type=int, default=400)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    load = os.getloadavg()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    engines = {
        "fp32": transformers_engine(arguments.model, dtype="float32"),
        "bf16": transformers_engine(arguments.model, dtype="bfloat16"),
    }
    writer = make_prompt_writer(engines["fp32"].style)
    questions = generate(arguments.questions, 1)["train"]
    prompts = engines["fp32"].encode([writer(one.example.question) for one in questions])
    figures = figures_of(*take_turns(engines, prompts, arguments))
    print(figures)
    write_results(arguments.output, figures, load)
    if figures["share_equal_to_plain"]["fp32"] < 1:
        raise SystemExit("texts differ in fp32")


if __name__ == "__main__":
    main()
