"""`tacit evaluate` and `tacit score`: answers, and what they are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tacit.commands import Overwrite, quiet


def evaluate(
    *,
    model: Annotated[str, Parameter(name=["--model", "--base-model"])],
    input: Path,
    output: Path,
    template: Literal["plain", "compact", "chat"] | None = None,
    max_new_tokens: int | None = None,
    batch_size: int = 64,
    limit: int | None = None,
    num_latency: int = 50,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    trust_remote_code: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Ask a model questions and measure its answers.

    Parameters
    ----------
    model
        Folder or hub name.
    input
        JSONL with question and answer.
    output
        Predictions: JSONL with question, generated, pred, gold, correct and token counts.
    template
        How questions are put (default: what the model's tacit.json says, else plain).
    max_new_tokens
        Limit per answer (default: what tacit.json says, else 256).
    limit
        Only the first questions.
    num_latency
        Questions timed one at a time; 0 for none.
    dtype
        Of the weights.
    trust_remote_code
        Run Python code that came with the model.
    """
    from tacit.atomic import refuse_existing
    from tacit.example import read_questions

    refuse_existing([output], overwrite=overwrite)
    examples = read_questions(input, limit=limit)
    quiet()
    from tacit.evaluate import evaluate_folder
    from tacit.recipe import Model
    from tacit.report import print_metrics

    metrics = evaluate_folder(
        Model(name=model, trust_remote_code=trust_remote_code),
        examples,
        output,
        template=template,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        num_latency=num_latency,
        dtype=dtype,
        overwrite=overwrite,
        progress="evaluate",
    )
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
    from tacit.report import print_metrics
    from tacit.score import score_file

    print_metrics(score_file(input, output, overwrite))
    print(f"scored: {output}")
