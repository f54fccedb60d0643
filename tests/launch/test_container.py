"""Whole jobs in folders like /opt/ml: hosts that share nothing but the network."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.container import lay_out
from helpers.paths import CONFIGS
from helpers.patience import Deadline
from helpers.processes import Forked
from helpers.sagemaker import write_recipe
from helpers.servers import free_port
from unspoken.launch.container.job import ACCELERATE_FILE
from unspoken.launch.container.workers import children

SECRET = "wJalrPlantedSecretKey0123456789abcdefEXAMPLE"


def start(root: Path, port: int) -> Forked:
    """The entry point, as the container's command runs it: in the code folder."""
    unset = {name: None for name in os.environ if name.startswith(("SM_", "UNSPOKEN_", "PYTHONPA"))}
    environment = {
        "MASTER_ADDR": "127.0.0.1",  # algo-1 has no address here
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "SM_NUM_GPUS": "0",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "CUDA_VISIBLE_DEVICES": "",
    }
    entry = ["-m", "unspoken.launch.container.entry", "--root", str(root)]
    return Forked(*entry, folder=root / "code", launches=True, **{**unset, **environment})


@pytest.fixture
def launched() -> Iterator[list[Forked]]:
    """Entry points that a test started; they and their workers end with it."""
    processes: list[Forked] = []
    yield processes
    for process in processes:
        for pid in family(process.pid) if process.poll() is None else []:
            with contextlib.suppress(ProcessLookupError):  # its parent's end was its own
                os.kill(pid, signal.SIGKILL)


