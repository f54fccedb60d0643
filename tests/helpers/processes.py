"""Processes of Python that have torch, transformers and unspoken imported when they begin.

Importing takes three seconds of a core, and what most tests run takes one. So one process imports
once, and others are forked from it (`warm_python`). A test that is about starting itself, such as
what an import brings, starts a Python of its own.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import wait
from pathlib import Path

from helpers import warm_python
from helpers.paths import ROOT
from helpers.patience import patient

#: Of the environment: the folder of the Python that is forked, for all workers of xdist.
_PLACE = "UNSPOKEN_TESTS_PYTHON"


def start_warm_python() -> None:
    """Starts the Python that others are forked from; it imports when it is first asked."""
    if _PLACE in os.environ:  # a worker of xdist
        return
    place = os.environ[_PLACE] = _place().name
    warm_python.write_program(f"{place}/socket", Path(place) / "python")
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])
    with socket.socket(socket.AF_UNIX) as listener:  # whoever asks before it runs waits for it
        listener.bind(f"{place}/socket")
        listener.listen(64)
        subprocess.Popen(
            [sys.executable, warm_python.__file__, str(listener.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            env={**os.environ, "PYTHONPATH": path},
        )


def warm_program() -> Path:
    """What is run as Python is, and so is whatever it starts by `sys.executable`."""
    return Path(os.environ[_PLACE]) / "python"


class Forked:
    """`python ARGUMENTS` for `-m MODULE ...`, running; asked as a Popen is.

    Attributes:
        args: what Python is given.
        pid: of the process.
    """

    def __init__(
        self,
        *args: str,
        said: Path | None = None,
        folder: Path | None = None,
        own_group: bool = False,
        launches: bool = False,
        **environment: str | None,
    ) -> None:
        """Starts it here.

        Args:
            args: what Python is given.
            said: where what it says is written to; default: a folder of its own.
            folder: where it works; default: where this process does.
            own_group: of processes, which a signal may be sent to as a terminal does.
            launches: others, which are forked as it is.
            environment: variables besides those of this process; None: without that one.
        """
        sys.audit("subprocess.Popen", sys.executable, args, None, None)  # a unit test may not
        self.args = args
        self.returncode: int | None = None
        self._said = _new_folder() if said is None else said
        variables = {**os.environ, **environment}
        variables = {name: value for name, value in variables.items() if value is not None}
        place, how = os.environ[_PLACE], os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with contextlib.ExitStack() as opened:
            files = [os.open(os.devnull, os.O_RDONLY)]
            files += [os.open(self._said / name, how) for name in ("stdout", "stderr")]
            for file in files:
                opened.callback(os.close, file)
            self.sentinel, self.pid = warm_python.ask(
                f"{place}/socket",
                args,
                variables,
                *files,
                folder=str(folder or Path.cwd()),
                own_group=own_group,
                executable=str(warm_program()) if launches else "",
            )

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        if self.returncode is None and wait([self.sentinel], 0):
            self.returncode = int(warm_python.read_line(self.sentinel))
            self.sentinel.close()
        return self.returncode

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
        if self.returncode is None and not wait([self.sentinel], patient(timeout)):
            self.send_signal(signal.SIGKILL)
            raise subprocess.TimeoutExpired(self.args, timeout)
        status = self.poll()
        assert status is not None
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


def alone(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One process of Python, run to its end."""
    return Forked(*arguments, **environment).wait()


def launch(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One that starts others, run to its end."""
    return Forked(*arguments, launches=True, **environment).wait()


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
    said = _new_folder()
    both = [
        Forked(*arguments, said=said, RANK=rank, LOCAL_RANK=rank, **world, **environment)
        for rank in ("0", "1")
    ]
    wait([process.sentinel for process in both], patient(300))
    ended = [process.wait(30 if any(each.poll() for each in both) else 300) for process in both]
    return max(ended, key=lambda done: abs(done.returncode))
