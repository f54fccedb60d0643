"""The processes that train on one host of SageMaker's: started, watched, stopped, listened to.

Starts with the standard library alone, as `unspoken.launch.container.entry` does.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from unspoken.common.errors import UnspokenError
from unspoken.launch.container.job import ACCELERATE_FILE, ContainerJob

#: Something that is done every second beside the run.
Look = Callable[[], None]

_EXCEPTION = re.compile(r"(?:\[\w+\]: *)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)")


def command_of(job: ContainerJob) -> list[str]:
    """What starts torchrun on this host, with a fixed rank: the first has 0 and the run folder.

    Through a module of unspoken's, whose exit status is the run's; torchrun's own is always 1.
    """
    return [
        sys.executable,
        "-m",
        "unspoken.launch.torchrun",
        f"--nnodes={len(job.hosts)}",
        f"--node_rank={job.rank}",
        f"--nproc_per_node={job.num_processes}",
        f"--master_addr={job.master}",
        f"--master_port={job.port}",
        "-m",
        "unspoken",
        "run",
        str(job.recipe),
        *(each for each in job.overrides if not each.startswith("output=")),
        "output=run",
    ]


def environment_of(job: ContainerJob) -> dict[str, str]:
    """The variables of torchrun and its workers."""
    values = dict(os.environ)
    values["PYTHONPATH"] = os.pathsep.join(filter(None, [str(job.code), values.get("PYTHONPATH")]))
    values.setdefault("PYTHONUNBUFFERED", "1")
    values.setdefault("UNSPOKEN_CACHE", str(job.root / "unspoken" / "cache"))
    if not (Path.home() / ".cache" / "huggingface").exists():  # an image may bring models along
        # as users of SageMaker report, /tmp is on the job's volume, and the home folder on a small
        # disk of the image
        values.setdefault("HF_HOME", str(Path(tempfile.gettempdir()) / "huggingface"))
    if job.network_interface:
        for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
            values.setdefault(name, job.network_interface)
    if len(job.hosts) > 1:
        values["UNSPOKEN_SEPARATE_FILES"] = "1"  # see unspoken.parallel.separate_files
    accelerate_file = job.code / ACCELERATE_FILE
    if accelerate_file.is_file():
        from unspoken.launch.accelerate_environment import environment

        values |= environment(accelerate_file)
    return values


class Termination:
    """A context in which SIGTERM is handed to the processes that train, which then save."""

    def __init__(self) -> None:
        self.requested = False
        self.launcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Termination:
        self._before = signal.signal(signal.SIGTERM, self._hand_on)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def wait(self, timeout_s: float) -> None:
        """Returns when SIGTERM has come, or after this time."""
        deadline = time.monotonic() + timeout_s
        while not self.requested and time.monotonic() < deadline:
            time.sleep(0.1)  # and no threading.Event: a handler may not set what it interrupts

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self.launcher is None:
            return
        # Not to torchrun itself: it would kill its workers after 30 s, in the middle of saving.
        for process in children(self.launcher.pid) or [self.launcher.pid]:
            try:
                os.kill(process, signal.SIGTERM)
            except ProcessLookupError:
                continue


def run_workers(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    *,
    termination: Termination,
    say: Callable[[str], None],
    looks: Sequence[Look] = (),
    rest_of_output_s: float = 10.0,
) -> tuple[int, str]:
    """Runs a command to its end; returns its exit status, and the reason where it is not 0.

    `say` gets every line of the output; `looks` are done every second, and once more at the end.
    After the end the output is read for `rest_of_output_s`, while something that the command
    started still holds it open.
    """
    ended = threading.Event()
    watch = threading.Thread(target=repeat, args=(looks, ended, say), daemon=True)
    launcher = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a process group, which can be ended as a whole
    )
    termination.launcher = launcher
    if termination.requested:  # between the last look and now
        launcher.terminate()
    errors: list[str] = []
    exceptions: list[str] = []
    reading = (launcher.stdout, say, errors, exceptions)
    reader = threading.Thread(target=_read, args=reading, daemon=True)
    for thread in (watch, reader):
        thread.start()
    status = launcher.wait()
    termination.launcher = None
    with contextlib.suppress(ProcessLookupError):  # nothing is left, as it should be
        os.killpg(launcher.pid, signal.SIGKILL)
    reader.join(rest_of_output_s)
    ended.set()
    watch.join()
    reason = errors[-1:] or exceptions[:1] or [f"unspoken run ended with status {status}"]
    return status, reason[0]


def _read(
    stream: IO[bytes] | None,
    say: Callable[[str], None],
    errors: list[str],
    exceptions: list[str],
) -> None:
    """Says every line of the output, and keeps what it tells of a failure."""
    for line in lines_of(stream):
        say(line)
        if line.startswith("error: "):
            errors.append(line.removeprefix("error: "))
        elif match := _EXCEPTION.match(line):
            exceptions.append(match[1])


def repeat(
    looks: Sequence[Look],
    ended: threading.Event,
    say: Callable[[str], None],
    every_s: float = 1.0,
) -> None:
    """Does each of `looks` until all is over; what goes wrong is said once, and tried again."""
    failed: set[Look] = set()
    last = False
    while not last:
        last = ended.wait(every_s)
        for look in looks:
            try:
                look()
            except FileNotFoundError:  # a folder went while it was looked at
                continue
            except (OSError, ValueError, UnspokenError) as error:
                if look not in failed:
                    say(f"note: metrics or whole.json are behind, training goes on: {error}")
                failed.add(look)


def lines_of(stream: IO[bytes] | None) -> Iterator[str]:
    """Lines of text; of a progress bar, which overwrites itself, only what stands at the end."""
    if stream is None:
        return
    rest = b""
    while block := os.read(stream.fileno(), 1 << 16):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace")
        rest = rest[:-1].rpartition(b"\r")[2] + rest[-1:]
    if rest:
        yield rest.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace")


def children(parent: int) -> list[int]:
    """Processes that `parent` started, as Linux tells it."""
    found: list[int] = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue
    return found
