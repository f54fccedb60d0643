"""A whole run on a GPU: its records and its report name the GPU and what it took of its memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from helpers.gpu import ON_A_GPU, SMALL, unspoken
from helpers.recipes import tiny_recipe

pytestmark = [*ON_A_GPU, pytest.mark.gpu]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `unspoken run`, with baselines, precision as this machine can have it."""
    folder = tmp_path_factory.mktemp("run")
    train = {"max_steps": 12, "precision": "auto"}
    recipe = tiny_recipe(folder / "run", model=SMALL, train=train, baselines=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    unspoken("run", folder / "recipe.yaml")
    return folder / "run"


def test_a_run_goes_through_on_the_device(run: Path, device: str) -> None:
    for name in ("internalized", "explicit", "no_cot"):
        stage = json.loads((run / name / "stage.json").read_text())
        assert stage["status"] == "done"
        assert stage["precision"] == ("bf16" if device == "cuda" else "fp32")
        assert json.loads((run / name / "evaluation.json").read_text())["num_questions"] == 30


@pytest.mark.usefixtures("cuda")
def test_the_record_of_a_training_has_the_peak_of_the_gpus_memory(run: Path) -> None:
    for name in ("internalized", "explicit", "no_cot"):
        stage = json.loads((run / name / "stage.json").read_text())
        assert 1e5 < stage["peak_memory_bytes"]["gpu"] < 4e9
        assert stage["peak_memory_bytes"]["host"] > 1e8


@pytest.mark.usefixtures("cuda")
def test_the_report_names_the_gpu_and_its_memory(run: Path) -> None:
    name = torch.cuda.get_device_name()
    page = (run / "report.html").read_text()
    assert name in page
    assert "GPU" in page.replace(name, "")
    assert name in (run / "report.json").read_text()
    assert json.loads((run / "environment.json").read_text())["machine"]["gpu"] == name
    stage = json.loads((run / "internalized" / "stage.json").read_text())
    assert (
        f'"peak_memory": {stage["peak_memory_bytes"]["gpu"]}' in (run / "report.json").read_text()
    )


def test_the_same_command_again_finds_all_done(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the GPU wrote is read back: records, predictions, report."""
    unspoken("run", run.parent / "recipe.yaml")
    said = capsys.readouterr().out
    assert "internalize: done" in said
    assert "running" not in said.replace(str(run), "").partition("internalize")[2].split("\n")[0]


def test_check_estimates_what_the_run_will_take(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It multiplies matrices on the GPU to know how fast that is."""
    unspoken("check", run.parent / "recipe.yaml")
    assert capsys.readouterr().out
