"""A run folder that came back from S3: only whole models and checkpoints may be trusted.

SageMaker copies /opt/ml/checkpoints to S3 file by file, so an interruption can leave a checkpoint
there with some of its files. unspoken makes such folders whole or not at all; this module notes
their files when they appear, and after a restart sets aside those that came back incomplete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from unspoken.common.files import write_text
from unspoken.models.card import CARD_FILE
from unspoken.recipe import layout
from unspoken.recipe.levels import level_folder

#: Files of a folder -> bytes.
Files = dict[str, int]


class WholeFolders:
    """The list of models and checkpoints of a run, kept beside the run folder."""

    def __init__(self, run: Path, notes: Path) -> None:
        """Reads the notes, a JSON file beside the run folder, where there are some."""
        self.run, self.notes = run, notes
        self._noted: dict[str, Files] = {}
        if notes.is_file():
            self._noted = json.loads(notes.read_text(encoding="utf-8"))

    def note(self) -> None:
        """Writes down the folders that are there now."""
        now = {name: files for name, files in self._present() if files}
        # with fewer files than before, and no others, a checkpoint is being removed
        noted = {n: self._noted[n] for n in now if n in self._noted and _is_checkpoint(n)}
        now |= {n: files for n, files in noted.items() if now[n].items() < files.items()}
        if now != self._noted:
            self._noted = now
            write_text(self.notes, json.dumps(now, indent=1, sort_keys=True))

    def set_aside_broken(self, aside: Path) -> list[str]:
        """Moves what is not whole out of the run folder; returns the names of what was moved.

        A stage that says it is done goes as a whole if its model is not. Checkpoints stay where the
        best model of a level is gone, and forget that there was one.
        """
        gone = [name for name, files in self._present() if not self._is_whole(name, files)]
        for name in list(gone):
            stage = (self.run / name).parent
            if stage.joinpath(layout.STAGE_FILE).is_file() and name.endswith(f"/{layout.MODEL}"):
                gone.append(stage.relative_to(self.run).as_posix())
        for name in sorted(gone):  # a stage before what is in it
            if (self.run / name).exists():
                target = aside / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(self.run / name, target)
        for name, _ in self._present():
            if _is_checkpoint(name):
                _forget_missing_levels(self.run / name)
        return gone

    def _is_whole(self, name: str, files: Files) -> bool:
        """Whether a folder is as noted, or, too late for a note, has everything that it needs."""
        if name in self._noted:
            return files == self._noted[name]
        needed = {CARD_FILE}
        if _is_checkpoint(name):
            needed.update(layout.CHECKPOINT_FILES)
        weights = [file for file in files if file.endswith(".safetensors")]
        for index in (self.run / name).glob("*.safetensors.index.json"):
            needed |= set(json.loads(index.read_text())["weight_map"].values())
        return bool(weights) and needed <= files.keys()

    def _present(self) -> Iterator[tuple[str, Files]]:
        """Every folder that appears whole or not at all, with its files."""
        for pattern in layout.WHOLE_FOLDERS:
            for folder in sorted(self.run.glob(pattern)):
                name = folder.relative_to(self.run).as_posix()
                hidden = any(part.startswith(".") for part in name.split("/"))
                if folder.is_dir() and not hidden and not name.startswith(f"{layout.OLD}/"):
                    yield name, _files(folder)


def _forget_missing_levels(checkpoint: Path) -> None:
    """Takes levels whose best model is gone out of the validation figures of a checkpoint.

    With them, a later and worse model of such a level would not be kept; without, the next one is.
    """
    path = checkpoint / layout.CHECKPOINT_STATE_FILE
    text = path.read_text(encoding="utf-8")
    state = json.loads(text)
    best = {
        level: figures
        for level, figures in state["best"].items()
        if level_folder(checkpoint.parent, level).is_dir()
    }
    if best != state["best"]:
        # as many bytes as before, or the notes would call the checkpoint broken
        write_text(path, json.dumps({**state, "best": best}).ljust(len(text)))


def _is_checkpoint(name: str) -> bool:
    return layout.checkpoint_step(Path(name)) is not None


def _files(folder: Path) -> Files:
    try:
        return {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
    except FileNotFoundError:  # it is being replaced; the next look sees it
        return {}
