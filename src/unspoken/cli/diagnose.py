"""`unspoken diagnose`: what the models of a run know, and where."""

from __future__ import annotations

from pathlib import Path

from unspoken.cli.output import say, silence_libraries
from unspoken.common.errors import SettingError
from unspoken.recipe.layout import require_writable
from unspoken.recipe.named_model import find_run


def diagnose(folder: Path, *, limit: int = 500) -> None:
    """Look into the models of a run, with pictures in its report.

    Right answers by digit at each level of removal, linear probes for the values that the thought
    held, numbers of other sizes, and whether the internalized model can still write its thought.

    Parameters
    ----------
    folder
        a folder that `unspoken run` made
    limit
        validation questions at the most; the test questions are not read
    """
    folder = find_run(folder)
    require_writable(folder)
    if limit < 1:
        raise SettingError("limit", found=limit, needed="at least 1", remedy="raise it")
    silence_libraries()
    from unspoken.report import print_diagnosis, write_report
    from unspoken.report.read.frontier import read_frontier
    from unspoken.run.diagnose import diagnose_run

    found = diagnose_run(folder, read_frontier(folder), limit=limit, say=say)
    write_report(folder)
    print_diagnosis(found, folder)
