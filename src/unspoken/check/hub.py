"""Whether what a recipe takes from the hub can be had, before hours are spent on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from unspoken.check.offline import is_here
from unspoken.common.errors import ModelError, setting
from unspoken.models.adapter import base_of, is_adapter
from unspoken.models.hub import DownloadError, HubUnreachableError, explained
from unspoken.recipe import Model, Recipe


def require_hub_or_files(recipe: Recipe) -> None:
    """Looks for the model and GSM8K here, and asks the hub where one is missing.

    Raises:
        ModelError: something is not here and the hub does not answer; it names all that is missing
            and what to do about each.
    """
    missing = list(_missing(recipe))
    if missing and not hub_answers():
        raise ModelError("\n".join(missing))


def hub_answers() -> bool:
    """Whether the hub can be reached; not in offline mode."""
    from huggingface_hub import HfApi

    try:
        with explained("gpt2", "main"):
            HfApi().model_info("gpt2", timeout=10)
    except HubUnreachableError:
        return False
    except DownloadError:
        return True  # it said no, which is an answer
    return True


def _missing(recipe: Recipe) -> Iterator[str]:
    name = _missing_model(recipe.model)
    if name is not None:
        yield (
            f"{setting('model.name')}: {name} is not on this machine, and the hub does not answer; "
            "fetch it where there is a network: unspoken download --student NAME --out_dir models; "
            f"then give its folder: {setting('model.name', 'models/student')}"
        )
    if any(_takes_gsm8k_from_hub(phase) for phase in recipe.resolved_phases()):
        yield (
            f"{setting('data.source')}: GSM8K is not on this machine, and the hub does not answer; "
            "fetch its raw train.jsonl and test.jsonl where there is a network, from "
            "github.com/openai/grade-school-math; then give their folder: "
            f"{setting('data.source', 'FOLDER')}"
        )


def _missing_model(model: Model) -> str | None:
    """The name of a model that is not here: the student, or the base model of an adapter."""
    if model.name is None:
        return None
    names = [model.name, *([base_of(model.name)] if is_adapter(model.name) else [])]
    return next((name for name in names if not is_here(name, None, weights=True)), None)


def _takes_gsm8k_from_hub(recipe: Recipe) -> bool:
    from unspoken.data.tasks.gsm8k import HUB_NAME, raw_folder

    if recipe.data.task != "gsm8k" or raw_folder(recipe.data.source) is not None:
        return False
    from datasets.config import HF_DATASETS_CACHE

    prepared = Path(HF_DATASETS_CACHE) / HUB_NAME.replace("/", "___") / "main"
    return not any(prepared.glob("*/*"))
