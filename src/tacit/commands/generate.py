"""`tacit generate` and `tacit merge`: flags -> an engine and its traces, and what to print."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tacit.commands import Flag, Overwrite
from tacit.errors import RecipeError
from tacit.interrupt import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from tacit.engines import Engine
    from tacit.traces import GenerateSummary

EngineName = Literal["transformers", "openai", "worked"]
PromptName = Literal["auto", "chat", "plain", "trained"]


def generate(
    *,
    input: Path,
    output: Path,
    teacher_dir: str | None = None,
    engine: EngineName = "transformers",
    max_new_tokens: int = 512,
    start_index: int = 0,
    num_samples: int | None = None,
    samples_per_question: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    few_shot: Path | None = None,
    system_prompt: str | None = None,
    prompt: PromptName = "auto",
    base_url: str | None = None,
    model: str | None = None,
    api_key_env: str | None = None,
    concurrency: int = 8,
    requests_per_minute: float | None = None,
    max_cost: float | None = None,
    price_prompt: float | None = None,
    price_completion: float | None = None,
    batch_size: int = 64,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    shard: str | None = None,
    seed: int = 0,
    overwrite: Overwrite = False,
    trust_remote_code: Flag = False,
) -> None:
    """Have a teacher write chains of thought: questions in, traces out, one record at a time.

    What is done is skipped: run the same command again after an interruption.

    Parameters
    ----------
    input
        JSONL with question and, if known, answer and id.
    output
        Traces: JSONL with question and cot, and beside it OUTPUT.settings.json.
    teacher_dir
        Model folder, or the hub name of a model that was downloaded before.
    engine
        transformers: the model in --teacher_dir; openai: a server at --base_url; worked: the
        solutions that the questions carry, or multiplications worked out.
    max_new_tokens
        Limit per trace.
    start_index
        Index of the first question.
    num_samples
        Only so many questions.
    samples_per_question
        Traces of each question; more than one needs a temperature.
    temperature
        0 takes the likeliest token, more draws tokens.
    top_p
        Draw from the likeliest tokens with this much probability together.
    few_shot
        JSONL with solved questions that the teacher is shown first.
    system_prompt
        In place of the default instruction; "" leaves it out.
    prompt
        auto: as tacit trained the model, else its chat template, else the plain prompt (openai:
        chat). plain: "Q: ... A:" with an instruction.
    base_url
        openai: the server's address, such as http://localhost:8000/v1.
    model
        openai: the model's name on the server.
    api_key_env
        openai: environment variable that holds the key (default OPENAI_API_KEY, if it is set).
    concurrency
        openai: requests at a time.
    requests_per_minute
        openai: limit.
    max_cost
        openai: spend no more than this on the file; needs both prices.
    price_prompt
        openai: price of a million prompt tokens.
    price_completion
        openai: price of a million written tokens.
    batch_size
        transformers: questions at once; halved when memory runs out.
    dtype
        transformers: of the weights (auto: as saved on a GPU, float32 on a CPU).
    shard
        Such as 3/16: the third of sixteen parts, for SLURM arrays from 1; the part's file is
        named after OUTPUT, and tacit merge joins them.
    seed
        Same seed, same draws.
    trust_remote_code
        Run Python code that came with the model.
    """
    from tacit.engines import Sampling
    from tacit.traces import generate_traces, shard_path

    number, count = _parse_shard(shard)
    values: dict[str, Any] = {
        "teacher_dir": teacher_dir,
        "prompt": prompt,
        "base_url": base_url,
        "model": model,
        "api_key_env": api_key_env,
        "concurrency": concurrency,
        "requests_per_minute": requests_per_minute,
        "max_cost": max_cost,
        "price_prompt": price_prompt,
        "price_completion": price_completion,
        "batch_size": batch_size,
        "dtype": dtype,
        "trust_remote_code": trust_remote_code,
    }
    _refuse_unused(engine, values)
    made = make_engine(engine, values)
    summary = generate_traces(
        made,
        input,
        shard_path(output, (number, count)),
        sampling=Sampling(max_new_tokens, temperature, top_p, seed),
        num_samples_per_question=samples_per_question,
        start_index=start_index,
        num_samples=num_samples,
        shard=(number, count),
        system_prompt=system_prompt,
        few_shot=few_shot,
        overwrite=overwrite,
        progress="generate",
    )
    print("\n".join(summary_lines(summary)))
    if summary.interrupted:
        sys.exit(EXIT_INTERRUPTED)


def merge(
    *inputs: Path, output: Path, allow_missing: Flag = False, overwrite: Overwrite = False
) -> None:
    """Join the traces of several shards: every sample once, in the order of the questions.

    Parameters
    ----------
    inputs
        Files that tacit generate --shard wrote.
    output
        One file of traces.
    allow_missing
        Join what is there although samples are missing.
    """
    from tacit.trace_merge import merge_traces

    merged = merge_traces(inputs, output, allow_missing=allow_missing, overwrite=overwrite)
    print(f"{output}: {merged.num_samples:,} traces")
    if merged.missing:
        shown = ", ".join(merged.missing[:10])
        more = f" and {len(merged.missing) - 10:,} more" if len(merged.missing) > 10 else ""
        print(f"missing: {shown}{more}")


def summary_lines(summary: GenerateSummary) -> list[str]:
    """What a run tells at its end."""
    lines = [
        f"{summary.output}: {summary.num_wanted - summary.num_missing:,} of "
        f"{summary.num_wanted:,} traces, {summary.num_written:,} written now and "
        f"{summary.num_done_before:,} before"
    ]
    if summary.num_torn_bytes:
        lines.append(f"a torn last line was removed ({summary.num_torn_bytes} bytes)")
    if summary.num_tokens:
        lines.append(
            f"tokens: {summary.num_prompt_tokens:,} read, {summary.num_tokens:,} written"
            + (f"; {summary.tokens_per_s:,.0f} tokens/s" if summary.num_written else "")
        )
    if summary.cost:
        lines.append(f"cost: {summary.cost:.4f}")
    if summary.interrupted:
        lines.append(f"interrupted: {summary.num_missing:,} are missing; run the command again")
    return lines


def _parse_shard(shard: str | None) -> tuple[int, int]:
    """`3/16` as (3, 16)."""
    if shard is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise RecipeError(
            f"--shard: found {shard!r}; needed: part/parts, such as 1/16 to 16/16 (in a SLURM "
            "array 1-16: --shard $SLURM_ARRAY_TASK_ID/16); correct it"
        )
    return int(match[1]), int(match[2])


#: Flags that only one engine looks at, with what they are when nobody gives them.
_OPENAI = {
    "base_url": None, "model": None, "api_key_env": None, "concurrency": 8,
    "requests_per_minute": None, "max_cost": None, "price_prompt": None, "price_completion": None,
}  # fmt: skip
_TRANSFORMERS = {
    "teacher_dir": None, "batch_size": 64, "dtype": "auto", "trust_remote_code": False,
}  # fmt: skip
_UNUSED: dict[EngineName, dict[str, Any]] = {
    "transformers": _OPENAI,
    "openai": _TRANSFORMERS,
    "worked": {**_OPENAI, **_TRANSFORMERS, "prompt": "auto"},
}


def _refuse_unused(engine: EngineName, values: dict[str, Any]) -> None:
    for name, default in _UNUSED[engine].items():
        if values[name] != default:
            raise RecipeError(
                f"--{name}: found it with --engine {engine}, which does not use it; needed: "
                "another --engine, or leave it out"
            )


def make_engine(engine: EngineName, values: dict[str, Any]) -> Engine:
    """The engine of this name.

    Args:
        engine: transformers, openai or worked.
        values: the flags of `generate` that it looks at, by their names.

    Raises:
        RecipeError, EngineError, ModelError: a flag is missing or cannot be used.
    """
    if engine == "worked":
        from tacit.engines.worked import WorkedEngine

        return WorkedEngine()
    if engine == "openai":
        from tacit.engines.openai import OpenAIEngine

        if values["base_url"] is None:
            raise RecipeError(
                "--base_url: missing; needed for --engine openai: the server's address, such as "
                "http://localhost:8000/v1; give it"
            )
        if values["prompt"] == "trained":
            raise RecipeError(
                "--prompt: found trained with --engine openai; needed: auto, chat or plain; a "
                "model that tacit trained is asked by --engine transformers"
            )
        style = "plain" if values["prompt"] == "plain" else "chat"
        options = {name: values[name] for name in _OPENAI if name not in ("base_url", "model")}
        return OpenAIEngine(values["base_url"], values["model"] or "", style=style, **options)
    if values["teacher_dir"] is None:
        raise RecipeError(
            "--teacher_dir: missing; needed for --engine transformers: the teacher's model folder; "
            "give it, or choose --engine openai or worked"
        )
    from tacit.engines.transformers import transformers_engine

    options = {name: values[name] for name in ("prompt", "batch_size", "dtype")}
    remote = values["trust_remote_code"]
    return transformers_engine(values["teacher_dir"], trust_remote_code=remote, **options)
