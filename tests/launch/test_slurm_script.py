"""What `unspoken launch slurm` writes, and how it ends with fakes of SLURM's commands."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from helpers.paths import CONFIGS
from helpers.recipes import tiny_recipe
from unspoken.check.offline import require_models_here
from unspoken.cli.main import main
from unspoken.common.errors import OutputExistsError, RecipeError
from unspoken.common.progress import bar_intervals
from unspoken.launch.slurm.options import SlurmOptions, time_s
from unspoken.launch.slurm.render import SlurmLaunch, render_scripts, working_directory
from unspoken.launch.slurm.submit import SlurmError, launch_folder, status_lines, submit
from unspoken.launch.torchrun import status_of


def scripts(folder: Path, *, overrides: tuple[str, ...] = (), **options: Any) -> dict[str, str]:
    """The text of each job, by its name."""
    teacher = {"engine": "worked"} if options.pop("teacher", False) else None
    output = options.pop("output", folder / "run")
    recipe = tiny_recipe(output, **({"teacher": teacher} if teacher else {}))
    chosen = SlurmOptions(**{"time": "08:00:00", **options})
    launch = SlurmLaunch(
        recipe, overrides, chosen, folder / "run/slurm/1", folder, "unspoken launch slurm"
    )
    return {script.name: script.text for script in render_scripts(launch)}


def directives(text: str) -> list[str]:
    return [line[8:] for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_every_flag_becomes_an_option_of_sbatch(tmp_path: Path) -> None:
    (text,) = scripts(
        tmp_path,
        nodes=2,
        gpus_per_node=4,
        gpu_type="a100",
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
        "--gres=gpu:a100:4",
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
    assert "-m unspoken.launch.torchrun --nnodes=2 --nproc_per_node=4" in command
    assert '--master_addr="$head" --master_port="$port" -m unspoken run' in command
    assert command.endswith(f"{tmp_path}/run/slurm/1/recipe.yaml 'name=it'\"'\"'s'")


def test_one_process_needs_no_torchrun(tmp_path: Path) -> None:
    for gpus in (0, 1):
        (text,) = scripts(tmp_path, gpus_per_node=gpus).values()
        assert f"{sys.executable} -m unspoken run " in text
        assert "torchrun" not in text


def test_an_array_comes_between_two_jobs(tmp_path: Path) -> None:
    found = scripts(tmp_path, teacher=True, array="16%4", nodes=2, gpus_per_node=4)
    assert list(found) == ["prepare", "generate", "run"]
    assert "--array=1-16%4" in directives(found["generate"])
    assert f"--output={tmp_path}/run/slurm/1/generate-%A_%a.log" in directives(found["generate"])
    assert "-m unspoken shard" in found["generate"]
    assert '--shard "$SLURM_ARRAY_TASK_ID/16"' in found["generate"]
    assert "--prepare" in found["prepare"]
    assert found["run"].index("--merge 16") < found["run"].index("-m unspoken run")
    # worked solutions need no GPU, and one that no job may be without is enough for the data
    assert not [line for line in directives(found["generate"]) if "gpu" in line]
    assert "--gres=gpu:1" in directives(found["prepare"])
    assert "--gres=gpu:4" in directives(found["run"])


def test_shares_ask_for_their_part_of_a_node(tmp_path: Path) -> None:
    node = {"gpus_per_node": 4, "cpus_per_task": 30, "mem": "201G", "array": "8"}
    found = scripts(tmp_path, teacher=True, **node, gpus_per_shard=2, gpu_type="a100")
    wanted = {
        "prepare": ["--gres=gpu:a100:1", "--cpus-per-task=8", "--mem=51G"],
        "generate": ["--gres=gpu:a100:2", "--cpus-per-task=15", "--mem=101G"],
        "run": ["--gres=gpu:a100:4", "--cpus-per-task=30", "--mem=201G"],
    }
    for name, lines in wanted.items():
        assert directives(found[name])[3:6] == lines
    assert "SRUN_CPUS_PER_TASK=15" in found["generate"]
    own = {"cpus_per_shard": 3, "mem_per_shard": "7G"}
    found = scripts(tmp_path, teacher=True, **{**node, "mem": "0"}, **own)
    assert directives(found["generate"])[3:5] == ["--cpus-per-task=3", "--mem=7G"]
    found = scripts(tmp_path, teacher=True, **{**node, "gpus_per_node": 0})  # a part of what?
    assert "--mem=201G" in directives(found["generate"])


def test_shares_know_how_many_run_at_once(tmp_path: Path) -> None:
    for array, told in (("16%4", '/16" --at_once 4'), ("16", '/16"\n')):
        assert told in scripts(tmp_path, teacher=True, array=array)["generate"]


def test_accelerates_configuration_reaches_the_processes(tmp_path: Path) -> None:
    """Those that train together; a share's only process has the whole teacher."""
    config = CONFIGS / "fsdp2.yaml"
    texts = scripts(tmp_path, teacher=True, array="4", gpus_per_node=4, config_file=config)
    for line in ("export ACCELERATE_USE_FSDP=true\n", "export FSDP_VERSION=2\n"):
        assert line in texts["run"]
        assert line not in texts["generate"]
    with pytest.raises(RecipeError, match="config_file: found no file"):
        scripts(tmp_path, config_file=Path("nowhere.yaml"), gpus_per_node=4)


