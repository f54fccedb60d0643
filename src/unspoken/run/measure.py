"""How finished models do on the test questions; only this module and the teacher's read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unspoken.common.files import write_text
from unspoken.common.interrupt import end_if_asked
from unspoken.data.example import read_questions
from unspoken.measure.evaluate import EvaluateOptions, evaluate_folder
from unspoken.models.card import ModelCard
from unspoken.models.fingerprint import fingerprint
from unspoken.recipe import Recipe
from unspoken.recipe.sections import Evaluate
from unspoken.run.data import Splits
from unspoken.run.folder import RunFolder
from unspoken.run.student import deciding, model_in


def evaluate_stage(
    run: RunFolder,
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    *,
    model_sha256: str,
    progress: bool = True,
) -> None:
    """Asks the model in `folder`/model the test questions; writes predictions and evaluation.json.

    All processes call this and share the questions out. Without a test split, validation questions
    are asked and the result says so.

    Args:
        run, recipe, splits: of the run.
        folder: of the model's stage.
        model_sha256: of its weights; the main process must know it.
        progress: show a bar.
    """
    model_folder = folder / "model"
    if not splits.asked:
        run.say(f"evaluate {folder.relative_to(run.path)}: no test and no validation questions")
        return
    split, path = asked(splits)
    wanted = {
        "model_sha256": model_sha256,
        "split": split,
        "data_sha256": splits.hashes[split],
        "evaluate": recipe.evaluate.model_dump(mode="json"),
    }
    if run.on_main(lambda: already(run, folder, wanted)):
        return
    metrics = evaluate_folder(
        model_in(model_folder, recipe.model),
        read_questions(path, limit=recipe.evaluate.limit),
        folder / "predictions.jsonl",
        _options(recipe.evaluate, recipe.evaluate.max_new_tokens),
        dtype=recipe.evaluate.dtype,
        overwrite=True,
        process=run.process,
        progress=f"evaluate {folder.name}" if progress else None,
    )
    if run.process.is_main_process:
        keep(folder, wanted, metrics)


def evaluate_untrained(
    run: RunFolder,
    recipe: Recipe,
    splits: Splits,
    like: Path,
    *,
    progress: bool = True,
) -> None:
    """Asks the student as it was before any training, with the limits of the model in `like`.

    Args:
        run, recipe, splits: of the run.
        like: folder of a model.
        progress: show a bar.
    """
    import torch

    folder = run.path / "untrained"
    if not splits.asked:
        return
    split, path = asked(splits)
    card, name = ModelCard.read(like), recipe.model.name
    limit = recipe.evaluate.max_new_tokens or (card.max_new_tokens if card else None)
    wanted = {
        "model": deciding(recipe)["model"],
        "fingerprint": fingerprint(Path(name)) if name and Path(name).is_dir() else None,
        "seed": recipe.seed,
        "template": recipe.template,
        "max_new_tokens": limit,
        "split": split,
        "data_sha256": splits.hashes[split],
        "evaluate": recipe.evaluate.model_dump(mode="json"),
    }
    if run.on_main(lambda: already(run, folder, wanted)):
        return
    torch.manual_seed(recipe.seed)  # of weights that are drawn, the same as training's
    metrics = evaluate_folder(
        recipe.model,
        read_questions(path, limit=recipe.evaluate.limit),
        folder / "predictions.jsonl",
        _options(recipe.evaluate, limit),
        template=recipe.template,
        dtype=recipe.evaluate.dtype,
        overwrite=True,
        process=run.process,
        progress="evaluate untrained" if progress else None,
    )
    if run.process.is_main_process:
        keep(folder, wanted, metrics)


def _options(settings: Evaluate, limit: int | None) -> EvaluateOptions:
    """A recipe's settings of an evaluation, with this limit per answer."""
    return EvaluateOptions(limit, settings.batch_size, settings.num_latency)


def asked(splits: Splits) -> tuple[str, Path]:
    """The split that models are measured with, and its file: the test split if there is one."""
    return list(splits.asked.items())[-1]


def already(
    run: RunFolder, folder: Path, wanted: dict[str, Any], *, forced: bool | None = None
) -> bool:
    """Whether evaluation.json still holds; where it does not, it is set aside."""
    end_if_asked()
    target = folder / "evaluation.json"
    forced = run.forced("evaluate") if forced is None else forced
    if target.exists() and not forced:
        known = json.loads(target.read_text())
        if known["settings"] == json.loads(json.dumps(wanted)):
            return True
    for name in ("evaluation.json", "predictions.jsonl"):
        if (folder / name).exists():
            run.set_aside(folder / name)
    run.did_something = True
    run.say(f"evaluate ({folder.relative_to(run.path)}): runs")
    return False


def keep(folder: Path, wanted: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Writes evaluation.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "evaluation.json", json.dumps({"settings": wanted, **metrics}, indent=2))
