"""Inside a SageMaker container: runs the recipe of the job and gives the container what it leaves.

    /opt/ml/input/config/*.json, SM_*  -> hosts, rank, recipe, overrides
    torchrun over all hosts and GPUs   -> python -m unspoken run RECIPE ... output=run
    code/accelerate.yaml, if it came   -> FSDP2 or DeepSpeed instead of DDP
    /opt/ml/checkpoints/run            -> the run folder; SageMaker keeps it on S3
    /opt/ml/model, /opt/ml/output/data -> the final model; the report and its figures
    /opt/ml/output/failure             -> why it failed, in one line

A job that is interrupted and started again finds its run folder and goes on. Only the first host
writes; the others get what they need over the network. Starts with the standard library
alone, and imports the rest once `install_missing` has seen to it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from unspoken.common.errors import UnspokenError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.launch.container.job import (
    ACCELERATE_FILE,
    ContainerError,
    ContainerJob,
    read_job,
    write_failure,
)
from unspoken.launch.container.requirements import install_missing

#: How long a host waits for the first one's name to be known.
_NAMES_TIMEOUT_S = 300.0
_LOOK_EVERY_S = 1.0
#: How long a host that was stopped through another one waits for its own SIGTERM.
_OWN_SIGTERM_S = 120.0
#: How long one that failed does: its processes fail, too, when those of another host are stopped.
_SIGTERM_AFTER_FAILURE_S = 20.0
#: How long the output is read after the run, while something that it started still holds it open.
_REST_OF_OUTPUT_S = 10.0
_EXCEPTION = re.compile(r"(?:\[\w+\]: *)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)")


def main() -> None:
    """Runs the job in --root, UNSPOKEN_ML_ROOT or /opt/ml, and exits with its status."""
    arguments = sys.argv[1:]
    root = Path(os.environ.get("UNSPOKEN_ML_ROOT", "/opt/ml"))
    if arguments[:1] == ["--root"] and len(arguments) == 2:
        root = Path(arguments[1])
    elif arguments:
        sys.exit(f"error: found {' '.join(arguments)}; needed: nothing, or --root FOLDER")
    try:
        status = run_container(root)
    except UnspokenError as error:
        _say(f"error: {error}")
        write_failure(root, str(error))
        sys.exit(2)
    except Exception as error:
        write_failure(root, f"{type(error).__name__}: {error}")
        raise
    sys.exit(status)


def run_container(root: Path) -> int:
    """Runs the job whose files are below `root`; returns its exit status.

    0: done, and everything is published. 75: stopped by SIGTERM, everything saved. Else it failed,
    and output/failure says why.

    Raises:
        ContainerError: the job's files or the image cannot be used.
    """
    with _Termination() as termination:
        job = read_job(root)
        _say(
            f"host {job.rank + 1} of {len(job.hosts)}, {job.num_processes} processes here; "
            f"recipe {job.recipe.name}"
        )
        install_missing(job.code, _say)
        # what these import may just have been installed
        from unspoken.launch.container.files import place_run_folder, publish

        run = place_run_folder(job, _say)
        if job.rank:
            _wait_for_name(job.master, termination)
        if termination.requested:
            return EXIT_INTERRUPTED
        status, reason = _train(job, run, termination)
        if status == EXIT_INTERRUPTED:
            termination.wait(_OWN_SIGTERM_S)
        elif status and len(job.hosts) > 1:
            termination.wait(_SIGTERM_AFTER_FAILURE_S)
    if status == 0:
        if job.is_first:
            publish(run, root)
        return 0
    if termination.requested or status == EXIT_INTERRUPTED:
        _say("stopped by SIGTERM; the run folder is kept, and the job goes on from there")
        return EXIT_INTERRUPTED
    write_failure(root, reason)
    _say(f"failed: {reason}")
    return status


class _Termination:
    """A context in which SIGTERM is handed to the processes that train, which then save."""

    def __init__(self) -> None:
        self.requested = False
        self.launcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Termination:
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
        for process in _children(self.launcher.pid) or [self.launcher.pid]:
            try:
                os.kill(process, signal.SIGTERM)
            except ProcessLookupError:
                continue


def _train(job: ContainerJob, run: Path, termination: _Termination) -> tuple[int, str]:
    """torchrun's exit status, and the reason where it is not 0."""
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(_looks(job, run), ended), daemon=True)
    launcher = subprocess.Popen(
        _command(job),
        cwd=run.parent,
        env=_environment(job),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a process group, which can be ended as a whole
    )
    termination.launcher = launcher
    if termination.requested:  # between the last look and now
        launcher.terminate()
    errors: list[str] = []
    exceptions: list[str] = []
    reading = (launcher.stdout, errors, exceptions)
    reader = threading.Thread(target=_read, args=reading, daemon=True)
    for thread in (watch, reader):
        thread.start()
    status = launcher.wait()
    termination.launcher = None
    with contextlib.suppress(ProcessLookupError):  # nothing is left, as it should be
        os.killpg(launcher.pid, signal.SIGKILL)
    reader.join(_REST_OF_OUTPUT_S)
    ended.set()
    watch.join()
    reason = errors[-1:] or exceptions[:1] or [f"unspoken run ended with status {status}"]
    return status, reason[0]


