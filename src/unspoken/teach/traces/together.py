"""Traces that several processes write at once: a share each, joined by the main one."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from unspoken.teach.traces.merge import merge_traces
from unspoken.teach.traces.settings import settings_path
from unspoken.teach.traces.write import GenerateSummary, shard_path


def write_together(
    write: Callable[[Path, tuple[int, int]], GenerateSummary],
    output: Path,
    process: Any,
    *,
    alone: bool = False,
    overwrite: bool = False,
) -> GenerateSummary:
    """What `write` did in all processes; all of them call this.

    Shares that were begun are finished, with any number of processes. What one process alone
    began in `output`, the main process goes on with.

    Args:
        write: writes one share, (i, n) as in `generate_traces`, into a file of its own.
        output: JSONL; is there once all shares are.
        process: Accelerate's PartialState.
        alone: the main process does everything.
        overwrite: begin anew, and replace `output` at the end.
    """
    from accelerate.utils import broadcast_object_list, gather_object

    rank, world, count = process.process_index, process.num_processes, 1
    folder = shares_folder(output)
    if process.is_main_process:
        if overwrite:
            shutil.rmtree(folder, ignore_errors=True)
        if not alone:
            count = _num_shares(output, folder, world, overwrite)
    count = broadcast_object_list([count])[0]
    shares = [(number, count) for number in range(1, count + 1)]
    files = [shard_path(folder / output.name, share) for share in shares]
    if count == 1:
        files = [output]
    done: list[GenerateSummary] = []
    for file, share in list(zip(files, shares, strict=True))[rank::world]:
        done.append(write(file, share))
        if done[-1].interrupted:
            break
    done = gather_object(done)
    together = _joined(done, output)
    if count > 1 and process.is_main_process and not together.interrupted:
        merge_traces(files, output, overwrite=overwrite)
        shutil.rmtree(folder)
    process.wait_for_everyone()
    return together


def shares_folder(output: Path) -> Path:
    """Where the processes write their shares, which no flag of the user's names."""
    return output.parent / f".{output.name}.shares"


def remove_traces(output: Path) -> None:
    """Removes traces, and what is beside them."""
    shutil.rmtree(shares_folder(output), ignore_errors=True)
    for path in (output, settings_path(output)):
        path.unlink(missing_ok=True)


def _num_shares(output: Path, folder: Path, world: int, overwrite: bool) -> int:
    """Of those that were begun, or one for each process."""
    if output.exists() and not overwrite:
        shutil.rmtree(folder, ignore_errors=True)  # a kill came between joining and removing
        return 1
    counts: Counter[int] = Counter()
    for path in folder.glob("*-of-*"):
        if match := re.search(rf"-of-(\d{{5}}){re.escape(output.suffix)}$", path.name):
            counts[int(match[1])] += path.stat().st_size
    return counts.most_common(1)[0][0] if counts else world


def _joined(summaries: list[GenerateSummary], output: Path) -> GenerateSummary:
    """What the processes did, as one; they worked at the same time."""
    costs = [summary.cost for summary in summaries if summary.cost is not None]
    numbers = (
        "num_wanted", "num_done_before", "num_written", "num_missing", "num_torn_bytes",
        "num_prompt_tokens", "num_tokens", "tokens_per_s",
    )  # fmt: skip
    sums: dict[str, Any] = {key: sum(getattr(each, key) for each in summaries) for key in numbers}
    return replace(
        summaries[0],
        **sums,
        output=output,
        seconds=max(summary.seconds for summary in summaries),
        cost=sum(costs) if costs else None,
        interrupted=any(summary.interrupted for summary in summaries),
    )
