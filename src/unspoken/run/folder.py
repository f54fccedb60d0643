"""The run folder: which stages are done, with what settings, and what is set aside.

A stage is done when its stage.json says so with the settings and inputs that it has now, as
`unspoken.run.settings` compares them. The main process decides and writes; the others hear of it.
All processes have to call `open`, `share` and `on_main`, and whatever calls one of these. So what
`on_main` is given and what stands below `if ...is_main...` calls none (test_collective.py).
Where hosts see different files, they get what the first one has whenever a stage is opened and
when it is done.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from unspoken.common.errors import DataError, SettingError
from unspoken.common.files import link_folder, move, remove, write_text
from unspoken.common.interrupt import end_if_asked
from unspoken.common.memory import peak_memory, reset_peak
from unspoken.recipe import Recipe, dump_recipe, layout
from unspoken.recipe.records import PeakMemory, StageRecord
from unspoken.run.old import OldFolder
from unspoken.run.resume import resume_from
from unspoken.run.settings import changes
from unspoken.run.share import share_run_folder

if TYPE_CHECKING:
    from accelerate import PartialState

Record = TypeVar("Record", bound=StageRecord)
Value = TypeVar("Value")


class RunFolder:
    """The folder of one run, as the main process and the others see it.

    Attributes:
        path: the folder.
        progress: whether bars are shown.
        did_something: whether any stage ran.
        recipe_changed: whether recipe.yaml is another than before, prices and names included.
    """

    recipe_changed = False

    def __init__(
        self,
        recipe: Recipe,
        process: PartialState,
        *,
        overwrite: bool = False,
        start: str | None = None,
        resume: Path | None = None,
        progress: bool = True,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Makes the folder, or checks that what is there is a run.

        Args:
            recipe: names it, and is written into it.
            process: this one among all.
            overwrite: stages that run again replace what they left once they are done, instead of
                keeping it.
            start: this stage and all after it run again.
            resume: a checkpoint that the distil stage goes on from.
            progress: show bars.
            say: gets one line for each stage.

        Raises:
            OutputExistsError: the folder holds files that are no run.
            SettingError: there is no such stage, or a file stands where the folder should.
        """
        if start is not None and start not in layout.STAGES:
            needed = f"one of {', '.join(layout.STAGES)}"
            raise SettingError("from", found=repr(start), needed=needed, remedy="correct it")
        self.path, self.process, self.progress = recipe.folder, process, progress
        self.start, self.did_something = start, False
        self.old = OldFolder(self.path, replace=overwrite)
        self._resume, self._say = resume, say
        self.source = recipe.from_run
        if process.is_main_process and self.source is not None:
            layout.require_run(self.source)
        if process.is_main_process and not overwrite:
            layout.require_run_folder(self.path)

    def write_recipe(self, recipe: Recipe) -> None:
        """Writes recipe.yaml, once its data are known to be there."""
        saved, text = self.path / layout.RECIPE_FILE, dump_recipe(recipe)
        is_same = saved.is_file() and saved.read_bytes() == text.encode()
        if self.process.is_main_process and not is_same:
            self.recipe_changed = True
            if saved.exists() and not layout.is_written_out(saved):  # a user's own
                self.old.take(saved, keep=True)
            write_text(saved, text)

    def say(self, text: str) -> None:
        """One line for people, from the main process only."""
        if self.process.is_main_process:
            self._say(text)

    def bar(self, text: str) -> str | None:
        """What a bar is called; None where none is shown."""
        return text if self.progress else None

    def on_main(self, make: Callable[[], Value]) -> Value:
        """What the main process makes, in every process; all must call it."""
        from accelerate.utils import broadcast_object_list

        holder: list[Any] = [make() if self.process.is_main_process else None]
        return broadcast_object_list(holder)[0]

    def share(self) -> None:
        """Gives other hosts the files that the first one has, where they see different ones."""
        share_run_folder(self.path, self.process)

    def drop_replaced(self, *paths: Path) -> None:
        """Removes what stood at these paths and is replaced now; the main process does."""
        if self.process.is_main_process:
            for path in paths:
                self.old.drop_replaced(path)

    def is_forced(self, stage: str) -> bool:
        """Whether the run is to begin again at this stage, or at one before it."""
        stages = layout.STAGES
        return self.start is not None and stages.index(stage) >= stages.index(self.start)

    def open(
        self,
        stage: str,
        folder: Path,
        kind: type[Record],
        settings: dict[str, Any],
        *,
        begins: str = "running",
        damage: Callable[[Record], str] = lambda record: "",
        needs: Callable[[], None] = lambda: None,
        drops_replaced: bool = True,
    ) -> Stage[Record]:
        """The stage in `folder`: done, half done, or new after what was there is set aside.

        All processes call this.

        Args:
            stage: one of `STAGES`.
            folder: of the stage, within the run folder.
            kind: of its record.
            settings: everything that decides what it produces, with hashes of its inputs.
            begins: what is said of a stage that has not begun.
            damage: what of a done stage's files is not as it left them, so that it runs again; it
                raises where that would cost too much.
            needs: raises where something that the stage cannot do without is not there; called
                before anything is set aside, and not for a stage that is done.
            drops_replaced: whether what the stage replaced goes once it is done; False: a later
                stage may need some of it, and drops it.
        """
        end_if_asked()
        settings = json.loads(json.dumps(settings))
        wanted = _Wanted(stage, folder, kind, settings, damage, needs, drops_replaced)
        known = self.on_main(lambda: self._find_or_begin(wanted, begins))
        self.share()
        self.did_something |= known is None or not known.is_done
        return Stage(self, wanted, known)

    def _find_or_begin(self, wanted: _Wanted[Record], begins: str) -> Record | None:
        """The record that still holds, or None where the stage begins anew.

        1. What is in the folder holds where its settings are the same, nobody asked for it again
           and a done stage's files are whole. One that is not done goes on there.
        2. Else a stage with the wanted settings is looked for in old/ and in `from_run`: not one
           that was asked for again, nor where the folder's own has these settings and is damaged.
        3. What is in the folder is set aside, and what was found is put there. Where that is not
           whole, it is set aside, too. A checkpoint that `resume` has put there stays instead.
        4. Where nothing holds, the stage begins.

        Nothing moves before `needs` is satisfied, which is not asked for a stage that is done.
        """
        stage, folder = wanted.stage, wanted.folder
        if stage == "distil" and self._resume is not None:
            resume_from(self._resume, folder, wanted.settings)
        known = wanted.read(folder)
        why = self._why_again(wanted, known)
        if known is not None and not why:
            if not known.is_done:
                wanted.needs()
            self._say(f"{self.title(stage, folder)}: {_progress(known)}")
            return self._keep(wanted, known)
        may_be_elsewhere = self._may_be_elsewhere(wanted, known)
        other = self._find_elsewhere(wanted) if may_be_elsewhere else None
        if other is None or not other.record.is_done:
            wanted.needs()
        begins += self._make_place(wanted, why)
        if other is not None and not folder.exists():
            self._bring(wanted, other)
            why = wanted.damage_of(other.record)
            if not why:
                return self._keep(wanted, other.record)
            begins += self._make_place(wanted, why)
        if may_be_elsewhere and not folder.exists():
            self._tell_of_others(wanted)
        self._say(f"{self.title(stage, folder)}: {begins}")
        return None

    def _keep(self, wanted: _Wanted[Record], known: Record) -> Record:
        """The record of a stage that still holds; what a done one replaced goes."""
        if known.is_done and wanted.drops_replaced:
            self.drop_replaced(wanted.folder)
        return known

    def _why_again(self, wanted: _Wanted[Record], known: Record | None) -> str:
        """Why a stage that was begun or done runs again; empty: it still holds, or is not there."""
        if known is None:
            return ""
        if changed := wanted.changes(known):
            return "; ".join(changed[:3])
        return "as asked" if self.is_forced(wanted.stage) else wanted.damage_of(known)

    def _may_be_elsewhere(self, wanted: _Wanted[Record], known: Record | None) -> bool:
        """Whether a stage may be taken from elsewhere: not a forced one, nor one just damaged."""
        is_same = known is not None and not wanted.changes(known)
        return not is_same and not self.is_forced(wanted.stage)

    def _make_place(self, wanted: _Wanted[Record], why: str) -> str:
        """Sets aside what is in a stage's folder; what is said of it.

        Of a stage that ended as it began, only its record is there, and that is not kept.
        """
        if why and _is_shell(wanted.folder):
            remove(wanted.folder)
            return f" again ({why})"
        if why:
            return f" again ({why}); what was there {self.old.take(wanted.folder)}"
        resumes = wanted.stage == "distil" and self._resume is not None
        if _has_files(wanted.folder) and not resumes:
            kept = self.old.take(wanted.folder, keep=True)  # nobody knows whose they are
            return f"; what was there without a {layout.STAGE_FILE} {kept}"
        return ""

    def _find_elsewhere(self, wanted: _Wanted[Record]) -> _Elsewhere[Record] | None:
        """This same stage, set aside (one that is done, else the last) or done in another run."""
        aside = [(place, wanted.read(place)) for place in self.old.places(wanted.folder)]
        same = [_Elsewhere(place, one) for place, one in aside if one and not wanted.changes(one)]
        if same:
            return next((one for one in same if one.record.is_done), same[0])
        return None if self.source is None else self._find_done_in(self.source, wanted)

    def _bring(self, wanted: _Wanted[Record], other: _Elsewhere[Record]) -> None:
        """Puts a stage that was found elsewhere into its folder."""
        is_own = self.old.path in other.place.parents
        if is_own:
            move(other.place, wanted.folder)
        else:  # vetting asks a teacher again, and each run writes on to traces of its own
            link_folder(other.place, wanted.folder, copies=wanted.stage == "generate")
        self.recipe_changed = True
        whence = f"back from {other.place}" if is_own else f"over from {self.source}"
        title = self.title(wanted.stage, wanted.folder)
        self._say(f"{title}: {_progress(other.record)}, taken {whence}")

    def title(self, stage: str, folder: Path) -> str:
        """What a stage is called where several belong to it."""
        name = folder.relative_to(self.path)
        return f"{stage} ({name})" if stage == "baselines" or len(name.parts) > 1 else stage

    def _find_done_in(self, run: Path, wanted: _Wanted[Record]) -> _Elsewhere[Record] | None:
        """The stage with the same settings, where another run has done it."""
        place = run / wanted.folder.relative_to(self.path)
        try:
            one = wanted.read(place)
        except DataError:  # of another version
            return None
        if one is None or not one.is_done or wanted.changes(one):
            return None
        return _Elsewhere(place, one)

    def _tell_of_others(self, wanted: _Wanted[Record]) -> None:
        """Says so where a run beside this one has done the same stage of a teacher."""
        if wanted.stage not in ("teacher", "generate"):
            return
        recipes = self.path.parent.glob(f"*/{layout.RECIPE_FILE}")
        for other in sorted(path.parent for path in recipes):
            if other != self.path and self._find_done_in(other, wanted):
                self._say(
                    f"note: {wanted.folder.name} will be made again in this folder; {other} has "
                    f"the same, which from_run={other} takes over"
                )
                return


