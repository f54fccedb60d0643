"""The first file that a student reads takes the library's own steps."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from helpers.paths import ROOT
from helpers.recipes import tiny_recipe
from helpers.training import losses
from unspoken.train.loop import StepwiseInternalization

pytestmark = pytest.mark.integration

EXAMPLE = ROOT / "examples" / "minimal_loop.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    found = importlib.util.spec_from_file_location("minimal_loop", EXAMPLE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_its_losses_are_those_of_the_library(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through every level and its optimizer reset."""
    dataset = example.make_dataset()
    own = example.train(example.make_model(), dataset, 25)
    assert "removed all" in capsys.readouterr().out
    recipe = tiny_recipe(
        tmp_path,
        seed=example.SEED,
        schedule={**example.SCHEDULE.model_dump()},
        train={
            "max_steps": 25,
            "batch_size": example.BATCH_SIZE,
            "learning_rate": example.LEARNING_RATE,
            "max_grad_norm": example.MAX_NORM,
            "weight_decay": 0.0,
            "evaluate_every": 100,
        },
    )
    StepwiseInternalization(
        example.make_model(),
        example.TOKENIZER,
        example.TEMPLATE,
        recipe,
        train=dataset,
        folder=tmp_path,
        progress=False,
    ).run()
    found = losses(tmp_path)  # in fp32: a batch's rows are summed in another order
    assert found[:8] == pytest.approx(own[:8], abs=2e-5)
    assert found == pytest.approx(own, abs=1e-3)


def test_it_runs_in_seconds_and_fits_on_a_page(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--steps", "5"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "removed all" in done.stdout
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 120
