"""Models on this machine, folders and GGUF files, found without a network."""

from __future__ import annotations

from pathlib import Path

from unspoken.common.errors import ModelError, setting, settings_of
from unspoken.common.nearby import nearest_path, path_remedy
from unspoken.models.adapter import base_of, base_revision, is_adapter
from unspoken.models.gguf import find_gguf, is_gguf
from unspoken.recipe.named_model import run_remedy

#: The folder in which recipes have a model that is no download of the hub's.
_MADE = Path("models/smollm2")
#: Folders that are unspoken's own wherever it runs: of downloads, and of runs.
_OWN = {"models", "runs"}


def is_local(name: str | Path | None) -> bool:
    """Whether a model's name is a folder or a GGUF file here, and not a name on the hub."""
    return bool(name) and (Path(str(name)).is_dir() or is_gguf(name))


def is_path(name: str | None) -> bool:
    """Whether a model's name can only be meant as a path here, and not as OWNER/MODEL on the hub.

    A folder OWNER that is here does not make it one: other models of OWNER's may have been
    downloaded into it.

    Examples:
        >>> [is_path(name) for name in ("./m", "~/m", "/m", "a/b/c", "models/m")]
        [True, True, True, True, True]
        >>> [is_path(name) for name in ("Qwen/Qwen3-0.6B", "gpt2")]
        [False, False]
    """
    parts = Path(name or "").parts
    if len(parts) > 2 or str(name).startswith((".", "~", "/")):
        return True
    return len(parts) == 2 and parts[0] in _OWN


def may_come(name: str | None) -> bool:
    """Whether a folder that is not here is where downloads go, and no other's mistyped name."""
    path = Path(name or "")
    in_models = len(path.parts) == 2 and path.parent == _MADE.parent
    return in_models and not path.exists() and not nearest_path(path, Path.is_dir)


def local_folder(name: str, named: str = "model", *, revision: str | None = None) -> Path:
    """The folder of a model: itself, or where an earlier download of a hub name is kept.

    A GGUF file stands for itself: it holds what a folder does. `named` is the setting that holds
    it, for messages.

    Raises:
        ModelError: there is no such folder, or it holds neither a model nor an adapter.
    """
    path = Path(name)
    with settings_of({"model.name": named}):
        if find_gguf(path):
            return path
    if path.is_dir():
        if not any((path / file).is_file() for file in ("config.json", "adapter_config.json")):
            raise ModelError(
                f"{setting(named, name)}: found no config.json in it; needed: a Hugging Face "
                "model folder, or one with a GGUF file; name the folder with config.json and the "
                "weights"
            )
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        way = way_to_get(name, teacher="teacher" in named)
        remedy = run_remedy(name) or path_remedy(name, f"correct the path, or {way}", is_local)
        where = "" if revision is None else f" in revision {revision!r}"
        raise ModelError(
            f"{setting(named, name)}{where}: no such folder, and no such model was downloaded "
            f"before; needed: a model on this machine; {remedy}"
        ) from None


def way_to_get(name: str, *, teacher: bool = False) -> str:
    """What to do, where there is a network, to have a model in a folder; for messages."""
    if Path(name) == _MADE:
        return f"make it where there is a network, in a clone of unspoken: make {_MADE}"
    who = "teacher" if teacher else "student"
    return (
        "download it first where there is a network: "
        f"unspoken download --{who} NAME --out_dir models"
    )


def base_folder(folder: Path, named: str = "model") -> Path | None:
    """The folder of the model that an adapter belongs to; None for a folder that holds a model.

    Of a model on the hub it is the revision that the adapter was trained on. `named` is the setting
    that holds the folder, for messages.

    Raises:
        ModelError: it is not there, or the adapter does not name it.
    """
    if not is_adapter(str(folder)):
        return None
    base, revision = base_of(str(folder)), base_revision(folder)
    try:
        return local_folder(base, named, revision=revision)
    except ModelError:
        raise ModelError(f"{setting(named, folder)}: {base_missing(folder)}") from None


def base_missing(adapter: Path) -> str:
    """What is wrong with an adapter whose base model is not here, and what to do; for messages."""
    base, revision = base_of(str(adapter)), base_revision(adapter)
    which = base if revision is None else f"{base} (revision {revision})"
    return (
        f"found an adapter of {which}, which is not on this machine; needed: its base model, too; "
        "correct base_model_name_or_path in its adapter_config.json (a relative path counts from "
        "where you stand), or download the base model first"
    )
