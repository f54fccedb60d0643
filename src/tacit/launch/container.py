"""Inside a SageMaker container: `python -m tacit.launch.container` runs the recipe of the job.

    /opt/ml/input/config/*.json, SM_*  -> hosts, rank, recipe, overrides
    torchrun over all hosts and GPUs   -> python -m tacit run RECIPE ... output=run
    /opt/ml/checkpoints/run            -> the run folder; SageMaker keeps it on S3
    /opt/ml/model, /opt/ml/output/data -> the final model; the report and its figures
    /opt/ml/output/failure             -> why it failed, in one line

A job that is interrupted and started again finds its run folder and goes on. Only the first host
writes; the others get what they need over the network. Starts with the standard library alone.
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
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from tacit.errors import TacitError
from tacit.interrupt import EXIT_INTERRUPTED
from tacit.launch.container_files import publish, write_failure
from tacit.launch.container_job import ContainerError, Job, read_job
from tacit.launch.container_requirements import install_missing
from tacit.launch.sagemaker_checkpoints import WholeFolders
from tacit.launch.sagemaker_metrics import MetricFollower

#: How long a host waits for the first one's name to be known.
_NAMES_TIMEOUT_S = 300.0
_LOOK_EVERY_S = 1.0
_EXCEPTION = re.compile(r"(?:\[\w+\]: *)?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)")


def main() -> None:
    """Runs the job in --root, TACIT_ML_ROOT or /opt/ml, and exits with its status."""
    arguments = sys.argv[1:]
    root = Path(os.environ.get("TACIT_ML_ROOT", "/opt/ml"))
    if arguments[:1] == ["--root"] and len(arguments) == 2:
        root = Path(arguments[1])
    elif arguments:
        sys.exit(f"error: found {' '.join(arguments)}; needed: nothing, or --root FOLDER")
    try:
        status = run_container(root)
    except TacitError as error:
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
        run = _run_folder(job)
        if job.rank:
            _wait_for_name(job.master, termination)
        if termination.requested:
            return EXIT_INTERRUPTED
        status, reason = _train(job, run, termination)
    if status == 0:
        if job.is_first:
            publish(run, root)
        return 0
    if termination.requested:
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


def _train(job: Job, run: Path, termination: _Termination) -> tuple[int, str]:
    """torchrun's exit status, and the reason where it is not 0."""
    launcher = subprocess.Popen(
        _command(job),
        cwd=run.parent,
        env=_environment(job),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    termination.launcher = launcher
    if termination.requested:  # between the last look and now
        launcher.terminate()
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(job, run, ended), daemon=True)
    if job.is_first:
        watch.start()
    errors: list[str] = []
    exceptions: list[str] = []
    for line in _lines(launcher.stdout):
        _say(line)
        if line.startswith("error: "):
            errors.append(line.removeprefix("error: "))
        elif (match := _EXCEPTION.match(line)) and "ChildFailedError" not in line:
            exceptions.append(match[1])
    status = launcher.wait()
    ended.set()
    if job.is_first:
        watch.join()
    reason = errors[-1:] or exceptions[:1] or [f"tacit run ended with status {status}"]
    return status, reason[0]


def _command(job: Job) -> list[str]:
    """torchrun with a fixed rank per host, so that the first host has rank 0 and the run folder."""
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nnodes={len(job.hosts)}",
        f"--node_rank={job.rank}",
        f"--nproc_per_node={job.num_processes}",
        f"--master_addr={job.master}",
        f"--master_port={job.port}",
        "-m",
        "tacit",
        "run",
        str(job.recipe),
        *job.overrides,
        "output=run",
    ]


def _environment(job: Job) -> dict[str, str]:
    """For torchrun and its workers."""
    values = dict(os.environ)
    values["PYTHONPATH"] = os.pathsep.join(filter(None, [str(job.code), values.get("PYTHONPATH")]))
    values.setdefault("PYTHONUNBUFFERED", "1")
    values.setdefault("TACIT_CACHE", str(job.root / "tacit" / "cache"))
    if job.network_interface:
        for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
            values.setdefault(name, job.network_interface)
    if len(job.hosts) > 1:
        values["TACIT_SEPARATE_FILES"] = "1"  # see tacit.launch.sagemaker_sharing
    return values


def _run_folder(job: Job) -> Path:
    """tacit/run below the root: a name for checkpoints/run on the first host, a copy elsewhere.

    It has the same name on all hosts, relative to the folder in which they work; but only one of
    them may write into the folder that SageMaker saves.
    """
    work = job.root / "tacit"
    work.mkdir(parents=True, exist_ok=True)
    run = work / "run"
    if not job.is_first:
        run.mkdir(exist_ok=True)
        return run
    kept = job.root / "checkpoints" / "run"
    kept.mkdir(parents=True, exist_ok=True)
    whole = WholeFolders(kept, kept.parent / "whole.json")
    for name in whole.set_aside_broken(work / "incomplete" / str(int(time.time()))):
        _say(f"{name}: came back from S3 incomplete and is not used")
    run.unlink(missing_ok=True)
    run.symlink_to(kept)
    return run


def _watch(job: Job, run: Path, ended: threading.Event) -> None:
    """Prints new metrics, and notes which models and checkpoints are whole."""
    metrics = MetricFollower(run.resolve())
    whole = WholeFolders(run.resolve(), job.root / "checkpoints" / "whole.json")
    last = False
    while not last:
        last = ended.wait(_LOOK_EVERY_S)
        with contextlib.suppress(FileNotFoundError):  # a folder went while it was looked at
            for line in metrics.new_lines():
                _say(line)
            whole.note()


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
