"""Going on from a checkpoint that the user names, instead of the newest one."""

from __future__ import annotations

import json
from pathlib import Path

from tacit.atomic import link_folder
from tacit.checkpoint import checkpoints_in
from tacit.errors import ModelError


def resume_from(checkpoint: Path, folder: Path) -> None:
    """Makes `checkpoint` the newest one of the stage in `folder`; training then starts from it.

    Newer checkpoints of this stage get the name newer-checkpoint-N; one from elsewhere is linked
    or copied in.

    Args:
        checkpoint: such as OUT_DIR/checkpoint-500; `OUT_DIR/distilled/` may be left out of it.
        folder: of the stage.

    Raises:
        ModelError: it is no checkpoint, or the stage is done.
    """
    inside = folder / checkpoint.name
    found = checkpoint if checkpoint.is_dir() else inside
    if not (found / "training.pt").is_file() or not (found / "state.json").is_file():
        there = ", ".join(str(path) for path in checkpoints_in(folder)) or "none"
        raise ModelError(
            f"--resume_from_checkpoint {checkpoint}: no checkpoint of tacit is there (training.pt "
            f"and state.json); needed: one of {folder}: {there}; or leave it out to go on from "
            "the newest"
        )
    status = folder / "stage.json"
    if status.exists() and json.loads(status.read_text())["status"] == "done":
        raise ModelError(
            f"--resume_from_checkpoint {checkpoint}: training in {folder} is done; needed: a run "
            "that was interrupted; to train on, give its model as --student_dir and another "
            "--out_dir"
        )
    step = int(json.loads((found / "state.json").read_text())["step"])
    target = folder / f"checkpoint-{step}"
    if found.resolve() != target.resolve():
        link_folder(found, target)
    for other in checkpoints_in(folder):
        if int(other.name.rpartition("-")[2]) > step:
            other.rename(folder / f"newer-{other.name}")
