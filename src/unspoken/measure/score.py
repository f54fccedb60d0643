"""Judge answers that are already written: `unspoken score`, without any model.

Reads records with `generated` (what a model wrote) and `gold` (the reference answer), adds `pred`
and `correct`, and keeps everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from unspoken.common.files import AnyPath, refuse_existing
from unspoken.data.jsonl import read_jsonl, require_text, write_jsonl
from unspoken.measure.grade import grade
from unspoken.measure.stats import Proportion


def score_records(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns copies of the records with `pred` and `correct`, in the same order.

    `pred` is the answer found in `generated`; `correct` says whether it equals `gold`, or the
    answer that a `gold` which is a whole solution states (GSM8K's, with `#### 18` at its end); see
    `unspoken.measure.grade`. Values of `pred` and `correct` that are there already are
    replaced; their places and all other fields stay.

    Raises:
        DataError: for a field that is missing or not text, naming the record by its number.

    Example:
        >>> score_records([{"generated": "Final Answer: $36", "gold": "36"}])[0]["correct"]
        True
    """
    return [_scored(record, f"record {n}") for n, record in enumerate(records, start=1)]


def score_file(input: AnyPath, output: AnyPath, overwrite: bool = False) -> dict[str, Any]:
    """Judges a JSONL file, writes the judged records, and returns a summary.

    The output appears whole or not at all.

    Args:
        input: JSONL with `generated` and `gold` in each line.
        output: where the judged records go; it may be the input if `overwrite` is true.
        overwrite: whether an existing output may be replaced.

    Returns:
        `count`, `correct`, `accuracy`, `interval` (95 % Wilson, [low, high]), `no_answer` (records
        in which no answer was found) and `output`.

    Raises:
        DataError: for a file that cannot be read as it stands, naming file:line and field.
        OutputExistsError: if the output exists and `overwrite` is false.
    """
    refuse_existing([output], overwrite=overwrite)
    scored = [_scored(record, f"{input}:{line}") for line, record in read_jsonl(input)]
    write_jsonl(output, scored, overwrite=overwrite)
    right = Proportion(sum(record["correct"] for record in scored), len(scored))
    return {
        "count": right.trials,
        "correct": right.successes,
        "accuracy": right.value,
        "interval": list(right.interval),
        "no_answer": sum(not record["pred"] for record in scored),
        "output": str(output),
    }


def _scored(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    # A model may write nothing; a question without a reference cannot be judged.
    generated = require_text(record, "generated", where, allow_empty=True)
    gold = require_text(record, "gold", where)
    pred, _, correct = grade(generated, gold)
    return {**record, "pred": pred, "correct": correct}
