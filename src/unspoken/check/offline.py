"""Whether a run that has no network would find the models that its recipe names."""

from __future__ import annotations

from pathlib import Path

from unspoken.common.errors import RecipeError
from unspoken.models.adapter import is_adapter, model_below
from unspoken.models.local import is_local, way_to_get
from unspoken.recipe import Model, Recipe

_WEIGHTS = {".safetensors", ".bin"}


def require_models_here(recipe: Recipe) -> None:
    """Looks for every model, tokenizer and few-shot file here; the network is not asked.

    Raises:
        RecipeError: one is neither a folder nor in the cache of the hub.
    """
    _require("model", recipe.model)
    teacher = recipe.teacher
    if teacher is None:
        return
    is_elsewhere = teacher.engine == "openai" and teacher.serve is None
    if teacher.model is not None and not is_elsewhere:
        _require("teacher.model", teacher.model)
    if teacher.few_shot is not None and not teacher.few_shot.is_file():
        raise RecipeError(
            f"teacher.few_shot: {teacher.few_shot}: no such file; needed: one that is here when "
            "the jobs run; correct the path"
        )


def _require(key: str, model: Model) -> None:
    if model.name is not None and not is_here(model.name, model.revision, weights=True):
        raise _missing(f"{key}.name", model.name)
    if model.name is not None and is_adapter(model.name):
        below = model_below(model)
        if not is_here(str(below.name), below.revision, weights=True):
            raise _missing(f"{key}.name: {model.name} is an adapter of", str(below.name))
    tokenizer = model.tokenizer
    if tokenizer in (None, "characters"):
        return
    if not is_here(tokenizer, model.revision, weights=False):
        raise _missing(f"{key}.tokenizer", tokenizer)


def is_here(name: str, revision: str | None, *, weights: bool) -> bool:
    """Whether it is a folder, or was downloaded before; only `check` fetches no weights."""
    if is_local(name):
        return True
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        return False
    return not weights or any(path.suffix in _WEIGHTS for path in folder.iterdir())


def _missing(key: str, name: str) -> RecipeError:
    way = way_to_get(name, teacher=key.startswith("teacher"))
    return RecipeError(
        f"{key}: {name}: no such folder here, and not in the cache of the hub; needed: a model on "
        f"this machine, because jobs have no network; correct it, or {way}"
    )
