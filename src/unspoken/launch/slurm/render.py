"""A recipe as SLURM jobs: readable sbatch scripts, in which the verbs of unspoken do the work.

One job runs the whole recipe. With an array there are three, each waiting for the one before:
`prepare` makes the data and trains a teacher from scratch, `generate` is the array in which every
job writes its share of the traces, `run` joins them and does all the rest.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from unspoken.common.errors import RecipeError, SettingError, setting, shorten
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.common.version import __version__
from unspoken.launch.accelerate_environment import environment
from unspoken.launch.slurm.binds import bound_folders
from unspoken.launch.slurm.options import SlurmOptions
from unspoken.recipe import Recipe
from unspoken.recipe.layout import RECIPE_FILE
from unspoken.recipe.plan import plan


@dataclass(frozen=True)
class Script:
    """One sbatch script.

    Attributes:
        name: of the job within the run: prepare, generate or run.
        text: of the file.
    """

    name: str
    text: str


@dataclass(frozen=True)
class SlurmLaunch:
    """Where a run is launched, and with what.

    Attributes:
        recipe: as it will be run.
        overrides: section.key=value, as they were typed.
        options: what is asked of SLURM.
        folder: receives recipe.yaml, scripts and logs; absolute.
        directory: in which the command was typed, and in which the jobs run; absolute.
        typed: the command, for people.
    """

    recipe: Recipe
    overrides: Sequence[str]
    options: SlurmOptions
    folder: Path
    directory: Path
    typed: str

    @functools.cached_property
    def accelerate(self) -> dict[str, str]:
        """The variables by which accelerate's configuration reaches the processes."""
        given = self.options.config_file
        return environment(self.directory / given) if given is not None else {}

    @property
    def run(self) -> Path:
        """The run folder, absolute."""
        return self.directory / self.recipe.folder

    @functools.cached_property
    def folders(self) -> list[Path]:
        """Those that the jobs read or write, absolute; with a container all that it is given."""
        source = self.recipe.from_run
        own = [self.directory, self.run, *([self.directory / source] if source else [])]
        if self.options.container is None:
            return own
        return bound_folders(self.recipe, self.directory, own)


@dataclass(frozen=True)
class _JobRequest:
    """What differs between the jobs of a run."""

    name: str
    purpose: str
    nodes: int
    gpus: int
    processes: int  # on each node
    cpus: int | None  # of each node
    mem: str | None
    verbs: tuple[str, ...]  # one after the other; those but the last in one process


def working_directory() -> Path:
    """The folder that a command is typed in, as the shell names it.

    What a link leads to on a login node need not be there on a compute node.
    """
    named, real = Path(os.environ.get("PWD", "")), Path.cwd()
    return named if named.is_absolute() and named.exists() and named.samefile(real) else real


def render_scripts(launch: SlurmLaunch) -> list[Script]:
    """The jobs of a run, in the order in which they wait for each other.

    Raises:
        RecipeError: an option does not fit the recipe, or the time limit is missing.
    """
    launch.options.require_time()
    _check_paths(launch)
    _check_setup(launch.options.setup)
    return [Script(job.name, _render(launch, job)) for job in _jobs(launch)]


def _check_paths(launch: SlurmLaunch) -> None:
    """sbatch reads a log's name in its own way, apptainer the folders that it binds."""
    unusable = '"\\\n' + (",:" if launch.options.container is not None else "")
    for path in launch.folders:
        found = [sign for sign in unusable if sign in str(path)]
        if found:
            raise RecipeError(
                f"{str(path)!r}: found {found[0]!r} in the name; needed: a folder whose name "
                "sbatch and apptainer can read; rename it, choose another run folder with "
                f"{setting('output', 'FOLDER')}, or launch from another"
            )


