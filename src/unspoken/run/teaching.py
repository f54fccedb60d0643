"""Models trained and measured, one after the other: every student's way, and a new teacher's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unspoken.recipe import Recipe
from unspoken.recipe.plan import Training
from unspoken.run.data import Splits
from unspoken.run.folder import RunFolder
from unspoken.run.measure import evaluate_stage
from unspoken.run.share import share_run_folder
from unspoken.run.student import train_stage


def train_and_measure(
    run: RunFolder,
    name: str,
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    *,
    num_steps: int | None = None,
    start: dict[str, Any] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Trains one model and asks it the test questions; returns its stage.json.

    The arguments are those of `train_stage`; all processes call this.
    """
    stage = train_stage(
        run, name, recipe, splits, folder, num_steps=num_steps, start=start, progress=progress
    )
    share_run_folder(run.path, run.process)
    evaluate_stage(
        run,
        recipe,
        splits,
        folder,
        model_sha256=stage["model_sha256"],
        progress=progress,
    )
    run.process.wait_for_everyone()
    return stage


def train_teacher(
    run: RunFolder, training: Training | None, splits: Splits, *, progress: bool = True
) -> dict[str, Any] | None:
    """Trains a teacher from scratch and measures it; returns its stage.json.

    None for another teacher, which has no training.
    """
    if training is None or splits.teacher is None:
        return None
    own = splits.with_train(splits.teacher, splits.hashes["teacher"], repeats=False)
    return train_and_measure(
        run, training.stage, training.recipe, own, run.path / training.folder, progress=progress
    )
