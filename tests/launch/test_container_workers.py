"""The processes of one host: how they end, and what they are told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from helpers.container import job_of, lay_out
from helpers.paths import CONFIGS
from helpers.patience import patient
from helpers.sagemaker import write_recipe
from unspoken.common.errors import RecipeError
from unspoken.launch.container import entry
from unspoken.launch.container.entry import run_container
from unspoken.launch.container.job import ACCELERATE_FILE
from unspoken.launch.container.workers import (
    Termination,
    children,
    environment_of,
    lines_of,
    repeat,
    run_workers,
)


def a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, stopped: int) -> Path:
    """The second of two hosts, whose processes end with this status."""
    hosts = ("algo-1", "algo-2")
    root = lay_out(tmp_path / "ml", write_recipe(tmp_path), host="algo-2", hosts=hosts)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr(entry, "train", lambda *_: (stopped, "lost its partner"))
    return root


def test_stopped_through_another_host_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wish to stop is shared by all processes, so a host may end before its own SIGTERM."""
    root = a_host(tmp_path, monkeypatch, stopped=75)
    assert run_container(root, own_sigterm_s=0.2) == 75
    assert not (root / "output" / "failure").exists()


def test_a_failure_right_before_sigterm_is_its_consequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = a_host(tmp_path, monkeypatch, stopped=1)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    assert run_container(root) == 75
    assert not (root / "output" / "failure").exists()
    assert run_container(root, sigterm_after_failure_s=0.2) == 1
    assert (root / "output" / "failure").read_text() == "lost its partner\n"


@pytest.mark.integration
@pytest.mark.parametrize("left", ["sleep 60 &", "setsid sleep 60 &"])
def test_a_job_ends_when_its_run_does(left: str, tmp_path: Path) -> None:
    """A process that outlives the run holds its output open; that must not be waited for."""
    command = ["bash", "-c", f"{left} echo 'error: no memory'; exit 3"]
    begin = time.monotonic()
    with Termination() as termination:
        ended = run_workers(
            command,
            tmp_path,
            dict(os.environ),
            termination=termination,
            say=print,
            rest_of_output_s=1,
        )
    assert ended == (3, "no memory")
    assert time.monotonic() - begin < 55


def test_what_goes_wrong_beside_the_run_is_said_once_and_tried_again() -> None:
    ended = threading.Event()
    looked: list[str] = []
    said: list[str] = []

    def broken() -> None:
        looked.append("broken")
        raise (FileNotFoundError if len(looked) == 1 else PermissionError)("no space")

    def works() -> None:
        looked.append("works")
        if len(looked) >= 10:
            ended.set()

    repeat([broken, works], ended, said.append, every_s=0.01)
    assert looked[:10] == ["broken", "works"] * 5
    assert "\n".join(said).count("training goes on: no space") == 1


def test_a_configuration_of_accelerate_reaches_the_processes(tmp_path: Path) -> None:
    job = job_of(lay_out(tmp_path / "ml", write_recipe(tmp_path)))
    assert "ACCELERATE_USE_FSDP" not in environment_of(job)
    shutil.copy(CONFIGS / "fsdp2.yaml", job.code / ACCELERATE_FILE)
    values = environment_of(job)
    assert (values["ACCELERATE_USE_FSDP"], values["FSDP_VERSION"]) == ("true", "2")
    (job.code / ACCELERATE_FILE).write_text("nonsense: [")
    with pytest.raises(RecipeError, match=r"accelerate\.yaml: accelerate cannot use it"):
        environment_of(job)


def test_models_of_the_hub_are_kept_on_the_volume_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(lay_out(tmp_path / "ml", write_recipe(tmp_path)))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HOME", raising=False)
    assert environment_of(job)["HF_HOME"] == f"{tempfile.gettempdir()}/huggingface"
    monkeypatch.setenv("HF_HOME", "/of/the/image")
    assert environment_of(job)["HF_HOME"] == "/of/the/image"
    monkeypatch.delenv("HF_HOME")
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    assert "HF_HOME" not in environment_of(job)


def test_of_a_progress_bar_only_the_end_is_kept() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one\r\n10 %\r20 %\r100 %\ntwo\r\nend")
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert list(lines_of(stream)) == ["one", "100 %", "two", "end"]


@pytest.mark.integration
def test_workers_are_found_through_their_parent() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '30']); print(p.pid, flush=True)"
    code += "; p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert children(parent.pid) == [child]
    os.kill(child, signal.SIGTERM)
    parent.wait(timeout=patient(10))
