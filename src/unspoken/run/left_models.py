"""The models that trainings of a run left: whether they are still there, and what needs them.

A user may remove the model of a stage that is done. Nothing is trained again for that: what is done
stays done, and the model is asked for where something is left to do with it. The level of removal
that it was made of holds the same weights, and stands in for it where it was not removed, too.
"""

from __future__ import annotations

from pathlib import Path

from unspoken.common.errors import ModelError, setting
from unspoken.common.files import link_folder
from unspoken.models.adapter import is_adapter
from unspoken.models.fingerprint import weights_hash
from unspoken.recipe import layout
from unspoken.recipe.levels import standing_model
from unspoken.recipe.records import TrainingRecord
from unspoken.run.folder import RunFolder

_STAGES = {
    layout.TEACHER: "teacher",
    layout.DISTILLED: "distil",
    layout.INTERNALIZED: "internalize",
    layout.FRONTIER: "frontier",
}


def weights_bytes(model: Path) -> int:
    """The size of the weights in a model folder; 0 where there are none."""
    return sum(path.stat().st_size for pattern in layout.WEIGHTS for path in model.glob(pattern))


def was_adapter(model: Path) -> bool:
    """Whether a model folder holds an adapter, or held one before it was removed."""
    if is_adapter(str(model)) or layout.has_weights(model):
        return is_adapter(str(model))
    record = TrainingRecord.read(model.parent / layout.STAGE_FILE)
    return record is not None and record.settings.get("lora") is not None


def left_weights(model: Path) -> str | None:
    """The hash of the weights in a model folder, or of those that a training left there."""
    is_there = layout.has_weights(model)
    record = None if is_there else TrainingRecord.read(model.parent / layout.STAGE_FILE)
    return weights_hash(model) if record is None else record.model_sha256


def restore_model(run: RunFolder, model: Path) -> bool:
    """Puts a model of the run back where it was removed and its level has the same weights.

    The main process calls this.

    Returns:
        Whether it is there.
    """
    level = standing_model(model)
    if level == model:
        return layout.has_weights(model)
    if weights_hash(level) != left_weights(model):
        return False
    link_folder(level, model)
    run.say(f"{model}: was not there any more; put back from {level}")
    return True


def require_model(run: RunFolder, model: Path, need: str) -> None:
    """Sees to it that a model of the run is there; the main process calls this.

    Args:
        run: the run folder.
        model: its folder in it.
        need: what needs it, for the error: `internalize goes on from it`.

    Raises:
        ModelError: it is not there, and nothing that has its weights is.
    """
    if not restore_model(run, model):
        raise ModelError(tell_gone(run.path, model, need))


def tell_gone(run: Path, model: Path, need: str) -> str:
    """What is wrong where a model of a run was removed, and what to do; for messages.

    Args:
        run: the run folder.
        model, need: as `require_model` takes them.
    """
    stage = _STAGES.get(model.relative_to(run).parts[0], "baselines")
    return (
        f"{model}: is not there any more; needed: the model that training left there, because "
        f"{need}; put the folder back, or train it again with unspoken run and "
        f"{setting('from', stage)}, which keeps what is there in {layout.OLD}/"
    )
