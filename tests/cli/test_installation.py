"""What an installation and a source archive hold, and that an installation works by itself.

The installation is a real `pip install` of the source archive into a fresh environment. Its
dependencies, two gigabytes with torch, come from the environment of the tests; unspoken itself does
not: every file of it that runs was put there by the wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from helpers.paths import CONFIGS, RECIPES, ROOT

#: Settings that leave of the quickstart what runs in seconds: the worked solutions instead of a
#: teacher from scratch, and as little as possible of everything else.
SHORT = [
    "train.max_steps=20", "train.settle_steps=5", "train.batch_size=8", "train.threads=1",
    "distil.max_steps=20", "model.config.n_layer=1", "model.config.n_embd=16",
    "data.num_train=200", "data.num_valid=10", "data.num_test=10", "train.num_valid=10",
    "teacher.engine=worked", "teacher.model=null", "teacher.train=null", "teacher.num_train=null",
    "vet.pattern=null", "evaluate.num_latency=2", "baselines.no_cot=false",
]  # fmt: skip


def build(target: str, folder: Path) -> Path:
    """Builds the wheel or the sdist of this checkout into `folder`; needs no network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in the wheel."""
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive."""
    return build("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.mark.integration
def test_the_wheel_holds_the_package_and_every_recipe_and_config(wheel: set[str]) -> None:
    code = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert code <= wheel
    shipped = {
        f"unspoken/recipe/files/{folder.name}/{path.name}"
        for folder in (RECIPES, CONFIGS)
        for path in folder.glob("*.yaml")
    }
    assert len(shipped) == 17
    assert shipped == {name for name in wheel if name.startswith("unspoken/recipe/files/")}
    assert "unspoken/py.typed" in wheel
    assert "unspoken/launch/slurm/slurm.sbatch.jinja" in wheel
    assert {name.split("/")[0] for name in wheel if "dist-info" not in name} == {"unspoken"}


@pytest.mark.integration
def test_the_sdist_holds_everything_that_is_tracked(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert "PKG-INFO" in names
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    missing = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()} - names
    assert not missing


@pytest.mark.integration
def test_an_installed_unspoken_runs_the_quickstart_from_an_empty_folder(
    sdist: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    purelib = sysconfig.get_path("purelib", vars={"base": str(environment)})
    # a path file inside another one's folder is not followed: this brings the dependencies, not
    # the checkout that the tests run on
    seen = [path for path in sys.path if Path(path).name == "site-packages"]
    Path(purelib, "dependencies.pth").write_text("\n".join(seen) + "\n")
    pip = [python, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "."], cwd=source, check=True)

    empty = tmp_path / "empty"
    empty.mkdir()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: object) -> str:
        return subprocess.run(
            list(map(str, command)),
            cwd=empty,
            env=variables,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    found = run(python, "-c", "import unspoken; print(unspoken.__file__)").strip()
    assert Path(found).is_relative_to(purelib)
    unspoken = environment / "bin" / "unspoken"
    assert "internalized" in run(unspoken, "run", "quickstart", *SHORT)
    left = empty / "runs" / "quickstart"
    assert (left / "report.html").is_file()
    assert (left / "internalized" / "model" / "model.safetensors").is_file()
