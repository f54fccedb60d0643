"""What several processes share and refuse, and how they end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.launching import (
    WAYS,
    torchrun,
    train_alone,
)
from helpers.paths import ROOT
from helpers.patience import Deadline
from helpers.processes import Forked, alone, launch, together
from helpers.recipes import tiny_recipe
from unspoken.common.errors import RecipeError
from unspoken.data.jsonl import write_jsonl
from unspoken.data.tasks.multiplication import examples
from unspoken.parallel.start import start_processes
from unspoken.teach.traces.together import shares_folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that every way is held against."""
    return train_alone(tmp_path_factory.mktemp("one"))


@pytest.mark.cluster
def test_the_verbs_share_questions_out_among_the_launchers_processes(
    tmp_path: Path, one: Path
) -> None:
    """`generate`, interrupted, with another number of processes; and `evaluate`."""
    questions = tmp_path / "questions.jsonl"
    data = list(examples([(2, 2)], 60, 0, 30)["test"])
    write_jsonl(questions, ({"question": e.question, "answer": e.answer} for e in data))

    def generate(folder: Path) -> list[str]:
        return [
            "-m", "unspoken", "generate", "--input", str(questions),
            "--output", str(folder / "traces.jsonl"), "--teacher_dir", str(one / "model"),
            "--batch_size", "4", "--max_new_tokens", "20",
        ]  # fmt: skip

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert alone(*generate(whole)).returncode == 0
    begun, name = shares_folder(parts / "traces.jsonl"), "traces-00002-of-00003.jsonl"
    share = [*generate(begun), "--shard", "2/3"]  # as one of three processes left it
    assert alone(*share).returncode == 0
    lines = (begun / name).read_text().splitlines(keepends=True)
    (begun / name).write_text("".join(lines[:5]) + lines[5][:20])
    done = together(*generate(parts))
    assert done.returncode == 0, done.stderr
    assert "30 of 30 traces, 25 written now and 5 before" in done.stdout
    names = ["traces.jsonl", "traces.jsonl.settings.json"]
    assert sorted(path.name for path in parts.glob("*")) == names
    assert (parts / names[0]).read_bytes() == (whole / names[0]).read_bytes()
    own = parts / "traces-00001-of-00016.jsonl"  # which an array may be writing now
    own.write_text("theirs\n")
    done = together(*generate(parts), "--overwrite")
    assert "30 of 30 traces, 30 written now and 0 before" in done.stdout
    assert (parts / names[0]).read_bytes() == (whole / names[0]).read_bytes()
    assert own.read_text() == "theirs\n"
    done = together(*generate(parts), "--overwrite", "--shard", "1/2")
    assert "--shard: found it with 2 processes" in done.stderr
    assert (parts / names[0]).exists()

    def evaluate(folder: Path) -> list[str]:
        return [
            "-m", "unspoken", "evaluate", "--base_model", str(one / "model"), "--input",
            str(questions), "--output", str(folder / "predictions.jsonl"), "--num_latency", "0",
        ]  # fmt: skip

    assert alone(*evaluate(whole)).returncode == 0
    done = together(*evaluate(parts))
    assert done.returncode == 0, done.stderr
    predictions = [(folder / "predictions.jsonl").read_bytes() for folder in (whole, parts)]
    assert predictions[0] == predictions[1]
    assert done.stdout.count("predictions: ") == 1


@pytest.mark.cluster
def test_ctrl_c_under_a_launcher_saves_and_goes_on(tmp_path: Path) -> None:
    """A terminal's Ctrl-C reaches the processes twice: from it, and from torchrun."""
    recipe = tiny_recipe(
        tmp_path / "run", train={"max_steps": 4000, "checkpoint_every": 4000}, evaluate={"limit": 4}
    )
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    launcher = Forked(
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "-m", "unspoken", "run", str(tmp_path / "recipe.yaml"),
        launches=True, own_group=True, OMP_NUM_THREADS="1",
    )  # fmt: skip
    log = tmp_path / "run" / "internalized" / "metrics.jsonl"
    deadline = Deadline(120)
    while not deadline.has_passed and not (log.exists() and log.stat().st_size > 2000):
        assert launcher.poll() is None
        time.sleep(0.05)
    for process in _group(launcher.pid):
        with contextlib.suppress(ProcessLookupError):  # torchrun has others that come and go
            os.kill(process, signal.SIGINT)
    output = "".join(launcher.communicate(120))
    assert "everything is saved in" in output, output
    assert list((tmp_path / "run" / "internalized").glob("checkpoint-*"))


