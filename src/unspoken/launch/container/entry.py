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

import os
import socket
import sys
import time
from pathlib import Path

from unspoken.common.errors import UnspokenError
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.launch.container.job import ContainerError, ContainerJob, read_job, write_failure
from unspoken.launch.container.requirements import install_missing
from unspoken.launch.container.workers import (
    Look,
    Termination,
    command_of,
    environment_of,
    run_workers,
)

#: How long a host waits for the first one's name to be known.
_NAMES_TIMEOUT_S = 300.0


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


def run_container(
    root: Path, *, own_sigterm_s: float = 120.0, sigterm_after_failure_s: float = 20.0
) -> int:
    """Runs the job whose files are below `root`; returns its exit status.

    0: done, and everything is published. 75: stopped by SIGTERM, everything saved. Else it failed,
    and output/failure says why.

    Args:
        root: /opt/ml, or where a test put one.
        own_sigterm_s: how long a host that was stopped through another one waits for its own
            SIGTERM.
        sigterm_after_failure_s: how long one that failed does: its processes fail, too, when those
            of another host are stopped.

    Raises:
        ContainerError: the job's files or the image cannot be used.
    """
    with Termination() as termination:
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
        status, reason = train(job, run, termination)
        if status == EXIT_INTERRUPTED:
            termination.wait(own_sigterm_s)
        elif status and len(job.hosts) > 1:
            termination.wait(sigterm_after_failure_s)
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


def train(job: ContainerJob, run: Path, termination: Termination) -> tuple[int, str]:
    """Runs the recipe on this host; returns the exit status, and the reason where it is not 0."""
    return run_workers(
        command_of(job),
        run.parent,
        environment_of(job),
        termination=termination,
        say=_say,
        looks=_looks(job, run),
    )


def _looks(job: ContainerJob, run: Path) -> list[Look]:
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


def _wait_for_name(name: str, termination: Termination) -> None:
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
