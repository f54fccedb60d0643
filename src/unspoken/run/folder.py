"""The run folder: which stages are done, with what settings, and what is set aside.

A stage is done when its stage.json says so with the settings and inputs that it has now. The main
process decides and writes; the others hear of it.
"""

from __future__ import annotations

import datetime
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unspoken.common.errors import RecipeError
from unspoken.common.files import write_text
from unspoken.common.interrupt import end_if_asked
from unspoken.common.memory import peak_memory, reset_peak
from unspoken.recipe import Recipe, dump_recipe
from unspoken.recipe.layout import STAGES, require_run_folder
from unspoken.run.changes import changes
from unspoken.run.resume import resume_from


class RunFolder:
    """The folder of one run, as the main process and the others see it.

    Attributes:
        path: the folder.
        did_something: whether any stage ran.
        recipe_changed: whether recipe.yaml is another than before, prices and names included.
    """

    recipe_changed = False

    def __init__(
        self,
        recipe: Recipe,
        process: Any,
        *,
        overwrite: bool = False,
        start: str | None = None,
        resume: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Makes the folder, or checks that what is there is a run.

        Args:
            recipe: names it, and is written into it.
            process: Accelerate's PartialState.
            overwrite: stages that run again replace what they left, instead of setting it aside.
            start: this stage and all after it run again.
            resume: a checkpoint that the distil stage goes on from.
            say: gets one line for each stage.

        Raises:
            OutputExistsError: the folder holds files that are no run.
            RecipeError: there is no such stage.
        """
        if start is not None and start not in STAGES:
            raise RecipeError(
                f"--from: found {start!r}; needed: one of {', '.join(STAGES)}; correct it"
            )
        self.path, self.process, self.overwrite = recipe.folder, process, overwrite
        self.start, self.did_something = start, False
        self._resume, self._say = resume, say
        self._aside: Path | None = None
        if process.is_main_process and not overwrite:
            require_run_folder(self.path)

    def write_recipe(self, recipe: Recipe) -> None:
        """Writes recipe.yaml, once its data are known to be there."""
        saved, text = self.path / "recipe.yaml", dump_recipe(recipe)
        if self.process.is_main_process and not (saved.exists() and saved.read_text() == text):
            self.recipe_changed = True
            write_text(saved, text)

    def say(self, text: str) -> None:
        """One line for people, from the main process only."""
        if self.process.is_main_process:
            self._say(text)

    def on_main(self, make: Callable[[], Any]) -> Any:
        """What the main process makes, in every process; all must call it."""
        return broadcast([make() if self.process.is_main_process else None])[0]

    def forced(self, stage: str) -> bool:
        """Whether `--from` makes this stage run again."""
        return self.start is not None and STAGES.index(stage) >= STAGES.index(self.start)

    def open(self, stage: str, folder: Path, settings: dict[str, Any]) -> Stage:
        """The stage in `folder`: done, half done, or new after what was there is set aside.

        Args:
            stage: one of `STAGES`.
            folder: of the stage, within the run folder.
            settings: everything that decides what it produces, with hashes of its inputs.
        """
        end_if_asked()
        settings = json.loads(json.dumps(settings))
        values = self.on_main(lambda: self._settle(stage, folder, settings))
        self.did_something |= values is None or values["status"] != "done"
        return Stage(folder, settings, values, self.process)

    def _settle(self, stage: str, folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
        """The stage.json that still holds, or None where the stage begins anew."""
        name = folder.relative_to(self.path)
        several = stage == "baselines" or len(name.parts) > 1
        title = f"{stage} ({name})" if several else stage
        path = folder / "stage.json"
        if stage == "distil" and self._resume is not None:
            resume_from(self._resume, folder, settings)
        known = json.loads(path.read_text()) if path.exists() else None
        if known is None:
            return self._taken_back(title, folder, settings, "runs", stage)
        changed = changes(known["settings"], settings)
        if changed or self.forced(stage):
            why = "; ".join(changed[:3]) if changed else "--from"
            where = self.set_aside(folder)
            again = f"runs again ({why}); what was there {where}"
            return self._taken_back(title, folder, settings, again, stage)
        self._say(f"{title}: {'done' if known['status'] == 'done' else 'goes on'}")
        return known

    def _taken_back(
        self, title: str, folder: Path, settings: dict[str, Any], otherwise: str, stage: str
    ) -> dict[str, Any] | None:
        """What was set aside when these same settings were left; None where there is nothing."""
        name = folder.relative_to(self.path)
        places = [self.path / "old" / str(number) / name for number in reversed(self._numbers())]
        if self.forced(stage) or folder.exists():
            places = []
        for status, word in (("done", "done"), ("running", "goes on")):
            for place in places:
                path = place / "stage.json"
                if not path.exists():
                    continue
                known = json.loads(path.read_text())
                if known["status"] == status and not changes(known["settings"], settings):
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    place.rename(folder)
                    self.recipe_changed = True
                    self._say(f"{title}: {word}, taken back from {place}")
                    return known
        self._say(f"{title}: {otherwise}")
        return None

    def _numbers(self) -> list[int]:
        """Of the folders in old/, the oldest first."""
        names = [path.name for path in (self.path / "old").glob("[0-9]*")]
        return sorted(int(name) for name in names if name.isdigit())

    def set_aside(self, path: Path) -> str:
        """Moves a file or folder of the run to old/N, or removes it; says which."""
        if self.overwrite:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            return "is replaced"
        if self._aside is None:
            self._aside = self.path / "old" / str(max(self._numbers(), default=0) + 1)
        target = self._aside / path.relative_to(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        return f"is kept in {target}"


class Stage:
    """One stage, opened.

    Attributes:
        folder: where it writes.
        done: its stage.json where there was nothing to do when it was opened, else None.
        finished: its stage.json once it is done.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        known: dict[str, Any] | None,
        process: Any,
    ) -> None:
        known = known or {}
        self.folder = folder
        self.done = known if known.get("status") == "done" else None
        self.finished: dict[str, Any] = self.done or {}
        self._settings, self._process = settings, process
        self._seconds_before, self._begin = known.get("seconds", 0.0), 0.0
        killed = known.get("status") == "running" and not known.get("paused")
        self._cut_off = killed or known.get("cut_off", False)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time and memory of the block are the stage's, also when it is interrupted.

        What a `kill -9` cuts off is not counted; stage.json then has `cut_off`.
        """
        reset_peak()
        self._begin = time.perf_counter()
        self._write({"status": "running"})
        try:
            yield
        except BaseException:
            self._write({"status": "running", "paused": True})
            raise

    def finish(self, values: dict[str, Any]) -> dict[str, Any]:
        """Marks the stage done; `values` say what came out. Returns the whole stage.json."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        done = {"status": "done", "finished": now, "peak_memory_bytes": peak_memory(), **values}
        self.finished = self._write(done)
        return self.finished

    @property
    def seconds(self) -> float:
        """That the stage took up to now, over all runs."""
        return self._seconds_before + time.perf_counter() - self._begin

    def _write(self, values: dict[str, Any]) -> dict[str, Any]:
        whole = {
            "status": values["status"],
            "settings": self._settings,
            "seconds": round(self.seconds, 3),
            **values,
            **({"cut_off": True} if self._cut_off else {}),
        }
        if self._process.is_main_process:
            write_text(self.folder / "stage.json", json.dumps(whole, indent=2))
        return whole


def broadcast(values: list[Any]) -> list[Any]:
    """The main process' values, in every process."""
    from accelerate.utils import broadcast_object_list

    holder: list[Any] = [values]
    broadcast_object_list(holder)
    return holder[0]
