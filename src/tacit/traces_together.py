"""Traces that several processes write at once: a share each, joined by the main one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tacit.trace_merge import merge_traces
from tacit.trace_settings import settings_path
from tacit.traces import GenerateSummary, shard_path


def write_together(
    write: Callable[[Path, tuple[int, int]], GenerateSummary],
    output: Path,
    process: Any,
    *,
    alone: bool = False,
) -> GenerateSummary:
    """What `write` did in all processes; all of them call this.

    Shares that were begun are finished, with any number of processes. What one process alone
    began in `output`, the main process goes on with.

    Args:
        write: writes one share, (i, n) as in `generate_traces`, into a file of its own.
        output: JSONL; is there once all shares are.
        process: Accelerate's PartialState.
        alone: the main process does everything.
    """
    from accelerate.utils import broadcast_object_list, gather_object

    rank, world, count = process.process_index, process.num_processes, 1
    if process.is_main_process and not alone:
        count = _num_shares(output, world)
    count = broadcast_object_list([count])[0]
    shares = [(number, count) for number in range(1, count + 1)]
    done: list[GenerateSummary] = []
    for share in shares[rank::world]:
        done.append(write(shard_path(output, share), share))
        if done[-1].interrupted:
            break
    done = gather_object(done)
    together = _joined(done, output)
    if count > 1 and process.is_main_process and not together.interrupted:
        files = [shard_path(output, share) for share in shares]
        merge_traces(files, output)
        for path in files:
            _remove(path)
    process.wait_for_everyone()
    return together


def _num_shares(output: Path, world: int) -> int:
    """Of those that were begun, or one for each process."""
    counts: Counter[int] = Counter()
    for path, count in _shares(output):
        if output.exists():  # what a kill between joining and removing left
            _remove(path)
        else:
            counts[count] += path.stat().st_size
    if output.exists():
        return 1
    return counts.most_common(1)[0][0] if counts else world


def _shares(output: Path) -> Iterator[tuple[Path, int]]:
    """The shares of a file that are there, and of how many each is one."""
    pattern = rf"{re.escape(output.stem)}-\d{{5}}-of-(\d{{5}}){re.escape(output.suffix)}"
    for path in sorted(output.parent.glob("*-of-*")):
        if match := re.fullmatch(pattern, path.name):
            yield path, int(match[1])


def remove_traces(output: Path) -> None:
    """Removes traces, the shares of them that are there, and what is beside them."""
    for path in (output, *(share for share, _ in _shares(output))):
        _remove(path)


def _remove(path: Path) -> None:
    for each in (path, settings_path(path)):
        each.unlink(missing_ok=True)


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
