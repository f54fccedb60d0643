"""Models of a training's levels of removal, from which other trainings go on."""

from __future__ import annotations

from pathlib import Path

from unspoken.common.files import link_folder, read_json
from unspoken.models.fingerprint import weights_hash
from unspoken.parallel.separate_files import has_separate_files
from unspoken.recipe.layout import STARTS, VALID_FILE, has_weights
from unspoken.recipe.levels import level_folder
from unspoken.recipe.records import TrainingRecord, TrainingState
from unspoken.run.folder import RunFolder


def level_as_start(run: RunFolder, training: Path, level: str) -> TrainingRecord | None:
    """What to go on from: a level's best model, as a training that ended there.

    All processes call this. None where the level is not there: other hosts never have it, and the
    first one may have lost it with a job.

    Args:
        run: the run folder.
        training: folder of the training whose level it is.
        level: its name, such as `0000`.
    """
    folder = level_folder(training, level)

    def describe() -> TrainingRecord | None:
        if not has_weights(folder):
            return None
        valid = read_json(folder / VALID_FILE) or {}
        if has_separate_files():  # the others see none of the levels
            link_folder(folder, start_folder(training, level))
        return TrainingRecord(
            folder=str(folder.relative_to(run.path)),
            level=level,
            state=TrainingState(step=valid.get("step")),
            model_sha256=weights_hash(folder),
        )

    record = run.on_main(describe)
    run.share()
    return record


def start_folder(training: Path, level: str) -> Path:
    """Where the model of a level can be loaded by every process."""
    return training / STARTS / level if has_separate_files() else level_folder(training, level)