def test_container_environment_and_setup(tmp_path: Path) -> None:
    image = tmp_path / "unspoken image.sif"
    image.touch()
    output = tmp_path.parent / "scratch" / "run"  # a run folder outside of the project
    (text,) = scripts(tmp_path, container=image, gpus_per_node=1, output=output).values()
    folders = f"{tmp_path},{output}"
    wanted = (
        f"apptainer exec --nv --bind {folders} --pwd {tmp_path} '{image}' python3 -m unspoken run"
    )
    assert wanted in text
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "activate").touch()
    (text,) = scripts(tmp_path, venv=venv, setup=("module load cuda",)).values()
    lines = text.splitlines()
    setup = next(n for n, line in enumerate(lines) if line.startswith("module load cuda || fail "))
    assert lines[setup + 1].startswith(f"source {venv}/bin/activate || fail ")
    assert " python3 -m unspoken run " in text


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
        ({"time": "8h"}, "time: found '8h'"),
        ({"time": "0"}, "time: found '0'"),
        (
            {"time": None},
            "time: found nothing; needed: the time limit of a job, such as time=08",
        ),
        ({"time": "4"}, "save_s: found 300 with time=4"),
        ({"nodes": 0}, "nodes: found 0; needed: at least 1"),
        ({"array": "0"}, "array: found '0'"),
        ({"array": "1-16"}, "array: found '1-16'"),
        ({"array": "4"}, "array: found 4 with a recipe that has no section teacher"),
        ({"container": Path("nowhere.sif")}, "container: found nowhere.sif; needed: the file"),
        ({"venv": Path("nowhere")}, "venv: found nowhere; needed: a virtual environment"),
        ({"extra": ("constraint=a100",)}, "extra: found 'constraint=a100'"),
        ({"partition": "a b"}, "partition: found 'a b'"),
        ({"account": "it's"}, "account: found"),
        ({"gpu_type": 'a"100'}, "gpu_type: found"),
        ({"mem": "200 G"}, "mem: found '200 G'"),
        ({"mem_per_shard": "much"}, "mem_per_shard: found 'much'"),
        ({"cpus_per_shard": 0}, "cpus_per_shard: found 0"),
        (
            {"teacher": True, "array": "4", "gpus_per_node": 4, "mem": "0"},
            "give mem_per_shard=50G",
        ),
        ({"output": Path('/runs/the "last" one')}, "found '\"' in the name"),
        ({"gpu_type": "a100"}, "gpu_type: found a100 without GPUs"),
        ({"gpus_per_shard": 1, "gpus_per_node": 4}, "gpus_per_shard: found 1 without array"),
        ({"cpus_per_shard": 1}, "cpus_per_shard: found 1 without array"),
        ({"mem_per_shard": "7G"}, "mem_per_shard: found 7G without array"),
        (
            {"array": "4", "gpus_per_shard": 5, "gpus_per_node": 4},
            "gpus_per_shard: found 5 with gpus_per_node=4",
        ),
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


