"""Judge answers that are already written: `unspoken score`, without any model.

Reads records with `generated` (what a model wrote) and `gold` (the reference answer), adds `pred`
and `correct`, and keeps everything else. One record at a time is held in memory, and two counts of
each question.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from unspoken.common.files import AnyPath, refuse_existing
from unspoken.data.jsonl import read_jsonl, require_answer, require_text, write_jsonl
from unspoken.measure.choices import ClassCounts
from unspoken.measure.grade import gold_choice, grade
from unspoken.measure.stats import interval_of_share


def score_file(
    input: AnyPath,
    output: AnyPath,
    overwrite: bool = False,
    *,
    choices: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Judges a JSONL file, writes the judged records, and returns a summary.

    The records keep their order, their fields and the fields' places. `pred` is the answer found
    in `generated`; `correct` says whether it equals `gold`, or the answer that a `gold` which is a
    whole solution states (GSM8K's, with `#### 18` at its end); see `unspoken.measure.grade`. It is
    null where `gold` is, as `unspoken evaluate` writes them. What stood in the two before is
    replaced. The output appears whole or not at all.

    Args:
        input: JSONL with `generated` and `gold` in each line.
        output: where the judged records go; it may be the input if `overwrite` is true.
        overwrite: whether an existing output may be replaced.
        choices: the only answers that there are; see `unspoken.measure.choices`.

    Returns:
        `count`, `correct`, `accuracy` and `interval` of the records with a gold answer (None where
        none has one; 95 % Wilson, [low, high], or `interval_of_share` where records with `sample`
        1, 2, ... follow one), `no_answer` (records in which no answer was found), `undecided`
        (records of which nobody can tell; they are not correct), `output` and, with choices,
        `classes` as in evaluation.json. Where some have no gold answer, `num_graded` counts those
        that have one; where questions have several samples, `num_questions` counts them.

    Raises:
        DataError: for a file that cannot be read as it stands, naming file:line and field.
        OutputExistsError: if the output exists and `overwrite` is false.
    """
    refuse_existing([output], overwrite=overwrite)
    counts = _Counts(ClassCounts(choices) if choices else None)

    def judged() -> Iterator[dict[str, Any]]:
        for line, record in read_jsonl(input):
            scored, gold = _scored(record, f"{input}:{line}", choices)
            counts.add(scored, gold)
            yield scored

    write_jsonl(output, judged(), overwrite=overwrite)
    found = counts.classes and counts.classes.to_record()
    return {
        **counts.figures(),
        "output": str(output),
        **({"classes": asdict(found)} if found else {}),
    }


@dataclass
class _Counts:
    """What judged records amount to; `rights` and `sizes` are of each question's graded ones."""

    classes: ClassCounts | None
    others: Counter[str] = field(default_factory=Counter)
    rights: array[int] = field(default_factory=lambda: array("L"))
    sizes: array[int] = field(default_factory=lambda: array("L"))

    def add(self, scored: Mapping[str, Any], gold: str | None) -> None:
        """Counts a record; the samples of a question follow each other, from 0 on."""
        is_first = scored.get("sample") in (None, 0) or not self.others["questions"]
        self.others["records"] += 1
        self.others["questions"] += is_first
        self.others["no_answer"] += not scored["pred"]
        self.others["undecided"] += scored.get("undecided") is True
        if gold is None:
            return
        if self.classes is not None:
            self.classes.add(gold, scored["pred"])
        if is_first or not self.rights:
            self.rights.append(0)
            self.sizes.append(0)
        self.rights[-1] += scored["correct"]
        self.sizes[-1] += 1

    def figures(self) -> dict[str, Any]:
        """As `score_file` returns them."""
        count, num_questions = self.others["records"], self.others["questions"]
        correct, graded = sum(self.rights), sum(self.sizes)
        return {
            "count": count,
            **({"num_graded": graded} if graded < count else {}),
            **({"num_questions": num_questions} if num_questions < count else {}),
            "correct": correct,
            "accuracy": correct / graded if graded else None,
            "interval": list(interval_of_share(self.rights, self.sizes)) if graded else None,
            "no_answer": self.others["no_answer"],
            "undecided": self.others["undecided"],
        }


def _scored(
    record: Mapping[str, Any], where: str, choices: Sequence[str] | None
) -> tuple[dict[str, Any], str | None]:
    """The judged record, and the gold answer that it was judged by: with choices, one of them."""
    # A model may write nothing; that a reference is not known has to be said.
    generated = require_text(record, "generated", where, allow_empty=True)
    is_known = "gold" not in record or record["gold"] is not None
    gold = require_answer(record, where, "gold") if is_known else None
    if choices and gold is not None:
        gold = gold_choice(gold, choices, f"{where}: gold")
    pred, _, correct, undecided = grade(generated, gold, choices)
    scored = {key: value for key, value in record.items() if key != "undecided"}
    scored |= {"pred": pred, "correct": correct}
    return (scored | {"undecided": True} if undecided else scored), gold
