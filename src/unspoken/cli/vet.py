"""`unspoken vet`: traces -> dataset, and what to print about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unspoken.cli.options import Overwrite, VettingFlags
from unspoken.cli.output import waiting

if TYPE_CHECKING:
    from unspoken.teach.vet import VetSummary

Paths = Annotated[list[Path], Parameter(consume_multiple=True)]


def vet(
    *,
    input: Paths,
    output: Path,
    test: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    rejected: Path | None = None,
    failed: Path | None = None,
    rules: Annotated[VettingFlags, Parameter(name="*")] = VettingFlags(),  # noqa: B008
    overwrite: Overwrite = False,
) -> None:
    """Keep the traces that a student may learn from.

    Complete, right, and of no test question; every other one is kept aside with a reason.

    Parameters
    ----------
    input
        traces: JSONL with question and cot; several files count together, such as retries
    output
        dataset: JSONL with question, thought, answer and cot
    test
        test files; traces of their questions are rejected
    rejected
        the other traces, with reason and detail (default: rejected.jsonl beside OUTPUT)
    failed
        questions without any trace kept, for unspoken generate --input
    """
    from unspoken.teach.vet import VetRules, vet_traces

    own = VetRules(**rules.given())
    with waiting("vetting"):
        summary = vet_traces(
            input,
            output,
            own,
            rejected=rejected,
            failed=failed,
            test=test or (),
            overwrite=overwrite,
        )
    print("\n".join(summary_lines(summary)), flush=True)
    summary.warn()


def summary_lines(summary: VetSummary) -> list[str]:
    """What a run tells at its end."""
    from unspoken.teach.vet.by_class import class_lines

    num_rejected = sum(summary.rejected.values())
    num_failed = summary.num_questions - summary.num_questions_kept
    lines = [
        f"{summary.output}: {summary.num_kept:,} of {summary.num_traces:,} traces, for "
        f"{summary.num_questions_kept:,} of {summary.num_questions:,} questions",
        f"{summary.rejected_output}: {num_rejected:,} rejected",
        *(f"  {reason}: {count:,}" for reason, count in summary.rejected.items()),
    ]
    if summary.classes:
        lines += ["by class:", *class_lines(summary.classes)]
    if summary.failed_output is not None:
        num_leaking = summary.num_questions_leaking
        lines.append(
            f"{summary.failed_output}: {num_failed - num_leaking:,} questions to ask again"
        )
    if summary.num_unverified:
        lines.append(f"unverified, without a gold answer: {summary.num_unverified:,} of those kept")
    if summary.num_unmeasured:
        lines.append(
            f"of unknown length, so not held to max_tokens: {summary.num_unmeasured:,} of those "
            "kept"
        )
    if summary.num_torn_bytes:
        lines.append(f"torn last lines: {summary.num_torn_bytes:,} bytes")
    return lines
