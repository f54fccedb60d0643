"""Files on hosts that share no file system, such as SageMaker's: sent by the first process.

Only the first process writes. What it wrote and others read is sent to the other hosts over the
process group. Hosts that see the same files, such as those of most clusters, need none of it: the
container asks for it through the environment.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken.parallel.world import read_world
from unspoken.recipe import layout

if TYPE_CHECKING:
    from accelerate import PartialState
    from accelerate.state import AcceleratorState

    Process = PartialState | AcceleratorState

#: Set to 1 by `unspoken.launch.container.workers` where there are several hosts.
SEPARATE_FILES = "UNSPOKEN_SEPARATE_FILES"
_CHUNK = 64 << 20

#: Relative path -> (bytes, time of change in ns), as rsync compares files.
Listing = dict[str, tuple[int, int]]


def has_separate_files() -> bool:
    """Whether the hosts of this run see different files."""
    return os.environ.get(SEPARATE_FILES) == "1"


def share_checkpoint(checkpoint: Path, process: Process) -> None:
    """Sees to it that every host has this checkpoint of the first one; a collective call.

    Other hosts keep no other checkpoint of the same training beside it.

    Args:
        checkpoint: its folder, by the same name on every host.
        process: this one among all.
    """
    if not has_separate_files() or process.num_processes == 1:
        return
    if _receives(process):
        for other in layout.checkpoints_in(checkpoint.parent):
            if other != checkpoint:
                shutil.rmtree(other)
    make_alike(checkpoint, process, lambda: filter(Path.is_file, checkpoint.rglob("*")))


def make_alike(folder: Path, process: Process, find: Callable[[], Iterable[Path]]) -> None:
    """Makes files in a folder of every other host like the first one's; a collective call.

    One process of each other host receives. There, files that the first host does not have are
    removed: the folder is the container's own copy.

    Args:
        folder: by the same name on every host.
        process: this one among all.
        find: finds the files in it that are meant.
    """
    from accelerate.utils import broadcast_object_list, gather_object

    holder: list[Any] = [_listing(folder, find()) if process.is_main_process else None]
    theirs: Listing = broadcast_object_list(holder)[0]
    lacking: set[str] = set()
    if _receives(process):
        mine = _listing(folder, find())
        lacking = {name for name, state in theirs.items() if mine.get(name) != state}
        for name in mine.keys() - theirs.keys():
            (folder / name).unlink()
        _remove_empty(folder)
    for name in sorted(set(gather_object(sorted(lacking)))):
        _send(folder / name, theirs[name], process, write=name in lacking)
    process.wait_for_everyone()


def _receives(process: Process) -> bool:
    """Whether this process writes what comes from the first host."""
    return process.is_local_main_process and read_world().host != 0


def _listing(folder: Path, files: Iterable[Path]) -> Listing:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
    }


def _send(path: Path, state: tuple[int, int], process: Process, *, write: bool) -> None:
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
