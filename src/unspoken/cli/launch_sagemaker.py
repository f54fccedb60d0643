"""`unspoken launch sagemaker`: flags -> a training job on AWS, and what to say about it."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unspoken.cli.options import Flag, Overwrite
from unspoken.cli.output import say
from unspoken.common.errors import RecipeError
from unspoken.launch.sagemaker.settings import JobSettings

_DEFAULT = JobSettings()
_EXIT_CTRL_C = 130
_LOGS_WAIT = ("--logs", "--wait")


def sagemaker(
    recipe: Path | None = None,
    *overrides: str,
    settings: Annotated[JobSettings, Parameter(name="*", negative="")] = _DEFAULT,
    prices: Path | None = None,
    dry_run: Flag = False,
    wait: Flag = False,
    status: str | None = None,
    logs: str | None = None,
    stop: str | None = None,
    fetch: str | None = None,
    output: Path | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Run a recipe on SageMaker.

    Or ask for, stop or fetch a job that runs there.

    Credentials come from the usual AWS places (aws sso login, AWS_PROFILE, ...). Guide:
    docs/sagemaker.md.

    Parameters
    ----------
    recipe
        YAML file; it stays as it is. Local files that it names are uploaded
    overrides
        section.key=value, as for unspoken run
    prices
        JSON file of prices, for what the job can cost (docs/sagemaker.md, Cost)
    dry_run
        print the request and upload nothing; needs no credentials
    wait
        follow the log until the job ends; Ctrl-C and SIGTERM leave the job alone
    status
        of this job: where it stands
    logs
        of this job: what it has printed; with --wait until it ends
    stop
        this job: it saves a checkpoint and ends
    fetch
        this job's model and report, into --output
    output
        folder for --fetch (default: the job's name)
    overwrite
        replace the folder of --fetch
    """
    named = _named_job(
        recipe, {"--status": status, "--logs": logs, "--stop": stop, "--fetch": fetch}
    )
    _refuse_unused(
        next(iter(named), None),
        settings,
        {"--prices": prices, "--dry_run": dry_run, "--wait": wait},
        {"--output": output, "--overwrite": overwrite},
    )
    if recipe is not None:
        _launch(recipe, overrides, settings, prices, dry_run=dry_run, wait=wait)
        return
    ((flag, name),) = named.items()
    region = settings.region
    if flag == "--logs" and wait:
        _follow(name, region)
    elif flag == "--fetch":
        _fetch(name, output or Path(name), region, overwrite)
    else:
        _ask(flag, name, region)


def _named_job(recipe: Path | None, asked: dict[str, str | None]) -> dict[str, str]:
    """The flag that asks of a job -> the job's name; empty where a recipe is launched.

    Raises:
        RecipeError: there is neither of them, or more than one.
    """
    named = {flag: name for flag, name in asked.items() if name is not None}
    if len(named) + (recipe is not None) != 1:
        found = [*named, *(["a recipe"] if recipe is not None else [])]
        raise RecipeError(
            f"unspoken launch sagemaker: found {' and '.join(found) or 'no recipe'}; needed: "
            f"either a recipe or one of {', '.join(asked)} with a job's name"
        )
    return named


def _launch(
    recipe: Path,
    overrides: tuple[str, ...],
    settings: JobSettings,
    prices: Path | None,
    *,
    dry_run: bool,
    wait: bool,
) -> None:
    from unspoken.launch.sagemaker.jobs import command
    from unspoken.launch.sagemaker.submit import prepare, submit

    launch = prepare(recipe, overrides, settings, prices=prices)
    for line in launch.notes:
        print(line, file=sys.stderr if dry_run else sys.stdout)
    if dry_run:
        print(json.dumps(launch.request, indent=2))
        return
    submit(launch, say=say)
    if wait:
        _follow(launch.job_name, launch.region)
        return
    print(f"follow it:  {command('--logs', launch.job_name, launch.region)} --wait")
    print(f"its model:  {command('--fetch', launch.job_name, launch.region)} --output FOLDER")


def _refuse_unused(
    asking: str | None,
    settings: JobSettings,
    launching: dict[str, object],
    fetching: dict[str, object],
) -> None:
    """Raises RecipeError for flags that would do nothing: a dry run of --stop would stop the job.

    Args:
        asking: --status, --logs, --stop or --fetch; None: a job is launched.
        settings: with them.
        launching: further flags of a launch; --logs takes --wait, too.
        fetching: flags of --fetch alone.
    """
    given = {} if asking == "--fetch" else dict(fetching)
    if asking is not None:
        given |= {flag: value for flag, value in launching.items() if (asking, flag) != _LOGS_WAIT}
        given |= {f"--{name}": True for name in _changed(settings) if name != "region"}
    unused = [flag for flag, value in given.items() if value]
    if unused:
        beside = asking or "a recipe"
        raise RecipeError(
            f"{unused[0]}: found it with {beside}, where it does nothing; leave it out"
        )
    if asking is None and launching["--dry_run"] and launching["--wait"]:
        raise RecipeError("--wait: found it with --dry_run, which submits nothing; leave one out")


def _changed(settings: JobSettings) -> list[str]:
    """The names of settings that are not as they are by default."""
    return [
        field.name for field in fields(settings) if getattr(settings, field.name) != field.default
    ]


def _ask(flag: str, name: str, region: str | None) -> None:
    from unspoken.launch.sagemaker.jobs import describe, log_lines, status_lines, stop

    if flag == "--stop":
        stop(name, region)
        print(f"{name}: asked to stop; it saves a checkpoint and ends within two minutes")
        return
    job = describe(name, region)
    if flag == "--status":
        for line in status_lines(job, region):
            print(line)
        return
    is_silent = True
    for line in log_lines(name, region):
        is_silent = False
        print(line)
    if is_silent:
        print(f"{name}: has printed nothing yet ({job['TrainingJobStatus']})", file=sys.stderr)


def _follow(name: str, region: str | None) -> None:
    from unspoken.launch.sagemaker.jobs import follow, goes_on

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        follow(name, region, say)
    except KeyboardInterrupt:
        print(f"\n{goes_on(name, region)}")
        sys.exit(_EXIT_CTRL_C)
    finally:
        signal.signal(signal.SIGTERM, before)


def _fetch(name: str, output: Path, region: str | None, overwrite: bool) -> None:
    from unspoken.launch.sagemaker.jobs import fetch

    files = fetch(name, output, region, overwrite=overwrite)
    num_bytes = sum(path.stat().st_size for path in files)
    word = "file" if len(files) == 1 else "files"
    print(f"{output}: {len(files)} {word}, {num_bytes / 1e6:.1f} MB")
