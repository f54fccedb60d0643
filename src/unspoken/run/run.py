"""The stages of a run, in their order."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable
from pathlib import Path

from unspoken.common.files import link_folder, write_text
from unspoken.common.interrupt import carry_signals_over
from unspoken.common.locks import locked
from unspoken.common.machine import environment
from unspoken.common.places import require_folder_place
from unspoken.models.fingerprint import weights_hash
from unspoken.models.quantization import require_quantization
from unspoken.parallel.precision import require_precision
from unspoken.parallel.world import join_processes, leave_processes, read_world, require_processes
from unspoken.recipe import Recipe, layout
from unspoken.recipe.levels import level_folder, level_name
from unspoken.recipe.plan import OnlyMeasured, Plan, Teaching, plan
from unspoken.recipe.records import TrainingRecord
from unspoken.run.data import Splits, check_phases, data_stage
from unspoken.run.folder import RunFolder
from unspoken.run.frontier import frontier_stage
from unspoken.run.latency import latency_stage
from unspoken.run.measure import evaluate_stage, evaluate_untrained, model_in
from unspoken.run.starts import level_as_start, start_folder
from unspoken.run.student import train_and_measure, train_teacher
from unspoken.train.log import require_trackers
from unspoken.train.optimizer import require_optimizer


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
        overwrite: stages that run again replace what they left once they are done, instead of
            keeping it.
        start: this stage, one of `STAGES`, and all after it run again.
        resume: a checkpoint that the distil stage goes on from.
        progress: show bars.
        say: gets one line for each stage: done, running, running again and why.

    Raises:
        UnspokenError: for everything that the user can mend.
        SystemExit: with EXIT_INTERRUPTED after SIGTERM or SIGINT, when all is saved.
    """
    started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    require_processes(recipe, read_world().size)
    require_folder_place(recipe.folder)
    _require_means(recipe)
    process = join_processes()
    run = RunFolder(
        recipe,
        process,
        overwrite=overwrite,
        start=start,
        resume=resume,
        progress=progress,
        say=say,
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(carry_signals_over())
        if process.is_main_process:
            stack.enter_context(locked(run.path / layout.LOCKED))
        try:
            _run_stages(run, recipe, command, started)
        except SystemExit:
            if start is not None:
                run.say(
                    f"note: the same command begins anew at {start}; without that stage named, "
                    "the run goes on"
                )
            raise
    leave_processes(process)
    return run.path / layout.REPORT_PAGE


def _require_means(recipe: Recipe) -> None:
    """Refuses what a training needs and this machine lacks, before a teacher works for hours.

    A training that has begun, or is done, needs nothing here.
    """
    for training in plan(recipe).trainings:
        train = training.recipe.train
        if (recipe.folder / training.folder / layout.STAGE_FILE).exists():
            continue
        require_precision(train, training.section_of("precision"))
        require_trackers(train, training.section_of("trackers"))
        require_optimizer(train, training.section_of("optimizer"))
        require_quantization(training.recipe.model.quantization)


def _run_stages(run: RunFolder, recipe: Recipe, command: str, started: str) -> None:
    """All stages in their order, and the report."""
    process, planned = run.process, plan(recipe)
    splits = [
        data_stage(run, phase.recipe, run.path / layout.DATA / phase.key)
        for phase in planned.phases
    ]
    run.write_recipe(recipe)
    run.on_main(lambda: check_phases(splits, recipe.data.allow_leaks))
    if process.is_main_process and run.did_something:
        _write_environment(recipe, splits, command, started)
    if all(each.measured is None for each in splits):
        run.say(
            "nothing to measure with: no test and no validation questions were given; to have "
            "figures, give a file of test questions"
        )
    if planned.teaching is not None:
        splits = [_teach(run, recipe, planned.teaching, splits[0])]
    train_students(run, planned, splits)
    for frontier in planned.frontiers:
        frontier_stage(run, frontier, splits[frontier.phase])
    _measure_others(run, planned, splits)
    latency_stage(run, planned, splits)
    process.wait_for_everyone()
    if process.is_main_process:
        if run.did_something:
            _write_environment(recipe, splits, command, started)
        _report(run)


def _report(run: RunFolder) -> None:
    """Writes the report anew, or says that nothing has changed."""
    from unspoken.report import write_report

    changed = run.did_something or run.recipe_changed
    if changed or run.is_forced("report") or _report_is_old(run.path):
        write_report(run.path)
    else:
        run.say(
            f"nothing to do: every stage of {run.path} is done, and nothing has changed "
            "(unspoken run RECIPE --from STAGE runs again from there)"
        )


def _teach(run: RunFolder, recipe: Recipe, teaching: Teaching, splits: Splits) -> Splits:
    """Has the teacher write; returns the splits with what it wrote."""
    from unspoken.run.teacher import Asker, TeacherStages

    trained = train_teacher(run, teaching.training, splits)
    with Asker(recipe, teaching.settings, trained, progress=run.progress) as asker:
        stages = TeacherStages(run, asker, splits)
        vetted = stages.vet(stages.generate())
        if teaching.is_asked_the_test:
            stages.evaluate()
    return vetted


def train_students(run: RunFolder, planned: Plan, splits: list[Splits]) -> None:
    """Trains every student of the plan, each from the model and for the steps that it says."""
    done: dict[Path, TrainingRecord] = {}
    for training in planned.students:
        started_from = start = None
        num_steps = sum(done[folder].state.step or 0 for folder in training.as_many_steps_as)
        if training.before_removal:
            source = run.path / Path(training.starts_from or "")
            started_from = level_as_start(run, source, level_name(0))
            if started_from is None:
                run.say(f"{training.name}: the model before any removal is not there any more")
                continue
            start = start_folder(source, level_name(0))
            num_steps = max(1, num_steps - (started_from.state.step or 0))
        elif training.starts_from is not None:
            started_from = done[training.starts_from]
            start = run.path / training.starts_from / layout.MODEL
        model = training.recipe.model if start is None else model_in(start, training.recipe.model)
        done[training.folder] = train_and_measure(
            run,
            training.stage,
            training.recipe.model_copy(update={"model": model}),
            splits[training.phase],
            run.path / training.folder,
            num_steps=num_steps or None,
            started_from=started_from,
        )


def _measure_others(run: RunFolder, planned: Plan, splits: list[Splits]) -> None:
    """Asks the models that are not trained themselves."""
    for model in planned.only_measured:
        if model.name == layout.EXPLICIT:
            _borrow_explicit(run, model, splits[model.phase])
        else:
            evaluate_untrained(run, model, splits[model.phase])


def _borrow_explicit(run: RunFolder, explicit: OnlyMeasured, splits: Splits) -> None:
    """Takes the internalized run's best model from before any removal as the explicit one."""
    level = level_folder(run.path / explicit.source, level_name(0))
    target = run.path / explicit.folder

    def borrow() -> str | None:
        if not layout.has_weights(level):
            return None
        if (target / layout.STAGE_FILE).exists():  # one that was trained
            run.old.take(target)
        link_folder(level, target / layout.MODEL)
        run.old.drop_replaced(target)
        return weights_hash(level)

    digest = run.on_main(borrow)  # other hosts may not see the levels
    if digest is None:  # it was lost with a job, while training went on
        run.say(
            "explicit: the model before any removal is not there any more; "
            "baselines.explicit=train trains one"
        )
        return
    run.share()
    evaluate_stage(run, explicit.recipe, splits, target, model_sha256=digest)


def _report_is_old(folder: Path) -> bool:
    """Whether there is no report of what the stages left; a kill may have come before it."""
    report = folder / layout.REPORT_PAGE
    files = (layout.STAGE_FILE, layout.EVALUATION_FILE, layout.LATENCY_FILE)
    made = [path for file in files for path in folder.glob(f"*/**/{file}")]
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
    write_text(recipe.folder / layout.ENVIRONMENT_FILE, json.dumps(values, indent=2))
