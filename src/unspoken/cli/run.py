"""`unspoken run`: every stage of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unspoken.cli.options import Replace
from unspoken.cli.running import run_and_report


def run(
    recipe: Path,
    *overrides: str,
    start: Annotated[str | None, Parameter(name="--from")] = None,
    overwrite: Replace = False,
) -> None:
    """Run every stage of a recipe, or go on with it.

    Data, teacher, traces, training, evaluation, report: what is done is skipped, what is half done
    goes on where it stopped. Where settings or inputs have changed, a stage runs again, and so does
    what depends on it; what was there before is kept in the run folder's old/.

    Parameters
    ----------
    recipe
        YAML file, or name of a recipe that unspoken recipes lists
    overrides
        section.key=value, such as train.learning_rate=1e-4 output=runs/second
    start
        run again from this stage on: data, teacher, generate, vet, distil, internalize, baselines,
        frontier, evaluate, latency or report
    """
    from unspoken.recipe import load_to_run

    run_and_report(load_to_run(recipe, overrides), overwrite=overwrite, start=start)
