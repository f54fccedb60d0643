"""Batched generation of traces against one question at a time, with equal traces.

Both ways go through `tacit.traces.generate_traces` with the transformers engine, the same model
and the same limit; only the batch size differs. `--plain` also asks the first questions with
`model.generate` in a loop, as a script without tacit would, and compares with that, too.

The model has random weights and runs to the limit, which is as many tokens as a worked solution
of the case has. `--model FOLDER` takes a trained teacher instead.

    python benchmarks/generation.py --output benchmarks/results/cpu-generation.json
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from cases import CASES, Case, load_case, write_results

from tacit.engines import Sampling
from tacit.engines.transformers import TransformersEngine, transformers_engine
from tacit.traces import generate_traces


def measure(
    engine: TransformersEngine, questions: list[dict[str, Any]], sampling: Sampling
) -> tuple[list[dict[str, Any]], float, float]:
    """The traces, the seconds that they took, and tokens per second."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "traces.jsonl"
        begin = time.perf_counter()
        summary = generate_traces(engine, questions, output, sampling=sampling)
        seconds = time.perf_counter() - begin
        lines = output.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines], seconds, summary.num_tokens / seconds


def require_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Stops where a trace or its count of tokens differs."""
    for one, other in zip(ours, theirs, strict=True):
        if one != other:
            raise SystemExit(f"traces differ:\n{one}\n{other}")


def in_a_loop(
    engine: TransformersEngine, model: Any, traces: list[dict[str, Any]], max_new_tokens: int
) -> float:
    """Seconds for the same questions with plain `generate`; stops where an answer differs."""
    from tacit.prompts import prompt_writer

    writer = prompt_writer(engine.style)
    begin = time.perf_counter()
    for trace in traces:
        ids = engine.encode(writer(trace["question"]))
        prompt = torch.tensor([ids], device=model.device)
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=engine.tokenizer.pad_token_id,
        )
        text = engine.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
        # what follows the traces' stop text is not part of them
        if not text.strip().startswith(trace["cot"]):
            raise SystemExit(f"plain generate differs:\n{trace}\n{text}")
    return time.perf_counter() - begin


def teacher_of(case: Case, arguments: argparse.Namespace) -> tuple[Any, Any]:
    """A function that makes an engine of a batch size, and the model."""
    if arguments.model:
        first = transformers_engine(arguments.model)
        model: Any = None

        def load() -> Any:
            nonlocal model
            model = model if model is not None else first._load_model()
            return model

        options = {"style": first.style, "template": first._template}
        tokenizer = first.tokenizer
        load()
    else:
        model = case.model().to(arguments.device).eval()
        options, tokenizer = {"style": "trained", "template": case.template}, case.tokenizer

    def engine(batch_size: int) -> TransformersEngine:
        return TransformersEngine(
            lambda: model, tokenizer, model=case.name, batch_size=batch_size, **options
        )

    return engine, model


def measure_case(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both ways for one model."""
    case = load_case(name)
    engine, model = teacher_of(case, arguments)
    dataset = case.dataset(8)
    limit = arguments.max_new_tokens or dataset.longest_thought + int(dataset.answer_lengths.max())
    sampling = Sampling(max_new_tokens=limit)
    examples = case.examples(arguments.questions)
    questions = [{"question": example.question, "answer": example.answer} for example in examples]
    measure(engine(arguments.batch_size), questions[:2], Sampling(max_new_tokens=2))  # warms up
    ours, seconds, rate = measure(engine(arguments.batch_size), questions, sampling)
    alone = ours[: arguments.alone] if arguments.alone else ours
    theirs, seconds_alone, rate_alone = measure(engine(1), questions[: len(alone)], sampling)
    require_same(alone, theirs)
    # the same number of questions on both sides
    ratio = (seconds_alone / len(theirs)) / (seconds / len(ours))
    figures = {
        "num_questions": len(ours),
        "num_questions_one_at_a_time": len(theirs),
        "batch_size": arguments.batch_size,
        "max_new_tokens": limit,
        "seconds": {"batched": seconds, "one_at_a_time": seconds_alone},
        "tokens_per_s": {"batched": rate, "one_at_a_time": rate_alone},
        "ratio": ratio,
    }
    if arguments.plain:
        seconds_plain = in_a_loop(engine(1), model, alone[: arguments.plain], limit)
        rate_plain = min(arguments.plain, len(alone)) / seconds_plain
        figures["questions_per_s_plain"] = rate_plain
        figures["ratio_plain"] = len(ours) / seconds / rate_plain
    print(
        f"{name:>10}: {limit} tokens each: batches of {arguments.batch_size} {rate:,.0f} tokens/s, "
        f"one at a time {rate_alone:,.0f}, ratio {ratio:.1f}; {len(theirs)} traces are equal",
        flush=True,
    )
    return figures


def main() -> None:
    """Measures, prints, and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["quickstart"])
    parser.add_argument("--model", type=Path, help="folder of a trained teacher of the case")
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument("--alone", type=int, help="of them one at a time (default: all)")
    parser.add_argument("--plain", type=int, default=0, help="of them with plain generate, too")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--max_new_tokens", type=int, help="default: as a worked solution has")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    load = os.getloadavg()
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = {name: measure_case(name, arguments) for name in arguments.cases}
    write_results(arguments.output, results, load)


if __name__ == "__main__":
    main()
