"""Keeps a command for as long as the process that wants it lives, and no longer.

    python -m unspoken.common.keeper PARENT COMMAND ...

A program that serves a model starts others, which hold a GPU's memory and outlive it where it is
killed. So this small process stands between: it starts the command, and ends it with everything
that it has started, wherever that has gone, once the parent asks (SIGTERM) or is not there any
more, kill -9 included. It ends itself when the command does, with the command's exit status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

import psutil

#: So long what is ended has time to end by itself.
GRACE_S = 10.0
_LOOK_EVERY_S = 0.1
_NOT_FOUND = 127  # as a shell says it
_KILLED = 128  # and the number of the signal
# of Linux's prctl
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36


def keep(parent: int, command: Sequence[str]) -> int:
    """Runs a command until it ends, the parent asks or the parent is gone; returns its status.

    Args:
        parent: process id; has to be the parent of this very process.
        command: program and arguments; it gets a process group of its own.
    """
    is_asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal is_asked
        is_asked = True

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _control(_SET_CHILD_SUBREAPER, 1)  # whoever leaves the group and loses its parent comes to us
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509
        )
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_FOUND
    while process.poll() is None and not is_asked and os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    _end_all(process)
    status = process.wait()
    return status if status >= 0 else _KILLED - status


def end_with_parent() -> None:
    """This process is killed when the one that started it ends, kill -9 included; on Linux."""
    _control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """Ends what was started: asks first, and kills what is still there after a while."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _send(process.pid, _find_alive(process), number)
        end = time.monotonic() + GRACE_S
        while _find_alive(process):
            if time.monotonic() > end:
                break
            time.sleep(_LOOK_EVERY_S)
        else:
            return


def _find_alive(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """What was started and has not ended; those who have are buried on the way."""
    process.poll()  # its status is kept, so nobody else may bury it
    alive = []
    for each in psutil.Process().children(recursive=True):
        try:
            if each.status() != psutil.STATUS_ZOMBIE:
                alive.append(each)
            elif each.ppid() == os.getpid() and each.pid != process.pid:
                os.waitpid(each.pid, os.WNOHANG)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return alive


def _send(group: int, alive: Sequence[psutil.Process], number: int) -> None:
    """Sends a signal once to each: to the group, and to those who have left it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left in it
        os.killpg(group, number)
    for each in alive:
        with contextlib.suppress(ProcessLookupError, psutil.Error):  # it has ended
            if os.getpgid(each.pid) != group:
                each.send_signal(number)


def _control(option: int, value: int) -> None:
    """Linux's prctl; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), sys.argv[2:]))
