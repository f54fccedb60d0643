"""Vets files of traces: writes what is kept, what is rejected and which questions failed.

The last step of vetting. Files are read a line at a time, and once more where samples vote and for
the questions that failed; what must be remembered of them is on disk, in the `ledger`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unspoken.common.disk_tables import text_key
from unspoken.common.errors import DataError, SettingError
from unspoken.common.files import AnyPath, atomic_outputs, refuse_existing
from unspoken.data.jsonl import json_line
from unspoken.data.overlap import QuestionIndex
from unspoken.recipe.layout import REJECTED_FILE
from unspoken.teach.vet.by_class import ByClass, KeptOfClass, warn_of_lost_classes
from unspoken.teach.vet.jury import Jury, ledger_of
from unspoken.teach.vet.reading import Trace, read_traces
from unspoken.teach.vet.rules import VetRules


@dataclass(frozen=True)
class VetSummary:
    """What was kept and what was not.

    Attributes:
        num_traces: all that were read; num_kept and the counts in `rejected` add up to it.
        num_kept: written to `output`.
        num_questions: different ones.
        num_questions_kept: of them, with a trace that was kept.
        num_questions_leaking: of them, those of a test file.
        num_unverified: kept without a gold answer or a vote that confirms the answer.
        num_unmeasured: passed the limit of tokens because their number is not known.
        num_torn_bytes: of last lines that were cut off.
        rejected: reason -> count.
        classes: where the answers are choices, what was kept and dropped of each; a trace without
            a gold answer counts where it belongs by its own.
        output, rejected_output, failed_output: the files; the last one only if it was asked for.
    """

    num_traces: int
    num_kept: int
    num_questions: int
    num_questions_kept: int
    num_questions_leaking: int
    num_unverified: int
    num_unmeasured: int
    num_torn_bytes: int
    rejected: dict[str, int]
    classes: dict[str, KeptOfClass] | None
    output: Path
    rejected_output: Path
    failed_output: Path | None

    def warn(self) -> None:
        """Warns of classes of which few questions have a solution that was kept, or none."""
        warn_of_lost_classes(self.classes or {}, self.rejected_output)

    def to_json(self) -> dict[str, Any]:
        """The summary as plain values; paths as text."""
        values = asdict(self)
        return {key: str(v) if isinstance(v, Path) else v for key, v in values.items()}


def vet_traces(
    inputs: Sequence[AnyPath],
    output: AnyPath,
    rules: VetRules | None = None,
    *,
    test: Sequence[AnyPath] = (),
    rejected: AnyPath | None = None,
    failed: AnyPath | None = None,
    overwrite: bool = False,
) -> VetSummary:
    """Keeps the traces that a student may learn from; returns how many, and why no others.

    The files appear together, whole or not at all. A kept record has id (if it had one), question,
    thought, answer (the gold one where there is one), cot and the further fields of its question,
    such as category. A rejected one is whole, with `reason` and `detail`. Both files are in the
    order of the inputs.

    Args:
        inputs: JSONL with question and cot and, if known, answer, id, num_tokens, stopped and
            finish_reason, as `unspoken generate` writes it. The samples of one question count
            together, also from several files.
        output: the dataset.
        rules: which traces are kept; default: those that are complete, right and of no test
            question.
        test: JSONL files whose questions must not be among the inputs'.
        rejected: default: rejected.jsonl beside the output.
        failed: for the questions without any trace kept, to be asked again; without those that
            leak.
        overwrite: replace the files.

    Raises:
        DataError: for an input or test file that cannot be read, naming file:line and field, and
            for a file that is named twice.
        OutputExistsError: for a file that exists if `overwrite` is false.
    """
    rules = rules or VetRules()
    output = Path(output)
    rejected_path = Path(rejected) if rejected is not None else output.with_name(REJECTED_FILE)
    outputs = [output, rejected_path, *([Path(failed)] if failed is not None else [])]
    _refuse_same(inputs, test, outputs)
    for path, name in zip(outputs, (None, "rejected", "failed"), strict=False):
        refuse_existing([path], overwrite=overwrite, named=name)
    index = QuestionIndex(test, rules.overlap) if test else None
    by_class = ByClass(rules.choices or ())
    with ExitStack() as stack:
        ledger = stack.enter_context(ledger_of(rules, read_traces(inputs, rules.choices)))
        jury = Jury(rules, index=index, ledger=ledger)
        # The dataset is the last to take its name: where it is, all the others are.
        kept_file, rejected_file, *failed_file = stack.enter_context(
            atomic_outputs(outputs, overwrite=overwrite)
        )
        for trace in read_traces(inputs, rules.choices):
            verdict = jury.judge(trace)
            by_class.add(trace, verdict)
            if verdict is None and isinstance(trace, Trace):
                kept_file.write(json_line(trace.to_example()))
            elif verdict is not None:
                rejected_file.write(json_line({**trace.record, **verdict._asdict()}))
        for file in failed_file:
            for record in _iter_failed(inputs, jury):
                file.write(json_line(record))
        failed_path = outputs[2] if failed is not None else None
        by_class.add_questions(ledger)
        return _summarize(jury, by_class.classes or None, output, rejected_path, failed_path)


def _summarize(
    jury: Jury,
    classes: dict[str, KeptOfClass] | None,
    output: Path,
    rejected_output: Path,
    failed_output: Path | None,
) -> VetSummary:
    """What a jury has found, once all traces were judged."""
    num_questions, num_questions_kept, num_questions_leaking = jury.ledger.count_questions()
    return VetSummary(
        num_traces=jury.num_kept + sum(jury.rejected.values()),
        num_kept=jury.num_kept,
        num_questions=num_questions,
        num_questions_kept=num_questions_kept,
        num_questions_leaking=num_questions_leaking,
        num_unverified=jury.num_unverified,
        num_unmeasured=jury.num_unmeasured,
        num_torn_bytes=jury.num_torn_bytes,
        rejected=dict(jury.rejected.most_common()),
        classes=classes,
        output=output,
        rejected_output=rejected_output,
        failed_output=failed_output,
    )


def _refuse_same(
    inputs: Sequence[AnyPath], test: Sequence[AnyPath], outputs: Sequence[Path]
) -> None:
    """Sees to it that no trace is read twice, and nothing that is read is replaced."""
    if not inputs:
        raise SettingError("input", found="no file", needed="files of traces", remedy="name them")
    seen: set[Path] = set()
    for path in [*map(Path, inputs), *{Path(path).resolve() for path in test}, *outputs]:
        if path.resolve() in seen:
            raise DataError(f"{path}: found it twice; needed: every file once; name another")
        seen.add(path.resolve())


def _iter_failed(inputs: Sequence[AnyPath], jury: Jury) -> Iterator[dict[str, Any]]:
    """Yields the record of each question without a trace that was kept, once, without leaks."""
    ledger = jury.ledger
    num_questions, num_kept, _ = ledger.count_questions()
    if num_questions == num_kept:
        return
    for trace in read_traces(inputs):
        if not isinstance(trace, Trace) or ledger.num_kept_of(trace.key) or ledger.leak(trace.key):
            continue
        if not ledger.ask_once(trace.key):
            continue
        record = trace.to_question()
        # unspoken generate takes the index for a missing id, and refuses an id that it met before:
        # here both would happen where the inputs answer several sets of questions.
        name = record.get("id", trace.key.hex()[:8])
        if not ledger.ask_once(text_key("id", name)):
            name += f"-{trace.key.hex()[:8]}"
            ledger.ask_once(text_key("id", name))
        yield {**record, "id": name}
