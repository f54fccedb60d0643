"""Runs that one process and two are compared in, and torchrun itself."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from helpers.paths import ROOT
from helpers.processes import launch
from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, trainer

SETTINGS: dict[str, Any] = {
    "model": NO_DROPOUT,
    "schedule": {"delta": 60, "smoothing": 0.7},
    "data": {"num_train": 200},
    "train": {"micro_batch_size": 4, "max_steps": 20},
    "baselines": True,
}


#: As accelerate launch sets them for the files in configs/.
WAYS = {
    "ddp": {},
    "fsdp2": {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    },
    "zero2": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"},
    "zero3": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
}


#: Micro-batches, removals (so resets) at steps 8 and 16, checkpoints there and in between.
TWO_RESETS: dict[str, Any] = {
    "model": {**NO_DROPOUT, "config": {**NO_DROPOUT["config"], "n_layer": 2}},
    "schedule": {"delta": 4, "positions": "gap"},
    "train": {
        "micro_batch_size": 4,
        "checkpoint_every": 4,
        "keep_checkpoints": 9,
        "max_grad_norm": 0.5,
    },
}


def train_alone(folder: Path) -> Path:
    """The run of one process that every way is held against, with all its checkpoints."""
    trainer(tiny_recipe(folder, **TWO_RESETS), folder).run()
    return folder


#: Processes find tests/helpers, and what this one finds.
IMPORTS = {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])}


def torchrun(
    *arguments: str, num_processes: int = 2, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Processes on the loopback interface, with these variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [f"--nproc_per_node={num_processes}", f"--master_port={port}"]
    launcher.append("--master_addr=127.0.0.1")
    variables = {**IMPORTS, "OMP_NUM_THREADS": "1", **environment}
    return launch("-m", "torch.distributed.run", *launcher, *arguments, **variables)


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], atol=2e-5) for name in one
    )


def run_recipe_of(
    folder: Path, launch: Callable[..., subprocess.CompletedProcess[str]], **train: Any
) -> Path:
    settings = {**SETTINGS, "train": {**SETTINGS["train"], **train}}
    recipe = tiny_recipe(folder / "run", **settings)
    path = folder / "recipe.yaml"
    folder.mkdir()
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    done = launch("-m", "unspoken", "run", str(path))
    assert done.returncode == 0, done.stderr
    return folder / "run"
