"""`unspoken evaluate`, `score` and `compare`: answers, and what they are worth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unspoken.commands import Flag, Overwrite, quiet
from unspoken.common.errors import RecipeError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.parallel.world import is_main_process
from unspoken.recipe.sections import TemplateName

if TYPE_CHECKING:
    from unspoken.measure.compare import Comparison, Paired


def evaluate(
    *,
    base_model: Annotated[str, Parameter(name=["--base-model", "--model"])],
    lora_model: str | None = None,
    input: Path,
    output: Path,
    template: TemplateName | None = None,
    max_new_tokens: int | None = None,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    limit: int | None = None,
    num_latency: int = 50,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    quantization: Literal["nf4"] | None = None,
    local_files_only: Flag = False,
    trust_remote_code: Flag = False,
    overwrite: Overwrite = False,
) -> None:
    """Ask a model questions and measure its answers. Stopped, the same command goes on.

    Parameters
    ----------
    base_model
        Folder or hub name, of a model or of an adapter that names its own base model.
    lora_model
        Folder of a LoRA adapter that is laid over the base model.
    input
        JSONL with question and, where there are some, answer and category.
    output
        Predictions: JSONL with question, generated, pred, gold, correct and token counts.
    template
        How questions are put (default: what the model's unspoken.json says, else plain).
    max_new_tokens
        Limit per answer (default: what unspoken.json says, else 256).
    num_samples
        Answers to each question, for pass@k and majority@k; needs a temperature.
    temperature
        0 takes the likeliest token.
    top_p
        With a temperature: only the likeliest tokens with this much probability together.
    seed
        Of what is drawn.
    batch_size
        Answers written together.
    limit
        Only the first questions.
    num_latency
        Questions timed one at a time; 0 for none.
    dtype
        Of the weights; auto: bfloat16 on a GPU that has it, else float32.
    quantization
        nf4: the base model's weights in 4 bits.
    local_files_only
        Never touch the network.
    trust_remote_code
        Run Python code that came with the model.
    """
    from unspoken.common.files import refuse_existing
    from unspoken.data.example import read_questions

    refuse_existing([output], overwrite=overwrite)
    if limit is not None and limit < 1:
        raise RecipeError(f"--limit: found {limit}; needed: at least 1; raise it or leave it out")
    examples = read_questions(input, limit=limit)
    quiet()
    from unspoken.measure.evaluate import evaluate_folder
    from unspoken.parallel.world import joined_processes, part_processes
    from unspoken.recipe import Model
    from unspoken.report import print_metrics

    process = joined_processes()
    model = Model(
        name=base_model,
        quantization=quantization,
        local_files_only=local_files_only,
        trust_remote_code=trust_remote_code,
    )
    try:
        metrics = evaluate_folder(
            model,
            examples,
            output,
            adapter=lora_model,
            template=template,
            max_new_tokens=max_new_tokens,
            num_samples=num_samples,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            batch_size=batch_size,
            num_latency=num_latency,
            dtype=_dtype(dtype),
            overwrite=overwrite,
            process=process,
            progress="evaluate",
        )
    except KeyboardInterrupt:
        print("interrupted: finished batches are kept; run the command again to go on")
        sys.exit(EXIT_INTERRUPTED)
    if process is not None:
        part_processes(process)
    if is_main_process():
        print_metrics(metrics)
        print(f"predictions: {output}")


def score(*, input: Path, output: Path, overwrite: Overwrite = False) -> None:
    """Judge existing answers without a model.

    Parameters
    ----------
    input
        JSONL with generated and gold.
    output
        The same records with pred and correct.
    """
    from unspoken.measure.score import score_file
    from unspoken.report import print_metrics

    print_metrics(score_file(input, output, overwrite))
    print(f"scored: {output}")


def compare(
    first: Path, second: Path, /, *, output: Path | None = None, overwrite: Overwrite = False
) -> None:
    """Compare two models' answers to the same questions.

    Parameters
    ----------
    first
        Predictions, A: a file of unspoken evaluate or score, or a folder of a run.
    second
        Predictions, B.
    output
        Write the figures as JSON, too.
    """
    from unspoken.common.files import atomic_output, refuse_existing
    from unspoken.measure.compare import compare_predictions

    if output is not None:
        refuse_existing([output], overwrite=overwrite)
    comparison = compare_predictions(first, second)
    if output is not None:
        with atomic_output(output, overwrite=overwrite) as file:
            text = json.dumps(comparison.to_json(), indent=2, ensure_ascii=False)
            file.write(text.encode() + b"\n")
    print("\n".join(comparison_lines(comparison)))
    if output is not None:
        print(f"comparison: {output}")


def comparison_lines(comparison: Comparison) -> list[str]:
    """What `unspoken compare` tells."""
    from unspoken.report.show import numbers

    overall = comparison.overall
    both = (overall.first, overall.second)
    rows = [
        ("", "A", "B"),
        ("accuracy", *(numbers.percent(side.accuracy) for side in both)),
        ("95 % interval", *(numbers.percent_range(side.interval) for side in both)),
        ("right here only", *(numbers.whole(side.num_only) for side in both)),
        ("mean tokens", *(numbers.mean(side.mean_tokens) for side in both)),
    ]
    left_out = [
        (comparison.num_only_in_first, "in A only"),
        (comparison.num_only_in_second, "in B only"),
        (comparison.num_ungraded, "without a gold answer"),
    ]
    notes = "; ".join(f"{count:,} {why}" for count, why in left_out if count)
    lines = [
        f"A: {comparison.first}",
        f"B: {comparison.second}",
        f"questions: {overall.num_questions:,}" + (f" (left out: {notes})" if notes else ""),
        "",
        *_table(rows),
        "",
        f"B - A: {_points(overall)} points, 95 % interval {_points_range(overall)}; "
        f"p = {overall.p_value:.3g} (McNemar)",
    ]
    if comparison.categories:
        lines += ["", *_table(_category_rows(comparison))]
    return [line.replace("\u00a0", " ").replace(numbers.DASH, "-") for line in lines]


def _category_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    from unspoken.report.show import numbers

    header = ("category", "questions", "A", "B", "B - A", "95 % interval", "p")
    rows = [
        (
            name,
            numbers.whole(paired.num_questions),
            numbers.percent(paired.first.accuracy),
            numbers.percent(paired.second.accuracy),
            _points(paired),
            _points_range(paired),
            f"{paired.p_value:.2g}",
        )
        for name, paired in comparison.categories.items()
    ]
    return [header, *rows]


def _points(paired: Paired) -> str:
    return f"{100 * paired.difference:+.1f}"


def _points_range(paired: Paired) -> str:
    low, high = paired.interval
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return lines


def _dtype(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    import torch

    can = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bfloat16" if can else "float32"