def _check_setup(lines: Sequence[str]) -> None:
    """Each line is a whole command of the shell: the script checks each by itself."""
    bash = shutil.which("bash")
    if bash is None:  # the cluster's own will say
        return
    for line in lines:
        done = subprocess.run(
            [bash, "-n", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode or done.stderr:  # of a missing end of << it only warns
            told = " ".join(done.stderr.decode(errors="replace").split())
            raise SettingError(
                "setup",
                found=f"{shorten(line)}, which bash cannot read ({told:.200})",
                needed="one whole command, such as 'module load cuda'",
                remedy="correct it; several commands go into one line, with ; or &&",
            )


def _jobs(launch: SlurmLaunch) -> Iterator[_JobRequest]:
    options, teacher = launch.options, launch.recipe.teacher
    whole: dict[str, Any] = {
        "nodes": options.nodes,
        "gpus": options.gpus_per_node,
        "processes": max(1, options.gpus_per_node),
        "cpus": options.cpus_per_task,
        "mem": options.mem,
    }
    if options.shards is None:
        yield _JobRequest("run", "The whole recipe.", **whole, verbs=("run {recipe}",))
        return
    if teacher is None:
        raise SettingError(
            "array",
            found=f"{options.array} with a recipe that has no section teacher",
            needed="traces to share out",
            remedy="leave it out",
        )
    count, at_once = options.shards
    # GPU partitions often refuse jobs without one, so the small first job has one, too
    first = _share_of_node(options, min(1, options.gpus_per_node))
    yield _JobRequest(
        "prepare",
        "First of three jobs: data" + (", and a teacher from scratch." if teacher.train else "."),
        **(whole if teacher.from_scratch else first),
        verbs=("shard {recipe} --prepare",),
    )
    gpus = options.gpus_per_shard
    if gpus is None:
        asks_others = teacher.engine != "transformers" and teacher.serve is None
        gpus = 0 if asks_others else first["gpus"]
    yield _JobRequest(
        "generate",
        f"Second of three jobs, {count} times: each writes its share of the teacher's traces.",
        **_share_of_node(options, gpus),
        verbs=(
            f'shard {{recipe}} --shard "$SLURM_ARRAY_TASK_ID/{count}"'
            + (f" --at_once {at_once}" if at_once else ""),
        ),
    )
    yield _JobRequest(
        "run",
        "Third of three jobs: joins the traces and does all the rest.",
        **whole,
        verbs=(f"shard {{recipe}} --merge {count}", "run {recipe}"),
    )


def _share_of_node(options: SlurmOptions, gpus: int) -> dict[str, Any]:
    """A job of one process that has so many GPUs of a node, and its part of the rest."""
    cpus, mem = options.of_shard(gpus)
    return {"nodes": 1, "gpus": gpus, "processes": 1, "cpus": cpus, "mem": mem}


def _render(launch: SlurmLaunch, job: _JobRequest) -> str:
    from jinja2 import Environment, StrictUndefined

    options, folder = launch.options, launch.folder
    source = (
        resources.files("unspoken.launch.slurm")
        .joinpath("slurm.sbatch.jinja")
        .read_text(encoding="utf-8")
    )
    # autoescape is for HTML; every value here is quoted for the shell where it is put in
    templates = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    templates.filters["sh"] = shlex.quote
    activate = None
    if options.venv is not None:
        activate = shlex.quote(str(launch.directory / options.venv / "bin" / "activate"))
    head = '$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
    return templates.from_string(source).render(
        name=job.name,
        purpose=job.purpose,
        version=__version__,
        typed=launch.typed.replace("\n", " "),
        directives=list(_directives(launch, job)),
        directory=shlex.quote(str(launch.directory)),
        log_prefix=shlex.quote(str(folder / job.name)),
        events=shlex.quote(str(folder / "events.log")),
        exit_interrupted=EXIT_INTERRUPTED,
        setup=options.setup,
        activate=activate,
        container=options.container is not None,
        uses_wandb=any(
            "wandb" in one.recipe.train.trackers for one in plan(launch.recipe).trainings
        ),
        cpus_per_task=job.cpus,
        threads=max(1, (job.cpus or 1) // job.processes),
        torchrun=_uses_torchrun(job),
        accelerate=launch.accelerate if _uses_torchrun(job) else {},
        shutdown_s=options.save_s - 15,
        head=head if job.nodes > 1 else "127.0.0.1",
        commands=list(_commands(launch, job)),
        max_requeues=options.max_requeues,
        is_awaited=job.name != "run",
    )


def _uses_torchrun(job: _JobRequest) -> bool:
    return job.nodes * job.processes > 1


def _directives(launch: SlurmLaunch, job: _JobRequest) -> Iterator[str]:
    """Yields the options of sbatch."""
    options = launch.options
    yield f"--job-name={_job_name(launch.recipe.name)}-{job.name}"
    yield f"--nodes={job.nodes}"
    yield "--ntasks-per-node=1"
    if job.gpus:
        yield f"--gres=gpu:{options.gpu_type + ':' if options.gpu_type else ''}{job.gpus}"
    given = {
        "cpus-per-task": job.cpus,
        "mem": job.mem,
        "time": (options.time or "").strip(),
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "mail-user": options.mail_user,
        "mail-type": options.mail_user and "END,FAIL,REQUEUE",
    }
    for name, value in given.items():
        if value:
            yield f"--{name}={value}"
    ids = "%j"
    if job.name == "generate" and options.shards is not None:
        count, at_once = options.shards
        yield f"--array=1-{count}" + (f"%{at_once}" if at_once else "")
        ids = "%A_%a"
    yield "--requeue"
    yield f"--signal=B:USR1@{options.save_s}"
    yield "--open-mode=append"  # a requeued job goes on in the same log
    yield f"--output={_log_in_directive(launch.folder / job.name, ids)}"
    yield from options.extra


def _commands(launch: SlurmLaunch, job: _JobRequest) -> Iterator[str]:
    """Yields the commands of the job, for the shell; the last one on all its processes."""
    given = " ".join(
        [shlex.quote(str(launch.folder / RECIPE_FILE)), *map(shlex.quote, launch.overrides)]
    )
    for number, verb in enumerate(job.verbs, start=1):
        arguments = verb.format(recipe=given)
        together = number == len(job.verbs) and _uses_torchrun(job)
        nodes = job.nodes if together else 1
        srun = f"srun --nodes={nodes} --ntasks={nodes}"
        if nodes > 1:  # a node that has saved leaves the others time to; one that fails ends them
            srun += " --label --kill-on-bad-exit=0 --wait=60"
        module = "unspoken"
        if together:
            module = (
                f"unspoken.launch.torchrun --nnodes={nodes} --nproc_per_node={job.processes} "
                '--master_addr="$head" --master_port="$port" -m unspoken'
            )
        yield f"{srun} {_python_command(launch, job)} -m {module} {arguments}"


def _python_command(launch: SlurmLaunch, job: _JobRequest) -> str:
    """How unspoken's Python is called on a compute node."""
    options = launch.options
    if options.container is not None:
        image = shlex.quote(str(launch.directory / options.container))
        here = shlex.quote(str(launch.directory))
        bound = shlex.quote(",".join(map(str, launch.folders)))
        nvidia = " --nv" if job.gpus else ""
        return f"apptainer exec{nvidia} --bind {bound} --pwd {here} {image} python3"
    return "python3" if options.venv is not None else shlex.quote(sys.executable)


def _job_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name) or "run"


def _log_in_directive(path: Path, ids: str) -> str:
    """A log as sbatch reads it after #SBATCH, where %, # and spaces have a meaning.

    Examples:
        >>> print(_log_in_directive(Path("/runs/50 %/run"), "%j"))
        "/runs/50 %%/run-%j.log"
    """
    text = f"{str(path).replace('%', '%%')}-{ids}.log"
    return f'"{text}"' if re.search(r"[\s'#]", text) else text
