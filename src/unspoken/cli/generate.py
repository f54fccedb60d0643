"""`unspoken generate` and `merge`: flags -> an engine and its traces, and what to print."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unspoken.cli.options import Overwrite, quiet
from unspoken.common.errors import RecipeError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.parallel.world import is_main_process, read_world
from unspoken.teach.engines.make import EngineName, EngineOptions, make_engine

if TYPE_CHECKING:
    from unspoken.teach.traces.write import GenerateSummary

_DEFAULT = EngineOptions()


def generate(
    *,
    input: str,
    output: Path,
    engine: EngineName = "transformers",
    options: Annotated[EngineOptions, Parameter(name="*", negative="")] = _DEFAULT,
    subset: str | None = None,
    split: str = "train",
    question_field: str = "question",
    answer_field: str = "answer",
    max_new_tokens: int = 512,
    start_index: int = 0,
    num_samples: int | None = None,
    samples_per_question: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    few_shot: Path | None = None,
    system_prompt: str | None = None,
    shard: str | None = None,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Have a teacher write chains of thought: questions in, traces out, one record at a time.

    What is done is skipped: run the same command again after an interruption.

    Parameters
    ----------
    input
        Questions: a JSONL, JSON, CSV or Parquet file, a folder with a data set, or the name of
        one on the Hugging Face hub; with question and, if known, answer and id.
    output
        Traces: JSONL with question and cot, and beside it OUTPUT.settings.json.
    engine
        transformers: the model in --teacher_dir; openai: a server at --base_url; worked: the
        solutions that the questions carry, or those of unspoken data multiplication and arithmetic.
    subset
        Of a data set that has several, such as main of openai/gsm8k.
    split
        Of a data set.
    question_field
        Where the question stands.
    answer_field
        Where the gold answer stands.
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
    shard
        Such as 3/16: the third of sixteen parts, for SLURM arrays from 1; the part's file is
        named after OUTPUT, and unspoken merge joins them.
    seed
        Same seed, same draws.
    """
    from unspoken.data.questions import read_questions_from
    from unspoken.measure.sampling import Sampling
    from unspoken.parallel.world import join_other_processes, leave_processes
    from unspoken.teach.traces.together import write_together
    from unspoken.teach.traces.write import generate_traces, shard_path

    part = parse_shard(shard)
    num_processes = read_world().size
    if num_processes > 1 and shard is not None:
        raise RecipeError(
            f"--shard: found it with {num_processes} processes, which share the questions out "
            "themselves; needed: one or the other; leave --shard out, or the launcher"
        )
    if engine == "transformers":
        quiet()
    made = make_engine(engine, options)
    questions = read_questions_from(
        input,
        subset=subset,
        split=split,
        question_field=question_field,
        answer_field=answer_field,
    )
    process = join_other_processes()

    def write(path: Path, share: tuple[int, int]) -> GenerateSummary:
        return generate_traces(
            made,
            questions,
            path,
            sampling=Sampling(max_new_tokens, temperature, top_p, seed),
            samples_per_question=samples_per_question,
            start_index=start_index,
            num_samples=num_samples,
            shard=share,
            system_prompt=system_prompt,
            few_shot=few_shot,
            overwrite=overwrite,
            progress="generate" if is_main_process() else None,
        )

    if process is None:
        summary = write(shard_path(output, part), part)
    else:
        alone = engine != "transformers"
        summary = write_together(write, output, process, alone=alone, overwrite=overwrite)
        leave_processes(process)
    if is_main_process():
        print("\n".join(summary_lines(summary)))
    if summary.interrupted:
        sys.exit(EXIT_INTERRUPTED)


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


def parse_shard(shard: str | None) -> tuple[int, int]:
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
