"""`unspoken compare`: two runs on the same questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from unspoken.cli.options import Overwrite
from unspoken.cli.output import waiting

if TYPE_CHECKING:
    from unspoken.measure.compare import Comparison
    from unspoken.measure.paired import Paired


def compare(
    first: Path, second: Path, /, *, output: Path | None = None, overwrite: Overwrite = False
) -> None:
    """Compare answers to the same questions.

    Of two models, with the difference and its interval.

    Parameters
    ----------
    first
        predictions, A: a file of unspoken evaluate or score, a run, or one of its models, such as
        runs/quickstart:explicit
    second
        predictions, B
    output
        write the figures as JSON, too
    """
    from unspoken.common.files import atomic_output, refuse_existing
    from unspoken.measure.compare import compare_predictions

    if output is not None:
        refuse_existing([output], overwrite=overwrite, inputs=[first, second])
    with waiting("comparing"):
        comparison = compare_predictions(first, second)
    if output is not None:
        with atomic_output(output, overwrite=overwrite) as file:
            text = json.dumps(comparison.to_json(), indent=2, ensure_ascii=False)
            file.write(text.encode() + b"\n")
    print("\n".join(comparison_lines(comparison)))
    if output is not None:
        print(f"comparison: {output}")


def comparison_lines(comparison: Comparison) -> list[str]:
    """What `unspoken compare` tells."""
    from unspoken.report.show import numbers
    from unspoken.report.show.summary import table_lines

    overall = comparison.overall
    both = (overall.first, overall.second)
    rows = [
        ("", "A", "B"),
        ("accuracy", *(numbers.percent(side.accuracy) for side in both)),
        ("95 % interval", *(numbers.percent_range(side.interval) for side in both)),
        ("right here only", *(numbers.whole(side.num_only) for side in both)),
        ("mean tokens", *(numbers.mean(side.mean_tokens) for side in both)),
    ]
    left_out = [
        (comparison.num_only_in_first, "in A only"),
        (comparison.num_only_in_second, "in B only"),
        (comparison.num_ungraded, "without a gold answer"),
        (comparison.num_other_gold, "with another gold answer in B"),
    ]
    notes = "; ".join(f"{count:,} {why}" for count, why in left_out if count)
    lines = [
        f"A: {comparison.first}",
        f"B: {comparison.second}",
        f"questions: {overall.num_questions:,}" + (f" (left out: {notes})" if notes else ""),
        "",
        *table_lines(rows),
        "",
        f"B - A: {_points(overall)} points, 95 % interval {_points_range(overall)}; "
        f"p = {overall.p_value:.3g} (McNemar)",
    ]
    if comparison.categories:
        lines += ["", *table_lines(_category_rows(comparison))]
    return [line.replace("\u00a0", " ").replace(numbers.DASH, "-") for line in lines]


def _category_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    from unspoken.report.show import numbers

    header = ("category", "questions", "A", "B", "B - A", "95 % interval", "p")
    rows = [
        (
            name,
            numbers.whole(paired.num_questions),
            numbers.percent(paired.first.accuracy),
            numbers.percent(paired.second.accuracy),
            _points(paired),
            _points_range(paired),
            f"{paired.p_value:.2g}",
        )
        for name, paired in comparison.categories.items()
    ]
    return [header, *rows]


def _points(paired: Paired) -> str:
    return f"{100 * paired.difference:+.1f}"


def _points_range(paired: Paired) -> str:
    low, high = paired.interval
    return f"{100 * low:+.1f} to {100 * high:+.1f}"
