"""Judge answers that are already written: `unspoken score`, without any model.

Reads records with `generated` (what a model wrote) and `gold` (the reference answer), adds `pred`
and `correct`, and keeps everything else. One record at a time is held in memory, and two counts of
each question.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
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
    whole solution states (GSM8K's, with `#### 18` at its end); see `unspoken.measure.grade`. What
    stood in the two before is replaced. The output appears whole or not at all.

    Args:
        input: JSONL with `generated` and `gold` in each line.
        output: where the judged records go; it may be the input if `overwrite` is true.
        overwrite: whether an existing output may be replaced.
        choices: the only answers that there are; see `unspoken.measure.choices`.

    Returns:
        `count`, `correct`, `accuracy`, `interval` (95 % Wilson, [low, high]; where records with
        `sample` 1, 2, ... follow one, see `interval_of_share`; then `num_questions` is there, too,
        and `count` is that of the samples), `no_answer` (records
        in which no answer was found), `undecided` (records of which nobody can tell; they are not
        correct), `output` and, with choices, `classes` as in evaluation.json.

    Raises:
        DataError: for a file that cannot be read as it stands, naming file:line and field.
        OutputExistsError: if the output exists and `overwrite` is false.
    """
    refuse_existing([output], overwrite=overwrite)
    counts: Counter[str] = Counter()
    classes = ClassCounts(choices or ())
    rights, sizes = array("L"), array("L")  # of each question, one sample or more

    def judged() -> Iterator[dict[str, Any]]:
        for line, record in read_jsonl(input):
            scored, gold = _scored(record, f"{input}:{line}", choices)
            if choices:
                classes.add(gold, scored["pred"])
            if not rights or record.get("sample") in (None, 0):
                rights.append(0)
                sizes.append(0)
            rights[-1] += scored["correct"]
            sizes[-1] += 1
            counts["no_answer"] += not scored["pred"]
            counts["undecided"] += scored.get("undecided") is True
            yield scored

    count = write_jsonl(output, judged(), overwrite=overwrite)
    correct, found = sum(rights), classes.to_record()
    return {
        "count": count,
        "correct": correct,
        "accuracy": correct / count,
        "interval": list(interval_of_share(rights, sizes)),
        "no_answer": counts["no_answer"],
        "undecided": counts["undecided"],
        "output": str(output),
        **({"num_questions": len(sizes)} if len(sizes) < count else {}),
        **({"classes": asdict(found)} if found else {}),
    }


def _scored(
    record: Mapping[str, Any], where: str, choices: Sequence[str] | None
) -> tuple[dict[str, Any], str]:
    """The judged record, and the gold answer that it was judged by: with choices, one of them."""
    # A model may write nothing; a question without a reference cannot be judged.
    generated = require_text(record, "generated", where, allow_empty=True)
    gold = require_answer(record, where, "gold")
    if choices:
        gold = gold_choice(gold, choices, f"{where}: gold")
    pred, _, correct, undecided = grade(generated, gold, choices)
    scored = {key: value for key, value in record.items() if key != "undecided"}
    scored |= {"pred": pred, "correct": correct}
    return (scored | {"undecided": True} if undecided else scored), gold
