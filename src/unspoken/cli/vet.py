"""`unspoken vet`: traces -> dataset, and what to print about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unspoken.cli.options import Flag, Overwrite

if TYPE_CHECKING:
    from unspoken.teach.vet import VetSummary

Paths = Annotated[list[Path], Parameter(consume_multiple=True, negative="")]


def vet(
    *,
    input: Paths,
    output: Path,
    test: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative="")] = None,
    rejected: Path | None = None,
    failed: Path | None = None,
    majority: Flag = False,
    max_tokens: int | None = None,
    pattern: str | None = None,
    overlap: float | None = None,
    max_per_question: int | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Keep the traces that a student may learn from: complete, right, and of no test question.

    Parameters
    ----------
    input
        Traces: JSONL with question and cot; several files count together, such as retries.
    output
        Dataset: JSONL with question, thought, answer and cot.
    test
        Test files; traces of their questions are rejected.
    rejected
        The other traces, with reason and detail (default: rejected.jsonl beside OUTPUT).
    failed
        Questions without any trace kept, for unspoken generate --input.
    majority
        Without a gold answer, keep only traces whose answer has the most votes, at least two,
        among the samples of its question.
    max_tokens
        Reject longer traces.
    pattern
        Regular expression that a whole thought must match; (?s) lets a dot match line ends.
    overlap
        A question is a test question if it calculates with the same numbers and shares this part
        of its words in runs of eight (default 0.5; without numbers at least 0.8).
    max_per_question
        Keep so many traces of each question.
    """
    from unspoken.data.overlap import OVERLAP
    from unspoken.teach.vet import VetRules, vet_traces

    rules = VetRules(
        majority=majority,
        max_tokens=max_tokens,
        pattern=pattern,  # pyright: ignore[reportArgumentType]  # a text is compiled
        overlap=OVERLAP if overlap is None else overlap,
        max_per_question=max_per_question,
    )
    summary = vet_traces(
        input,
        output,
        rules,
        rejected=rejected,
        failed=failed,
        test=test or (),
        overwrite=overwrite,
    )
    print("\n".join(summary_lines(summary)))


def summary_lines(summary: VetSummary) -> list[str]:
    """What a run tells at its end."""
    num_rejected = sum(summary.rejected.values())
    num_failed = summary.num_questions - summary.num_questions_kept
    lines = [
        f"{summary.output}: {summary.num_kept:,} of {summary.num_traces:,} traces, for "
        f"{summary.num_questions_kept:,} of {summary.num_questions:,} questions",
        f"{summary.rejected_output}: {num_rejected:,} rejected",
        *(f"  {reason}: {count:,}" for reason, count in summary.rejected.items()),
    ]
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
