"""`unspoken launch slurm`: a recipe as jobs of a cluster."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unspoken.cli.options import Flag
from unspoken.cli.output import silence_libraries
from unspoken.common.errors import RecipeError
from unspoken.launch.slurm.options import SlurmOptions

if TYPE_CHECKING:
    from unspoken.launch.slurm.render import SlurmLaunch
    from unspoken.recipe import Recipe

_DEFAULT = SlurmOptions()
#: A variable with a secret's name that is given a text, and not what a variable or a file has.
_SECRET = re.compile(
    r"\b(\w*(?:TOKEN|SECRET|PASSWORD|(?:API|ACCESS|SECRET)_?KEY))=(?![\"']?[$`\s]|$)", re.I
)


def slurm(
    recipe: Path,
    *overrides: str,
    options: Annotated[SlurmOptions, Parameter(name="*", negative="")] = _DEFAULT,
    dry_run: Flag = False,
    status: Flag = False,
) -> None:
    """Run a recipe on a SLURM cluster.

    Its jobs are written into the run folder and submitted. A run that reaches the time limit saves
    and goes on in the same job. A failed job ends those that wait for it.

    Parameters
    ----------
    recipe
        YAML file, such as recipes/distill-qwen.yaml
    overrides
        section.key=value, as for unspoken run
    dry_run
        print the scripts; write and submit nothing
    status
        say how the jobs of this recipe are, instead
    """
    from unspoken.common.machine import command_line
    from unspoken.launch.slurm.render import SlurmLaunch, render_scripts, working_directory
    from unspoken.launch.slurm.submit import (
        launch_folder,
        status_lines,
        stuck_lines,
        submit,
        waiting_for,
    )
    from unspoken.recipe import load_to_run
    from unspoken.recipe.shipped import find_config, find_recipe

    recipe = find_recipe(recipe)
    loaded = load_to_run(recipe, overrides)
    if options.config_file is not None:
        options = replace(options, config_file=find_config(options.config_file))
    if status:
        print("\n".join(status_lines(loaded)))
        return
    folder, here = launch_folder(loaded), working_directory()
    launch = SlurmLaunch(loaded, overrides, options, folder, here, command_line())
    scripts = render_scripts(launch)
    nodes, gpus = options.nodes, options.gpus_per_node
    silence_libraries()
    from unspoken.parallel.world import require_processes

    given = f"--nodes {nodes} --gpus_per_node {gpus}"
    variables = launch.accelerate
    require_processes(loaded, nodes * max(1, gpus), given=given, environment=variables)
    for line in _notes(launch, dry_run=dry_run):  # raises where the jobs would fail
        print(f"note: {line}", file=sys.stderr)
    if dry_run:
        before = None
        for script in scripts:
            line = " ".join(["sbatch", *waiting_for(before), f"{script.name}.sbatch"])
            print(f"##### {launch.folder / script.name}.sbatch\n##### {line}\n{script.text}")
            before = f"JOB_OF_{script.name}"
        return
    jobs = submit(launch, recipe)
    for name, job in jobs:
        print(f"{name}: job {job}, {launch.folder / name}.sbatch")
    for line in stuck_lines(jobs):
        print(f"note: {line}", file=sys.stderr)
    events = shlex.quote(str(launch.folder / "events.log"))
    print(f"what happens: tail -F {events}; or add --status to this command")


def _notes(launch: SlurmLaunch, *, dry_run: bool) -> Iterator[str]:
    """Yields what may go wrong in the jobs, and cannot be known here.

    Args:
        launch: as it would be submitted.
        dry_run: models need not be here yet.

    Raises:
        UnspokenError: the recipe cannot run as it stands.
    """
    from unspoken.check.recipe import check_recipe

    _require_deepspeed(launch)
    missing = _missing_model(launch.recipe, dry_run=dry_run)
    if missing is not None:
        yield missing
    else:
        findings = check_recipe(launch.recipe, elsewhere=True)
        unknown = [finding.text for finding in findings if finding.kind == "unknown here"]
        for text in dict.fromkeys(unknown):
            yield f"{text}; jobs have no network"
    yield from _notes_of_options(launch)


def _notes_of_options(launch: SlurmLaunch) -> Iterator[str]:
    """Yields what of the options may not be meant as it stands."""
    options = launch.options
    if re.fullmatch(r"\d+:\d+", (options.time or "").strip()):
        minutes, seconds = map(int, str(options.time).split(":"))
        yield (
            f"--time {options.time} is {minutes} minutes and {seconds} seconds to SLURM; hours "
            f"would be {minutes:02}:{seconds:02}:00"
        )
    if options.config_file is not None and options.nodes * max(1, options.gpus_per_node) == 1:
        yield f"--config_file {options.config_file} does nothing for one process"
    for name in dict.fromkeys(name for line in options.setup for name in _SECRET.findall(line)):
        yield (
            f"--setup: {name} would stand in the jobs' scripts and logs, which others may read; "
            f"export it before you launch, as sbatch takes it along, or give {name}=$(cat FILE)"
        )
    asks_for_cpus = any(line.startswith(("-c", "--cpus-per-")) for line in options.extra)
    if options.gpus_per_node and options.cpus_per_task is None and not asks_for_cpus:
        yield "--cpus_per_task is missing, so each job may get one core; give those of a node"


def _missing_model(recipe: Recipe, *, dry_run: bool) -> str | None:
    """What is said of a model that is not here, where nothing is submitted; None: all are."""
    from unspoken.check.offline import require_models_here

    try:
        require_models_here(recipe)
    except RecipeError as error:
        if not dry_run:
            raise
        return f"{error}; without it nothing is submitted, and the recipe is not checked"
    return None


def _require_deepspeed(launch: SlurmLaunch) -> None:
    """Raises RecipeError where the jobs use this Python, and it has no DeepSpeed for ZeRO."""
    from unspoken.parallel.world import is_set

    options = launch.options
    elsewhere = options.venv is not None or options.container is not None
    if elsewhere or not is_set("ACCELERATE_USE_DEEPSPEED", launch.accelerate):
        return
    if importlib.util.find_spec("deepspeed") is None:
        raise RecipeError(
            f"--config_file: {options.config_file} asks for DeepSpeed, which is not installed; "
            "pip install 'unspoken[deepspeed]' where there is a network, or use "
            "configs/fsdp2.yaml, which needs nothing"
        )
