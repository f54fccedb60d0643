"""`unspoken evaluate`, `score` and `compare`: answers, and what they are worth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unspoken.cli.options import Flag, Overwrite, quiet
from unspoken.common.errors import RecipeError, settings_of
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.parallel.world import is_main_process
from unspoken.recipe.sections import TemplateName


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
    from unspoken.measure.evaluate import EvaluateOptions, evaluate_folder
    from unspoken.parallel.world import join_other_processes, leave_processes
    from unspoken.recipe import Model
    from unspoken.report import print_metrics

    process = join_other_processes()
    model = Model(
        name=base_model,
        quantization=quantization,
        local_files_only=local_files_only,
        trust_remote_code=trust_remote_code,
    )
    options = EvaluateOptions(
        max_new_tokens, batch_size, num_latency, num_samples, temperature, top_p, seed
    )
    try:
        with settings_of({"model.name": "base_model", "adapter": "lora_model"}):
            metrics = evaluate_folder(
                model,
                examples,
                output,
                options,
                adapter=lora_model,
                template=template,
                dtype=_dtype(dtype),
                overwrite=overwrite,
                process=process,
                progress="evaluate",
            )
    except KeyboardInterrupt:
        print("interrupted: finished batches are kept; run the command again to go on")
        sys.exit(EXIT_INTERRUPTED)
    if process is not None:
        leave_processes(process)
    if is_main_process():
        print_metrics(metrics)
        print(f"predictions: {output}")


def _dtype(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    import torch

    can = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bfloat16" if can else "float32"
