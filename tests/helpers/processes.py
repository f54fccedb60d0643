"""Processes of Python that have torch, transformers and unspoken imported when they begin.

Importing takes three seconds of a core, and what most tests run takes one. So one process imports
once, and others are forked from it (multiprocessing's fork server). A test that is about starting
itself, such as what an import brings or how a launcher ends, starts a Python of its own.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

from helpers.patience import patient

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "accelerate", "torch.distributed.checkpoint.state_dict",
        "transformers.models.auto.modeling_auto", "transformers.models.gpt2.modeling_gpt2",
        "unspoken.cli.options", "unspoken.run.student", "unspoken.run.teacher",
        "unspoken.run.run", "unspoken.report.show.plots",
    ]
)  # fmt: skip


class Forked:
    """`python ARGUMENTS` for `-m MODULE ...`, running; asked as a Popen is.

    Attributes:
        args: what Python is given.
        pid: of the process.
    """

    def __init__(
        self, *args: str, folder: Path | None = None, own_group: bool = False, **environment: str
    ) -> None:
        """Starts it here.

        Args:
            args: what Python is given.
            folder: where what it says is written to; default: one of its own.
            own_group: of processes, which a signal may be sent to as a terminal does.
            environment: variables besides those of this process.
        """
        sys.audit("subprocess.Popen", sys.executable, args, None, None)  # a unit test may not
        self.args = args
        self._said = _new_folder() if folder is None else folder
        self._process = _SERVER.Process(
            target=_become,
            args=(args, Path.cwd(), {**os.environ, **environment}, self._said, own_group),
        )
        self._process.start()
        self.pid = self._process.ident or 0
        self.sentinel = self._process.sentinel

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Sends a signal; nothing where it has ended."""
        with contextlib.suppress(ProcessLookupError):  # it ended just now
            if self.poll() is None:
                os.kill(self.pid, number)

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """What it has said, and its exit status, once it has ended.

        Raises:
            TimeoutExpired: it ran on, and was killed.
        """
        self._process.join(patient(timeout))
        status = self.poll()
        if status is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(self.args, timeout)
        said = [(self._said / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(self.args, status, *said)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """What it has said to stdout and to stderr, once it has ended."""
        done = self.wait(timeout)
        return done.stdout, done.stderr


@functools.cache
def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="unspoken-tests-")


def _new_folder() -> Path:
    """A folder that is there until the tests have ended."""
    return Path(tempfile.mkdtemp(dir=_place().name))


def _become(
    args: Sequence[str], place: Path, environment: dict[str, str], folder: Path, own_group: bool
) -> None:
    """In the new process: is what `python ARGUMENTS` would be."""
    if own_group:
        os.setpgid(0, 0)
    gc.freeze()  # what the server imported is no garbage, and its pages stay shared
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(place)
    option, module, *rest = args
    assert option == "-m"
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def alone(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One process of Python, run to its end."""
    return Forked(*arguments, **environment).wait()


def together(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Two processes with the variables of torchrun, on this machine, run to their end.

    As there both write into one stdout and one stderr, and where one fails the other is ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": "none",
    }
    folder = _new_folder()
    both = [
        Forked(*arguments, folder=folder, RANK=rank, LOCAL_RANK=rank, **world, **environment)
        for rank in ("0", "1")
    ]
    wait([process.sentinel for process in both], patient(300))
    ended = [process.wait(30 if any(each.poll() for each in both) else 300) for process in both]
    return max(ended, key=lambda done: abs(done.returncode))
