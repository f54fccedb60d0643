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

from tacit.atomic import write_text
from tacit.errors import OutputExistsError, RecipeError
from tacit.memory import peak_memory, reset_peak
from tacit.recipe import Recipe, dump_recipe

#: In their order; `--from` takes one of them.
STAGES = (
    "data", "teacher", "generate", "vet", "distil", "internalize", "baselines", "evaluate",
    "report",
)  # fmt: skip


class RunFolder:
    """The folder of one run, as the main process and the others see it.

    Attributes:
        path: the folder.
        did_something: whether any stage ran.
    """

    def __init__(
        self,
        recipe: Recipe,
        process: Any,
        *,
        overwrite: bool = False,
        start: str | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Makes the folder, or checks that what is there is a run.

        Args:
            recipe: names it, and is written into it.
            process: Accelerate's PartialState.
            overwrite: stages that run again replace what they left, instead of setting it aside.
            start: this stage and all after it run again.
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
        self._say = say
        self._aside: Path | None = None
        saved = self.path / "recipe.yaml"
        if process.is_main_process:
            if not saved.exists() and _holds_files(self.path) and not overwrite:
                raise OutputExistsError(
                    f"{self.path}: holds files but no recipe.yaml, so it is not a run folder; "
                    "choose another with output=FOLDER, or give --overwrite"
                )
            write_text(saved, dump_recipe(recipe))

    def say(self, text: str) -> None:
        """One line for people, from the main process only."""
        if self.process.is_main_process:
            self._say(text)

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
        settings = json.loads(json.dumps(settings))
        known: list[Any] = [None]
        if self.process.is_main_process:
            known = [self._settle(stage, folder, settings)]
        values = broadcast(known)[0]
        done = values if values is not None and values["status"] == "done" else None
        self.did_something |= done is None
        before = 0.0 if values is None else values.get("seconds", 0.0)
        return Stage(folder, settings, done, before, self.process)

    def _settle(self, stage: str, folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
        """The stage.json that still holds, or None where the stage begins anew."""
        name = folder.relative_to(self.path)
        several = stage == "baselines" or len(name.parts) > 1
        title = f"{stage} ({name})" if several else stage
        path = folder / "stage.json"
        known = json.loads(path.read_text()) if path.exists() else None
        if known is None:
            self._say(f"{title}: runs")
            return None
        changed = [
            f"{key}: {_short(before)} -> {_short(after)}"
            for key, before, after in _differences(known["settings"], settings)
        ]
        if changed or self.forced(stage):
            why = "; ".join(changed[:3]) if changed else "--from"
            where = self._set_aside(folder)
            self._say(f"{title}: runs again ({why}); what was there {where}")
            return None
        self._say(f"{title}: {'done' if known['status'] == 'done' else 'goes on'}")
        return known

    def _set_aside(self, folder: Path) -> str:
        if self.overwrite:
            shutil.rmtree(folder)
            return "is replaced"
        if self._aside is None:
            parent = self.path / "old"
            taken = [int(path.name) for path in parent.glob("[0-9]*") if path.name.isdigit()]
            self._aside = parent / str(max(taken, default=0) + 1)
        target = self._aside / folder.relative_to(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
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
        done: dict[str, Any] | None,
        seconds: float,
        process: Any,
    ) -> None:
        self.folder, self.done = folder, done
        self.finished: dict[str, Any] = done or {}
        self._settings, self._process = settings, process
        self._seconds_before, self._begin = seconds, 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time and memory of the block are the stage's, also when it is interrupted.

        What a `kill -9` cuts off is not counted.
        """
        reset_peak()
        self._begin = time.perf_counter()
        self._write({"status": "running"})
        try:
            yield
        except BaseException:
            self._write({"status": "running"})
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


def _holds_files(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())


def _differences(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(
                old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key
            )
    elif old != new:
        yield prefix, old, new


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
