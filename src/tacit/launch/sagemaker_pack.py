"""What a job needs from here: the code as one archive, and the recipe's own files as channels.

The recipe stays as it is. Where it names a file or folder of this machine, a channel carries that
to the container and an override names the place there.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import tacit
from tacit.errors import DataError, ModelError, RecipeError
from tacit.recipe import Data, Model, Recipe

#: Where SageMaker puts the files of a channel.
CHANNELS = "/opt/ml/input/data"
_BLOCK = 1 << 20
_LEFT_OUT = {"__pycache__"}


@dataclass(frozen=True)
class LocalFile:
    """A file that the job needs: bytes, or a path on this machine, and its name in the channel."""

    name: str
    sha256: str
    size: int
    path: Path | None = None
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Channel:
    """Files that SageMaker puts under /opt/ml/input/data/NAME.

    Attributes:
        name: such as data-train, after the recipe's key.
        files: by their names in the channel.
    """

    name: str
    files: tuple[LocalFile, ...]

    @property
    def sha256(self) -> str:
        """Of all names and contents; the channel's place on S3 follows from it."""
        lines = sorted(f"{file.name}:{file.sha256}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Package:
    """A recipe, ready to travel.

    Attributes:
        recipe_name: of the recipe's file in the archive.
        channels: code first.
        overrides: the user's, and those that map paths of this machine to the container's.
        offline: whether the job needs nothing from the Hugging Face hub.
    """

    recipe_name: str
    channels: tuple[Channel, ...]
    overrides: tuple[str, ...]
    offline: bool


def pack(path: Path, recipe: Recipe, overrides: tuple[str, ...]) -> Package:
    """The code, the recipe in `path` and everything local that it names.

    Args:
        path: the recipe's file.
        recipe: what `load_recipe(path, overrides)` gave.
        overrides: as the user gave them.

    Raises:
        TacitError: a file is missing, or the recipe needs something that cannot travel.
    """
    _require_portable(recipe)
    channels = [_code_channel(path, recipe)]
    mapped = list(overrides)
    found: dict[Path, str] = {}
    for key, local in _local_paths(recipe):
        mapped.append(f"{key}={json.dumps(_place(key, local, found, channels))}")
    phases = list(_mapped_phases(recipe, found, channels))
    if phases != recipe.phases:  # last and as a whole: data.train=... would change every phase
        mapped.append(f"phases={json.dumps(phases)}")
    return Package(path.name, tuple(channels), tuple(mapped), _needs_no_hub(recipe))


def _mapped_phases(
    recipe: Recipe, found: dict[Path, str], channels: list[Channel]
) -> Iterator[dict[str, Any]]:
    """The phases with the container's places of their own files."""
    for number, phase in enumerate(recipe.phases, start=1):
        data = dict(phase.get("data") or {})
        for name in ("train", "valid", "test", "source"):
            if not data.get(name):
                continue
            local = Path(data[name])
            if local.exists():
                data[name] = _place(f"phases-{number}.data.{name}", local, found, channels)
            elif name != "source":  # which may also be a name on the hub
                raise _no_file(f"phases[{number - 1}].data.{name}", local)
        yield {**phase, "data": data} if data else phase


def code_archive(recipe: Path, requirements: list[str]) -> bytes:
    """tacit, the recipe and requirements.txt as a tar file; the same content gives the same bytes.

    Times, owners and rights of the files do not go in, nor do hidden files and caches.
    """
    package = Path(tacit.__file__).parent
    entries = {f"tacit/{path.relative_to(package)}": path.read_bytes() for path in _files(package)}
    entries[f"recipes/{recipe.name}"] = recipe.read_bytes()
    entries["requirements.txt"] = "".join(f"{line}\n" for line in requirements).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(entries):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(entries[name]), 0o644
            archive.addfile(info, io.BytesIO(entries[name]))
    return buffer.getvalue()


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _code_channel(recipe_path: Path, recipe: Recipe) -> Channel:
    trackers = list(recipe.train.trackers)
    content = code_archive(recipe_path, [*_requirements(), *trackers])
    digest = hashlib.sha256(content).hexdigest()
    return Channel("code", (LocalFile("code.tar", digest, len(content), content=content),))


def _requirements() -> list[str]:
    """What tacit depends on, without its extras."""
    return [line for line in metadata.requires("tacit") or [] if "extra ==" not in line]


def _place(key: str, local: Path, found: dict[Path, str], channels: list[Channel]) -> str:
    """Where a local file or folder will be; the same one twice travels once."""
    whole = local.resolve()
    if whole not in found:
        name = key.replace(".", "-").replace("_", "-")
        channels.append(Channel(name, tuple(_local_files(local))))
        found[whole] = name if local.is_dir() else f"{name}/{local.name}"
    return f"{CHANNELS}/{found[whole]}"


def _local_files(local: Path) -> Iterator[LocalFile]:
    paths = list(_files(local)) if local.is_dir() else [local]
    if not paths:
        raise DataError(f"{local}: the folder is empty; needed: the files that the recipe names")
    for path in paths:
        name = path.relative_to(local).as_posix() if local.is_dir() else path.name
        yield LocalFile(name, sha256_of(path), path.stat().st_size, path)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below, in a fixed order; hidden ones and caches stay here."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(p.startswith(".") or p in _LEFT_OUT for p in parts):
            yield path


def _local_paths(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Keys of the recipe that name something on this machine."""
    for name in ("train", "valid", "test"):
        path = getattr(recipe.data, name)
        if path is not None:
            if not path.is_file():
                raise _no_file(f"data.{name}", path)
            yield f"data.{name}", path
    if recipe.data.source is not None and Path(recipe.data.source).exists():
        yield "data.source", Path(recipe.data.source)
    yield from _model_paths("model", recipe.model)
    if recipe.teacher is not None:
        if recipe.teacher.model is not None:
            yield from _model_paths("teacher.model", recipe.teacher.model)
        if recipe.teacher.few_shot is not None:
            if not recipe.teacher.few_shot.is_file():
                raise _no_file("teacher.few_shot", recipe.teacher.few_shot)
            yield "teacher.few_shot", recipe.teacher.few_shot


def _no_file(key: str, path: Path) -> DataError:
    return DataError(f"{key}: {path}: no such file; needed: a file to upload; correct the path")


def _model_paths(key: str, model: Model) -> Iterator[tuple[str, Path]]:
    for name in ("name", "tokenizer"):
        value = getattr(model, name)
        if value is None or value == "characters":
            continue
        if Path(value).is_dir():
            _require_whole_model(f"{key}.{name}", Path(value))
            yield f"{key}.{name}", Path(value)
        elif model.local_files_only or value.startswith((".", "/", "~")):
            raise ModelError(
                f"{key}.{name}: {value}: no such folder here; needed: the model that is to be "
                "uploaded; fetch it (tacit download), or name one of the hub"
            )


def _require_whole_model(key: str, folder: Path) -> None:
    """An adapter whose base model is a folder of this machine could not be loaded elsewhere."""
    config = folder / "adapter_config.json"
    if not config.is_file():
        return
    base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if base and Path(base).exists():
        raise ModelError(
            f"{key}: {folder} is an adapter of {base}, which would be missing in the container; "
            "needed: a whole model; merge it (tacit export) and name the merged folder"
        )


def _require_portable(recipe: Recipe) -> None:
    if recipe.teacher is not None and recipe.teacher.engine == "openai":
        raise RecipeError(
            "teacher.engine: found openai; its server and key are not passed on to SageMaker; run "
            "tacit generate here first, and give its traces as data.train"
        )
    if "wandb" in recipe.train.trackers:
        raise RecipeError(
            "train.trackers: found wandb; its login is not passed on to SageMaker; set "
            "train.trackers=[tensorboard], or leave it out: CloudWatch draws the figures"
        )


def _needs_no_hub(recipe: Recipe) -> bool:
    """Whether every model and file that the recipe names travels with it."""
    models = [recipe.model]
    if recipe.teacher is not None and recipe.teacher.model is not None:
        models.append(recipe.teacher.model)
    return not any(map(_from_hub, models)) and not any(
        _data_from_hub(phase.data) for phase in recipe.resolved_phases()
    )


def _from_hub(model: Model) -> bool:
    names: list[Any] = [model.name, model.tokenizer]
    return any(name and name != "characters" and not Path(name).is_dir() for name in names)


def _data_from_hub(data: Data) -> bool:
    return data.task == "gsm8k" and not (data.source and Path(data.source).exists())
