"""Whether what a recipe takes from the hub can be had, before hours are spent on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import Empty, Queue

from unspoken.check.offline import is_here
from unspoken.common.errors import ModelError, setting
from unspoken.models.adapter import is_adapter, model_below
from unspoken.models.hub import DownloadError, HubUnreachableError, explained
from unspoken.models.local import is_local, is_path
from unspoken.recipe import Model, Recipe

#: So long the hub is waited for.
LIMIT_S = 5.0


def require_hub_or_files(recipe: Recipe, *, by_default: bool = False) -> None:
    """Looks for the model and GSM8K here, and asks the hub where one is missing.

    Args:
        recipe: whose first training begins with them.
        by_default: nobody named the model.

    Raises:
        ModelError: something is not here and the hub does not answer; it names all that is missing
            and what to do about each.
    """
    missing = list(_missing(recipe, by_default=by_default))
    if missing and not hub_answers():
        raise ModelError("\n".join(missing))


@cache
def hub_answers() -> bool:
    """Whether the hub can be reached; not in offline mode. It is asked once in a process."""
    answers: Queue[bool] = Queue()
    # names that nobody resolves take longer than any limit of a client, so a thread is left behind
    threading.Thread(target=lambda: answers.put(_ask_hub()), daemon=True).start()
    try:
        return answers.get(timeout=LIMIT_S)
    except Empty:
        return False


def _ask_hub() -> bool:
    from huggingface_hub import HfApi

    try:
        with explained("gpt2", "main"):
            HfApi().model_info("gpt2", timeout=LIMIT_S)
    except HubUnreachableError:
        return False
    except DownloadError:
        return True  # it said no, which is an answer
    return True


@contextmanager
def ask_hub_once(recipe: Recipe) -> Iterator[str | None]:
    """Within the block no library waits for a hub that does not answer, try after try.

    Yields what to say where the recipe names something of the hub's, and it does not answer.
    """
    from huggingface_hub import constants

    is_silent = _names_hub(recipe) and not constants.is_offline_mode() and not hub_answers()
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or is_silent
    try:
        text = f"hub: no answer within {LIMIT_S:g} s, so only what is on this machine is known"
        yield text if is_silent else None
    finally:
        constants.HF_HUB_OFFLINE = before


def _names_hub(recipe: Recipe) -> bool:
    """Whether a model or tokenizer is looked for at the hub."""
    models = [recipe.model]
    if recipe.teacher is not None and recipe.teacher.model is not None:
        models.append(recipe.teacher.model)
    return any(
        name and name != "characters" and not (is_local(name) or is_path(name))
        for model in models
        if not model.local_files_only
        for name in (model.name, model.tokenizer)
    )


def _missing(recipe: Recipe, *, by_default: bool) -> Iterator[str]:
    name = _missing_model(recipe.model)
    if name is not None:
        found = f"found none, and {name}, which is taken then," if by_default else name
        other = "name a folder with a model, or " if by_default else ""
        yield (
            f"{setting('model.name')}: {found} is not on this machine, and the hub does not "
            f"answer; {other}fetch it where there is a network: unspoken download --student NAME "
            "--out_dir models; "
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
    models = [model, *([model_below(model)] if is_adapter(model.name) else [])]
    return next(
        (one.name for one in models if not is_here(str(one.name), one.revision, weights=True)), None
    )


def _takes_gsm8k_from_hub(recipe: Recipe) -> bool:
    from unspoken.data.tasks.gsm8k import HUB_NAME, raw_folder

    if recipe.data.task != "gsm8k" or raw_folder(recipe.data.source) is not None:
        return False
    from datasets.config import HF_DATASETS_CACHE

    prepared = Path(HF_DATASETS_CACHE) / HUB_NAME.replace("/", "___") / "main"
    return not any(prepared.glob("*/*"))
