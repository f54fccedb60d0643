"""`unspoken run`: every stage of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unspoken.cli.options import Overwrite, quiet
from unspoken.parallel.world import is_main_process

if TYPE_CHECKING:
    from unspoken.recipe import Recipe


def run(
    recipe: Path,
    *overrides: str,
    start: Annotated[str | None, Parameter(name="--from")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Run every stage of a recipe: data, teacher, traces, training, evaluation, report.

    What is done is skipped, what is half done goes on where it stopped. Where settings or inputs
    have changed, a stage runs again, and so does what depends on it; what was there before is
    kept in the run folder's old/.

    Parameters
    ----------
    recipe
        YAML file, such as recipes/quickstart.yaml.
    overrides
        section.key=value, such as train.learning_rate=1e-4 output=runs/second.
    start
        Run again from this stage on: data, teacher, generate, vet, distil, internalize, baselines,
        evaluate or report.
    overwrite
        Replace what runs again instead of keeping it in old/.
    """
    from unspoken.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    run_and_report(loaded, overwrite, start)


def run_and_report(
    loaded: Recipe, overwrite: bool, start: str | None = None, resume: Path | None = None
) -> None:
    """Runs a recipe and prints what came out."""
    quiet()
    from unspoken.common.machine import command_line
    from unspoken.report import print_summary
    from unspoken.run.run import run_recipe

    page = run_recipe(
        loaded, command=command_line(), overwrite=overwrite, start=start, resume=resume, say=_say
    )
    if is_main_process():
        print_summary(page.parent)


def _say(text: str) -> None:
    print(text, flush=True)
