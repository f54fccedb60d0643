"""The run folder on hosts that share no file system, such as SageMaker's.

Only the first process writes. What it wrote and others read (data, finished models, the newest
checkpoint) is sent to the other hosts over the process group before a stage begins. Hosts that see
the same files, such as those of most clusters, need none of it: the container asks for it through
the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken.parallel.world import read_world
from unspoken.recipe import layout

if TYPE_CHECKING:
    from accelerate import PartialState

#: Set to 1 by `unspoken.launch.container.entry` where there are several hosts.
SEPARATE_FILES = "UNSPOKEN_SEPARATE_FILES"
_CHUNK = 64 << 20
#: Folders that only the first process reads.
_OWN = {layout.OLD, layout.LEVELS, layout.PLOTS, layout.TRACES}

#: Relative path -> (bytes, time of change in ns), as rsync compares files.
Listing = dict[str, tuple[int, int]]


def has_separate_files() -> bool:
    """Whether the hosts of this run see different files."""
    return os.environ.get(SEPARATE_FILES) == "1"


def share_run_folder(folder: Path, process: PartialState) -> None:
    """Makes the run folder on every other host like the first one's; a collective call.

    One process of each other host receives. There, files that the first host does not have are
    removed: the folder is the container's own copy.

    Args:
        folder: the run folder, by the same name on every host.
        process: this one among all.
    """
    if not has_separate_files() or process.num_processes == 1:
        return
    from accelerate.utils import broadcast_object_list, gather_object

    holder: list[Any] = [_listing(folder) if process.is_main_process else None]
    theirs: Listing = broadcast_object_list(holder)[0]
    receives = process.is_local_main_process and read_world().host != 0
    lacking: set[str] = set()
    if receives:
        mine = _listing(folder)
        lacking = {name for name, state in theirs.items() if mine.get(name) != state}
        for name in mine.keys() - theirs.keys():
            (folder / name).unlink()
        _remove_empty(folder)
    for name in sorted(set(gather_object(sorted(lacking)))):
        _send(folder / name, theirs[name], process, write=name in lacking)
    process.wait_for_everyone()


def _listing(folder: Path) -> Listing:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in _shared(folder, folder)
    }


def _shared(folder: Path, run: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    old_checkpoints = set(layout.checkpoints_in(folder)[:-1])
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _OWN or path in old_checkpoints:
            continue
        if path.is_dir():
            yield from _shared(path, run)
        else:
            yield path


def _send(path: Path, state: tuple[int, int], process: PartialState, *, write: bool) -> None:
    """One file from the first process to those that write it; all take part."""
    import torch
    from torch import distributed

    size, changed = state
    temporary = path.with_name(f".{path.name}.receiving")
    source = path.open("rb") if process.is_main_process else None
    target = None
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = temporary.open("wb")
    for begin in range(0, size, _CHUNK):
        count = min(_CHUNK, size - begin)
        if source is not None:
            tensor = torch.frombuffer(bytearray(source.read(count)), dtype=torch.uint8)
        else:
            tensor = torch.empty(count, dtype=torch.uint8)
        tensor = tensor.to(process.device)
        distributed.broadcast(tensor, 0)
        if target is not None:
            target.write(tensor.cpu().numpy().tobytes())
    if source is not None:
        source.close()
    if target is not None:
        target.close()
        os.utime(temporary, ns=(changed, changed))
        temporary.replace(path)


def _remove_empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
