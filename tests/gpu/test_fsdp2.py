"""FSDP2 with one process, as configs/fsdp2.yaml asks for it: sharded, and the same training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from helpers.gpu import ON_A_GPU, largest_difference
from helpers.launching import TWO_RESETS, torchrun, train_alone
from helpers.paths import CONFIGS
from helpers.recipes import tiny_recipe
from helpers.training import losses, trainer
from unspoken.launch.accelerate_environment import environment

pytestmark = [pytest.mark.timeout(150), *ON_A_GPU, pytest.mark.gpu, pytest.mark.integration]

#: With validations, resets of the optimizer, a gap in the positions, clipping and micro-batches.
SECTIONS = TWO_RESETS
BF16: dict[str, Any] = {**TWO_RESETS, "train": {**TWO_RESETS["train"], "precision": "bf16"}}
#: Sums in another order, and what AdamW makes of them.
CLOSE = 2e-4


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without FSDP2, on the same device, with all its checkpoints."""
    return train_alone(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory, one: Path) -> Path:
    """A folder with three runs of FSDP2, in one process that torchrun starts."""
    folder = tmp_path_factory.mktemp("sharded")
    shutil.copytree(one / "checkpoint-12", folder / "resumed" / "checkpoint-12")
    runs = [["scratch", 99, SECTIONS], ["resumed", 17, SECTIONS], ["bf16", 99, BF16]]
    (folder / "job.json").write_text(json.dumps({"runs": runs}))
    # it talks to itself, also on a machine without a network
    alone = {"NCCL_SOCKET_IFNAME": "lo", "GLOO_SOCKET_IFNAME": "lo"}
    settings = {**environment(CONFIGS / "fsdp2.yaml"), **alone}
    job = ["train", str(folder / "job.json")]
    done = torchrun("-m", "helpers.worker", *job, num_processes=1, **settings)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


def test_fsdp2_is_sharded_and_on_the_device(sharded: Path, device: str) -> None:
    for name in ("scratch", "resumed", "bf16"):
        facts = json.loads((sharded / f"{name}.json").read_text())
        assert facts["sharded"], facts
        assert facts["device"] == device


def test_fsdp2_has_the_losses_of_plain_training(sharded: Path, one: Path) -> None:
    assert largest_difference(losses(sharded / "scratch"), losses(one)) < CLOSE


def test_fsdp2_goes_on_from_a_plain_checkpoint_and_plain_training_from_its(
    sharded: Path, one: Path, tmp_path: Path
) -> None:
    """Steps 1 to 12 without, 13 to 18 with FSDP2, the rest without."""
    folder = tmp_path / "run"
    shutil.copytree(sharded / "resumed", folder)
    assert sorted(folder.glob("checkpoint-*"))[-1].name == "checkpoint-18"
    trainer(tiny_recipe(folder, **SECTIONS), folder).run()
    after = losses(one)[12:]
    assert largest_difference(losses(folder), after) < CLOSE


def test_fsdp2_in_bf16_is_near_fp32(sharded: Path, one: Path) -> None:
    assert largest_difference(losses(sharded / "bf16"), losses(one)) < 6e-2
