"""The authors' files: `question||chain of thought #### answer`, one example a line.

Texts are taken as they stand, odd spacing included, so that a file goes to JSONL and back
without losing a byte, as long as it is written as theirs are: `||` without blanks of its own, one
blank on either side of `####`, LF line ends. Other spacing around `####` is read, too, and comes
back in that form. Some of their GSM8K lines have an empty thought; it stays empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from unspoken.common.errors import DataError, setting
from unspoken.common.files import AnyPath, atomic_output, refuse_existing
from unspoken.data.example import Example, iter_examples, unique_questions, write_examples
from unspoken.data.jsonl import kind_of_name, read_lines, require_text

_FORM = "question||thought #### answer"


def parse_line(line: str, where: str = "line") -> Example:
    """Returns the example of one line, without its line end.

    The question ends at the first `||`, the answer starts after the last `####`.

    Args:
        line: such as `2 1 * 3||6 3 0 #### 6 3 0`.
        where: the place that an error names, such as "train.txt:7".

    Raises:
        DataError: for a line without `||` or `####`, or with an empty question or answer.
    """
    question, bars, rest = line.partition("||")
    thought, hashes, answer = rest.rpartition("####")
    for mark, found in (("||", bars), ("####", hashes)):
        if not found:
            after = " after '||'" if mark == "####" else ""
            raise DataError(
                f"{where}: found no '{mark}'{after} in {line[:60]!r}; needed: '{_FORM}'; "
                "correct the line or delete it"
            )
    record = {
        "question": question,
        "thought": thought.removesuffix(" "),
        "answer": answer.removeprefix(" "),
    }
    return Example(
        question=require_text(record, "question", where),
        thought=record["thought"],
        answer=require_text(record, "answer", where),
    )


def format_line(example: Example, where: str = "example") -> str:
    """Returns the line of an example, without a line end; its id has no place there.

    Args:
        example: the example.
        where: the place that an error names, such as "train.jsonl:7".

    Raises:
        DataError: if the example would not come back from its line.
    """
    forbidden = {
        "question": ("||", "\n", "\r"),
        "thought": ("\n", "\r"),
        "answer": ("####", "\n", "\r"),
    }
    for field, marks in forbidden.items():
        # a | at the end of a question makes the first two of three
        text = getattr(example, field) + "|" * (field == "question")
        for mark in marks:
            if mark in text:
                raise DataError(
                    f"{where}: {field}: found {mark!r}; needed: text that fits one line "
                    f"'{_FORM}'; take it out, or keep the data as JSONL"
                )
    return f"{example.question}||{example.thought} #### {example.answer}"


def iter_lines(path: AnyPath, *, strict: bool = True) -> Iterator[Example]:
    """Yields the examples of a file of such lines.

    `strict` is that of `unique_questions`.

    Raises:
        DataError: as `parse_line`, for what `unspoken.data.jsonl.read_lines` refuses, and, if
            `strict`, for a question that stands in the file twice.
    """

    def numbered() -> Iterator[tuple[int, Example]]:
        for line, text in read_lines(path, needed=f"'{_FORM}' lines"):
            yield line, parse_line(text, f"{path}:{line}")

    return unique_questions(path, numbered, strict=strict)


def convert(
    input: AnyPath, output: AnyPath, *, strict: bool = True, overwrite: bool = False
) -> int:
    """Converts the authors' lines (.txt) to JSONL (.jsonl) or back; returns how many examples.

    The suffix of the output says which. On the way to .txt, ids and additional fields are lost.

    Args:
        input, output: the files.
        strict: for .txt, as in `unique_questions`.
        overwrite: whether the output may be replaced.

    Raises:
        DataError: for a line that cannot be read or written, or suffixes that do not tell the
            direction.
        OutputExistsError: if the output exists and `overwrite` is false.
    """
    source, target = Path(input), Path(output)
    direction = (kind_of_name(source), target.suffix.lower())
    if direction not in ((".txt", ".jsonl"), (".jsonl", ".txt")):
        raise DataError(
            f"{setting('output', target)}: found {direction[0] or 'no suffix'} -> "
            f"{direction[1] or 'no suffix'}; needed: .txt -> .jsonl or .jsonl -> .txt; "
            "rename the files so that their suffixes say what they hold"
        )
    refuse_existing([target], overwrite=overwrite)
    if direction[1] == ".jsonl":
        return write_examples(target, iter_lines(source, strict=strict), overwrite=overwrite)
    count = 0
    with atomic_output(target, overwrite=overwrite) as file:
        # Blank lines being refused, the count of examples is the line number.
        for count, example in enumerate(iter_examples(source, allow_empty_thought=True), start=1):
            file.write(format_line(example, f"{source}:{count}").encode("utf-8") + b"\n")
    return count
