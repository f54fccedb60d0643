"""Scripts for SLURM, and fakes of its commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.recipes import tiny_recipe
from unspoken.launch.slurm.options import SlurmOptions
from unspoken.launch.slurm.render import SlurmLaunch, render_scripts


def scripts(folder: Path, *, overrides: tuple[str, ...] = (), **options: Any) -> dict[str, str]:
    """The text of each job, by its name; `teacher`: the section, or True for worked solutions.

    `output`, `data`, `train` and `from_run` are of the recipe as well, all else is asked of SLURM.
    """
    teacher = options.pop("teacher", None)
    teacher = {"engine": "worked"} if teacher is True else teacher
    output = options.pop("output", folder / "run")
    sections = {"teacher": teacher} if teacher else {}
    sections |= {name: options.pop(name) for name in ("data", "train") if name in options}
    recipe = tiny_recipe(output, **sections, from_run=options.pop("from_run", None))
    chosen = SlurmOptions(**{"time": "08:00:00", **options})
    launch = SlurmLaunch(
        recipe, overrides, chosen, folder / "run/slurm/1", folder, "unspoken launch slurm"
    )
    return {script.name: script.text for script in render_scripts(launch)}


def directives(text: str) -> list[str]:
    return [line[8:] for line in text.splitlines() if line.startswith("#SBATCH ")]


def written_recipe(folder: Path, **sections: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe(folder / "run", **sections).model_dump(mode="json")))
    return path


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A folder with SLURM's commands, which do and say what the environment has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "srun": 'echo "srun $@" >> calls; eval "$IN_SRUN"; exit $SRUN',
        "squeue": 'echo "squeue $@" >> calls; eval "${IN_SQUEUE:-echo $STATE}"',
        "scontrol": 'echo "$@" >> calls; eval "$IN_SCONTROL"',
        "scancel": 'echo "scancel $@" >> calls; eval "$IN_SCANCEL"',
        "sbatch": 'echo "sbatch $@" >> calls; eval "$IN_SBATCH"; grep -c sbatch calls',
        "sleep": "/bin/sleep 0.05",
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder
