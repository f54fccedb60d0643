"""Saves and finds checkpoints: a folder is there whole or not at all, also after kill -9.

A folder is written under a temporary name, forced to disk and then renamed. What a crash leaves
under a temporary name is removed at the next start.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_STEP = re.compile(r"step-(\d+)")
_TEMPORARY = ".writing-"
_REPLACED = ".replaced-"


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Makes `folder` with what `write(temporary folder)` puts into it, replacing an older one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f"{_TEMPORARY}{folder.name}"
    replaced = folder.parent / f"{_REPLACED}{folder.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    write(temporary)
    for path in [*temporary.rglob("*"), temporary]:
        _flush(path)
    if folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        folder.rename(replaced)
    temporary.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def write_file(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{_TEMPORARY}{path.name}"
    temporary.write_text(text, encoding="utf-8")
    _flush(temporary)
    temporary.replace(path)


def clean(parent: Path) -> None:
    """Removes what a crash left half written, and puts back what it left moved away."""
    for path in parent.glob(f"{_REPLACED}*"):
        whole = parent / path.name.removeprefix(_REPLACED)
        if whole.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(whole)
    for path in parent.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def step_folder(parent: Path, step: int) -> Path:
    """Where the checkpoint after `step` optimizer steps stands."""
    return parent / f"step-{step:07d}"


def checkpoints(parent: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    found = [path for path in parent.glob("step-*") if _STEP.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def prune(parent: Path, keep: int) -> None:
    """Removes all checkpoints but the last `keep`."""
    for path in checkpoints(parent)[:-keep]:
        shutil.rmtree(path)


def link_folder(source: Path, target: Path) -> None:
    """A second name for a folder's files where the file system has hard links, else a copy."""

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    def write(folder: Path) -> None:
        shutil.copytree(source, folder, copy_function=link, dirs_exist_ok=True)

    write_folder(target, write)


def random_state() -> dict[str, Any]:
    """The state of every random generator that training may use, in this process."""
    import torch

    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """The opposite of `random_state`."""
    import torch

    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
