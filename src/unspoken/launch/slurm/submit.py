"""Jobs of a run: written into its folder, submitted, and asked how they are.

runs/NAME/slurm/1/      of the first time that the run was launched
  recipe.yaml           a copy, which the jobs read
  run.sbatch  run-17.log   scripts, and a log for each job
  events.log            when each job started, stopped, went on, ended and why
  jobs.json             ids
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from unspoken.common.errors import OutputExistsError, UnspokenError, setting
from unspoken.common.files import write_text
from unspoken.common.interrupt import StopRequest
from unspoken.common.locks import locked
from unspoken.common.numbered import next_numbered, numbered
from unspoken.launch.slurm.options import option_names
from unspoken.launch.slurm.render import Script, SlurmLaunch, render_scripts, working_directory
from unspoken.recipe import Recipe, dump_recipe
from unspoken.recipe.layout import RECIPE_FILE, require_run_folder
from unspoken.recipe.records import JobsRecord, SubmittedJob

JOBS_FILE = "jobs.json"
#: Reasons for which a job would wait for ever, or for days, and what to do.
_STUCK = {
    r"PartitionTimeLimit|(QOS|Assoc)Max\w*Wall\w*": "longer than jobs may run there; launch it "
    "with a shorter time limit (what takes longer goes on in the same job), or with another "
    "partition or QOS",
    r"Partition(Config|NodeLimit)|(QOS|Assoc)\w*PerJob\w*|QOSMin\w*|BadConstraints": "other time, "
    "nodes, cores, memory or GPUs than jobs may have there; launch it with what scontrol show "
    "partition allows, or with another partition or QOS",
    r"Partition(Down|Inactive)": "takes no jobs now; wait, or launch it with another partition",
    r"InvalidAccount|InvalidQOS|AccountNotAllowed|QOSNotAllowed": "launch it with another "
    "account or QOS; sacctmgr show assoc user=$USER lists them",
    r"ReqNodeNotAvail.*": "nodes are down, or reserved for a maintenance before which it would not "
    "end; wait, or launch it with a shorter time limit",
    r"JobHeldAdmin|launch_failed_requeued_held": "held by the cluster; scontrol release frees it",
    r"DependencyNeverSatisfied": "one before it failed; its log says why",
}
#: What a job's shell has of that job alone, and what of it is as true for every other one.
_OF_A_JOB = ("SLURM_", "SLURMD_", "SRUN_", "PMI_", "PMIX_")
_OF_THE_CLUSTER = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT")
#: Options of a script, and the variables by which sbatch overrules them.
_OVERRULED_BY = {
    ("account", "A"): ("SBATCH_ACCOUNT",),
    ("partition", "p"): ("SBATCH_PARTITION",),
    ("qos", "q"): ("SBATCH_QOS",),
    ("constraint", "C"): ("SBATCH_CONSTRAINT",),
    ("job-name",): ("SBATCH_JOB_NAME",),
    ("time",): ("SBATCH_TIMELIMIT",),
    ("signal",): ("SBATCH_SIGNAL",),
    ("requeue",): ("SBATCH_REQUEUE", "SBATCH_NO_REQUEUE"),
    ("open-mode",): ("SBATCH_OPEN_MODE",),
    ("output",): ("SBATCH_OUTPUT", "SBATCH_ERROR"),
    ("gres", "gpus", "G", "gpus-per-node"): (
        "SBATCH_GRES",
        "SBATCH_GPUS",
        "SBATCH_GPUS_PER_NODE",
        "SBATCH_GPUS_PER_TASK",
    ),
    ("mem", "mem-per-cpu", "mem-per-gpu"): (
        "SBATCH_MEM_PER_CPU",
        "SBATCH_MEM_PER_GPU",
        "SBATCH_MEM_PER_NODE",
    ),
}
#: What would make an array of any job, and what would have sbatch wait for its end.
_NEVER_MEANT = ("SBATCH_ARRAY_INX", "SBATCH_WAIT")


class SlurmError(UnspokenError):
    """SLURM is not here, or refuses what it is asked for."""


def launch_folder(recipe: Recipe) -> Path:
    """The folder of the next launch of a run; not made yet."""
    return next_numbered(_launches_folder(recipe))


def submit(launch: SlurmLaunch, recipe_file: Path) -> list[tuple[str, str]]:
    """Submits the jobs of a run, all or none; returns their names and ids.

    The launch's folder must be new. `recipe_file` is copied beside the scripts, so what a job reads
    does not change any more.

    Raises:
        RecipeError: an option cannot be used, or a file stands where the run folder should.
        SlurmError: no sbatch here, it refuses a script, or jobs of this run are there already.
        OutputExistsError: the run folder holds files that are no run, or another launch is there.
        DataError: the run is being launched at this moment.
    """
    scripts = render_scripts(launch)
    if shutil.which("sbatch") is None:
        raise SlurmError(
            "sbatch: not found; needed: a machine of the cluster that submits jobs (a login node); "
            f"run this command there, or print the scripts with {setting('dry_run', True)}"
        )
    require_run_folder(launch.run)
    if not (launch.run / RECIPE_FILE).exists():
        write_text(launch.run / RECIPE_FILE, dump_recipe(launch.recipe))  # now it is a run's
    with locked(launch.folder.parent / "launch"):
        _refuse_running(launch.recipe)
        _write_scripts(launch, scripts, recipe_file)
        return _submit_all(launch.folder, scripts)


def _submit_all(folder: Path, scripts: Sequence[Script]) -> list[tuple[str, str]]:
    """All jobs, or none when one is refused or the user presses Ctrl-C."""
    jobs: list[tuple[str, str]] = []
    try:
        with StopRequest() as stop:  # between two jobs; in the middle of one its id would be lost
            for script in scripts:
                before = jobs[-1][1] if jobs else None
                jobs.append((script.name, _sbatch(folder / f"{script.name}.sbatch", before)))
                submitted = tuple(SubmittedJob(name, job) for name, job in jobs)
                JobsRecord(jobs=submitted).write(folder / JOBS_FILE)
                if stop.requested:
                    raise KeyboardInterrupt
    except BaseException:
        for _, job in jobs:
            _ask("scancel", job)
        raise
    return jobs


def waiting_for(before: str | None) -> list[str]:
    """Options of sbatch for a job that starts after another one has succeeded.

    Without the second one it would wait for ever after a failure.
    """
    if before is None:
        return []
    return [f"--dependency=afterok:{before}", "--kill-on-invalid-dep=yes"]


def status_lines(recipe: Recipe) -> Iterator[str]:
    """Yields how the jobs of the last launch are, and what happened to them.

    Raises:
        SlurmError: the run was never launched, or there is no SLURM here, or it does not answer.
        DataError: the list of its jobs is damaged.
    """
    launches = [path for path in _launches(recipe) if (path / JOBS_FILE).is_file()]
    if not launches:
        raise SlurmError(
            f"{recipe.folder}: was not launched on SLURM; needed: its jobs; launch it first"
        )
    folder = launches[-1]
    for job in _jobs_of(folder):
        done = _ask("scontrol", "--oneliner", "show", "job", job.id)
        records = _records(done.stdout)
        for record in sorted(records, key=_task_number):
            yield f"{job.name} {_describe_record(record)}"
        if "Invalid job id" in done.stderr:
            yield f"{job.name} {job.id}: SLURM has forgotten it, so it has ended"
        elif not records:
            raise _no_answer("scontrol", done)
    events = folder / "events.log"
    if events.is_file():
        yield f"{events}:"
        yield from (f"  {line}" for line in events.read_text().splitlines()[-20:])


def stuck_lines(jobs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yields what keeps jobs that were just submitted from starting: what SLURM did not refuse.

    Args:
        jobs: names and ids, as `submit` returns them.
    """
    for name, job in jobs:
        for record in _records(_ask("scontrol", "--oneliner", "show", "job", job).stdout)[:1]:
            if (reason := _fields(record).get("Reason", "")) and _remedy(reason):
                yield f"{name} {_describe_record(record)}; scancel {job} removes it"


