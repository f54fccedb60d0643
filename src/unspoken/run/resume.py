"""Going on from a checkpoint that the user names, instead of the newest one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unspoken.common.errors import ModelError, setting, shorten
from unspoken.common.files import link_folder, read_json
from unspoken.recipe import layout
from unspoken.recipe.records import StageRecord
from unspoken.run.settings import changes


def resume_from(checkpoint: Path, folder: Path, settings: dict[str, Any]) -> None:
    """Makes `checkpoint` the newest one of the stage in `folder`; training then starts from it.

    Newer checkpoints of this stage get the name newer-checkpoint-N, and keep it when training is
    done; one from elsewhere is linked or copied in.

    Args:
        checkpoint: such as OUT_DIR/checkpoint-500; `OUT_DIR/distilled/` may be left out of it.
        folder: of the stage.
        settings: that the stage has now.

    Raises:
        ModelError: it is no checkpoint or a damaged one, the stage is done, or it was begun with
            other settings. Nothing is renamed then.
    """
    inside = folder / checkpoint.name
    found = checkpoint if checkpoint.is_dir() else inside
    given = setting("resume_from_checkpoint", checkpoint)
    if not all((found / name).is_file() for name in layout.CHECKPOINT_FILES):
        there = ", ".join(str(path) for path in layout.checkpoints_in(folder))
        remedy = (
            f"one of {folder}: {there}; or leave it out to go on from the newest"
            if there
            else f"one that an interrupted run left in {folder}, and there is none; leave it out"
        )
        raise ModelError(
            f"{given}: no checkpoint of unspoken is there "
            f"({' and '.join(layout.CHECKPOINT_FILES)}); needed: {remedy}"
        )
    known = StageRecord.read(folder / layout.STAGE_FILE)
    if known is not None and (changed := changes(known.settings, settings)):
        raise ModelError(
            f"{given}: its training was begun with other settings "
            f"({'; '.join(changed[:3])}); needed: the same ones; give those, or leave it out to "
            "begin anew"
        )
    if known is not None and known.is_done:
        raise ModelError(
            f"{given}: training in {folder} is done; needed: a run "
            f"that was interrupted; to train on, give its model as {setting('student_dir')} and "
            f"another {setting('out_dir')}"
        )
    step = _step_of_whole(found, given)
    target = layout.checkpoint_folder(folder, step)
    if found.resolve() != target.resolve():
        link_folder(found, target)
    for other in layout.checkpoints_in(folder):
        if (layout.checkpoint_step(other) or 0) > step:
            other.rename(_free_name(other))


def _step_of_whole(checkpoint: Path, given: str) -> int:
    """The step of a checkpoint, which the user has `given`, and in which nothing is damaged."""
    from unspoken.train.checkpoint import damage_of

    step = (read_json(checkpoint / layout.CHECKPOINT_STATE_FILE) or {}).get("step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise ModelError(
            f"{given}: its {layout.CHECKPOINT_STATE_FILE} is damaged (step: {shorten(step)}); "
            "needed: a whole checkpoint; name another, or leave it out to go on from the newest"
        )
    if damage := damage_of(checkpoint, is_named=False):
        raise ModelError(
            f"{given}: found damage ({damage}); needed: a whole checkpoint; name another, or leave "
            "it out to go on from the newest"
        )
    return step


def _free_name(checkpoint: Path) -> Path:
    """The name that a newer checkpoint gets: newer-checkpoint-N, or newer-checkpoint-N.2 and on."""
    free, number = checkpoint.with_name(f"newer-{checkpoint.name}"), 1
    while free.exists():
        number += 1
        free = checkpoint.with_name(f"newer-{checkpoint.name}.{number}")
    return free
