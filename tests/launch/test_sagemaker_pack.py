"""What travels with a job."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from helpers.paths import CONFIGS
from helpers.sagemaker import settings, write_jsonl_recipe, write_recipe
from unspoken.common.errors import RecipeError
from unspoken.launch.sagemaker.pack import code_archive, pack, requirements_of
from unspoken.launch.sagemaker.submit import prepare
from unspoken.recipe import load_recipe


def test_the_same_code_gives_the_same_archive(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    first = code_archive(recipe, ["numpy"])
    os.utime(recipe, (1, 1))
    recipe.chmod(0o600)
    assert code_archive(recipe, ["numpy"]) == first
    recipe.write_text(recipe.read_text() + "\n")
    assert code_archive(recipe, ["numpy"]) != first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        names = archive.getnames()
    assert {
        "unspoken/launch/container/entry.py",
        "unspoken/launch/slurm/slurm.sbatch.jinja",
        "recipes/tiny.yaml",
    } <= set(names)
    assert not any("__pycache__" in name for name in names)


@pytest.mark.integration
def test_the_archive_runs_without_anything_else_of_the_project(tmp_path: Path) -> None:
    archive = code_archive(write_recipe(tmp_path), ["numpy"])
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(tmp_path / "code", filter="data")
    code = "import sys, unspoken.launch.container.entry; print(unspoken.__file__); "
    code += "print([m for m in ('torch', 'boto3', 'cyclopts', 'pydantic') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "code", capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
    )  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / "code" / "unspoken" / "__init__.py"), "[]"]


def test_a_run_of_this_machine_is_refused_before_anything_is_uploaded(tmp_path: Path) -> None:
    path, overrides = write_recipe(tmp_path), (f"from_run={tmp_path / 'first'}",)
    wanted = r"^from_run: found .*first, .*does not travel.*first/vetted/dataset.jsonl as data"
    with pytest.raises(RecipeError, match=wanted):
        pack(path, load_recipe(path, overrides), overrides)


def test_files_of_phases_are_mapped_phase_by_phase(tmp_path: Path) -> None:
    path = write_jsonl_recipe(tmp_path)
    values = yaml.safe_load(path.read_text())
    first = {"name": "first", "data": values["data"]}
    other = tmp_path / "other.jsonl"
    other.write_text("{}\n")
    second = {"name": "second", "data": {"train": str(other)}}
    path.write_text(yaml.safe_dump({**values, "phases": [first, second]}))
    overrides = ("train.learning_rate=1e-3",)
    package = pack(path, load_recipe(path, overrides), overrides)
    mapped = load_recipe(path, package.overrides).resolved_phases()
    base = Path("/opt/ml/input/data")
    assert mapped[0].data.train == base / "data-train" / "train.jsonl"
    assert mapped[1].data.train == base / "phases-2-data-train" / "other.jsonl"
    assert mapped[1].data.test == base / "data-test" / "test.jsonl"
    assert mapped[1].train.learning_rate == 1e-3
    names = [channel.name for channel in package.channels]
    assert names == ["code", "data-train", "data-test", "model-name", "phases-2-data-train"]


def test_phases_too_long_for_a_parameter_travel_in_the_recipe(tmp_path: Path) -> None:
    path = write_jsonl_recipe(tmp_path)
    values = yaml.safe_load(path.read_text())
    phases = [{"name": f"p{i}", "data": values["data"], "description": 99 * "x"} for i in range(20)]
    path.write_text(yaml.safe_dump({**values, "phases": phases}))
    overrides = ("train.learning_rate=1e-3", "seed=7")
    package = pack(path, load_recipe(path, overrides), overrides)
    assert package.overrides == ()
    (code,) = package.channels[0].files
    with tarfile.open(fileobj=io.BytesIO(code.content)) as archive:
        archive.extractall(tmp_path / "code", filter="data")
    loaded = load_recipe(tmp_path / "code" / "recipes" / path.name)
    assert (loaded.seed, loaded.model.name) == (7, "/opt/ml/input/data/model-name")
    for phase in loaded.resolved_phases():
        assert phase.data.train == Path("/opt/ml/input/data/data-train/train.jsonl")
        assert phase.train.learning_rate == 1e-3


def test_linked_folders_of_a_model_travel_and_links_back_do_not(tmp_path: Path) -> None:
    path = write_jsonl_recipe(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "weights.bin").write_text("weights")
    model = tmp_path / "student"
    (model / "linked").symlink_to(tmp_path / "elsewhere")
    (model / "back").symlink_to(model)
    package = pack(path, load_recipe(path), ())
    names = [file.name for file in package.channels[-1].files]
    assert names == ["config.json", "linked/weights.bin", "model.safetensors"]


@pytest.mark.parametrize("name", ["\U0001f600 \u65e5.jsonl", 'a "b" #c.jsonl', "it's: [x].jsonl"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = write_jsonl_recipe(tmp_path)
    local = (tmp_path / "train.jsonl").rename(tmp_path / name)
    values = yaml.safe_load(path.read_text())
    values["data"] = {"train": str(local), "test": str(tmp_path / "test.jsonl")}
    path.write_text(yaml.safe_dump(values))
    package = pack(path, load_recipe(path), ())
    mapped = load_recipe(path, package.overrides)
    assert mapped.data.train == Path("/opt/ml/input/data/data-train") / name


@pytest.mark.parametrize("in_folder", [True, False])
def test_a_gguf_file_travels_with_the_package_that_reads_it(
    tmp_path: Path, in_folder: bool
) -> None:
    path = write_jsonl_recipe(tmp_path)
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "small.gguf").write_bytes(b"GGUF")
    overrides = (f"model.name={folder if in_folder else folder / 'small.gguf'}",)
    package = pack(path, load_recipe(path, overrides), overrides)
    (model,) = [channel for channel in package.channels if channel.name == "model-name"]
    assert [file.name for file in model.files] == ["small.gguf"]
    place = "/opt/ml/input/data/model-name" + ("" if in_folder else "/small.gguf")
    assert f'model.name="{place}"' in package.overrides
    with tarfile.open(fileobj=io.BytesIO(package.channels[0].files[0].content or b"")) as code:
        required = code.extractfile("requirements.txt")
        assert required is not None
        assert any(line.startswith(b"gguf") for line in required.read().splitlines())


def test_trackers_of_every_training_are_required(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, distil={"trackers": ["tensorboard"]})
    (code,) = pack(recipe, load_recipe(recipe), ()).channels[0].files
    with tarfile.open(fileobj=io.BytesIO(code.content)) as archive:
        archive.extractall(tmp_path / "code", filter="data")
    lines = (tmp_path / "code" / "requirements.txt").read_text().splitlines()
    assert lines[-1] == "tensorboard"


def test_requirements_are_those_of_the_extras_that_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = ["torch>=2.6", "bitsandbytes; platform_system == 'Linux'"]
    extras = ["deepspeed>=0.16; extra == 'deepspeed'", 'boto3>=1.35; extra == "dev"']
    monkeypatch.setattr(metadata, "requires", lambda _: [*lines, *extras])
    assert requirements_of(set()) == lines
    assert requirements_of({"deepspeed"}) == [*lines, "deepspeed>=0.16"]


def test_a_configuration_of_accelerates_travels_with_what_it_needs(tmp_path: Path) -> None:
    configs = CONFIGS

    def archive(config_file: str | Path) -> dict[str, str]:
        launch = prepare(write_recipe(tmp_path), (), settings(config_file=config_file))
        (code,) = launch.package.channels[0].files
        with tarfile.open(fileobj=io.BytesIO(code.content)) as opened:
            names = ("accelerate.yaml", "requirements.txt")
            files = {name: opened.extractfile(name) for name in names}
            return {name: file.read().decode() for name, file in files.items() if file}

    found = archive(configs / "fsdp2.yaml")
    assert found["accelerate.yaml"] == (configs / "fsdp2.yaml").read_text()
    assert "deepspeed" not in found["requirements.txt"]
    assert "deepspeed" in archive(str(configs / "zero2.yaml"))["requirements.txt"]
    with pytest.raises(RecipeError, match="no such configuration of accelerate; unspoken has ddp"):
        archive(tmp_path / "absent.yaml")


def test_files_of_unspoken_that_are_not_installed_are_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    recipe = write_recipe(tmp_path)
    with pytest.raises(RecipeError, match=r"it is not installed.*pip install"):
        pack(recipe, load_recipe(recipe), ())