def _records(told: str) -> list[str]:
    """Of scontrol's answer, the lines that describe a job."""
    return [line for line in told.splitlines() if "JobState=" in line]


def _fields(record: str) -> dict[str, str]:
    return dict(re.findall(r"(?<!\S)(\w+)=(\S*)", record))


def _remedy(reason: str) -> str:
    """What to do about a reason for which a job does not start; empty where it is to be waited."""
    found = (told for pattern, told in _STUCK.items() if re.fullmatch(pattern, reason))
    return next(found, "")


def _describe_record(record: str) -> str:
    """A line for people from one record of scontrol.

    Examples:
        >>> _describe_record("JobId=18 JobState=PENDING Reason=BeginTime Restarts=1 ExitCode=0:0")
        '18: PENDING (BeginTime), requeued 1 times'
    """
    fields = _fields(record)
    name = fields["JobId"]
    if "ArrayTaskId" in fields:
        name = f"{fields['ArrayJobId']}_{fields['ArrayTaskId']}"
    line = f"{name}: {fields['JobState']}"
    if (reason := fields.get("Reason", "None")) != "None":
        remedy = _remedy(reason) if fields["JobState"] == "PENDING" else ""
        line += f" ({reason}{remedy and f': {remedy}'})"
    if fields.get("Restarts", "0") != "0":
        line += f", requeued {fields['Restarts']} times"
    if fields.get("ExitCode", "0:0") != "0:0":
        line += f", exit status {fields['ExitCode'].partition(':')[0]}"
    return line


