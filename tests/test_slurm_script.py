"""What `tacit launch slurm` writes, and how it ends with fakes of SLURM's commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from conftest import tiny_recipe
from tacit.cli import main
from tacit.errors import RecipeError
from tacit.launch.slurm import Launch, render_scripts
from tacit.launch.slurm_node import status_of
from tacit.launch.slurm_options import SlurmOptions, time_s
from tacit.launch.slurm_submit import SlurmError, submit


def scripts(folder: Path, *, overrides: tuple[str, ...] = (), **options: Any) -> dict[str, str]:
    """The text of each job, by its name."""
    teacher = {"engine": "worked"} if options.pop("teacher", False) else None
    recipe = tiny_recipe(folder / "run", **({"teacher": teacher} if teacher else {}))
    chosen = SlurmOptions(**{"time": "08:00:00", **options})
    launch = Launch(recipe, overrides, chosen, folder / "run/slurm/1", folder, "tacit launch slurm")
    return {script.name: script.text for script in render_scripts(launch)}


def directives(text: str) -> list[str]:
    return [line[8:] for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_every_flag_becomes_an_option_of_sbatch(tmp_path: Path) -> None:
    (text,) = scripts(
        tmp_path,
        nodes=2,
        gpus_per_node=4,
        partition="gpu",
        account="abc123",
        qos="long",
        cpus_per_task=32,
        mem="200G",
        mail_user="me@example.org",
        extra=("--constraint=a100",),
    ).values()
    assert directives(text) == [
        "--job-name=tiny-run",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--gres=gpu:4",
        "--cpus-per-task=32",
        "--mem=200G",
        "--time=08:00:00",
        "--partition=gpu",
        "--account=abc123",
        "--qos=long",
        "--mail-user=me@example.org",
        "--mail-type=END,FAIL,REQUEUE",
        "--requeue",
        "--signal=B:USR1@300",
        "--open-mode=append",
        f"--output={tmp_path}/run/slurm/1/run-%j.log",
        "--constraint=a100",
    ]
    assert "OMP_NUM_THREADS=8" in text
    assert "export HF_HUB_OFFLINE=1" in text


def test_one_torchrun_per_node_meets_on_the_first(tmp_path: Path) -> None:
    (text,) = scripts(tmp_path, nodes=2, gpus_per_node=4, overrides=("name=it's",)).values()
    assert 'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)' in text
    command = next(line for line in text.splitlines() if line.startswith("step "))
    assert command.startswith("step srun --nodes=2 --ntasks=2 --label --kill-on-bad-exit=0 --wait")
    assert "-m tacit.launch.slurm_node --nnodes=2 --nproc_per_node=4" in command
    assert '--master_addr="$head" --master_port="$port" -m tacit run' in command
    assert command.endswith(f"{tmp_path}/run/slurm/1/recipe.yaml 'name=it'\"'\"'s'")


def test_one_process_needs_no_torchrun(tmp_path: Path) -> None:
    for gpus in (0, 1):
        (text,) = scripts(tmp_path, gpus_per_node=gpus).values()
        assert f"{sys.executable} -m tacit run " in text
        assert "torchrun" not in text
        assert "slurm_node" not in text


def test_an_array_comes_between_two_jobs(tmp_path: Path) -> None:
    found = scripts(tmp_path, teacher=True, array="16%4", nodes=2, gpus_per_node=4)
    assert list(found) == ["prepare", "generate", "run"]
    assert "--array=1-16%4" in directives(found["generate"])
    assert f"--output={tmp_path}/run/slurm/1/generate-%A_%a.log" in directives(found["generate"])
    assert "-m tacit shard" in found["generate"]
    assert '--shard "$SLURM_ARRAY_TASK_ID/16"' in found["generate"]
    assert "--prepare" in found["prepare"]
    assert found["run"].index("--merge 16") < found["run"].index("-m tacit run")
    # worked solutions need no GPU, and one that no job may be without is enough for the data
    assert not [line for line in directives(found["generate"]) if "gpu" in line]
    assert "--gres=gpu:1" in directives(found["prepare"])
    assert "--gres=gpu:4" in directives(found["run"])


def test_container_environment_and_setup(tmp_path: Path) -> None:
    image = tmp_path / "tacit image.sif"
    image.touch()
    (text,) = scripts(tmp_path, container=image, gpus_per_node=1).values()
    folders = f"{tmp_path},{tmp_path}/run/slurm/1"
    wanted = f"apptainer exec --nv --bind {folders} --pwd {tmp_path} '{image}' python3 -m tacit run"
    assert wanted in text
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "activate").touch()
    (text,) = scripts(tmp_path, venv=venv, setup=("module load cuda",)).values()
    lines = text.splitlines()
    setup = next(n for n, line in enumerate(lines) if line.startswith("module load cuda || fail "))
    assert lines[setup + 1].startswith(f"source {venv}/bin/activate || fail ")
    assert " python3 -m tacit run " in text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5_400), ("90:30", 5_430), ("08:00:00", 28_800), ("1-12", 129_600),
     ("1-12:30", 131_400), ("1-00:00:05", 86_405)],
)  # fmt: skip
def test_time_limits(text: str, seconds: int) -> None:
    assert time_s(text) == seconds


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"time": "8h"}, "--time: found '8h'"),
        ({"time": "0"}, "--time: found '0'"),
        ({"time": None}, "--time: missing"),
        ({"time": "4"}, "--save_s: found 300 with --time 4"),
        ({"nodes": 0}, "--nodes: found 0"),
        ({"array": "0"}, "--array: found '0'"),
        ({"array": "1-16"}, "--array: found '1-16'"),
        ({"array": "4"}, "no section teacher"),
        ({"container": Path("nowhere.sif")}, "--container: found no file"),
        ({"venv": Path("nowhere")}, "--venv: found no"),
        ({"extra": ("constraint=a100",)}, "--extra: found 'constraint=a100'"),
    ],
)
def test_what_cannot_be_submitted_is_refused(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        scripts(tmp_path, **options)
    assert told in str(caught.value)


def written_recipe(folder: Path, **sections: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe(folder / "run", **sections).model_dump(mode="json")))
    return path


def test_dry_run_prints_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path, teacher={"engine": "worked"})
    flags = ["--time", "10", "--array", "2", "--extra", "--constraint=big_gpu", "--dry_run"]
    main(["launch", "slurm", str(recipe), "seed=3", *flags])
    told = capsys.readouterr().out
    assert "sbatch --dependency=afterok:JOB_OF_prepare --kill-on-invalid-dep=yes" in told
    assert "#SBATCH --constraint=big_gpu" in told
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_would_fail_is_not_submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path, teacher={"engine": "worked"}, vet={"pattern": "("})
    with pytest.raises(SystemExit) as caught:
        main(["launch", "slurm", str(recipe), "--time", "10", "--dry_run"])
    assert caught.value.code == 2
    assert "error: vet.pattern: found '('" in capsys.readouterr().err


def test_without_sbatch_it_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    recipe = tiny_recipe(tmp_path / "run")
    folder = tmp_path / "run" / "slurm" / "1"
    launch = Launch(recipe, (), SlurmOptions(time="10"), folder, tmp_path, "tacit launch slurm")
    with pytest.raises(SlurmError, match="login node"):
        submit(launch, tmp_path / "recipe.yaml")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A folder with srun, squeue and scontrol that do and say what the environment has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "srun": 'echo "$@" >> calls; exit $SRUN',
        "squeue": "echo $STATE",
        "scontrol": 'echo "$@" >> calls',
        "scancel": 'echo "$@" >> calls',
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


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
    ],
)
def test_what_follows_an_exit_status(
    fakes: Path, status: int, state: str, restarts: int, ends: tuple[int, bool, str]
) -> None:
    exits_with, requeued, told = ends
    tmp_path = fakes.parent
    (text,) = scripts(tmp_path).values()
    events = tmp_path / "run/slurm/1/events.log"
    events.parent.mkdir(parents=True)
    environment = {
        "PATH": f"{fakes}{os.pathsep}{os.environ['PATH']}",
        "SRUN": str(status),
        "STATE": state,
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "here",
        "SLURM_RESTART_COUNT": str(restarts),
    }
    done = subprocess.run(
        ["bash"], input=text, text=True, env=environment, capture_output=True, check=False
    )
    assert done.returncode == exits_with, done.stderr
    assert ("requeue 7" in (tmp_path / "calls").read_text()) == requeued
    assert told in events.read_text().splitlines()[-1]
    assert done.stderr == ""


def test_a_failing_setup_line_ends_the_job_before_anything_runs(
    tmp_path: Path, fakes: Path
) -> None:
    (text,) = scripts(tmp_path, setup=("false 'it is'",)).values()
    (tmp_path / "run/slurm/1").mkdir(parents=True)
    environment = {"PATH": f"{fakes}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    environment["SLURM_JOB_NODELIST"] = "here"
    done = subprocess.run(
        ["bash"], input=text, text=True, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert "failed: this line of --setup: false 'it is'" in done.stdout
    assert not (tmp_path / "calls").exists()


def test_the_first_failure_of_a_node_decides_its_exit_status() -> None:
    def failure(exitcode: int, timestamp: int) -> SimpleNamespace:
        return SimpleNamespace(exitcode=exitcode, timestamp=timestamp)

    assert status_of({0: failure(-6, 12), 1: failure(2, 11)}) == 2
    assert status_of({0: failure(75, 11)}) == 75
    assert status_of({0: failure(-15, 11)}) == 143


def run_node(code: str) -> subprocess.CompletedProcess[str]:
    """Two processes of one node, each of which runs `code`."""
    return subprocess.run(
        [sys.executable, "-m", "tacit.launch.slurm_node", "--nproc_per_node=2",
         "--master_addr=127.0.0.1", "--master_port=29517", "--no_python", sys.executable, "-c",
         code],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 2, 75])
def test_a_node_exits_as_its_processes_do(status: int) -> None:
    code = f"import os, sys; sys.exit({status} if os.environ['RANK'] == '1' else 0)"
    assert run_node(code).returncode == status
