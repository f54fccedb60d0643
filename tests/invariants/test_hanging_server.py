"""A server that stops answering: the run ends when it is asked to, and goes on without a loss."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.launching import IMPORTS, torchrun
from helpers.patience import Deadline
from helpers.processes import Forked
from helpers.servers import FakeServer, free_port
from unspoken.cli.main import main

NUM_ANSWERED = 5
#: The run ends within 5 s; the rest is for a machine that is busy with other tests.
LIMIT_S = 20


@contextlib.contextmanager
def hanging_server() -> Iterator[FakeServer]:
    """It answers a few requests, and never another one."""
    server = FakeServer()
    answer = server.answer

    def hang(number: int, body: Any, headers: Any) -> tuple[int, dict[str, str], str]:
        if number >= NUM_ANSWERED:
            time.sleep(600)
        return answer(number, body, headers)

    server.answer = hang
    yield server
    server.close()


def words_of(verb: str, folder: Path, url: str) -> list[str]:
    """The command; everything that it writes and reads is in the folder."""
    questions = [{"question": f"{n} + 2", "answer": "2"} for n in range(20)]
    train = folder / "questions.jsonl"
    train.write_text("".join(f"{json.dumps(record)}\n" for record in questions))
    if verb == "generate":
        output = folder / "traces.jsonl"
        words = ["generate", "--engine", "openai", "--base_url", url, "--model", "m"]
        return [*words, "--input", str(train), "--output", str(output), "--concurrency", "2"]
    recipe = folder / "recipe.yaml"
    shape = {"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 16, "n_positions": 512}
    server = {"engine": "openai", "base_url": url, "model": {"name": "m"}, "concurrency": 2}
    values = {
        "name": "hanging", "output": str(folder / "run"), "data": {"train": str(train)},
        "teacher": {**server, "evaluate": False}, "distil": {}, "train": {"epochs": 1},
        "model": {"tokenizer": "characters", "config": shape},
    }  # fmt: skip
    recipe.write_text(json.dumps(values))
    return ["run", str(recipe)]


def stop(arguments: list[str], server: FakeServer, number: int) -> tuple[int, str, str]:
    """Starts Python, sends the signal when the server hangs; status, output and errors."""
    process = Forked(*arguments, own_group=True, launches=True, **IMPORTS, OMP_NUM_THREADS="1")
    deadline = Deadline(120)
    while len(server.bodies) < NUM_ANSWERED + 2 and process.poll() is None:
        assert not deadline.has_passed, "it never asked"
        time.sleep(0.02)
    if number == signal.SIGINT:  # a terminal's goes to all of them
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    try:
        done = process.wait(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):  # those that it started
            os.killpg(process.pid, signal.SIGKILL)
        raise
    return done.returncode, done.stdout, done.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    ("verb", "number"),
    [("generate", signal.SIGTERM), ("generate", signal.SIGINT), ("run", signal.SIGINT)],
)
def test_a_server_that_hangs_does_not_keep_the_run(
    tmp_path: Path, verb: str, number: signal.Signals
) -> None:
    """Must show 4: one signal ends it with everything saved, and the same command goes on."""
    with hanging_server() as server:
        words = words_of(verb, tmp_path, server.url)
        status, out, error = stop(["-m", "unspoken", *words], server, number)
    assert status == 75, error
    assert "Traceback" not in error
    (traces,) = list(tmp_path.rglob("traces.jsonl"))
    before = traces.read_bytes()
    assert before.count(b"\n") == NUM_ANSWERED
    assert "are missing" in out
    if verb == "generate":
        healthy = FakeServer()
        main(words_of(verb, tmp_path, healthy.url))
        healthy.close()
        assert len(healthy.bodies) == 20 - NUM_ANSWERED
        assert set(before.splitlines()) <= set(traces.read_bytes().splitlines())
        assert traces.read_bytes().count(b"\n") == 20


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("launcher", "verb", "number"),
    [
        ("torch.distributed.run", "generate", signal.SIGINT),
        ("unspoken.launch.torchrun", "generate", signal.SIGTERM),
        ("unspoken.launch.torchrun", "run", signal.SIGTERM),
    ],
)
def test_a_server_that_hangs_does_not_keep_two_processes(
    tmp_path: Path, launcher: str, verb: str, number: signal.Signals
) -> None:
    """Must show 4, under torchrun; the process that only waits does not leave the other one."""
    launch = ["-m", launcher, "--nproc_per_node=2", "--master_addr=127.0.0.1"]
    launch += [f"--master_port={free_port()}", "-m", "unspoken"]
    with hanging_server() as server:
        words = words_of(verb, tmp_path, server.url)
        status, out, error = stop([*launch, *words], server, number)
    assert status == (75 if launcher.startswith("unspoken") else 1), error  # torchrun's own
    assert "[rank" not in error
    assert "RuntimeError" not in error
    assert "are missing" in out
    (traces,) = list(tmp_path.rglob("traces.jsonl"))
    assert traces.read_bytes().count(b"\n") == NUM_ANSWERED


@pytest.mark.cluster
def test_what_one_process_is_refused_is_one_line_of_two(tmp_path: Path) -> None:
    """The process that waits learns why the other one ends, instead of losing it."""
    server = FakeServer()
    server.faults = {number: (401, {}, "no such key") for number in range(400)}
    done = torchrun("-m", "unspoken", *words_of("generate", tmp_path, server.url))
    server.close()
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert "HTTP 401: no such key" in done.stderr
    assert "[rank" not in done.stderr
