"""`unspoken data ...`: make or convert data sets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from unspoken.cli.options import Flag, Overwrite
from unspoken.cli.output import waiting
from unspoken.recipe.sections import SIZES, read_sizes, split_names

#: Values of a column that are printed with their counts.
_SHOWN = 20


def multiplication(
    *,
    digits: Annotated[list[str], Parameter(consume_multiple=True)],
    output: Path,
    num_train: int = 808_000,
    num_valid: int = 1_000,
    num_test: int = 1_000,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Multiplications, worked out.

    Solutions as the paper has them, with the digits in reverse.

    Parameters
    ----------
    digits
        digits of both factors, such as 3x2; several mix, such as 2x2 3x2 4x4
    output
        folder for train.jsonl, valid.jsonl, test.jsonl and dataset.json
    num_train
        training examples; no question stands in two splits
    num_valid
        validation examples
    num_test
        held-out test examples
    seed
        same seed, same files
    """
    from unspoken.data.tasks.multiplication import write_multiplication

    sizes = read_sizes(digits)
    with waiting("writing"):
        counts = (num_train, num_valid, num_test)
        description = write_multiplication(output, sizes, *counts, seed=seed, overwrite=overwrite)
    _print_counts(description, output)


def arithmetic(
    *,
    output: Path = Path("data"),
    num_train: int = SIZES["arithmetic"]["num_train"],
    num_test: int = SIZES["arithmetic"]["num_test"],
    num_valid: int = SIZES["arithmetic"]["num_valid"],
    difficulty: Literal["easy", "medium", "hard"] = "medium",
    categories: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    with_thoughts: Flag = False,
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Questions of six categories.

    From arithmetic to ratios, for a teacher to answer.

    Parameters
    ----------
    output
        folder for raw_questions.jsonl, test_questions.jsonl and dataset.json
    num_train
        questions in raw_questions.jsonl; none stands in both files
    num_test
        questions in test_questions.jsonl
    num_valid
        with_thoughts: examples in valid.jsonl
    difficulty
        size of the numbers and number of steps
    categories
        only these: arithmetic, percentages, algebra, word_problems, fractions, ratios
    with_thoughts
        write train.jsonl, valid.jsonl and test.jsonl with worked solutions instead
    seed
        same seed, same files
    """
    from unspoken.data.tasks.arithmetic import write_arithmetic

    with waiting("writing"):
        description = write_arithmetic(
            output,
            num_train=num_train,
            num_test=num_test,
            num_valid=num_valid,
            difficulty=difficulty,
            categories=None if categories is None else split_names(" ".join(categories)),
            seed=seed,
            with_thoughts=with_thoughts,
            overwrite=overwrite,
        )
    for name in description["sha256"]:
        print(output / name)


def gsm8k(
    *,
    output: Path,
    source: Annotated[str | None, Parameter(name=["--source", "--input"])] = None,
    thought: Literal["equations", "sentences"] = "equations",
    num_valid: int = SIZES["gsm8k"]["num_valid"],
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """GSM8K as question, thought and answer.

    Parameters
    ----------
    output
        folder for train.jsonl, valid.jsonl, test.jsonl and dataset.json
    source
        folder with the raw train.jsonl and test.jsonl (default: the hub)
    thought
        equations, as the paper has them, or sentences
    num_valid
        validation examples, taken out of the training split
    seed
        same seed, same files
    """
    from unspoken.data.tasks.gsm8k import write_gsm8k

    with _reading("reading and writing"):
        description = write_gsm8k(
            output, source, thought, num_valid=num_valid, seed=seed, overwrite=overwrite
        )
    _print_counts(description, output)


def questions(
    *,
    input: str,
    output: Path,
    subset: str | None = None,
    split: str = "train",
    question_field: str = "question",
    answer_field: str = "answer",
    thought_field: str = "thought",
    limit: int | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Questions of a data set or table.

    Of the Hugging Face hub, a folder or a file, as JSONL that unspoken reads.

    Parameters
    ----------
    input
        hub name, folder (save_to_disk, parquet, ...), or .jsonl, .json, .csv, .parquet file
    output
        JSONL with question, answer where there is one, and what else is text or a number
    subset
        of a hub data set, such as main
    split
        of a data set
    question_field
        the column with the questions
    answer_field
        the column with the gold answers, if there is one
    thought_field
        the column with the steps to them, if there is one
    limit
        only the first questions
    """
    from unspoken.common.files import refuse_existing
    from unspoken.data.jsonl import write_jsonl
    from unspoken.data.questions import read_questions_from

    refuse_existing([output], overwrite=overwrite, inputs=[input])
    with _reading("reading"):
        records = read_questions_from(
            input,
            subset=subset,
            split=split,
            question_field=question_field,
            answer_field=answer_field,
            thought_field=thought_field,
        )
        count = write_jsonl(output, records[:limit], overwrite=overwrite)
    print(f"{output}: {count:,} questions")


def split(
    *,
    input: str,
    output: Path,
    test: float = 0.2,
    valid: float = 0.0,
    by: str | None = None,
    question_field: str = "question",
    answer_field: str = "answer",
    thought_field: str = "thought",
    seed: int = 0,
    overwrite: Overwrite = False,
) -> None:
    """Divide questions of your own.

    Into train.jsonl, valid.jsonl and test.jsonl, at random, no question in two of them, however it
    is written.

    Parameters
    ----------
    input
        .jsonl, .json, .csv, .tsv, .parquet file or folder, as for unspoken data questions
    output
        folder for the files, and for dataset.json
    test
        below 1: this share of the questions; else so many of them
    valid
        the same for a file to validate with; 0: none
    by
        a field, such as a category, whose values have the same share in every file
    question_field
        the column with the questions
    answer_field
        the column with the gold answers, if there is one
    thought_field
        the column with the steps to them, if there is one
    seed
        same seed, same files
    """
    from unspoken.common.files import refuse_existing
    from unspoken.data.jsonl import json_line, write_dataset
    from unspoken.data.questions import read_questions_from
    from unspoken.data.split import split_records

    names = {question_field: "question", answer_field: "answer", thought_field: "thought"}
    field = names.get(by or "", by)
    settings = {"source": input, "seed": seed, "by": by, "test": test, "valid": valid}
    written = [output / f"{name}.jsonl" for name in ("train", "valid", "test")]
    refuse_existing(written, overwrite=True, inputs=[input])
    with _reading("dividing"):
        records = read_questions_from(
            input,
            question_field=question_field,
            answer_field=answer_field,
            thought_field=thought_field,
        )
        parts = split_records(records, {"test": test, "valid": valid}, seed=seed, by=field)
        lines = {name: map(json_line, part) for name, part in parts.items()}
        description = write_dataset(output, lines, settings, overwrite=overwrite)
    _print_counts(description, output)
    _print_repeated(records)
    if field is not None:
        _print_values(by or field, [str(record[field]) for record in records])


def icot(*, input: Path, output: Path, overwrite: Overwrite = False) -> None:
    """Convert the paper's .txt files to JSONL, or back.

    Their lines are `question||thought #### answer`.

    Parameters
    ----------
    input
        a .txt file in the paper's form, or JSONL
    output
        its suffix gives the direction: .jsonl or .txt
    """
    from unspoken.data.tasks.icot import convert

    with waiting("converting"):
        count = convert(input, output, overwrite=overwrite)
    print(f"{output}: {count:,} examples")


def _print_repeated(records: Sequence[Mapping[str, Any]]) -> None:
    from unspoken.data.leaks import normalize

    num_again = len(records) - len({normalize(record["question"]) for record in records})
    if num_again:
        print(f"{num_again:,} of them ask again what an earlier one asks, and went where that is")


def _print_values(name: str, values: Sequence[str]) -> None:
    """The values of a column with their counts, in which a typo shows."""
    counts = Counter(values).most_common()
    shown = ", ".join(f"{value} {count:,}" for value, count in counts[:_SHOWN])
    more = len(counts) - _SHOWN
    print(f"{name}: {shown}{f' and {more:,} other values' if more > 0 else ''}")


def _print_counts(description: dict[str, Any], output: Path) -> None:
    for name, count in description["counts"].items():
        print(f"{output / name}.jsonl: {count:,} examples")


def _reading(text: str) -> AbstractContextManager[object]:
    """`waiting` without the bars of datasets and the hub's client, which would be drawn over it."""
    for library in ("DATASETS", "HUB"):
        os.environ.setdefault(f"HF_{library}_DISABLE_PROGRESS_BARS", "1")
    return waiting(text)