def _group(launcher: int) -> list[int]:
    """The launcher and its children, which a terminal's Ctrl-C reaches at once."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return [launcher, *map(int, children)]


@pytest.mark.cluster
def test_one_question_is_enough_for_many_processes(tmp_path: Path) -> None:
    """To validate with, and to be tested with."""
    recipe = tiny_recipe(
        tmp_path / "run", data={"num_valid": 1, "num_test": 1}, train={"max_steps": 12}
    )
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    done = together("-m", "unspoken", "run", str(tmp_path / "recipe.yaml"))
    assert done.returncode == 0, done.stderr


@pytest.mark.cluster
def test_a_failing_process_ends_all_with_its_error_first(tmp_path: Path) -> None:
    done = torchrun("-m", "helpers.worker", "fail", str(tmp_path / "none"))
    assert done.returncode != 0
    error = "error: questions.jsonl:3: found no question; needed: one; write it\n"
    assert error in done.stderr
    assert "Traceback" not in done.stderr.partition(error)[0]
    assert "exitcode  : 2" in done.stderr


@pytest.mark.cluster
@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero2", "zero3"])
def test_every_config_trains_the_quickstarts_student(tmp_path: Path, name: str) -> None:
    """Through accelerate launch and the whole pipeline."""
    if name.startswith("zero"):
        pytest.importorskip("deepspeed", reason="the extra unspoken[deepspeed] is not installed")
    root = ROOT
    shipped = yaml.safe_load((root / "recipes" / "quickstart.yaml").read_text())
    recipe = {
        "name": "student",
        "template": shipped["template"],
        "model": shipped["model"],
        "data": {**shipped["data"], "num_train": 500, "num_valid": 10, "num_test": 20},
        "schedule": {"delta": 40, "positions": "gap"},
        "train": {"max_steps": 6, "batch_size": 96, "micro_batch_size": 24, "num_valid": 10},
        "evaluate": {"num_latency": 0},
        "output": str(tmp_path / "run"),
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = launch(
        "-m", "accelerate.commands.accelerate_cli", "launch",
        "--config_file", str(root / "configs" / f"{name}.yaml"),
        "--num_processes", "2", "--main_process_port", str(port),
        "-m", "unspoken", "run", str(tmp_path / "recipe.yaml"),
        OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    model = tmp_path / "run" / "internalized" / "model"
    assert {"config.json", "model.safetensors", "unspoken.json"} <= {
        path.name for path in model.iterdir()
    }
    asked = "fp16" if name == "ddp" else "bf16"
    assert f"note: accelerate's configuration says mixed_precision {asked}" in done.stdout
    assert done.stdout.count("internalize: running") == 1  # one process talks


REFUSED = [
    ({"ACCELERATE_USE_FSDP": "true"}, {}, "found fsdp_version 1; needed: 2"),
    (WAYS["fsdp2"], {"train": {"optimizer": "adamw_8bit"}}, "set train.optimizer=adamw"),
    (WAYS["fsdp2"], {"train": {"optimizer": "muon"}}, "needs each matrix whole"),
    (WAYS["fsdp2"], {"train": {"precision": "fp16"}}, "train.precision"),
    (WAYS["fsdp2"], {"train": {"compile": True}}, "leave it out"),
    ({**WAYS["fsdp2"], "FSDP_OFFLOAD_PARAMS": "true"}, {}, "fsdp_offload_params"),
    (WAYS["fsdp2"], {}, "this process is alone; needed: accelerate launch with --num_processes 2"),
]


@pytest.mark.parametrize(("environment", "sections", "message"), REFUSED)
def test_what_does_not_work_is_refused_with_what_does(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    sections: dict[str, Any],
    message: str,
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(RecipeError, match=re.escape(message)):
        start_processes(tiny_recipe(tmp_path, **sections), tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ACCELERATE_DEEPSPEED_ZERO_STAGE", "0", r"zero_stage 0; needed: 2 or 3;.*configs/ddp"),
        ("ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE", "cpu", "offload_param_device cpu"),
    ],
)
def test_what_deepspeed_cannot_do_here_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    pytest.importorskip("deepspeed", reason="the extra unspoken[deepspeed] is not installed")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=message):
        start_processes(tiny_recipe(tmp_path), tmp_path)


def test_the_launchers_accumulation_does_not_change_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert (
        start_processes(tiny_recipe(tmp_path), tmp_path).accelerator.gradient_accumulation_steps
        == 1
    )
