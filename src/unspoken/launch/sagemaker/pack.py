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
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

import unspoken
from unspoken.common.errors import DataError, ModelError, RecipeError
from unspoken.launch.accelerate_environment import environment
from unspoken.launch.container.job import ACCELERATE_FILE
from unspoken.launch.sagemaker.upload import Channel, LocalFile, files_below, local_files
from unspoken.models.gguf import find_gguf
from unspoken.models.local import is_local
from unspoken.recipe import Model, Recipe, parse_override
from unspoken.recipe.layout import DATASET_FILE, VETTED
from unspoken.recipe.merge import merge
from unspoken.recipe.plan import plan

#: Where SageMaker puts the files of a channel.
CHANNELS = "/opt/ml/input/data"
#: SageMaker takes no longer hyperparameters; an override is one.
MAX_OVERRIDE = 2_500


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


def pack(
    path: Path,
    recipe: Recipe,
    overrides: tuple[str, ...],
    *,
    config_file: Path | None = None,
    progress: bool = True,
) -> Package:
    """The code, the recipe in `path` and everything local that it names.

    `recipe` is what `load_recipe(path, overrides)` gave, `config_file` one of accelerate's.

    Raises:
        UnspokenError: a file is missing, or the recipe needs something that cannot travel.
    """
    _require_portable(recipe)
    places = _Places(progress)
    mapped = list(overrides)
    for key, local in _local_paths(recipe):
        mapped.append(f"{key}={json.dumps(places.of(key, local))}")
    phases = list(_map_phases(recipe, places))
    content = path.read_bytes()
    if phases != recipe.phases:  # last and as a whole: data.train=... would change every phase
        override = f"phases={json.dumps(phases)}"
        if len(override) <= MAX_OVERRIDE:
            mapped.append(override)
        else:
            content, mapped = _resolve(recipe, mapped, phases), []
    extras = {name for one in plan(recipe).trainings for name in one.recipe.train.trackers}
    if config_file is not None and "ACCELERATE_USE_DEEPSPEED" in environment(config_file):
        extras.add("deepspeed")
    if any(find_gguf(local) for _, local in _local_paths(recipe)):
        extras.add("gguf")
    archive = code_archive(path, requirements_of(extras), content, config_file)
    digest = hashlib.sha256(archive).hexdigest()
    code = Channel("code", (LocalFile("code.tar", digest, len(archive), content=archive),))
    return Package(path.name, (code, *places.channels), tuple(mapped), _needs_no_hub(recipe))


def _resolve(recipe: Recipe, overrides: list[str], phases: list[dict[str, Any]]) -> bytes:
    """The recipe as YAML with all overrides in it: for phases that are too long to be one."""
    values = recipe.model_dump(mode="json", exclude_unset=True)
    for override in overrides:
        values = merge(values, parse_override(override))
    text = yaml.safe_dump({**values, "phases": phases}, sort_keys=False, allow_unicode=True)
    return text.encode()


def _map_phases(recipe: Recipe, places: _Places) -> Iterator[dict[str, Any]]:
    """The phases with the container's places of their own files."""
    for number, phase in enumerate(recipe.phases, start=1):
        data = dict(phase.get("data") or {})
        for name in ("train", "valid", "test", "source"):
            if not data.get(name):
                continue
            local = Path(data[name])
            if local.exists():
                data[name] = places.of(f"phases-{number}.data.{name}", local)
            elif name != "source":  # which may also be a name on the hub
                raise _missing_file(f"phases[{number - 1}].data.{name}", local)
        yield {**phase, "data": data} if data else phase


def code_archive(
    recipe: Path,
    requirements: list[str],
    content: bytes | None = None,
    config_file: Path | None = None,
) -> bytes:
    """The code, the recipe and requirements.txt as a tar file; same content, same bytes.

    Times, owners and rights of the files do not go in, nor do hidden files and caches. `content`
    stands in place of what is in the recipe's file; the container finds `config_file`, a
    configuration of accelerate's, by its own name for it.
    """
    package = Path(unspoken.__file__).parent
    entries = {
        f"unspoken/{path.relative_to(package)}": path.read_bytes() for path in files_below(package)
    }
    entries[f"recipes/{recipe.name}"] = recipe.read_bytes() if content is None else content
    if config_file is not None:
        entries[ACCELERATE_FILE] = config_file.read_bytes()
    entries["requirements.txt"] = "".join(f"{line}\n" for line in requirements).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(entries):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(entries[name]), 0o644
            archive.addfile(info, io.BytesIO(entries[name]))
    return buffer.getvalue()


