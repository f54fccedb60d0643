from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import tiny_recipe
from test_train import NO_DROPOUT, losses

SETTINGS: dict[str, Any] = {
    "model": NO_DROPOUT,
    "schedule": {"delta": 60, "smoothing": 0.7},
    "train": {"micro_batch_size": 4, "max_steps": 40},
    "baselines": True,
}


def run(folder: Path, *launcher: str) -> Path:
    recipe = tiny_recipe(folder / "run", **SETTINGS)
    path = folder / "recipe.yaml"
    folder.mkdir()
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "tacit", "run", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Same global batch: same losses, levels, validation; with accumulation and resets."""
    one = run(tmp_path / "one")
    two = run(
        tmp_path / "two",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--master_addr=127.0.0.1",
        "--master_port=29511",
        "-m",
    )
    for variant in ("internalized", "explicit", "no_cot"):
        expected, found = losses(one / variant), losses(two / variant)
        assert len(expected) == 40
        assert found == pytest.approx(expected, abs=1e-5)
        stages = [json.loads((run / variant / "stage.json").read_text()) for run in (one, two)]
        assert stages[0]["level"] == stages[1]["level"]
        assert stages[0]["state"]["best"].keys() == stages[1]["state"]["best"].keys()
    assert json.loads((two / "internalized" / "stage.json").read_text())["level"] == "all"
    assert (two / "report.html").exists()
