"""Traces that several processes write at once: a share each, joined by the main one."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken.common.errors import UnspokenError
from unspoken.common.interrupt import StopRequest
from unspoken.parallel.world import read_world
from unspoken.recipe import layout
from unspoken.teach.traces.merge import merge_traces
from unspoken.teach.traces.settings import settings_path, unanswered_path
from unspoken.teach.traces.write import GenerateSummary, shard_path

if TYPE_CHECKING:
    from accelerate import PartialState


def write_together(
    write: Callable[[Path, tuple[int, int]], GenerateSummary],
    output: Path,
    process: PartialState,
    *,
    alone: bool = False,
    overwrite: bool = False,
) -> GenerateSummary:
    """Writes traces in all processes, which all call this; returns what they did together.

    Shares that were begun are finished, with any number of processes. What one process alone
    began in `output`, the main process goes on with.

    Args:
        write: writes one share, (i, n) as in `generate_traces`, into a file of its own.
        output: JSONL; is there once all shares are.
        process: this one among all.
        alone: the main process does everything.
        overwrite: begin anew, and replace `output` at the end; `write` decides which of the shares
            that were begun are those of another call.
    """
    # Who left at once, with no share or a done one, would tear down those that still save theirs.
    with StopRequest(is_launched=read_world().is_launched) as stop:
        summary = _write_shares(write, output, process, alone=alone, overwrite=overwrite)
        if summary.interrupted:
            stop.heed()
    return summary


def _write_shares(
    write: Callable[[Path, tuple[int, int]], GenerateSummary],
    output: Path,
    process: PartialState,
    *,
    alone: bool,
    overwrite: bool,
) -> GenerateSummary:
    from accelerate.utils import broadcast_object_list, gather_object

    count = 1
    if process.is_main_process:
        count = _begin_shares(output, process.num_processes, alone=alone, overwrite=overwrite)
    count = broadcast_object_list([count])[0]
    shares = {output: (1, 1)}
    if count > 1:
        place = shares_folder(output) / output.name
        shares = {shard_path(place, (i, count)): (i, count) for i in range(1, count + 1)}
    own: list[GenerateSummary] = []
    failure: UnspokenError | None = None
    try:
        for file, share in list(shares.items())[process.process_index :: process.num_processes]:
            own.append(write(file, share))
            if own[-1].interrupted:
                break
    except UnspokenError as error:
        if not alone:  # the others have hours of their own work, and are ended by the launcher
            raise
        failure = error
    _raise_together(failure)
    together = _sum_up(gather_object(own), output)
    if process.is_main_process and not together.interrupted:
        if count > 1:
            merge_traces(list(shares), output, overwrite=overwrite)
        shutil.rmtree(shares_folder(output), ignore_errors=True)  # only now: they took hours
    process.wait_for_everyone()
    return together


def _raise_together(failure: UnspokenError | None) -> None:
    """Raises one process's error in all of them, which wait here for each other."""
    from accelerate.utils import gather_object

    messages = gather_object([] if failure is None else [str(failure.args[0])])
    if failure is not None:
        raise failure
    if messages:
        raise UnspokenError(messages[0])


def shares_folder(output: Path) -> Path:
    """Where the processes write their shares: a hidden folder beside the output."""
    return output.parent / f".{output.name}.shares"


def trace_files(output: Path) -> tuple[Path, ...]:
    """Traces and all that may be beside them: begun shares, settings, what was charged."""
    return output, shares_folder(output), settings_path(output), unanswered_path(output)


def begun_files(folder: Path, pattern: str, *, but: Path) -> list[Path]:
    """The files of traces in a folder, by a pattern of their names, and shares that were begun.

    The output `but` and shares of it are left out, and so are those beside it where it is a share.
    """
    name = Path(pattern)
    share = f"{name.stem}-*-of-?????{name.suffix}"
    shares = [f"{place}/{share}" for place in (shares_folder(name), layout.SHARDS)]
    own = {shares_folder(but), *([but.parent] if but.parent.name == layout.SHARDS else [])}
    found = {path for each in (pattern, *shares) for path in folder.glob(each)}
    return sorted(path for path in found if path != but and path.parent not in own)


def _begin_shares(output: Path, num_processes: int, *, alone: bool, overwrite: bool) -> int:
    """Removes shares that do not count any more; returns how many there are to be.

    Those that were begun, or one for each process; one alone is `output` itself.
    """
    if alone and overwrite:
        shutil.rmtree(shares_folder(output), ignore_errors=True)
    is_begun = output.exists() and not overwrite
    if is_begun or alone:
        return 1
    return _count_begun_shares(output) or num_processes


def _count_begun_shares(output: Path) -> int:
    """How many shares there are of those that were begun; 0 where none was.

    Processes of different numbers may have left some: those count that hold the most.
    """
    sizes: Counter[int] = Counter()
    for path in shares_folder(output).glob("*-of-*"):
        if match := re.search(rf"-of-(\d{{5}}){re.escape(output.suffix)}$", path.name):
            sizes[int(match[1])] += path.stat().st_size
    return sizes.most_common(1)[0][0] if sizes else 0


def _sum_up(summaries: list[GenerateSummary], output: Path) -> GenerateSummary:
    """What the processes did, as one; they worked at the same time."""
    costs = [summary.cost for summary in summaries if summary.cost is not None]
    numbers = (
        "num_wanted", "num_done_before", "num_written", "num_missing", "num_torn_bytes",
        "num_prompt_tokens", "num_tokens", "tokens_per_s", "num_retries",
        "num_taken_over",
    )  # fmt: skip
    counts = {key: [getattr(each, key) for each in summaries] for key in numbers}
    sums: dict[str, Any] = {key: None if None in n else sum(n) for key, n in counts.items()}
    return replace(
        summaries[0],
        **sums,
        output=output,
        seconds=max(summary.seconds for summary in summaries),
        cost=sum(costs) if costs else None,
        interrupted=any(summary.interrupted for summary in summaries),
    )