def launch_dry(recipe: Path, *flags: str) -> None:
    main(["launch", "slurm", str(recipe), "--time", "10", "--dry_run", *flags])


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"model": {"name": "models/student"}}, "model.name: models/student: no such folder here"),
        ({"model": {"name": "nobody/nothing"}}, "model.name: nobody/nothing: no such folder here"),
        ({"teacher": {"model": {"name": "models/teacher"}}}, "teacher.model.name: models/teacher"),
        (
            {"teacher": {"engine": "worked", "few_shot": "nowhere.jsonl"}},
            "teacher.few_shot: nowhere.jsonl: no such file",
        ),
    ],
)
def test_models_that_the_jobs_would_not_find_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sections: dict[str, Any], told: str
) -> None:
    if "model" in sections:
        sections["model"] |= {"config": None, "tokenizer": None}
    with pytest.raises(SystemExit) as caught:
        launch_dry(written_recipe(tmp_path, **sections))
    assert caught.value.code == 2
    assert f"error: {told}" in capsys.readouterr().err


def test_a_hub_model_counts_as_here_once_its_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def snapshot(name: str, **_: Any) -> str:
        if name != "me/known":
            raise OSError
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    known = tiny_recipe(tmp_path, model={"name": "me/known", "config": None, "tokenizer": None})
    (tmp_path / "config.json").touch()
    with pytest.raises(RecipeError, match="me/known"):
        require_models_here(known)
    (tmp_path / "model.safetensors").touch()
    require_models_here(known)
    tokenizer = {"tokenizer": "me/unknown"}
    with pytest.raises(RecipeError, match=r"model\.tokenizer: me/unknown"):
        require_models_here(tiny_recipe(tmp_path, model=tokenizer))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    values = {"peft_type": "LORA", "base_model_name_or_path": "me/unknown"}
    (adapter / "adapter_config.json").write_text(json.dumps(values))
    named = {"name": str(adapter), "config": None, "tokenizer": None}
    with pytest.raises(RecipeError, match="is an adapter of: me/unknown"):
        require_models_here(tiny_recipe(tmp_path, model=named))


def test_what_the_jobs_may_lack_is_noted_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path, teacher={"engine": "worked"})
    for flags in ([], ["--gpus_per_node=2", "--cpus_per_task=8"],
                  ["--gpus_per_node=2", "--extra=--cpus-per-gpu=8"]):  # fmt: skip
        launch_dry(recipe, *flags)
        assert "note:" not in capsys.readouterr().err
    launch_dry(recipe, "--gpus_per_node=2")
    assert "note: --cpus_per_task is missing" in capsys.readouterr().err
    launch_dry(written_recipe(tmp_path, data={"task": "gsm8k"}))
    told = capsys.readouterr().err
    assert "note: data: GSM8K from the hub" in told
    assert told.endswith("; jobs have no network\n")


def test_zero_needs_deepspeed_in_the_python_of_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path)
    config = f"--config_file={CONFIGS / 'zero2.yaml'}"
    flags = [config, "--gpus_per_node=2", "--cpus_per_task=8"]
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "deepspeed" else find(name)
    )
    with pytest.raises(SystemExit):
        launch_dry(recipe, *flags)
    assert "asks for DeepSpeed, which is not installed" in capsys.readouterr().err
    (tmp_path / "image.sif").touch()
    launch_dry(recipe, *flags, f"--container={tmp_path / 'image.sif'}")