def _read(stream: IO[bytes] | None, errors: list[str], exceptions: list[str]) -> None:
    """Says every line of the output, and keeps what it tells of a failure."""
    for line in _lines(stream):
        _say(line)
        if line.startswith("error: "):
            errors.append(line.removeprefix("error: "))
        elif match := _EXCEPTION.match(line):
            exceptions.append(match[1])


def _command(job: ContainerJob) -> list[str]:
    """torchrun with a fixed rank per host, so that the first host has rank 0 and the run folder.

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
        *job.overrides,
        "output=run",
    ]


def _environment(job: ContainerJob) -> dict[str, str]:
    """For torchrun and its workers."""
    values = dict(os.environ)
    values["PYTHONPATH"] = os.pathsep.join(filter(None, [str(job.code), values.get("PYTHONPATH")]))
    values.setdefault("PYTHONUNBUFFERED", "1")
    values.setdefault("UNSPOKEN_CACHE", str(job.root / "unspoken" / "cache"))
    if job.network_interface:
        for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
            values.setdefault(name, job.network_interface)
    if len(job.hosts) > 1:
        values["UNSPOKEN_SEPARATE_FILES"] = "1"  # see unspoken.run.share
    accelerate_file = job.code / ACCELERATE_FILE
    if accelerate_file.is_file():
        from unspoken.launch.accelerate_environment import environment

        values |= environment(accelerate_file)
    return values


def _looks(job: ContainerJob, run: Path) -> list[Callable[[], None]]:
    """What is done again and again beside the run: metrics told, whole folders noted."""
    if not job.is_first:
        return []
    from unspoken.launch.container.metrics import MetricFollower
    from unspoken.launch.container.whole_folders import WholeFolders

    metrics = MetricFollower(run.resolve())
    whole = WholeFolders(run.resolve(), job.root / "checkpoints" / "whole.json")

    def tell_metrics() -> None:
        for line in metrics.new_lines():
            _say(line)

    return [tell_metrics, whole.note]


def _watch(looks: list[Callable[[], None]], ended: threading.Event) -> None:
    """Does each of `looks` every second; what goes wrong is said once, and tried again."""
    failed: set[Callable[[], None]] = set()
    last = False
    while not last:
        last = ended.wait(_LOOK_EVERY_S)
        for look in looks:
            try:
                look()
            except FileNotFoundError:  # a folder went while it was looked at
                continue
            except (OSError, ValueError, UnspokenError) as error:
                if look not in failed:
                    _say(f"note: metrics or whole.json are behind, training goes on: {error}")
                failed.add(look)


def _lines(stream: IO[bytes] | None) -> Iterator[str]:
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


def _children(parent: int) -> list[int]:
    """Processes that `parent` started, as Linux tells it."""
    found: list[int] = []
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:
            continue
    return found


def _wait_for_name(name: str, termination: _Termination) -> None:
    """The names of hosts are not known at once when a job starts."""
    deadline = time.monotonic() + _NAMES_TIMEOUT_S
    while not termination.requested:
        try:
            socket.getaddrinfo(name, None)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise ContainerError(
                    f"host {name}: its name is not known after {_NAMES_TIMEOUT_S:.0f} s; in a VPC, "
                    "allow the security group to talk to itself"
                ) from None
            time.sleep(1)


def _say(text: str) -> None:
    """A line in the job's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
