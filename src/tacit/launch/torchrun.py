"""torchrun on one node of a SLURM job, with the exit status of the run.

`python -m tacit.launch.slurm_node` takes torchrun's arguments. torchrun itself exits with 1
whatever happened; a job has to know whether the run was stopped and can go on, or failed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tacit.interrupt import EXIT_INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the processes of this node, and exits as they did.

    0: all are done; 75: torchrun was asked to stop, or a process stopped after saving; else the
    status of the process that failed first.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    given = list(sys.argv[1:] if arguments is None else arguments)
    node = os.environ.get("SLURM_NODEID", "0")
    arguments_of_torchrun = parse_args([f"--node_rank={node}", *given])
    config, command, command_arguments = config_from_args(arguments_of_torchrun)
    try:
        elastic_launch(config, command)(*command_arguments)
    except SignalException:  # the processes have ended, or were killed after waiting for them
        sys.exit(EXIT_INTERRUPTED)
    except ChildFailedError as error:
        sys.exit(status_of(error.failures))


def status_of(failures: Mapping[int, Any]) -> int:
    """The exit status of the process that failed first; 128 + n where signal n ended it.

    A process that lost its partners fails, too, but later than the one that left them.

    Args:
        failures: rank -> torchrun's ProcessFailure, with exitcode and timestamp.
    """
    first = min(failures.values(), key=lambda failure: failure.timestamp)
    return first.exitcode if first.exitcode >= 0 else 128 - first.exitcode


if __name__ == "__main__":
    main()