def test_only_a_job_that_others_wait_for_says_so(tmp_path: Path) -> None:
    told = "jobs that wait for this one are cancelled; see $log"
    texts = scripts(tmp_path, teacher=True, array="2")
    assert {name: text.count(told) for name, text in texts.items()} == {
        "prepare": 2, "generate": 2, "run": 0,
    }  # fmt: skip
    (text,) = scripts(tmp_path).values()
    assert told not in text
    assert 'note "failed: $*; see $log"' in text


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


def test_a_batch_that_the_processes_cannot_share_is_not_submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written_recipe(tmp_path)
    flags = ["--time", "10", "--nodes", "2", "--gpus_per_node", "3", "--dry_run"]
    with pytest.raises(SystemExit) as caught:
        main(["launch", "slurm", str(recipe), *flags])
    assert caught.value.code == 2
    assert (
        "error: train.batch_size: found 16; it must be a multiple of the 6 processes "
        "(--nodes 2 --gpus_per_node 3); set it to 12"
    ) in capsys.readouterr().err


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


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A folder with SLURM's commands, which do and say what the environment has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "srun": 'echo "srun $@" >> calls; eval "$IN_SRUN"; exit $SRUN',
        "squeue": 'echo "squeue $@" >> calls; eval "${IN_SQUEUE:-echo $STATE}"',
        "scontrol": 'echo "$@" >> calls; eval "$IN_SCONTROL"',
        "scancel": 'echo "scancel $@" >> calls; eval "$IN_SCANCEL"',
        "sbatch": 'echo "sbatch $@" >> calls; eval "$IN_SBATCH"; grep -c sbatch calls',
        "sleep": "/bin/sleep 0.05",
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


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


def test_tasks_get_the_environment_also_where_sbatch_takes_none(
    tmp_path: Path, fakes: Path
) -> None:
    (text,) = scripts(tmp_path, setup=("export FROM_SETUP=yes",)).values()
    seen = 'echo "$SLURM_EXPORT_ENV $FROM_SETUP" > seen'
    run_script(fakes, text, IN_SRUN=seen, SRUN="0", SLURM_EXPORT_ENV="NONE")
    assert (tmp_path / "seen").read_text() == "ALL yes\n"


def test_a_failing_setup_line_ends_the_job_before_anything_runs(
    tmp_path: Path, fakes: Path
) -> None:
    (text,) = scripts(tmp_path, setup=("false 'it is'",)).values()
    done = run_script(fakes, text)
    assert done.returncode == 1
    assert "failed: this line of setup: false 'it is'" in done.stdout
    assert not (tmp_path / "calls").exists()


def test_a_bar_is_drawn_less_often_into_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal, seconds in ((True, 0.5), (False, 30)):
        monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda here=is_terminal: here))
        assert bar_intervals()["mininterval"] == seconds
        assert bar_intervals()["maxinterval"] >= seconds


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
    return [job["id"] for job in json.loads(path.read_text())] if path.exists() else []


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


