"""`unspoken score`: answers that exist are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unspoken.cli.options import JudgingFlags, Overwrite
from unspoken.cli.output import waiting


def score(
    *,
    input: Path,
    output: Path,
    judging: Annotated[JudgingFlags, Parameter(name="*")] = JudgingFlags(),  # noqa: B008
    overwrite: Overwrite = False,
) -> None:
    """Judge existing answers without a model.

    Parameters
    ----------
    input
        JSONL with generated and gold
    output
        the same records with pred and correct
    """
    from unspoken.measure.score import score_file
    from unspoken.report import print_metrics

    with waiting("judging"):
        metrics = score_file(input, output, overwrite, **judging.given())
    print_metrics(metrics)
    print(f"scored: {output}")
