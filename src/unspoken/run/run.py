"""The stages of a run, in their order."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unspoken.common.files import link_folder, write_text
from unspoken.common.interrupt import carry_signals_over
from unspoken.common.locks import locked
from unspoken.common.machine import environment
from unspoken.models.fingerprint import weights_hash
from unspoken.parallel.world import join_processes, leave_processes, read_world, require_processes
from unspoken.recipe import Recipe
from unspoken.recipe.plan import Variant, variants
from unspoken.run.data import Splits, check_phases, data_settings, make_data
from unspoken.run.folder import RunFolder, broadcast
from unspoken.run.measure import evaluate_stage, evaluate_untrained
from unspoken.run.share import share_run_folder
from unspoken.run.student import model_in
from unspoken.run.teaching import train_and_measure, train_teacher


def run_recipe(
    recipe: Recipe,
    *,
    command: str = "",
    overwrite: bool = False,
    start: str | None = None,
    resume: Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Runs every stage that is not done yet; returns the path of report.html.

    Args:
        recipe: as `load_recipe` gives it.
        command: what the user typed, for the report.
        overwrite: stages that run again replace what they left, instead of setting it aside.
        start: this stage, one of `STAGES`, and all after it run again.
        resume: a checkpoint that the distil stage goes on from.
        progress: show bars.
        say: gets one line for each stage: done, runs, runs again and why.

    Raises:
        UnspokenError: for everything that the user can mend.
        SystemExit: with EXIT_INTERRUPTED after SIGTERM or SIGINT, when all is saved.
    """
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    require_processes(recipe, read_world().size)
    process = join_processes()
    run = RunFolder(recipe, process, overwrite=overwrite, start=start, resume=resume, say=say)
    with contextlib.ExitStack() as stack:
        stack.enter_context(carry_signals_over())
        if process.is_main_process:
            stack.enter_context(locked(run.path / "run"))
        _run_stages(run, recipe, command, started, progress)
    leave_processes(process)
    return run.path / "report.html"


def _run_stages(run: RunFolder, recipe: Recipe, command: str, started: str, progress: bool) -> None:
    """All stages in their order, and the report."""
    from unspoken.report import write_report

    process = run.process
    phases = recipe.resolved_phases()
    splits = [
        data_stage(run, phase, _phase_folder(run.path / "data", phases, number))
        for number, phase in enumerate(phases)
    ]
    run.write_recipe(recipe)
    if process.is_main_process and run.did_something:
        check_phases(splits, recipe.data.allow_leaks)
        _write_environment(recipe, splits, command, started)
    _Stages(run, recipe, phases, splits, progress).run()
    if process.is_main_process:
        if run.did_something:
            _write_environment(recipe, splits, command, started)
        changed = run.did_something or run.recipe_changed
        if changed or run.forced("report") or _report_is_old(run.path):
            write_report(run.path)
        else:
            run.say(
                f"nothing to do: every stage of {run.path} is done, and nothing has changed "
                "(unspoken run RECIPE --from STAGE runs again from there)"
            )


