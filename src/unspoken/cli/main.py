"""The command line: verbs put together, one spelling of flags, and errors in one line.

`--num_train` and `--num-train` are the same flag.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence

from cyclopts import App
from cyclopts.exceptions import CycloptsError
from pydantic import ValidationError

from unspoken.cli.check import check
from unspoken.cli.compare import compare
from unspoken.cli.data import data_app
from unspoken.cli.distil import distil
from unspoken.cli.download import download
from unspoken.cli.evaluate import evaluate
from unspoken.cli.export import export
from unspoken.cli.generate import generate
from unspoken.cli.internalize import internalize
from unspoken.cli.launch_sagemaker import sagemaker
from unspoken.cli.launch_slurm import slurm
from unspoken.cli.merge import merge
from unspoken.cli.recipes import recipes
from unspoken.cli.report import report
from unspoken.cli.run import run
from unspoken.cli.score import score
from unspoken.cli.shard import shard
from unspoken.cli.vet import vet
from unspoken.common.errors import UnspokenError, as_flag
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.common.settings import setting_error
from unspoken.common.version import __version__
from unspoken.parallel.world import is_main_process, read_world

#: Exit status for everything that the user can mend.
EXIT_USER_ERROR = 2

app = App(
    name="unspoken",
    help="Make small language models reason without writing it down.",
    version=__version__,
    result_action="return_value",
)
VERBS = (
    run, check, recipes, generate, merge, vet, internalize, evaluate, score, compare, report,
    export, download,
)  # fmt: skip
for verb in VERBS:
    app.command(verb)
app.command(distil, name=["distil", "distill"])
app.command(shard)
app.command(data_app)
launch_app = App(name="launch", help="Run a recipe elsewhere: on a SLURM cluster or on SageMaker.")
launch_app.command(slurm)
launch_app.command(sagemaker)
app.command(launch_app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0, 2 for what the user can mend, 75 when stopped by a signal."""
    if not read_world().is_launched:
        _main(arguments)
        return
    status: object = 0
    try:
        _main(arguments)
    except SystemExit as end:
        status = end.code
    # Python's own end runs into threads of torch's process groups now and then, and aborts; the
    # launcher would take that for this process' failure.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def _main(arguments: Sequence[str] | None) -> None:
    with contextlib.suppress(ValueError):  # not the main thread: whoever owns it decides
        signal.signal(signal.SIGTERM, _stop)
    tokens = [_same_flag(token) for token in (sys.argv[1:] if arguments is None else arguments)]
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        cause, group = error.__cause__, error.argument and error.argument.hint
        if isinstance(cause, ValidationError) and hasattr(group, "__pydantic_fields__"):
            _fail_of(setting_error(group, cause))
        _fail(f"{str(error).strip()} Try: unspoken --help")
    except UnspokenError as error:
        _fail_of(error)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _same_flag(token: str) -> str:
    """`--num_train=3` as `--num-train=3`: both spellings of a flag are one."""
    if not token.startswith("--"):
        return token
    name, equals, value = token.partition("=")
    return name.replace("_", "-") + equals + value


def _stop(number: int, frame: object) -> None:
    """What has no checkpoint of its own ends at once; its files are whole or not there."""
    print("stopped by a signal; the same command goes on, or begins again", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


def _fail_of(error: Exception) -> None:
    _fail(error.told(as_flag) if isinstance(error, UnspokenError) else str(error))


def _fail(message: str) -> None:
    if not is_main_process():  # the first says it for all, and the launcher ends them
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(1)
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


if __name__ == "__main__":
    main()