@dataclass(frozen=True)
class _Wanted(Generic[Record]):
    """A stage as it is to be; `RunFolder.open` has the arguments."""

    stage: str
    folder: Path
    kind: type[Record]
    settings: dict[str, Any]
    damage: Callable[[Record], str]
    needs: Callable[[], None]
    drops_replaced: bool

    def read(self, folder: Path) -> Record | None:
        """The record in a folder of such a stage."""
        return self.kind.read(folder / layout.STAGE_FILE)

    def changes(self, record: Record) -> list[str]:
        """What differs from the settings of a record."""
        return changes(record.settings, self.settings)

    def damage_of(self, record: Record) -> str:
        """What of a done stage's files is not as it left them; of another, nothing."""
        return self.damage(record) if record.is_done else ""


@dataclass(frozen=True)
class _Elsewhere(Generic[Record]):
    """A stage with the settings that are wanted, and the folder that it was found in."""

    place: Path
    record: Record


def _has_files(folder: Path) -> bool:
    """Whether there is a file, other than what a kill leaves of the first one."""
    half = f".{layout.STAGE_FILE}.*.tmp"
    return any(not path.is_dir() and not path.match(half) for path in folder.rglob("*"))


def _is_shell(folder: Path) -> bool:
    """Whether a folder holds nothing but the record of a stage that is not done."""
    record = StageRecord.read(folder / layout.STAGE_FILE)
    names = [path.name for path in folder.iterdir()]
    return names == [layout.STAGE_FILE] and record is not None and not record.is_done