def test_nothing_is_submitted_where_squeue_does_not_answer(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IN_SQUEUE", "echo 'socket timed out' >&2; exit 1")
    with pytest.raises(SlurmError, match=r"squeue: fails \(socket timed out\)"):
        submit(launch, tmp_path / "recipe.yaml")
    assert "sbatch" not in (tmp_path / "calls").read_text()
    monkeypatch.setenv("IN_SQUEUE", "true")
    submit(launch, tmp_path / "recipe.yaml")  # what the first one left is in nobody's way


def test_a_job_is_forgotten_only_where_slurm_says_so(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(launch, tmp_path / "recipe.yaml")
    monkeypatch.setenv("IN_SCONTROL", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(SlurmError, match=r"scontrol: fails .Unable to contact"):
        list(status_lines(launch.recipe))
    monkeypatch.setenv("IN_SCONTROL", "echo 'slurm_load_jobs error: Invalid job id' >&2; exit 1")
    assert next(status_lines(launch.recipe)).startswith("prepare 1: SLURM has forgotten it")


def test_jobs_are_cancelled_when_one_behind_them_is_refused(
    tmp_path: Path, launch: SlurmLaunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = "if [ $(grep -c sbatch calls) = 3 ]; then exit 1; fi"
    monkeypatch.setenv("IN_SBATCH", refuse)
    with pytest.raises(SlurmError, match="sbatch refuses it"):
        submit(launch, tmp_path / "recipe.yaml")
    assert (tmp_path / "calls").read_text().splitlines()[-2:] == ["scancel 1", "scancel 2"]
    assert jobs_of(launch) == ["1", "2"]  # so that one can look what became of them


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


def test_two_launches_of_a_run_at_once_are_one_too_many(
    tmp_path: Path, launch: SlurmLaunch
) -> None:
    launch.folder.mkdir(parents=True)  # by the other one
    (tmp_path / "run" / "recipe.yaml").touch()
    with pytest.raises(OutputExistsError, match="another launch has just made it"):
        submit(launch, tmp_path / "recipe.yaml")
    assert "sbatch" not in (tmp_path / "calls").read_text()


def test_the_first_failure_of_a_node_decides_its_exit_status() -> None:
    def failure(exitcode: int, timestamp: int) -> SimpleNamespace:
        return SimpleNamespace(exitcode=exitcode, timestamp=timestamp)

    assert status_of({0: failure(-6, 12), 1: failure(2, 11)}) == 2
    assert status_of({0: failure(75, 11)}) == 75
    assert status_of({0: failure(-15, 11)}) == 143


def start_node(code: str, **environment: str) -> subprocess.Popen[str]:
    """Two processes of one node, each of which runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-m", "unspoken.launch.torchrun", "--nproc_per_node=2",
         "--master_addr=127.0.0.1", "--master_port=29517", "--no_python", sys.executable, "-c",
         code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 2, 75])
def test_a_node_exits_as_its_processes_do_and_notes_a_failure(tmp_path: Path, status: int) -> None:
    code = f"import os, sys; sys.exit({status} if os.environ['RANK'] == '1' else 0)"
    events = tmp_path / "events.log"
    node = start_node(
        code,
        UNSPOKEN_EVENTS=str(events),
        UNSPOKEN_JOB="run 7",
        SLURM_NODEID="0",
        UNSPOKEN_SHUTDOWN_S="60",
    )
    node.communicate(timeout=60)
    assert node.returncode == status
    told = events.read_text() if events.exists() else ""
    assert ("run 7: node 0 (" in told) == (status == 2)
    assert told.endswith("ended with exit status 2\n" if status == 2 else "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shutdown_s", "exits", "ends"),
    [(60, 75, (75, True, "")), (60, 2, (2, True, "ended with exit status 2")),
     (1, 75, (75, False, "killed: had not saved within 1 s"))],
)  # fmt: skip
def test_processes_may_save_for_longer_than_torch_allows(
    tmp_path: Path, shutdown_s: int, exits: int, ends: tuple[int, bool, str]
) -> None:
    code = f"""
import pathlib, signal, sys, time
folder, name = pathlib.Path({str(tmp_path)!r}), __import__("os").environ["RANK"]
def save(number, frame):
    time.sleep(4)
    (folder / f"saved-{{name}}").touch()
    sys.exit({exits})
signal.signal(signal.SIGTERM, save)
(folder / f"ready-{{name}}").touch()
time.sleep(60)
"""
    node = start_node(
        code,
        UNSPOKEN_SHUTDOWN_S=str(shutdown_s),
        UNSPOKEN_EVENTS=str(tmp_path / "events.log"),
        TORCH_ELASTIC_SHUTDOWN_TIMEOUT="2",  # newer torch; older ones wait 30 s, come what may
    )
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.1)
    node.send_signal(signal.SIGTERM)
    node.communicate(timeout=60)
    status, saved, told = ends
    assert node.returncode == status
    assert len(list(tmp_path.glob("saved-*"))) == 2 * saved
    events = tmp_path / "events.log"
    assert told in (events.read_text() if events.exists() else "")
