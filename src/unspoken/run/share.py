"""The run folder on hosts that share no file system, such as SageMaker's.

What the first process wrote and others read (data, finished models, the newest checkpoint) is sent
to the other hosts before a stage begins; how, and when it is not needed, says
`unspoken.parallel.separate_files`. Within a training, checkpoints are sent that it goes back to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from unspoken.parallel.separate_files import has_separate_files, make_alike
from unspoken.recipe import layout

if TYPE_CHECKING:
    from accelerate import PartialState

#: Folders that only the first process reads.
_OWN = {layout.OLD, layout.LEVELS, layout.PLOTS, layout.TRACES}


def share_run_folder(folder: Path, process: PartialState) -> None:
    """Makes the run folder on every other host like the first one's; a collective call.

    Args:
        folder: the run folder, by the same name on every host.
        process: this one among all.
    """
    if has_separate_files() and process.num_processes > 1:
        make_alike(folder, process, lambda: _shared(folder))


def _shared(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    old_checkpoints = set(layout.checkpoints_in(folder)[:-1])
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _OWN or path in old_checkpoints:
            continue
        if path.is_dir():
            yield from _shared(path)
        else:
            yield path
