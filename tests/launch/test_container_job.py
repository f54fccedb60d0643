"""What a container is told, and what its image has."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.container import job_of, lay_out
from helpers.paths import ROOT
from helpers.sagemaker import write_recipe
from unspoken.launch.container.entry import run_container
from unspoken.launch.container.job import ContainerError, write_failure
from unspoken.launch.container.requirements import install_missing


def test_files_alone_say_hosts_rank_and_overrides(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    hosts = ("algo-10", "algo-2", "algo-1")
    root = lay_out(tmp_path / "ml", recipe, "seed=3", "name=x", host="algo-10", hosts=hosts)
    job = job_of(root)
    assert job.hosts == ("algo-1", "algo-2", "algo-10")
    assert (job.rank, job.is_first, job.master) == (2, False, "algo-1")
    assert job.overrides == ("seed=3", "name=x")
    assert job.network_interface == "lo"


def test_sm_variables_are_honoured(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "ml", write_recipe(tmp_path), "seed=3")
    parameters = json.dumps({"recipe": "recipes/tiny.yaml", "override-00": "seed=4"})
    job = job_of(
        root,
        SM_HOSTS='["algo-1", "algo-2"]',
        SM_CURRENT_HOST="algo-2",
        SM_NUM_GPUS="4",
        SM_NETWORK_INTERFACE_NAME="eth0",
        SM_HPS=parameters,
    )
    assert (job.rank, job.num_processes, job.network_interface) == (1, 4, "eth0")
    assert job.overrides == ("seed=4",)


def test_paths_of_channels_are_those_of_this_root(tmp_path: Path) -> None:
    override = 'data.train="/opt/ml/input/data/data-train/a.jsonl"'
    root = lay_out(tmp_path / "ml", write_recipe(tmp_path), override)
    with pytest.raises(ContainerError, match=r"channel data-train: an override needs it"):
        job_of(root)
    (root / "input" / "data" / "data-train").mkdir(parents=True)
    config = root / "input" / "config" / "inputdataconfig.json"
    config.write_text(json.dumps({"code": {}, "data-train": {}}))
    assert job_of(root).overrides == (f'data.train="{root}/input/data/data-train/a.jsonl"',)


def test_a_job_without_a_recipe_is_refused(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "ml", write_recipe(tmp_path))
    (root / "code" / "recipes" / "tiny.yaml").unlink()
    with pytest.raises(ContainerError, match=r"hyperparameter recipe: found 'recipes/tiny.yaml'"):
        run_container(root)
    shutil.rmtree(root / "input")
    with pytest.raises(ContainerError, match=r"hyperparameters.json: missing"):
        run_container(root)


def test_requirements_that_are_met_need_no_network(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text('torch>=2\nabsent-package; platform_system == "X"\n')
    said: list[str] = []
    install_missing(tmp_path, said.append)
    assert said == []
    (tmp_path / "requirements.txt").write_text("torch>=99\n")
    with pytest.raises(ContainerError, match=r"image: found torch .*torch>=99.*another image"):
        install_missing(tmp_path, said.append)


def test_a_failure_is_one_short_line(tmp_path: Path) -> None:
    write_failure(tmp_path, "first\nsecond " + "x" * 5000)
    text = (tmp_path / "output" / "failure").read_text()
    assert text.startswith("first second xxx")
    assert len(text) <= 1001


@pytest.mark.integration
def test_a_container_starts_with_the_standard_library_alone() -> None:
    source = str(ROOT / "src")
    code = f"import sys; sys.path.insert(0, {source!r}); import unspoken.launch.container.entry"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
