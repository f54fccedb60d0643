# ruff: noqa: F811 (fixtures are imported, and then named as arguments)
"""Jobs are submitted all or none, and one launch of a run at a time."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.recipes import tiny_recipe
from helpers.slurm import fakes  # noqa: F401
from unspoken.common.errors import DataError, OutputExistsError, SettingError
from unspoken.launch.slurm.options import SlurmOptions
from unspoken.launch.slurm.render import SlurmLaunch, working_directory
from unspoken.launch.slurm.submit import (
    SlurmError,
    launch_folder,
    status_lines,
    stuck_lines,
    submit,
)
from unspoken.recipe import dump_recipe
from unspoken.recipe.records import JobsRecord, SubmittedJob


@pytest.fixture
def launch(tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmLaunch:
    """An array that is submitted to the fakes."""
    monkeypatch.setenv("PATH", f"{fakes}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    recipe = tiny_recipe(tmp_path / "run", teacher={"engine": "worked"})
    (tmp_path / "recipe.yaml").write_text("name: tiny\n")
    options = SlurmOptions(time="10", array="2", save_s=60)
    return SlurmLaunch(
        recipe, (), options, launch_folder(recipe), tmp_path, "unspoken launch slurm"
    )


def jobs_of(launch: SlurmLaunch) -> list[str]:
    path = launch.folder / "jobs.json"
    return [job["id"] for job in json.loads(path.read_text())["jobs"]] if path.exists() else []


def test_without_sbatch_it_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    recipe = tiny_recipe(tmp_path / "run")
    folder = tmp_path / "run" / "slurm" / "1"
    launch = SlurmLaunch(
        recipe, (), SlurmOptions(time="10"), folder, tmp_path, "unspoken launch slurm"
    )
    with pytest.raises(SlurmError, match="login node"):
        submit(launch, tmp_path / "recipe.yaml")
    assert not (tmp_path / "run").exists()


def test_folders_are_named_as_the_shell_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    monkeypatch.chdir(link)
    monkeypatch.setenv("PWD", str(link))
    assert working_directory() == link
    assert launch_folder(tiny_recipe(Path("run"))) == link / "run/slurm/1"
    monkeypatch.setenv("PWD", str(tmp_path))  # of another process
    assert working_directory() == tmp_path / "real"


@pytest.mark.integration
def test_a_leftover_lock_of_a_run_blocks_no_launch(tmp_path: Path, launch: SlurmLaunch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.lock").touch()
    submit(launch, tmp_path / "recipe.yaml")
    assert jobs_of(launch) == ["1", "2", "3"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, launch: SlurmLaunch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(OutputExistsError, match="not a run folder"):
        submit(launch, tmp_path / "recipe.yaml")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_file_where_the_run_folder_should_be_is_refused(
    tmp_path: Path, launch: SlurmLaunch
) -> None:
    """In the words of unspoken run."""
    (tmp_path / "run").write_text("mine")
    with pytest.raises(SettingError, match=r"^output: found .*run, a file; needed: a folder"):
        submit(launch, tmp_path / "recipe.yaml")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"jobs": [{"name": "run"}]}', r"jobs\.0\.id: "),
        ('{"jobs": 7}', "jobs: "),
        ('[{"id": "1"}]', r"jobs\.0\.name: "),
        ('{"version": 99, "jobs": []}', "version: found 99"),
        ('[{"name": ', "not JSON"),
        ("7", "found no JSON object"),
    ],
)
def test_a_damaged_list_of_jobs_is_named(
    tmp_path: Path, launch: SlurmLaunch, text: str, where: str
) -> None:
    launch.folder.mkdir(parents=True)
    jobs = launch.folder / "jobs.json"
    jobs.write_text(text)
    with pytest.raises(DataError, match=rf"{jobs}:.*{where}"):
        list(status_lines(launch.recipe))
    (tmp_path / "run" / "recipe.yaml").write_text(dump_recipe(launch.recipe))
    after = replace(launch, folder=launch_folder(launch.recipe))
    with pytest.raises(DataError, match=rf"{jobs}:.*{where}"):  # its jobs may still be there
        submit(after, tmp_path / "recipe.yaml")


@pytest.mark.integration
def test_a_list_of_jobs_of_an_earlier_version_is_read(launch: SlurmLaunch) -> None:
    launch.folder.mkdir(parents=True)
    (launch.folder / "jobs.json").write_text('[{"name": "run", "id": "7"}]')
    assert JobsRecord.read(launch.folder / "jobs.json") == JobsRecord(
        jobs=(SubmittedJob("run", "7"),)
    )


@pytest.mark.integration
def test_nothing_is_submitted_where_squeue_does_not_answer(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IN_SQUEUE", "echo 'socket timed out' >&2; exit 1")
    with pytest.raises(SlurmError, match=r"squeue: fails \(socket timed out\)"):
        submit(launch, tmp_path / "recipe.yaml")
    assert "sbatch" not in (tmp_path / "calls").read_text()
    monkeypatch.setenv("IN_SQUEUE", "true")
    submit(launch, tmp_path / "recipe.yaml")  # what the first one left is in nobody's way


@pytest.mark.integration
def test_a_job_is_forgotten_only_where_slurm_says_so(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(launch, tmp_path / "recipe.yaml")
    monkeypatch.setenv("IN_SCONTROL", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(SlurmError, match=r"scontrol: fails .Unable to contact"):
        list(status_lines(launch.recipe))
    monkeypatch.setenv("IN_SCONTROL", "echo 'slurm_load_jobs error: Invalid job id' >&2; exit 1")
    assert next(status_lines(launch.recipe)).startswith("prepare 1: SLURM has forgotten it")


@pytest.mark.integration
@pytest.mark.parametrize("inside", [True, False])
def test_a_launch_from_within_a_job_takes_nothing_of_that_job_along(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    of_the_job = {"SLURM_CPU_BIND": "mask", "SLURM_MEM_PER_CPU": "150", "PMIX_RANK": "0"}
    of_all = {"SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "abc123", "OWN": "1"}
    for name, value in (of_the_job | of_all).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if inside:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("IN_SBATCH", "env > seen")
    submit(launch, tmp_path / "recipe.yaml")
    seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert seen >= set(of_all)
    assert seen.isdisjoint([*of_the_job, "SLURM_JOB_ID"]) == inside


@pytest.mark.integration
def test_the_shells_variables_overrule_no_flag(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_scripts = {"TIMELIMIT": "3", "NO_REQUEUE": "1", "SIGNAL": "TERM@9", "ARRAY_INX": "1-3"}
    chosen = {"PARTITION": "debug", "ACCOUNT": "old", "CONSTRAINT": "h100", "MEM_PER_CPU": "1G"}
    site = {"RESERVATION": "course", "QOS": "normal", "CLUSTERS": "all"}
    for name, value in (of_scripts | chosen | site).items():
        monkeypatch.setenv(f"SBATCH_{name}", value)
    monkeypatch.setenv("IN_SBATCH", "env | grep ^SBATCH_ > seen")
    options = replace(launch.options, partition="gpu", extra=("-Aabc1 -C gpu", "--mem-per-cpu=4G"))
    submit(replace(launch, options=options), tmp_path / "recipe.yaml")
    seen = {line.partition("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert seen == {f"SBATCH_{name}" for name in site}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("PartitionTimeLimit", "jobs may run there; launch it with a shorter time limit"),
        ("AssocMaxWallDurationPerJobLimit", "longer than jobs may run there"),
        ("PartitionConfig", "other time, nodes, cores, memory or GPUs than jobs may have there"),
        ("QOSMaxGRESPerJob", "other time, nodes, cores, memory or GPUs"),
        ("PartitionDown", "takes no jobs now; wait, or launch it with another partition"),
        ("InvalidAccount", "launch it with another account or QOS"),
        ("ReqNodeNotAvail,_UnavailableNodes:gpu1", "nodes are down, or reserved"),
        ("Resources", None),
        ("QOSMaxJobsPerUserLimit", None),
        ("JobHeldUser", None),
        ("Dependency", None),
    ],
)
def test_what_keeps_a_job_from_starting_is_told_with_what_to_do(
    tmp_path: Path,
    launch: SlurmLaunch,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    told: str | None,
) -> None:
    jobs = submit(launch, tmp_path / "recipe.yaml")
    monkeypatch.setenv("IN_SCONTROL", f"echo JobId=1 JobState=PENDING Reason={reason} Partition=a")
    found = list(stuck_lines(jobs[:1]))
    status = next(status_lines(launch.recipe))
    if told is None:
        assert not found
        assert status == f"prepare 1: PENDING ({reason})"
    else:
        assert found == [f"{status}; scancel 1 removes it"]
        assert status.startswith(f"prepare 1: PENDING ({reason}: ") and told in status


@pytest.mark.integration
def test_jobs_are_cancelled_when_one_behind_them_is_refused(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = "if [ $(grep -c sbatch calls) = 3 ]; then exit 1; fi"
    monkeypatch.setenv("IN_SBATCH", refuse)
    with pytest.raises(SlurmError, match="sbatch refuses it"):
        submit(launch, tmp_path / "recipe.yaml")
    assert (tmp_path / "calls").read_text().splitlines()[-2:] == ["scancel 1", "scancel 2"]
    assert jobs_of(launch) == ["1", "2"]  # so that one can look what became of them


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_launch_leaves_no_jobs_behind(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("IN_SBATCH", f"kill -{number} {os.getpid()}; /bin/sleep 0.3")
    with pytest.raises(KeyboardInterrupt):
        submit(launch, tmp_path / "recipe.yaml")
    # the one that was being submitted is submitted, and cancelled by its id
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["squeue", "sbatch", "scancel"]
    assert calls[-1] == "scancel 1"


@pytest.mark.integration
def test_two_launches_of_a_run_at_once_are_one_too_many(
    tmp_path: Path, launch: SlurmLaunch
) -> None:
    launch.folder.mkdir(parents=True)  # by the other one
    (tmp_path / "run" / "recipe.yaml").write_text(dump_recipe(launch.recipe))
    with pytest.raises(OutputExistsError, match="another launch has just made it"):
        submit(launch, tmp_path / "recipe.yaml")
    assert "sbatch" not in (tmp_path / "calls").read_text()