class _Stages:
    """What happens after the data stage."""

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        phases: list[Recipe],
        splits: list[Splits],
        progress: bool,
    ) -> None:
        self.run_folder, self.recipe, self.phases, self.splits = run, recipe, phases, splits
        self.progress = progress
        self.is_main = run.process.is_main_process
        self.num_steps: dict[int, int] = {}  # of the internalized model, by phase

    def run(self) -> None:
        if self.recipe.teacher is not None:
            self.splits = [self._teacher_stages()]
        distilled = self._distil()
        for variant in variants(self.recipe):
            self._train_phases(variant, distilled if variant.name == "internalized" else None)
        self._borrow_explicit()
        if self.recipe.baselines.untrained:
            first = "distilled" if distilled else next(variants(self.recipe)).name
            like = _phase_folder(self.run_folder.path / first, self.phases, 0) / "model"
            share_run_folder(self.run_folder.path, self.run_folder.process)
            evaluate_untrained(
                self.run_folder,
                self.recipe,
                self.splits[0],
                like,
                progress=self.progress,
            )
        self.run_folder.process.wait_for_everyone()

    def _teacher_stages(self) -> Splits:
        """The splits with what the teacher wrote; trains the teacher where it is from scratch."""
        from unspoken.run.teacher import TeacherStages

        run, recipe, splits = self.run_folder, self.recipe, self.splits[0]
        teacher = recipe.teacher
        if teacher is None:
            return splits
        trained = train_teacher(run, recipe, splits, progress=self.progress)
        stages = TeacherStages(run, recipe, teacher, splits, trained, progress=self.progress)
        vetted = stages.vet(stages.generate())
        if trained is None:
            stages.evaluate()
        return vetted

    def _distil(self) -> dict[str, Any] | None:
        """stage.json of the student that writes its thought, if there is such a stage."""
        if self.recipe.distil is None:
            return None
        run, recipe = self.run_folder, self.recipe.distilling()
        stage = train_and_measure(
            run,
            "distil",
            recipe,
            self.splits[0],
            run.path / "distilled",
            progress=self.progress,
        )
        self.num_steps[-1] = stage["state"]["step"]
        return stage

    def _train_phases(self, variant: Variant, start: dict[str, Any] | None) -> None:
        """Trains one variant through all phases, from the student's model or from `start`'s."""
        folder = self.run_folder.path
        model = self.recipe.model
        if start is not None:
            model = model_in(folder / start["folder"] / "model", model)
        for number, phase in enumerate(self.phases):
            target = _phase_folder(folder / variant.name, self.phases, number)
            own = variant.name == "internalized"
            schedule = phase.schedule if own else variant.schedule
            stage = train_and_measure(
                self.run_folder,
                variant.stage,
                phase.model_copy(update={"model": model, "schedule": schedule}),
                self.splits[number],
                target,
                num_steps=None if own else self._equal_steps(number),
                start=start,
                progress=self.progress,
            )
            if own:
                self.num_steps[number] = stage["state"]["step"]
            start = stage
            model = model_in(target / "model", self.recipe.model)

    def _equal_steps(self, number: int) -> int | None:
        """As many optimizer steps as the internalized model had, those of distilling included."""
        own, before = self.num_steps.get(number), self.num_steps.get(-1, 0)
        return (own or 0) + before if own is not None or before else None

    def _borrow_explicit(self) -> None:
        """The explicit model as the internalized run's own best checkpoint before any removal."""
        if self.recipe.baselines.explicit != "before_removal":
            return
        for number, phase in enumerate(self.phases):
            folder = self.run_folder.path
            source = _phase_folder(folder / "internalized", self.phases, number) / "levels"
            target = _phase_folder(folder / "explicit", self.phases, number)
            digest, level = None, source / "removed-0000"
            if self.is_main and level.is_dir():  # other hosts may not see the levels
                digest = weights_hash(level)
                if (target / "stage.json").exists():  # one that was trained
                    self.run_folder.set_aside(target)
                link_folder(level, target / "model")
            digest = broadcast([digest])[0]
            if digest is None:  # it was lost with a job, while training went on
                self.run_folder.say(
                    "explicit: the model before any removal is not there any more; "
                    "baselines.explicit=train trains one"
                )
                continue
            share_run_folder(self.run_folder.path, self.run_folder.process)
            evaluate_stage(
                self.run_folder,
                phase,
                self.splits[number],
                target,
                model_sha256=digest,
                progress=self.progress,
            )


def data_stage(run: RunFolder, recipe: Recipe, folder: Path) -> Splits:
    """The files, made or found done; the main process makes them."""
    stage = run.open("data", folder, run.on_main(lambda: data_settings(recipe)))

    def made() -> Splits:
        if stage.done is None:
            with stage.running():
                splits, figures = make_data(recipe, folder)
                stage.finish({**splits.to_json(run.path), **figures})
        return Splits.from_json(stage.finished, run.path)

    return run.on_main(made)


def _phase_folder(parent: Path, phases: list[Recipe], number: int) -> Path:
    return parent if len(phases) == 1 else parent / f"{number + 1}-{phases[number].name}"


def _report_is_old(folder: Path) -> bool:
    """Whether there is no report of what the stages left; a kill may have come before it."""
    report = folder / "report.html"
    made = [*folder.glob("*/**/stage.json"), *folder.glob("*/**/evaluation.json")]
    newest = max((path.stat().st_mtime_ns for path in made), default=0)
    return not report.exists() or report.stat().st_mtime_ns < newest


def _write_environment(recipe: Recipe, splits: list[Splits], command: str, started: str) -> None:
    """Of the last run that did something."""
    values = {
        "command": command,
        "started": started,
        "seed": recipe.seed,
        "data": [split.hashes for split in splits],
        **environment(),
    }
    write_text(recipe.folder / "environment.json", json.dumps(values, indent=2))
