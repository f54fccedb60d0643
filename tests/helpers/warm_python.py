"""A Python that has imported what takes long, and becomes other processes by forking.

    python warm_python.py NUMBER      serves, of that descriptor, until its stdin is closed; imports
                                      when first asked
    warm_python.run(SOCKET, args)     is what `python ARGS` would be, for a launcher to start

Whoever connects sends one line of JSON (`args`, `folder`, `environment`, `own_group`) together with
descriptors for stdin, stdout and stderr. It reads two lines: the process's number when it begins,
its status as `Popen.returncode` has it when it has ended. A process whose asker is gone is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

IMPORTED = [
    "unspoken.models", "accelerate", "torch.distributed.checkpoint.state_dict",
    "torch.distributed.run",
    "transformers.models.auto.modeling_auto", "transformers.models.gpt2.modeling_gpt2", "peft",
    "unspoken.cli.options", "unspoken.run.student", "unspoken.run.teacher",
    "unspoken.run.run", "unspoken.report.show.plots",
]  # fmt: skip
#: What a launcher's process passes on; the others end both, or neither.
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def ask(
    address: str, args: Sequence[str], environment: dict[str, str], *descriptors: int, **more: Any
) -> tuple[socket.socket, int]:
    """A process that has begun: where its status will be read, and its number."""
    asked = socket.socket(socket.AF_UNIX)
    asked.connect(address)
    request = {"args": list(args), "folder": str(Path.cwd()), "environment": environment}
    socket.send_fds(asked, [b"\n"], list(descriptors))
    asked.sendall(json.dumps({**request, **more}).encode() + b"\n")
    return asked, int(read_line(asked))


def read_line(asked: socket.socket) -> bytes:
    """One line, or what there is of it when the other side has gone."""
    line = b""
    while not line.endswith(b"\n") and (part := asked.recv(1 if line else 16)):
        line += part
    return line


def run(address: str, args: Sequence[str]) -> None:
    """Is what `python ARGS` would be: same output, signals and status."""
    if "-c" in args:  # nothing long
        os.execv(sys.executable, [sys.executable, *args])
    program = sys.argv[0]  # what it starts is started the same way
    asked, number = ask(address, args, dict(os.environ), 0, 1, 2, executable=program)
    for each in _PASSED_ON:
        signal.signal(each, lambda got, _: os.kill(number, got))
    status = int(read_line(asked) or -signal.SIGKILL)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def write_program(address: str, path: Path) -> None:
    """Writes what is run as Python is."""
    lines = [
        f"#!{sys.executable} -SE",
        "import sys",
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})",
        "import warm_python",
        f"warm_python.run({address!r}, sys.argv[1:])",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    path.chmod(0o755)


def _serve(listener: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's is for the tests
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        _import()
        if os.fork() == 0:
            listener.close()
            _attend(connection)
            return
        connection.close()


def _import() -> None:
    if IMPORTED[0] in sys.modules:
        return
    import gc
    import importlib

    gc.disable()
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # it is no garbage, and its pages stay shared
    gc.enable()


def _attend(connection: socket.socket) -> None:
    """Begins the process, and tells how it ended; kills it when its asker has gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile("rb").readline())
    number = os.fork()
    if number == 0:
        connection.close()
        _become(descriptors, **request)
        return
    connection.sendall(f"{number}\n".encode())
    for descriptor in (*descriptors, 0, 1, 2):  # or who reads its output waits for this one
        os.close(descriptor)
    while (ended := os.waitpid(number, os.WNOHANG)) == (0, 0):
        if select.select([connection], [], [], 0.02)[0]:
            os.kill(number, signal.SIGKILL)
    with contextlib.suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(ended[1])}\n".encode())
    os._exit(0)


def _become(
    descriptors: Sequence[int],
    *,
    args: Sequence[str],
    folder: str,
    environment: dict[str, str],
    own_group: bool = False,
    executable: str = "",
) -> None:
    """In the new process: is what `python ARGS` would be."""
    import runpy

    if own_group:
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for mine, given in enumerate(descriptors):
        os.dup2(given, mine)
        os.close(given)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.executable = executable or sys.executable
    places = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:] = [*places, *(place for place in sys.path if place not in places)]
    if args[0] == "-u":
        sys.stdout.reconfigure(write_through=True)  # type: ignore[attr-defined]
        args = args[1:]
    if args[0] == "-m":
        sys.argv = list(args[1:])
        runpy.run_module(args[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(args)
        sys.path.insert(0, str(Path(args[0]).resolve().parent))
        runpy.run_path(args[0], run_name="__main__")


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as own:
        own.set_inheritable(False)
        _serve(own)
