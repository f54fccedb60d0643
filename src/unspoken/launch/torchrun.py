"""torchrun on one node of a SLURM job or one host of SageMaker's, with the exit status of the run.

`python -m unspoken.launch.torchrun` takes torchrun's arguments. torchrun itself exits with 1
whatever happened; a job has to know whether the run was stopped and can go on, or failed. The
job's script says by UNSPOKEN_SHUTDOWN_S how long processes may save after SIGTERM, and by
UNSPOKEN_EVENTS and UNSPOKEN_JOB where a failure is noted, and for which job.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unspoken.common.interrupt import EXIT_INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the processes of this node, and exits as they did.

    0: all are done; 75: torchrun was asked to stop, or a process stopped after saving; else the
    status of the process that failed first, or 2 where one ended with it after such a request.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    given = list(sys.argv[1:] if arguments is None else arguments)
    node = os.environ.get("SLURM_NODEID", "0")
    arguments_of_torchrun = parse_args([f"--node_rank={node}", *given])
    config, command, command_arguments = config_from_args(arguments_of_torchrun)
    shutdown_s = int(os.environ.get("UNSPOKEN_SHUTDOWN_S", "30"))
    ended = _wait_after_signal(shutdown_s)
    status = 0
    try:
        elastic_launch(config, command)(*command_arguments)
    except SignalException:  # the processes have ended, or were killed after waiting for them
        status = 2 if 2 in ended else EXIT_INTERRUPTED
        if -signal.SIGKILL in ended:
            _note(node, f"killed: had not saved within {shutdown_s} s; raise save_s")
    except ChildFailedError as error:
        status = status_of(error.failures)
    if status not in (0, EXIT_INTERRUPTED):
        _note(node, f"ended with exit status {status}")
    sys.exit(status)


def status_of(failures: Mapping[int, Any]) -> int:
    """The exit status of the process that failed first; 128 + n where signal n ended it.

    A process that lost its partners fails, too, but later than the one that left them.

    Args:
        failures: rank -> torchrun's ProcessFailure, with exitcode and timestamp.
    """
    first = min(failures.values(), key=lambda failure: failure.timestamp)
    return first.exitcode if first.exitcode >= 0 else 128 - first.exitcode


def _wait_after_signal(shutdown_s: int) -> list[int]:
    """Gives torchrun's processes so long to save after a signal; the list that gets their statuses.

    Before torch 2.12 it is 30 s, and nothing to set. After a failure, where the others may hang, it
    stays as torch has it.
    """
    from torch.distributed.elastic.multiprocessing.api import PContext

    ended: list[int] = []
    close = PContext.close

    def close_later(self: Any, death_sig: signal.Signals | None = None, timeout: int = 30) -> None:
        close(self, death_sig, timeout if death_sig is None else shutdown_s)
        handlers = getattr(self, "subprocess_handlers", {}).values()
        ended.extend(handler.proc.returncode or 0 for handler in handlers)

    PContext.close = close_later
    return ended


def _note(node: str, text: str) -> None:
    """One line into the log of the launch: srun's own status may be that of another node."""
    events = os.environ.get("UNSPOKEN_EVENTS")
    if events is not None:
        job, now = os.environ.get("UNSPOKEN_JOB", "job"), time.strftime("%Y-%m-%d %H:%M:%S")
        with Path(events).open("a", encoding="utf-8") as file:
            file.write(f"{now} {job}: node {node} ({socket.gethostname()}): {text}\n")


if __name__ == "__main__":
    main()
