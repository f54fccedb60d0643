"""`unspoken report`: writes report.html, report.json and plots of a run folder again."""

from __future__ import annotations

from pathlib import Path

from unspoken.cli.output import waiting
from unspoken.common.errors import DataError
from unspoken.recipe.layout import RECIPE_FILE


def report(folder: Path, *, pictures: Path | None = None) -> None:
    """Write the report of a run again.

    report.html, report.json and the plots, from what stands in the folder.

    Parameters
    ----------
    folder
        a folder that `unspoken run` made
    pictures
        folder that gets the curves as SVG files too, for a light and a dark page
    """
    from unspoken.report import print_summary, write_report

    if not (folder / RECIPE_FILE).is_file():
        raise DataError(
            f"{folder}: no recipe.yaml in it; give a run folder, such as runs/quickstart"
        )
    with waiting("drawing"):
        write_report(folder, pictures)
    print_summary(folder)