def family(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    return [pid, *(each for child in children(pid) for each in family(child))]


def wait_for(condition: Any, process: Forked, timeout_s: float = 120) -> None:
    deadline = Deadline(timeout_s)
    while not condition():
        assert process.poll() is None, process.communicate()
        assert not deadline.has_passed, "waited too long"
        time.sleep(0.05)


def metrics(run: Path) -> list[dict[str, Any]]:
    text = (run / "internalized" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.integration
def test_two_hosts_train_are_stopped_and_go_on(tmp_path: Path, launched: list[Forked]) -> None:
    """Nothing is shared but the network; the second start has only what SageMaker keeps.

    The first start is DDP, and SIGTERM comes to one host later than to the other; the second is
    FSDP2.
    """
    settings = {"max_steps": 200, "checkpoint_every": 25, "evaluate_every": 100}
    recipe = write_recipe(tmp_path, train=settings, distil={"max_steps": 24})
    hosts = ("algo-1", "algo-2")
    roots = [lay_out(tmp_path / host, recipe, host=host, hosts=hosts) for host in hosts]
    port = free_port()
    processes = [start(root, port) for root in roots]
    launched += processes
    run = roots[0] / "checkpoints" / "run"
    wait_for(lambda: list(run.glob("internalized/checkpoint-*")), processes[0])
    processes[0].send_signal(signal.SIGTERM)
    first = ["".join(processes[0].communicate(100))]
    # its processes end, and it waits for its own SIGTERM
    wait_for(lambda: not children(processes[1].pid), processes[1])
    assert processes[1].poll() is None
    processes[1].send_signal(signal.SIGTERM)
    first.append("".join(processes[1].communicate(10)))
    assert [process.returncode for process in processes] == [75, 75], first
    assert not any((root / "output" / "failure").exists() for root in roots)
    assert not (roots[0] / "model").exists()
    stopped = int(max(run.glob("internalized/checkpoint-*"), key=number_of).name.split("-")[1])
    assert 25 <= stopped < 200

    before = metrics(run)
    for root in roots:  # new machines: only the checkpoints come back
        kept = root / "checkpoints"
        if kept.exists():
            kept.rename(tmp_path / f"kept-{root.name}")
        shutil.rmtree(root)
    roots = [lay_out(tmp_path / host, recipe, host=host, hosts=hosts) for host in hosts]
    kept = tmp_path / "kept-algo-1"
    shutil.copytree(kept, roots[1] / "checkpoints")  # SageMaker brings them back on every host
    (roots[1] / "checkpoints" / "run" / "internalized" / "stage.json").write_text("old")
    theirs = listing(roots[1] / "checkpoints")
    kept.rename(roots[0] / "checkpoints")
    for root in roots:
        shutil.copy(CONFIGS / "fsdp2.yaml", root / "code" / ACCELERATE_FILE)
    port = free_port()
    processes = [start(root, port) for root in roots]
    launched += processes
    second = ["".join(process.communicate(200)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], second

    steps = [record["step"] for record in metrics(run) if record["event"] == "train"]
    assert steps == list(range(1, 201))
    assert metrics(run)[: len(before)] == before, "the first part was trained again"
    assert (roots[0] / "model" / "model.safetensors").is_file()
    assert (roots[0] / "model" / "unspoken.json").is_file()
    assert (roots[0] / "output" / "data" / "report.html").is_file()
    assert (roots[0] / "output" / "data" / "internalized" / "predictions.jsonl").is_file()
    assert not (roots[1] / "model").exists(), "only the first host publishes"
    assert listing(roots[1] / "checkpoints") == theirs, "only the first host is saved"
    copy = roots[1] / "unspoken" / "run"
    assert (copy / "data" / "train.jsonl").is_file(), "data was sent"
    assert (copy / "distilled" / "model" / "model.safetensors").is_file(), "the start was sent"
    assert not list(copy.rglob("levels")), "what only the first host reads was not"

    log = second[0]
    assert "mixed_precision bf16" in log, "fsdp2.yaml was read"
    assert re.search(r"^metric internalized train step=\d+ loss=[\d.]+ removed=\d+", log, re.M)
    told = [
        int(step)
        for part in (first[0], log)
        for step in re.findall(r"^metric internalized train step=(\d+)", part, re.M)
    ]
    assert told == list(range(1, 201)), "each step is told once, by the job that logged it"
    assert SECRET not in "".join(first + second)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.integration
def test_hosts_agree_where_a_resumed_job_has_another_setting(
    tmp_path: Path, launched: list[Forked]
) -> None:
    """The first sets aside what it has, and so the other must not go on from what it was sent."""
    train: dict[str, Any] = {"max_steps": 150, "checkpoint_every": 25, "learning_rate": 1e-3}
    hosts, kept = ("algo-1", "algo-2"), tmp_path / "kept"
    # a checkpoint is for any number of processes
    stopped = Forked("-m", "unspoken", "run", str(write_recipe(tmp_path, train=train)),
                     f"output={kept / 'run'}")  # fmt: skip
    wait_for(lambda: list(kept.glob("run/internalized/checkpoint-*")), stopped)
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait().returncode == 75
    recipe = write_recipe(tmp_path, train={**train, "learning_rate": 5e-4})
    roots = [lay_out(tmp_path / host, recipe, host=host, hosts=hosts) for host in hosts]
    kept.rename(roots[0] / "checkpoints")
    run, port = roots[0] / "checkpoints" / "run", free_port()
    processes = [start(root, port) for root in roots]
    launched += processes
    output = ["".join(process.communicate(120)) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], output
    assert list((run / "old" / "1" / "internalized").glob("checkpoint-*"))
    steps = [record["step"] for record in metrics(run) if record["event"] == "train"]
    assert steps == list(range(1, 151))


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Files below -> bytes, time of change."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def number_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


@pytest.mark.integration
def test_a_bad_recipe_leaves_its_one_line_reason(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    root = lay_out(tmp_path / "ml", recipe, "train.learning_rat=1e-3")
    process = start(root, free_port())
    log = "".join(process.communicate(100))
    assert process.returncode not in (0, 75), log
    reason = (root / "output" / "failure").read_text()
    assert "learning_rat" in reason
    assert reason.count("\n") == 1
    assert not (root / "model").exists()
    assert SECRET not in log + reason
