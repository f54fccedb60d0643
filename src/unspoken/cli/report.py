"""`unspoken report`: writes report.html, report.json and plots of a run folder again."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from unspoken.cli.options import Flag
from unspoken.cli.output import say, waiting
from unspoken.recipe.layout import require_writable
from unspoken.recipe.named_model import find_run


def report(folder: Path, *, pictures: Path | None = None, browser: Flag = False) -> None:
    """Write the report of a run again.

    report.html, report.json and the plots, from what stands in the folder.

    Parameters
    ----------
    folder
        a folder that `unspoken run` made
    pictures
        folder that gets the curves as SVG files too, for a light and a dark page
    browser
        open it in a browser, too
    """
    from unspoken.report import print_summary, write_report

    folder = find_run(folder)
    require_writable(folder)
    with waiting("drawing"):
        page = write_report(folder, pictures)
    print_summary(folder)
    address = page.resolve().as_uri()
    if browser and not webbrowser.open(address):
        say(f"found no browser on this machine; open {address} in one")