def _task_number(record: str) -> int:
    match = re.search(r"ArrayTaskId=(\d+)", record)
    return int(match[1]) if match else 0


def _launches_folder(recipe: Recipe) -> Path:
    return working_directory() / recipe.folder / "slurm"


def _launches(recipe: Recipe) -> list[Path]:
    """The folders of earlier launches, in their order."""
    return list(numbered(_launches_folder(recipe)).values())


def _jobs_of(launch: Path) -> tuple[SubmittedJob, ...]:
    """The jobs of an earlier launch; none where it was interrupted before the first."""
    record = JobsRecord.read(launch / JOBS_FILE)
    return record.jobs if record else ()


def _refuse_running(recipe: Recipe) -> None:
    """Two runs in one folder would overwrite each other."""
    done = _ask("squeue", "--noheader", "--me", "--format=%F %T")
    if done.returncode != 0:
        raise _no_answer("squeue", done)
    states = dict(line.split()[:2] for line in done.stdout.splitlines() if line.strip())
    for folder in _launches(recipe):
        left = [job for job in _jobs_of(folder) if job.id in states]
        if left:
            told = ", ".join(f"{job.id} ({job.name}, {states[job.id]})" for job in left)
            raise SlurmError(
                f"{recipe.folder}: its jobs {told} are still there; needed: one launch of a run "
                f"at a time; wait for them, end them with scancel "
                f"{' '.join(job.id for job in left)}, or choose output=OTHER_FOLDER"
            )


def _write_scripts(launch: SlurmLaunch, scripts: Sequence[Script], recipe_file: Path) -> None:
    try:
        launch.folder.mkdir()
    except FileExistsError:
        raise OutputExistsError(
            f"{launch.folder}: another launch has just made it; needed: one launch of a run at a "
            f"time; see how it is with {setting('status', True)}, and launch again if you still "
            "want to"
        ) from None
    write_text(launch.folder / RECIPE_FILE, recipe_file.read_text(encoding="utf-8"))
    for script in scripts:
        write_text(launch.folder / f"{script.name}.sbatch", script.text)


def _sbatch(script: Path, before: str | None) -> str:
    """Submits a script; returns the job's id."""
    done = subprocess.run(
        ["sbatch", "--parsable", *waiting_for(before), str(script)],
        capture_output=True,
        text=True,
        check=False,
        env=_own_environment(script.read_text(encoding="utf-8")),
        start_new_session=True,  # a Ctrl-C in the terminal is not for it
    )
    if done.returncode != 0:
        told = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise SlurmError(
            f"{script}: sbatch refuses it ({told}); needed: what this cluster allows; change the "
            f"options, or add what is missing with {setting('extra')}"
        )
    return done.stdout.strip().splitlines()[-1].partition(";")[0]


def _own_environment(script: str) -> dict[str, str]:
    """This shell's variables, without those of the job that it is in, where it is in one.

    sbatch takes them along, and srun obeys them in the new job: the cores that the first one's task
    is bound to, its memory, its distribution. Nor is there what would overrule the script.
    """
    inside = "SLURM_JOB_ID" in os.environ
    directives = re.findall(r"^#SBATCH (.*)", script, flags=re.MULTILINE)
    given = {name.lstrip("-") for line in directives for name in option_names(line)}
    overruling = {
        name for options, names in _OVERRULED_BY.items() if given & {*options} for name in names
    }
    return {
        name: value
        for name, value in os.environ.items()
        if not (inside and name.startswith(_OF_A_JOB) and name not in _OF_THE_CLUSTER)
        and name not in overruling
        and name not in _NEVER_MEANT
    }


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    """What a command of SLURM prints, and whether it failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SlurmError(
            f"{command[0]}: not found; needed: a machine of the cluster, such as a login node; "
            "run this command there"
        ) from None


def _no_answer(command: str, done: subprocess.CompletedProcess[str]) -> SlurmError:
    told = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
    return SlurmError(
        f"{command}: fails ({told}), so it is not known which jobs there are; needed: a SLURM that "
        "answers; try again in a while"
    )
