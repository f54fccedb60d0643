"""torchrun on one node, with the exit status of the run."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from helpers.patience import Deadline
from helpers.processes import Forked
from unspoken.launch.torchrun import status_of


def test_the_first_failure_of_a_node_decides_its_exit_status() -> None:
    def failure(exitcode: int, timestamp: int) -> SimpleNamespace:
        return SimpleNamespace(exitcode=exitcode, timestamp=timestamp)

    assert status_of({0: failure(-6, 12), 1: failure(2, 11)}) == 2
    assert status_of({0: failure(75, 11)}) == 75
    assert status_of({0: failure(-15, 11)}) == 143


def start_node(code: str, **environment: str) -> Forked:
    """Two processes of one node, each of which runs `code`."""
    processes = ["--nproc_per_node=2", "--master_addr=127.0.0.1", "--master_port=29517"]
    program = ["--no_python", sys.executable, "-c", code]
    return Forked("-m", "unspoken.launch.torchrun", *processes, *program, **environment)


@pytest.mark.integration
@pytest.mark.parametrize("status", [0, 2, 75])
def test_a_node_exits_as_its_processes_do_and_notes_a_failure(tmp_path: Path, status: int) -> None:
    code = f"import os, sys; sys.exit({status} if os.environ['RANK'] == '1' else 0)"
    events = tmp_path / "events.log"
    node = start_node(
        code,
        UNSPOKEN_EVENTS=str(events),
        UNSPOKEN_JOB="run 7",
        SLURM_NODEID="0",
        UNSPOKEN_SHUTDOWN_S="60",
    )
    node.communicate(timeout=60)
    assert node.returncode == status
    told = events.read_text() if events.exists() else ""
    assert ("run 7: node 0 (" in told) == (status == 2)
    assert told.endswith("ended with exit status 2\n" if status == 2 else "")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("shutdown_s", "exits", "ends"),
    [(60, 75, (75, True, "")), (60, 2, (2, True, "ended with exit status 2")),
     (1, 75, (75, False, "killed: had not saved within 1 s"))],
)  # fmt: skip
def test_processes_may_save_for_longer_than_torch_allows(
    tmp_path: Path, shutdown_s: int, exits: int, ends: tuple[int, bool, str]
) -> None:
    code = f"""
import pathlib, signal, sys, time
folder, name = pathlib.Path({str(tmp_path)!r}), __import__("os").environ["RANK"]
def save(number, frame):
    time.sleep(4)
    (folder / f"saved-{{name}}").touch()
    sys.exit({exits})
signal.signal(signal.SIGTERM, save)
(folder / f"ready-{{name}}").touch()
time.sleep(60)
"""
    node = start_node(
        code,
        UNSPOKEN_SHUTDOWN_S=str(shutdown_s),
        UNSPOKEN_EVENTS=str(tmp_path / "events.log"),
        TORCH_ELASTIC_SHUTDOWN_TIMEOUT="2",  # newer torch; older ones wait 30 s, come what may
    )
    deadline = Deadline(60)
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert not deadline.has_passed
        time.sleep(0.1)
    node.send_signal(signal.SIGTERM)
    node.communicate(timeout=60)
    status, saved, told = ends
    assert node.returncode == status
    assert len(list(tmp_path.glob("saved-*"))) == 2 * saved
    events = tmp_path / "events.log"
    assert told in (events.read_text() if events.exists() else "")
