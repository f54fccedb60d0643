"""unspoken's evaluation against one question at a time with plain `generate`, with equal answers.

unspoken: `unspoken.measure.evaluate.evaluate`, many questions at once. One at a time: the same
prompts through `model.generate` in a loop, with the same limit, read and judged by the same
function. Both rates include that. The loop asks only the first `--alone` questions, since its rate
does not depend on their number; what is generated for them has to be the same token by token.

Models have random weights (`--model FOLDER` takes a trained one instead of the quickstart's), so
generation runs to the limit, which is as many tokens as a trained model writes: the thought and
the answer (`explicit`), or the answer alone (`internalized`). With a trained model the limit is
as in its unspoken.json.

    python benchmarks/evaluation.py --output benchmarks/results/cpu-evaluation.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from cases import CLOCKS, Case, as_asked, load_case, run_cases

from unspoken import recipe
from unspoken.data.example import Example
from unspoken.measure.evaluate import EvaluateOptions, evaluate
from unspoken.measure.predictions import Prediction, judge
from unspoken.models.card import ModelCard
from unspoken.models.load import load_model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
#: Questions for unspoken, and how many of them are asked one at a time.
QUESTIONS = {
    ("quickstart", "explicit"): (256, 256),
    ("quickstart", "internalized"): (256, 256),
    ("gpt2", "explicit"): (64, 4),
    ("gpt2", "internalized"): (256, 32),
}


def one_at_a_time(
    model: Any, case: Case, examples: Sequence[Example], max_new_tokens: int
) -> list[Prediction]:
    """What the model answers, asked in a loop."""
    predictions = []
    end = case.tokenizer.eos_token_id
    for example in examples:
        inputs = case.tokenizer(case.template.prompt(example.question), return_tensors="pt")
        prompt = inputs["input_ids"].to(model.device)
        output = model.generate(
            prompt,
            attention_mask=inputs["attention_mask"].to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
        )
        ids = output[0, prompt.shape[1] :].tolist()
        stopped = ids[-1] == end
        text = case.tokenizer.decode(ids[:-1] if stopped else ids, skip_special_tokens=True)
        counts = {"num_prompt_tokens": prompt.shape[1], "num_tokens": len(ids)}
        predictions.append(judge(example, text, **counts, stopped=stopped))
    return predictions


def count_different(
    ours: Sequence[Prediction], theirs: Sequence[Prediction], case: Case, exact: bool
) -> int:
    """How many answers differ in their token ids; every id but padding is a character.

    Args:
        ours, theirs: as many of `ours` count as there are of `theirs`.
        case: its tokenizer.
        exact: stop at the first. On a GPU, and in bf16, batches of another size are added up in
            another order, and a random model's two best tokens are often equal but for rounding.
    """
    different = 0
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        same_ids = case.tokenizer(one.generated) == case.tokenizer(other.generated)
        if not same_ids or one != other:
            if exact:
                raise SystemExit(f"question {number}: answers differ:\n{one}\n{other}")
            different += 1
    return different


def measure(
    case: Case,
    model: Any,
    kind: str,
    *,
    max_new_tokens: int,
    counts: tuple[int, int],
    batch_size: int,
    clock: Callable[[], float],
) -> dict[str, Any]:
    """Both rates for one model and one length of output."""
    num_questions, num_alone = counts
    examples = case.examples(num_questions)
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "batch_size": batch_size}
    short, asked = EvaluateOptions(max_new_tokens=2), as_asked(model)
    evaluate(asked, case.tokenizer, case.template, examples[:2], short)  # warms up
    begin = clock()
    options = EvaluateOptions(**settings)
    ours, metrics = evaluate(asked, case.tokenizer, case.template, examples, options)
    seconds = clock() - begin
    one_at_a_time(model, case, examples[:1], 2)
    begin = clock()
    theirs = one_at_a_time(model, case, examples[:num_alone], max_new_tokens)
    seconds_alone = clock() - begin
    exact = model.device.type == "cpu" and model.dtype == torch.float32
    different = count_different(ours, theirs, case, exact)
    rates = {"unspoken": len(ours) / seconds, "one_at_a_time": len(theirs) / seconds_alone}
    figures = {
        "output": kind,
        "num_questions": len(ours),
        "num_questions_one_at_a_time": len(theirs),
        "num_different": different,
        "dtype": str(model.dtype).removeprefix("torch."),
        **settings,
        "mean_tokens": metrics.mean_tokens,
        "accuracy": metrics.accuracy,
        "questions_per_s": rates,
        "tokens_per_s": {way: rate * (metrics.mean_tokens or 0) for way, rate in rates.items()},
        "ratio": rates["unspoken"] / rates["one_at_a_time"],
    }
    print(
        f"{case.name:>10}, {kind}: {metrics.mean_tokens:.0f} tokens each: unspoken "
        f"{rates['unspoken']:,.2f} questions/s (batch {min(batch_size, len(ours))}), one at a time "
        f"{rates['one_at_a_time']:,.2f}, ratio {figures['ratio']:.1f}; same tokens for "
        f"{len(theirs) - different} of {len(theirs)} questions",
        flush=True,
    )
    return figures


def measure_case(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Both lengths of output, or a trained model's own."""
    overrides = []
    if name == "gpt2" and arguments.layers:
        overrides.append(f"model.config.n_layer={arguments.layers}")
    if name == "gpt2" and arguments.width:
        overrides.append(f"model.config.n_embd={arguments.width}")
    case = load_case(name, *overrides)
    batch_size = arguments.batch_size or case.recipe.evaluate.batch_size
    if name == "gpt2" and not arguments.batch_size:
        batch_size = 256
    dataset = case.dataset(8)
    answer = int(dataset.answer_lengths.max())
    limits = {"explicit": dataset.longest_thought + answer, "internalized": answer}
    model = case.model()
    if name == "quickstart" and arguments.model:
        card = ModelCard.read(arguments.model)
        settings = recipe.Model(name=str(arguments.model), local_files_only=True)
        model = load_model(settings, case.tokenizer)
        limits = {"trained": card.max_new_tokens if card else limits["explicit"]}
    model = model.to(arguments.device, DTYPES[arguments.dtype]).eval()
    results = []
    for kind, limit in limits.items():
        if kind not in ("trained", *arguments.outputs):
            continue
        counts = QUESTIONS[name, "explicit" if kind == "trained" else kind]
        counts = (arguments.questions or counts[0], arguments.alone or counts[1])
        sizes: dict[str, Any] = {
            "max_new_tokens": limit,
            "counts": counts,
            "batch_size": batch_size,
        }
        sizes["clock"] = CLOCKS[arguments.clock]
        results.append(measure(case, model, kind, **sizes))
    return results


def main() -> None:
    """Measures, prints, and writes the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    lengths = ("explicit", "internalized")
    parser.add_argument("--outputs", nargs="+", choices=lengths, default=lengths)
    parser.add_argument("--model", type=Path, help="folder of a trained quickstart model")
    parser.add_argument("--questions", type=int, help="for unspoken; default 256, gpt2 explicit 64")
    parser.add_argument("--alone", type=int, help="of them one at a time; default 256, gpt2 32, 4")
    parser.add_argument("--batch_size", type=int, help="default: the quickstart's 250; gpt2 256")
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="float32")
    parser.add_argument("--layers", type=int, help="gpt2 only: fewer layers, to try the script")
    parser.add_argument("--width", type=int, help="gpt2 only: of 12 heads, to try the script")
    run_cases(parser, measure_case)


if __name__ == "__main__":
    main()
