"""Folders laid out as SageMaker lays out /opt/ml, and what a run leaves in them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from unspoken.launch.container.job import ContainerJob, read_job
from unspoken.launch.sagemaker.pack import code_archive


def lay_out(
    root: Path,
    recipe: Path,
    *overrides: str,
    host: str = "algo-1",
    hosts: tuple[str, ...] = ("algo-1",),
) -> Path:
    """A folder as SageMaker lays out /opt/ml, with the code that a job really gets."""
    config = root / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (root / "output").mkdir(exist_ok=True)
    parameters = {"recipe": f"recipes/{recipe.name}"}
    parameters |= {f"override-{i:02d}": text for i, text in enumerate(overrides)}
    (config / "hyperparameters.json").write_text(json.dumps(parameters))
    resources = {"current_host": host, "hosts": list(hosts), "network_interface_name": "lo"}
    (config / "resourceconfig.json").write_text(json.dumps(resources))
    (config / "inputdataconfig.json").write_text(json.dumps({"code": {}}))
    with tarfile.open(fileobj=io.BytesIO(code_archive(recipe, ["torch>=2.6"]))) as archive:
        archive.extractall(root / "code", filter="data")
    return root


def job_of(root: Path, **environment: str) -> ContainerJob:
    return read_job(root, environment)


def model_folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in {"unspoken.json": "{}", "model.safetensors": "weights", **files}.items():
        (path / name).write_text(text)
    return path
