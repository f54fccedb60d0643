"""The three tiers of tests, and what holds a unit test to its promise.

    unit         one process, this one, for seconds; the tier of every test that has no other mark
    integration  starts other processes, takes a whole run, compiles, or asks a mocked AWS
    cluster      several processes that train together, SLURM, hosts of a SageMaker job

A unit test that starts a process fails, so that nobody has to remember the mark.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import pytest

#: What libraries start by themselves to find out where they are.
_HARMLESS = {"git", "ldconfig", "gcc", "cc", "ld", "uname", "lscpu", "file", "nvidia-smi"}
_HARMLESS.add("fc-list")  # matplotlib, the first time on a machine
_watched = False


_TIERS = ("cluster", "integration", "unit")


def sort_by_tier(items: list[pytest.Item]) -> None:
    """Gives the mark `unit` to tests without another tier; files with the slow tiers come first.

    So workers that take one file after the other are done at nearly the same time.
    """
    first: dict[str, int] = {}
    for item in items:
        tier = next((tier for tier in _TIERS if item.get_closest_marker(tier)), "unit")
        if tier == "unit":
            item.add_marker(pytest.mark.unit)
        file = item.nodeid.partition("::")[0]
        first[file] = min(first.get(file, len(_TIERS)), _TIERS.index(tier))
    items.sort(key=lambda item: first[item.nodeid.partition("::")[0]])


@contextmanager
def no_new_processes() -> Iterator[None]:
    """Within the block, starting a process is an error."""
    global _watched  # noqa: PLW0603 (an audit hook cannot be taken away again)
    _watched = True
    try:
        yield
    finally:
        _watched = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched or event not in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        return
    program = PurePath(os.fsdecode(arguments[0])).name if arguments else "a copy of itself"
    if program not in _HARMLESS:
        raise AssertionError(
            f"a unit test starts {program}: mark it integration, or cluster where several "
            "processes train together"
        )


sys.addaudithook(_watch)