def requirements_of(extras: set[str]) -> list[str]:
    """What unspoken depends on, and what these extras of it do."""
    try:
        lines = metadata.requires("unspoken") or []
    except metadata.PackageNotFoundError:
        raise RecipeError(
            "unspoken: found its files, but it is not installed, so what it needs is not known "
            "here; needed: an installed unspoken; pip install it, such as pip install -e ."
        ) from None
    wanted = [line for line in lines if "extra ==" not in line]
    for extra in sorted(extras):
        name = f"extra == '{extra}'"
        found = [line for line in lines if name in line.replace('"', "'")]
        wanted += [line.partition(";")[0].strip() for line in found] or [extra]
    return wanted


class _Places:
    """Where local files and folders will be; the same one twice travels once."""

    def __init__(self, progress: bool) -> None:
        self.channels: list[Channel] = []
        self._progress = progress
        self._found: dict[Path, str] = {}

    def of(self, key: str, local: Path) -> str:
        """The place in the container of what the recipe's `key` names."""
        whole = local.resolve()
        if whole not in self._found:
            name = key.replace(".", "-").replace("_", "-")
            self.channels.append(Channel(name, tuple(local_files(local, self._progress))))
            self._found[whole] = name if local.is_dir() else f"{name}/{local.name}"
        return f"{CHANNELS}/{self._found[whole]}"


def _local_paths(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    """Keys of the recipe that name something on this machine."""
    for name in ("train", "valid", "test"):
        yield from _given_file(f"data.{name}", getattr(recipe.data, name))
    if recipe.data.source is not None and Path(recipe.data.source).exists():
        yield "data.source", Path(recipe.data.source)
    yield from _model_paths("model", recipe.model)
    if recipe.teacher is not None:
        if recipe.teacher.model is not None:
            yield from _model_paths("teacher.model", recipe.teacher.model)
        yield from _given_file("teacher.few_shot", recipe.teacher.few_shot)


def _given_file(key: str, path: Path | None) -> Iterator[tuple[str, Path]]:
    """The file of a key, where it has one.

    Raises:
        DataError: there is no such file.
    """
    if path is not None:
        if not path.is_file():
            raise _missing_file(key, path)
        yield key, path


def _missing_file(key: str, path: Path) -> DataError:
    return DataError(f"{key}: {path}: no such file; needed: a file to upload; correct the path")


def _model_paths(key: str, model: Model) -> Iterator[tuple[str, Path]]:
    for name in ("name", "tokenizer"):
        value = getattr(model, name)
        if value is None or value == "characters":
            continue
        if is_local(value):
            _require_whole_model(f"{key}.{name}", Path(value))
            yield f"{key}.{name}", Path(value)
        elif model.local_files_only or value.startswith((".", "/", "~")):
            raise ModelError(
                f"{key}.{name}: {value}: no such folder here; needed: the model that is to be "
                "uploaded; fetch it (unspoken download), or name one of the hub"
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
            "needed: a whole model; merge it (unspoken export) and name the merged folder"
        )


def _require_portable(recipe: Recipe) -> None:
    if recipe.from_run is not None:
        vetted = recipe.from_run / VETTED / DATASET_FILE
        raise RecipeError(
            f"from_run: found {recipe.from_run}, a run of this machine, which does not travel to "
            "SageMaker; needed: a recipe without it; leave it out, and where it was for the "
            f"teacher's traces give {vetted} as data.train of a recipe without teacher"
        )
    if recipe.teacher is not None and recipe.teacher.engine == "openai":
        raise RecipeError(
            "teacher.engine: found openai; its server and key are not passed on to SageMaker; run "
            "unspoken generate here first, and give its traces as data.train"
        )
    for training in plan(recipe).trainings:
        if "wandb" in training.recipe.train.trackers:
            raise RecipeError(
                f"{training.key('trackers')}: found wandb; its login is not passed on to "
                "SageMaker; set it to [tensorboard], or leave it out: CloudWatch draws the figures"
            )


def _needs_no_hub(recipe: Recipe) -> bool:
    """Whether every model and file that the recipe names travels with it."""
    models = [recipe.model]
    if recipe.teacher is not None and recipe.teacher.model is not None:
        models.append(recipe.teacher.model)
    names = [name for model in models for name in (model.name, model.tokenizer)]
    if any(name and name != "characters" and not is_local(name) for name in names):
        return False
    from unspoken.data.tasks.gsm8k import raw_folder

    data = [phase.data for phase in recipe.resolved_phases()]
    return not any(one.task == "gsm8k" and raw_folder(one.source) is None for one in data)
