"""Where a job's files are: its run folder, and at the end its model and report."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from unspoken.launch.container.job import ContainerError, ContainerJob
from unspoken.launch.container.whole_folders import WholeFolders
from unspoken.recipe import layout

#: What of the run folder goes with the report; models and checkpoints are on S3 already.
_REPORT = (
    layout.REPORT_PAGE, layout.REPORT_FILE, layout.RECIPE_FILE, layout.ENVIRONMENT_FILE,
    layout.PLOTS,
)  # fmt: skip
_FIGURES = (
    layout.STAGE_FILE, layout.EVALUATION_FILE, layout.LATENCY_FILE, layout.PREDICTIONS_FILE,
    layout.METRICS_FILE,
)  # fmt: skip


def place_run_folder(job: ContainerJob, say: Callable[[str], None]) -> Path:
    """unspoken/run below the root: a name for checkpoints/run on the first host, a copy elsewhere.

    It has the same name on all hosts, relative to the folder in which they work; but only one of
    them may write into the folder that SageMaker saves. SageMaker brings that one back on the
    others, too, where it is left as it is.
    """
    work = job.root / "unspoken"
    work.mkdir(parents=True, exist_ok=True)
    run = work / "run"
    if not job.is_first:
        run.mkdir(exist_ok=True)
        return run
    kept = job.root / "checkpoints" / "run"
    kept.mkdir(parents=True, exist_ok=True)
    whole = WholeFolders(kept, kept.parent / "whole.json")
    for name in whole.set_aside_broken(work / "incomplete" / str(int(time.time()))):
        say(f"{name}: came back from S3 incomplete and is not used")
    run.unlink(missing_ok=True)
    run.symlink_to(kept)
    return run


def publish(run: Path, root: Path) -> None:
    """Copies the final model to model/ and the report with its figures to output/data/.

    SM_MODEL_DIR and SM_OUTPUT_DATA_DIR win where they are set.

    Raises:
        ContainerError: the run left no model.
    """
    target = Path(os.environ.get("SM_MODEL_DIR") or root / "model")
    data = Path(os.environ.get("SM_OUTPUT_DATA_DIR") or root / "output" / "data")
    shutil.copytree(final_model(run), target, dirs_exist_ok=True)
    data.mkdir(parents=True, exist_ok=True)
    for name in _REPORT:
        source = run / name
        if source.is_dir():
            shutil.copytree(source, data / name, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy2(source, data / name)
    for source in _figures(run):
        place = data / source.relative_to(run)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, place)


def final_model(run: Path) -> Path:
    """The model that the recipe is for: the internalized one of the last phase, else the distilled.

    Raises:
        ContainerError: there is none.
    """
    for stage in (layout.INTERNALIZED, layout.DISTILLED):
        for folder in (run / stage, *reversed(layout.phase_folders(run / stage))):
            if (folder / layout.MODEL).is_dir():
                return folder / layout.MODEL
    raise ContainerError(f"{run}: the run is done, but it left no internalized or distilled model")


def _figures(run: Path) -> Iterator[Path]:
    for name in _FIGURES:
        for path in sorted(run.resolve().rglob(name)):
            relative = path.relative_to(run.resolve())
            if relative.parts[0] not in (layout.OLD, layout.DATA):
                yield run / relative
