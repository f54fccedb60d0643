"""A login node need not have torch: what only asks SLURM, or describes jobs, works without it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.recipes import tiny_recipe

#: The first import of one of these ends the process.
GUARD = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy", "transformers"):
            sys.exit(f"imported {name}")

sys.meta_path.insert(0, Refuse())
"""

EVERY_MODULE = """
import importlib, pkgutil
import unspoken.launch.slurm

for module in pkgutil.iter_modules(unspoken.launch.slurm.__path__, "unspoken.launch.slurm."):
    importlib.import_module(module.name)
    print(module.name)
"""

STATUS = """
from unspoken.cli.main import main

main(["launch", "slurm", "recipe.yaml", "--status"])
"""


def python(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GUARD + code],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.integration
def test_the_guard_sees_an_import(tmp_path: Path) -> None:
    done = python(tmp_path, "import transformers")
    assert (done.returncode, done.stderr) == (1, "imported transformers\n")


@pytest.mark.integration
def test_every_module_of_the_slurm_launcher_is_imported_without_torch(tmp_path: Path) -> None:
    done = python(tmp_path, EVERY_MODULE)
    assert done.returncode == 0, done.stderr
    names = [name.rpartition(".")[2] for name in done.stdout.split()]
    assert names == ["binds", "options", "render", "submit"]


@pytest.mark.integration
def test_jobs_are_asked_about_without_torch(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path / "run").model_dump(mode="json", exclude_unset=True)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    folder = tmp_path / "run" / "slurm" / "1"
    folder.mkdir(parents=True)
    (folder / "jobs.json").write_text('[{"name": "run", "id": "7"}]')
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text("#!/bin/sh\necho JobId=7 JobState=RUNNING\n")
    scontrol.chmod(0o755)
    path = f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}"
    done = python(tmp_path, STATUS, PATH=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "run 7: RUNNING\n"
