"""Tests of what only a GPU shows: `python -m pytest -m gpu tests/gpu`, 90 seconds.

Without a GPU they are skipped. `UNSPOKEN_GPU_TESTS=cpu` runs them on the CPU as far as one can, so
that they are tried before a GPU is at hand.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from helpers.gpu import VARIABLE, train
from unspoken.train.loop import StepwiseInternalization, TrainResult

# read when cuBLAS starts; with it, its sums are the same every time
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture(scope="session", autouse=True)
def device() -> str:
    """`cuda`, or `cpu` where that was asked for."""
    if torch.cuda.is_available():
        # They look for a GPU once, when they are imported: not while `on_the_cpu` hides it.
        for name in ("bitsandbytes", "peft", "transformers.integrations"):
            if importlib.util.find_spec(name.partition(".")[0]) is not None:
                importlib.import_module(name)
        return "cuda"
    if os.environ.get(VARIABLE) == "cpu":
        return "cpu"
    pytest.skip(f"no CUDA device; {VARIABLE}=cpu runs what a CPU can")


@pytest.fixture(autouse=True)
def _units_start_no_process() -> None:
    """Here libraries may: on a GPU they look for compilers, and call them."""


@pytest.fixture
def cuda(device: str) -> None:
    """For tests of what only CUDA has."""
    if device != "cuda":
        pytest.skip("what is tested here only CUDA has")


@pytest.fixture(scope="module", autouse=True)
def _trains_where_it_should(device: str) -> Iterator[None]:
    """Whatever is trained has its weights on the GPU, unless it is hidden (`on_the_cpu`)."""
    run = StepwiseInternalization.run

    def checked(trainer: StepwiseInternalization) -> TrainResult:
        wanted = device if torch.cuda.is_available() else "cpu"
        assert {weight.device.type for weight in trainer.bare_model.parameters()} == {wanted}
        return run(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepwiseInternalization, "run", checked)
        yield


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in fp32 on the device, which others are held against; with its losses."""
    folder = tmp_path_factory.mktemp("plain")
    train(folder)
    return folder
