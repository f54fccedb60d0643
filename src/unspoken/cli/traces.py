"""What the verbs that write traces have in common: parts of the work, and what they print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from unspoken.common.errors import SettingError

if TYPE_CHECKING:
    from unspoken.teach.traces.write import GenerateSummary


def parse_shard(shard: str | None) -> tuple[int, int]:
    """`3/16` as (3, 16); all of the work as (1, 1).

    Raises:
        SettingError: it is no part of the work.
    """
    if shard is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise SettingError(
            "shard",
            found=repr(shard),
            needed="part/parts, such as 1/16 to 16/16 (in a SLURM array 1-16: --shard "
            "$SLURM_ARRAY_TASK_ID/16)",
            remedy="correct it",
        )
    return int(match[1]), int(match[2])


def summary_lines(summary: GenerateSummary) -> list[str]:
    """What `unspoken generate` tells at its end."""
    lines = [
        f"{summary.output}: {summary.num_wanted - summary.num_missing:,} of "
        f"{summary.num_wanted:,} traces, {summary.num_written:,} written now and "
        f"{summary.num_done_before:,} before"
    ]
    if summary.num_torn_bytes:
        lines.append(f"a torn last line was removed ({summary.num_torn_bytes} bytes)")
    if summary.num_tokens is None or summary.num_prompt_tokens is None:
        lines.append("tokens: not known, because the server does not count them in each answer")
    elif summary.num_tokens:
        lines.append(
            f"tokens: {summary.num_prompt_tokens:,} read, {summary.num_tokens:,} written"
            + (f"; {summary.tokens_per_s or 0:,.0f} tokens/s" if summary.num_written else "")
        )
    if summary.cost:
        lines.append(f"cost: {summary.cost:.4f}")
    if summary.interrupted:
        lines.append(f"interrupted: {summary.num_missing:,} are missing; run the command again")
    if summary.num_retries:
        again = "retry" if summary.num_retries == 1 else "retries"
        lines[-1] += f"; {summary.num_retries:,} {again}"
    if summary.num_left_out:
        lines.append(
            f"note: questions before --start_index without a trace in it: {summary.num_left_out:,} "
            "(an interrupted run does not write them in order); where they are wanted, leave "
            "--start_index and --num_samples out"
        )
    return lines
