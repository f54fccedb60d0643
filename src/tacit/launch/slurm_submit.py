"""Jobs of a run: written into its folder, submitted, and asked how they are.

runs/NAME/slurm/1/      of the first time that the run was launched
  recipe.yaml           a copy, which the jobs read
  run.sbatch  run-17.log   scripts, and a log for each job
  events.log            when each job started, stopped, went on, ended and why
  jobs.json             ids
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tacit.atomic import write_text
from tacit.errors import OutputExistsError, TacitError
from tacit.launch.slurm import Launch, Script, render_scripts
from tacit.recipe import Recipe, dump_recipe


class SlurmError(TacitError):
    """SLURM is not here, or refuses what it is asked for."""


def launch_folder(recipe: Recipe) -> Path:
    """The folder of the next launch of a run; not made yet."""
    parent = recipe.folder.absolute() / "slurm"
    taken = [int(path.name) for path in _launches(recipe)]
    return parent / str(max(taken, default=0) + 1)


def submit(launch: Launch, recipe_file: Path) -> list[tuple[str, str]]:
    """Submits the jobs of a run, all or none; returns their names and ids.

    Args:
        launch: as it is rendered; its folder must be new.
        recipe_file: is copied beside the scripts, so what a job reads does not change any more.

    Raises:
        RecipeError: a flag cannot be used.
        SlurmError: no sbatch here, it refuses a script, or jobs of this run are there already.
        OutputExistsError: the run folder holds files that are no run.
    """
    scripts = render_scripts(launch)
    if shutil.which("sbatch") is None:
        raise SlurmError(
            "sbatch: not found; needed: a machine of the cluster that submits jobs (a login node); "
            "run this command there, or print the scripts with --dry_run"
        )
    _refuse_running(launch.recipe)
    _write(launch, scripts, recipe_file)
    jobs: list[tuple[str, str]] = []
    try:
        for script in scripts:
            before = jobs[-1][1] if jobs else None
            jobs.append((script.name, _sbatch(launch.folder / f"{script.name}.sbatch", before)))
    except SlurmError:
        for _, job in jobs:
            _ask("scancel", job)
        raise
    values = [{"name": name, "id": job} for name, job in jobs]
    write_text(launch.folder / "jobs.json", json.dumps(values, indent=1) + "\n")
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
        SlurmError: the run was never launched, or there is no SLURM here.
    """
    launches = [path for path in _launches(recipe) if (path / "jobs.json").is_file()]
    if not launches:
        raise SlurmError(
            f"{recipe.folder}: was not launched on SLURM; launch it without --status first"
        )
    folder = launches[-1]
    for job in json.loads((folder / "jobs.json").read_text()):
        told = _ask("scontrol", "--oneliner", "show", "job", job["id"]) or ""
        records = [line for line in told.splitlines() if "JobState=" in line]
        for record in sorted(records, key=_task):
            yield f"{job['name']} {_described(record)}"
        if not records:
            yield f"{job['name']} {job['id']}: SLURM has forgotten it, so it has ended"
    events = folder / "events.log"
    if events.is_file():
        yield f"{events}:"
        yield from (f"  {line}" for line in events.read_text().splitlines()[-20:])


def _described(record: str) -> str:
    """One record of scontrol, for people.

    Example:
        >>> _described("JobId=18 JobState=PENDING Reason=BeginTime Restarts=1 ExitCode=0:0")
        '18: PENDING (BeginTime), requeued 1 times'
    """
    fields = dict(re.findall(r"(?<!\S)(\w+)=(\S*)", record))
    name = fields["JobId"]
    if "ArrayTaskId" in fields:
        name = f"{fields['ArrayJobId']}_{fields['ArrayTaskId']}"
    line = f"{name}: {fields['JobState']}"
    if fields.get("Reason", "None") != "None":
        line += f" ({fields['Reason']})"
    if fields.get("Restarts", "0") != "0":
        line += f", requeued {fields['Restarts']} times"
    if fields.get("ExitCode", "0:0") != "0:0":
        line += f", exit status {fields['ExitCode'].partition(':')[0]}"
    return line


def _task(record: str) -> int:
    match = re.search(r"ArrayTaskId=(\d+)", record)
    return int(match[1]) if match else 0


def _launches(recipe: Recipe) -> list[Path]:
    """The folders of earlier launches, in their order."""
    found = (recipe.folder.absolute() / "slurm").glob("[0-9]*")
    return sorted((path for path in found if path.name.isdigit()), key=lambda path: int(path.name))


def _refuse_running(recipe: Recipe) -> None:
    """Two runs in one folder would overwrite each other."""
    listed = _ask("squeue", "--noheader", "--me", "--format=%F %T") or ""
    states = dict(line.split()[:2] for line in listed.splitlines() if line.strip())
    for folder in _launches(recipe):
        path = folder / "jobs.json"
        known = json.loads(path.read_text()) if path.is_file() else []
        left = [job for job in known if job["id"] in states]
        if left:
            told = ", ".join(f"{job['id']} ({job['name']}, {states[job['id']]})" for job in left)
            raise SlurmError(
                f"{recipe.folder}: its jobs {told} are still there; needed: one launch of a run "
                f"at a time; wait for them, end them with scancel "
                f"{' '.join(job['id'] for job in left)}, or choose output=OTHER_FOLDER"
            )


def _write(launch: Launch, scripts: Sequence[Script], recipe_file: Path) -> None:
    run = launch.recipe.folder
    if not (run / "recipe.yaml").exists():
        if run.exists() and any(path.name != "slurm" for path in run.iterdir()):
            raise OutputExistsError(
                f"{run}: holds files but no recipe.yaml, so it is not a run folder; choose another "
                "with output=FOLDER"
            )
        write_text(run / "recipe.yaml", dump_recipe(launch.recipe))  # now it is one
    launch.folder.mkdir(parents=True)
    write_text(launch.folder / "recipe.yaml", recipe_file.read_text(encoding="utf-8"))
    for script in scripts:
        write_text(launch.folder / f"{script.name}.sbatch", script.text)


def _sbatch(script: Path, before: str | None) -> str:
    """Submits a script; returns the job's id."""
    done = subprocess.run(
        ["sbatch", "--parsable", *waiting_for(before), str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        told = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise SlurmError(
            f"{script}: sbatch refuses it ({told}); needed: what this cluster allows; change the "
            "flags, or add what is missing with --extra"
        )
    return done.stdout.strip().splitlines()[-1].partition(";")[0]


def _ask(*command: str) -> str | None:
    """What a command of SLURM prints; None where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SlurmError(
            f"{command[0]}: not found; needed: a machine of the cluster, such as a login node; "
            "run this command there"
        ) from None
    return done.stdout if done.returncode == 0 else None
