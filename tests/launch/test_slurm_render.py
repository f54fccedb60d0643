"""What the scripts of a run say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.paths import CONFIGS
from helpers.slurm import directives, scripts
from unspoken.common.errors import RecipeError, SettingError


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


def test_shares_that_start_a_server_have_gpus_for_it(tmp_path: Path) -> None:
    server = {"engine": "openai", "base_url": "http://gpu-7:8000/v1", "model": {"name": "large"}}
    served = {"serve": "vllm serve {model} --port {port}", "model": {"name": "large"}}
    for teacher, lines in ((server, []), (served, ["--gres=gpu:1"])):
        found = scripts(tmp_path, teacher=teacher, gpus_per_node=4, array="8")
        told = [line for line in directives(found["generate"]) if "gpu" in line]
        assert told == lines


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


@pytest.mark.integration
def test_a_script_has_its_container_environment_and_setup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSPOKEN_CACHE", raising=False)  # the tests' own, which would be bound, too
    image = tmp_path / "unspoken image.sif"
    image.touch()
    output = tmp_path.parent / "scratch" / "run"  # a run folder outside of the project
    other = tmp_path.parent / "other" / "run"
    (text,) = scripts(
        tmp_path, container=image, gpus_per_node=1, output=output, from_run=str(other)
    ).values()
    folders = f"{tmp_path},{output},{other}"
    wanted = (
        f"apptainer exec --nv --bind {folders} --pwd {tmp_path} '{image}' python3 -m unspoken run"
    )
    assert wanted in text
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "activate").touch()
    (text,) = scripts(tmp_path, venv=venv, setup=("module load cuda",)).values()
    lines = text.splitlines()
    setup = next(
        n for n, line in enumerate(lines) if line.startswith("eval 'module load cuda' || fail ")
    )
    assert lines[setup + 1].startswith(f"source {venv}/bin/activate || fail ")
    assert " python3 -m unspoken run " in text


@pytest.mark.parametrize("name", ["c#", "two words", "it's"])
def test_a_log_whose_name_sbatch_would_cut_is_quoted(tmp_path: Path, name: str) -> None:
    (text,) = scripts(tmp_path / name).values()
    assert f'--output="{tmp_path}/{name}/run/slurm/1/run-%j.log"' in directives(text)


def test_wandb_writes_here_unless_the_cluster_has_a_network(tmp_path: Path) -> None:
    (text,) = scripts(tmp_path).values()
    assert "WANDB" not in text
    (text,) = scripts(tmp_path, train={"trackers": ["tensorboard", "wandb"]}).values()
    assert "export WANDB_MODE=${WANDB_MODE:-offline}" in text.splitlines()


def test_only_a_job_that_others_wait_for_says_so(tmp_path: Path) -> None:
    told = "jobs that wait for this one are cancelled; see $log"
    texts = scripts(tmp_path, teacher=True, array="2")
    assert {name: text.count(told) for name, text in texts.items()} == {
        "prepare": 2, "generate": 2, "run": 0,
    }  # fmt: skip
    (text,) = scripts(tmp_path).values()
    assert told not in text
    assert 'note "failed: $*; see $log"' in text


@pytest.mark.integration  # bash reads them
@pytest.mark.parametrize(
    "line",
    [
        "if [ -d /scratch ]; then",
        "echo 'half",
        'echo "half',
        "for x in 1 2; do",
        "case x in",
        "f() {",
        "cat <<END",
        "(",
        "fi",
        "a && && b",
        "$(",
    ],
)
def test_a_line_of_setup_that_the_shell_cannot_read_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(SettingError, match=r"setup: found .*which bash cannot read"):
        scripts(tmp_path, setup=("module load cuda", line))
