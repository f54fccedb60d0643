# ruff: noqa: F811 (fixtures are imported, and then named as arguments)
"""What a script does among fakes of SLURM's commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.slurm import fakes, scripts  # noqa: F401


def run_script(fakes: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script among the fakes, as SLURM would run it."""
    (fakes.parent / "run/slurm/1").mkdir(parents=True)
    values = {
        "PATH": f"{fakes}{os.pathsep}{os.environ['PATH']}",
        "STATE": "RUNNING",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "here",
    }
    return subprocess.run(
        ["bash"],
        input=text,
        text=True,
        env={**values, **environment},
        capture_output=True,
        check=False,
    )


def last_event(folder: Path) -> str:
    return (folder / "run/slurm/1/events.log").read_text().splitlines()[-1]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("status", "state", "restarts", "ends"),
    [
        (0, "RUNNING", 0, (0, False, "done")),
        (2, "RUNNING", 0, (2, False, "failed with exit status 2")),
        (1, "RUNNING", 0, (1, False, "failed with exit status 1")),
        (75, "RUNNING", 0, (75, True, "requeued")),
        (75, "RUNNING", 99, (75, True, "requeued")),
        (75, "RUNNING", 100, (75, False, "not requeued after 100 times")),
        (75, "COMPLETING", 0, (75, False, "ended by SLURM")),
        (75, "", 0, (75, False, "because squeue says '' of it")),
    ],
)
def test_what_follows_an_exit_status(
    fakes: Path, status: int, state: str, restarts: int, ends: tuple[int, bool, str]
) -> None:
    exits_with, requeued, told = ends
    tmp_path = fakes.parent
    (text,) = scripts(tmp_path).values()
    done = run_script(fakes, text, SRUN=str(status), STATE=state, SLURM_RESTART_COUNT=str(restarts))
    assert done.returncode == exits_with, done.stderr
    assert ("requeue 7" in (tmp_path / "calls").read_text()) == requeued
    assert told in last_event(tmp_path)
    assert done.stderr == ""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("status", "told"),
    [
        (0, "done"),
        (2, "failed with exit status 2"),
        (75, "stopped with exit status 75"),
        (143, "stopped with exit status 143"),
    ],
)
def test_the_status_of_a_run_that_ends_while_it_is_asked_to_stop_counts(
    tmp_path: Path, fakes: Path, status: int, told: str
) -> None:
    (text,) = scripts(tmp_path).values()
    done = run_script(
        fakes,
        text,
        IN_SRUN="kill -USR1 $PPID; /bin/sleep 0.3",
        IN_SCANCEL="/bin/sleep 1",
        IN_SQUEUE='case "$*" in *--steps*) echo 7.0;; *) echo RUNNING;; esac',
        SRUN=str(status),
    )
    assert told in last_event(tmp_path), done.stderr
    assert done.returncode == (75 if status == 143 else status)


@pytest.mark.integration
def test_a_run_is_asked_to_stop_once_it_has_a_step(tmp_path: Path, fakes: Path) -> None:
    (text,) = scripts(tmp_path).values()
    late = "if [ $(grep -c steps calls) -gt 2 ]; then echo 7.0; else echo 7.batch; fi"
    run_script(
        fakes,
        text,
        IN_SRUN="kill -USR1 $PPID; until grep -q signal=TERM calls; do /bin/sleep 0.1; done",
        IN_SQUEUE=f'case "$*" in *--steps*) {late};; *) echo RUNNING;; esac',
        SRUN="75",
    )
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == ["srun", "squeue", "squeue", "squeue", "scancel", "squeue", "requeue"]


@pytest.mark.integration
def test_tasks_get_the_environment_also_where_sbatch_takes_none(
    tmp_path: Path, fakes: Path
) -> None:
    (text,) = scripts(tmp_path, setup=("export FROM_SETUP=yes",)).values()
    seen = 'echo "$SLURM_EXPORT_ENV $FROM_SETUP" > seen'
    run_script(fakes, text, IN_SRUN=seen, SRUN="0", SLURM_EXPORT_ENV="NONE")
    assert (tmp_path / "seen").read_text() == "ALL yes\n"


@pytest.mark.integration
def test_a_container_gets_no_packages_of_the_login_nodes_python(
    tmp_path: Path, fakes: Path
) -> None:
    image = tmp_path / "unspoken.sif"
    image.touch()
    seen = 'echo "${PYTHONPATH-none} $PYTHONNOUSERSITE" > seen'
    own = ("export PYTHONPATH=/work/src",)  # what setup says is meant for the jobs
    for options, expected in [
        ({"container": image}, "none 1\n"),
        ({"container": image, "setup": own}, "/work/src 1\n"),
        ({}, "/apps/python \n"),
    ]:
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        (text,) = scripts(tmp_path, **options).values()
        run_script(fakes, text, IN_SRUN=seen, SRUN="0", PYTHONPATH="/apps/python")
        assert (tmp_path / "seen").read_text() == expected


@pytest.mark.integration
@pytest.mark.parametrize(
    "line",
    [
        "false 'it is'",
        "false  # the newest, they say",
        "false # it's",
        "false \\",
        "false; # one",
        "true && false",
        "if true; then false; fi # in one line",
        "(exit 3)",
        "source nowhere.sh # not there",
    ],
)
def test_a_failing_setup_line_ends_the_job_before_anything_runs(
    tmp_path: Path, fakes: Path, line: str
) -> None:
    (text,) = scripts(tmp_path, setup=(line,)).values()
    done = run_script(fakes, text)
    assert done.returncode == 1
    assert f"failed: this line of setup: {line}" in done.stdout
    assert not (tmp_path / "calls").exists()


@pytest.mark.integration
@pytest.mark.parametrize("status", [0, 3])
def test_a_line_of_setup_that_exits_fails_the_job(tmp_path: Path, fakes: Path, status: int) -> None:
    (text,) = scripts(tmp_path, setup=(f"exit {status}",)).values()
    done = run_script(fakes, text)
    assert done.returncode == 1  # else the job behind it would start
    told = f"failed: a line of setup ended the job with exit status {status}; see "
    assert told in last_event(tmp_path)
    assert not (tmp_path / "calls").exists()


@pytest.mark.integration
def test_what_setup_sets_in_the_shell_changes_nothing_of_the_job(
    tmp_path: Path, fakes: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    setup = ("set -euo pipefail", f"cd {elsewhere}", "trap 'echo tidied' EXIT")
    (text,) = scripts(tmp_path, setup=setup).values()
    done = run_script(fakes, text, SRUN="75")
    assert done.returncode == 75
    assert "requeue 7" in (tmp_path / "calls").read_text()  # in the folder of the launch
    assert done.stdout.endswith("tidied\n")
