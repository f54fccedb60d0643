"""What a container is given beside the project: models and data, wherever they really are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.recipes import tiny_recipe
from helpers.slurm import scripts
from unspoken.common.errors import RecipeError
from unspoken.launch.slurm.binds import bound_folders


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSPOKEN_CACHE", raising=False)


def bound(tmp_path: Path, **sections: Any) -> set[str]:
    """Folders beside the project's own, relative to the one that holds them all."""
    project = tmp_path / "project"
    project.mkdir(exist_ok=True)
    recipe = tiny_recipe(project / "runs", **sections)
    found = bound_folders(recipe, project, [project])
    assert found[0] == project
    return {folder.relative_to(tmp_path).as_posix() for folder in found[1:]}


def made(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("{}\n")
    return folder


def named(folder: object) -> dict[str, Any]:
    return {"name": str(folder), "config": None, "tokenizer": None, "alphabet": None}


def test_models_and_data_outside_of_the_project(tmp_path: Path) -> None:
    made(tmp_path / "project" / "inside", "train.jsonl")
    data = made(tmp_path / "data", "train.jsonl", "test.jsonl")
    prompts = made(tmp_path / "prompts", "few.jsonl")
    teacher = {
        "engine": "transformers",
        "model": named(made(tmp_path / "large")),
        "few_shot": str(prompts / "few.jsonl"),
    }
    files = {"task": "jsonl", "train": str(data / "train.jsonl"), "test": "inside/train.jsonl"}
    model = named(made(tmp_path / "small"))
    assert bound(tmp_path, data=files, model=model, teacher=teacher) == {
        "data", "large", "prompts", "small",
    }  # fmt: skip


def test_a_link_in_the_project_brings_what_it_leads_to(tmp_path: Path) -> None:
    real = made(tmp_path / "scratch" / "student", "config.json")
    made(tmp_path / "project" / "models")
    (tmp_path / "project" / "models" / "student").symlink_to(real)
    assert bound(tmp_path, model=named("models/student")) == {"scratch/student"}


def test_a_snapshot_of_the_hub_has_its_files_beside_it(tmp_path: Path) -> None:
    blobs = made(tmp_path / "hub" / "blobs", "abc")
    snapshot = made(tmp_path / "hub" / "snapshots" / "1")
    (snapshot / "config.json").symlink_to(blobs / "abc")
    assert bound(tmp_path, model=named(snapshot)) == {"hub/snapshots/1", "hub/blobs"}


def test_an_adapter_needs_the_model_below(tmp_path: Path) -> None:
    base, adapter = made(tmp_path / "base"), made(tmp_path / "adapter")
    values = {"peft_type": "LORA", "base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(values))
    assert bound(tmp_path, model=named(adapter)) == {"adapter", "base"}


def test_models_of_the_hub_are_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, cache = made(tmp_path / "hub"), made(tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    monkeypatch.setenv("UNSPOKEN_CACHE", str(cache))
    assert bound(tmp_path, model=named("me/known")) == {"hub", "cache"}


def test_what_is_not_there_is_not_bound(tmp_path: Path) -> None:
    assert bound(tmp_path, model=named("models/absent"), from_run="gone") == set()


def test_the_script_binds_them_and_refuses_what_apptainer_cannot_read(tmp_path: Path) -> None:
    image = tmp_path / "unspoken.sif"
    image.touch()
    other = tmp_path.parent / f"{tmp_path.name}-data"
    files = made(other, "train.jsonl") / "train.jsonl"
    (text,) = scripts(
        tmp_path, container=image, data={"task": "jsonl", "train": str(files)}
    ).values()
    assert f"--bind {tmp_path},{tmp_path / 'run'},{other} --pwd" in text.replace("\\\n", "")
    odd = made(tmp_path.parent / f"{tmp_path.name}-a,b", "train.jsonl") / "train.jsonl"
    data = {"task": "jsonl", "train": str(odd)}
    with pytest.raises(RecipeError, match="a,b': found ',' in the name"):
        scripts(tmp_path, container=image, data=data)
    scripts(tmp_path, data=data)
