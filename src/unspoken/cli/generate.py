"""`unspoken generate`: questions -> traces."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from unspoken.cli.options import (
    AskingFlags,
    EngineFlags,
    Overwrite,
    PortionFlags,
    QuestionFlags,
    SamplingFlags,
)
from unspoken.cli.output import silence_libraries
from unspoken.cli.traces import parse_shard, summary_lines
from unspoken.common.errors import SettingError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.parallel.world import World, is_main_process, read_world
from unspoken.teach.engines.make import EngineName, EngineOptions, make_engine

if TYPE_CHECKING:
    from unspoken.teach.traces.write import GenerateSummary


def generate(
    *,
    input: str,
    output: Path,
    engine: EngineName = "transformers",
    options: Annotated[EngineFlags, Parameter(name="*")] = EngineFlags(),  # noqa: B008
    columns: Annotated[QuestionFlags, Parameter(name="*")] = QuestionFlags(),  # noqa: B008
    portion: Annotated[PortionFlags, Parameter(name="*")] = PortionFlags(),  # noqa: B008
    asking: Annotated[AskingFlags, Parameter(name="*")] = AskingFlags(),  # noqa: B008
    sampling: Annotated[SamplingFlags, Parameter(name="*")] = SamplingFlags(),  # noqa: B008
    overwrite: Overwrite = False,
) -> None:
    """Have a teacher write chains of thought.

    Questions in, traces out, one record at a time. What is done is skipped: run the same command
    again after an interruption, also with --overwrite, which replaces what is whole or was made
    with other settings.

    Parameters
    ----------
    input
        questions: a JSONL, JSON, CSV or Parquet file, a folder with a data set, or the name of one
        on the Hugging Face hub; with question and, if known, answer and id
    output
        traces: JSONL with question and cot, and beside it OUTPUT.settings.json
    engine
        transformers: the model in teacher_dir; openai: a server at base_url; worked: the solutions
        that the questions carry, or those of unspoken data multiplication and arithmetic
    """
    from unspoken.common.files import refuse_existing
    from unspoken.data.questions import read_questions_from
    from unspoken.parallel.world import join_other_processes, leave_processes
    from unspoken.teach.traces.together import write_together
    from unspoken.teach.traces.write import generate_traces, shard_path

    refuse_existing([output], overwrite=True, inputs=[input])
    part = parse_shard(portion.shard)
    _refuse_shard_of_processes(portion.shard, read_world())
    if engine == "transformers":
        silence_libraries()
    teacher = make_engine(engine, EngineOptions(**options.given()))
    questions = read_questions_from(input, **columns.given())
    process = join_other_processes()
    settings = _trace_settings(portion, asking, sampling)

    def write(path: Path, share: tuple[int, int]) -> GenerateSummary:
        progress = "generate" if is_main_process() else None
        return generate_traces(
            teacher,
            questions,
            path,
            shard=share,
            overwrite=overwrite,
            keep_whole=path.parent != output.parent,  # one of the shares of several processes
            progress=progress,
            **settings,
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


def _trace_settings(
    portion: PortionFlags, asking: AskingFlags, sampling: SamplingFlags
) -> dict[str, Any]:
    """The arguments of `generate_traces` that decide what traces are written."""
    from unspoken.measure.sampling import Sampling

    settings = {**asking.given(), **portion.given(), "sampling": Sampling(**sampling.given())}
    settings.pop("shard", None)
    return settings


def _refuse_shard_of_processes(shard: str | None, world: World) -> None:
    if world.size > 1 and shard is not None:
        raise SettingError(
            "shard",
            found=f"it with {world.size} processes, which share the questions out themselves",
            needed="one or the other",
            remedy="leave it out, or the launcher",
        )