def _progress(record: StageRecord) -> str:
    """What is said of a stage that needs not begin anew."""
    return "done" if record.is_done else "goes on"


class Stage(Generic[Record]):
    """One stage, opened.

    Attributes:
        folder: where it writes.
        done: its record where there was nothing to do when it was opened, else None.
    """

    def __init__(self, run: RunFolder, wanted: _Wanted[Record], known: Record | None) -> None:
        self.folder = wanted.folder
        self.done = known if known is not None and known.is_done else None
        self._run, self._wanted = run, wanted
        self._begin, self._is_finished = time.perf_counter(), False
        self._seconds_before = known.seconds or 0.0 if known is not None else 0.0
        is_killed = known is not None and not known.is_done and not known.paused
        self._cut_off = is_killed or (known is not None and known.cut_off)
        self._as_asked = run.is_forced(wanted.stage) if known is None else known.as_asked

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time and memory of the block are the stage's, also when it is interrupted.

        What a `kill -9` cuts off is not counted; stage.json then has `cut_off`. After the block,
        all hosts have what the stage left.
        """
        reset_peak()
        self._begin = time.perf_counter()
        self._write(self._wanted.kind(status="running"))
        try:
            yield
        except BaseException:
            if not self._is_finished:
                self._write(self._wanted.kind(status="running", paused=True))
            raise
        self._run.share()

    def finish(self, outcome: Record) -> Record:
        """Marks the stage done; returns its whole record.

        Args:
            outcome: what came out; everything that all stages have is filled in.
        """
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        if outcome.peak_memory_bytes == PeakMemory():
            outcome = replace(outcome, peak_memory_bytes=PeakMemory(**peak_memory()))
        self._is_finished = True
        record = self._write(replace(outcome, status="done", finished=now))
        if self._wanted.drops_replaced:
            self._run.drop_replaced(self.folder)
        return record

    @property
    def seconds(self) -> float:
        """That the stage took up to now, over all runs."""
        return self._seconds_before + time.perf_counter() - self._begin

    def _write(self, record: Record) -> Record:
        record = replace(
            record,
            settings=self._wanted.settings,
            seconds=round(self.seconds, 3),
            cut_off=self._cut_off,
            as_asked=self._as_asked,
        )
        if self._run.process.is_main_process:
            record.write(self.folder / layout.STAGE_FILE)
        return record
