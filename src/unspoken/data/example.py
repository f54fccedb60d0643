"""Examples, read from JSONL files and written into them: each stage's first and last step.

An example is question | thought | answer. Its file has one JSON object a line with the text
fields `question`, `thought` (or `cot`), `answer` and, if it has them, `id` and `category`. Whatever
is wrong with a line is an error that names file:line and field: a bad line never disappears.

Files with other fields, such as predictions and traces, are read and written by
`unspoken.data.jsonl` alone.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from unspoken.common.errors import DataError, shorten
from unspoken.common.files import AnyPath
from unspoken.data.jsonl import (
    read_answer,
    read_jsonl,
    require_answer,
    require_text,
    write_jsonl,
)

logger = logging.getLogger(__name__)

#: What stands before the answer in the last line of a worked solution.
FINAL_ANSWER = "Final Answer:"


@dataclass(frozen=True, slots=True)
class Example:
    """One question with its worked thought and its answer, all as text.

    Attributes:
        id, category: empty where there is none; results are told per category.
    """

    question: str
    thought: str
    answer: str
    id: str = ""
    category: str = ""

    def to_record(self) -> dict[str, str]:
        """Its line in a JSONL file; an id or category that is empty is left out."""
        record = {"question": self.question, "thought": self.thought, "answer": self.answer}
        if self.category:
            record["category"] = self.category
        return {"id": self.id, **record} if self.id else record


def read_examples(
    path: AnyPath,
    *,
    limit: int | None = None,
    allow_empty_thought: bool = False,
    unique: bool = True,
) -> list[Example]:
    """Returns the examples of a JSONL file, or only the first `limit` of them.

    Raises:
        DataError: as `iter_examples` does, for the lines that are read.
    """
    if limit is not None and limit < 1:
        raise DataError(
            f"{path}: found a limit of {limit}; needed: at least 1, or no limit for all examples; "
            "raise it or leave it out"
        )
    examples = iter_examples(path, allow_empty_thought=allow_empty_thought, unique=unique)
    return list(islice(examples, limit))


def iter_examples(
    path: AnyPath, *, allow_empty_thought: bool = False, unique: bool = True
) -> Iterator[Example]:
    """Yields the examples of a JSONL file, in its order, without holding them.

    Texts are yielded as they stand in the file, blanks around them included. `cot` is taken as
    `thought` where there is no `thought`, `category` where it is text; any other field is ignored.
    Per line read, only the hash of its question is kept (a million examples: below 100 MB).

    Args:
        path: the file.
        allow_empty_thought: whether a thought may be empty.
        unique: whether each question may stand there only once; without, it may have several
            worked solutions.

    Raises:
        DataError: for a file that is missing, empty, not UTF-8 or has blank lines, for a line that
            is not a JSON object, for a field that is missing, empty or not text, and, if `unique`,
            for a question that stands in the file twice.
    """

    def numbered() -> Iterator[tuple[int, Example]]:
        for line, record in read_jsonl(path):
            yield line, _read_example(record, f"{path}:{line}", allow_empty_thought)

    if not unique:
        return (example for _, example in numbered())
    return unique_questions(path, numbered)


def _read_example(record: Mapping[str, Any], where: str, allow_empty_thought: bool) -> Example:
    thought = "cot" if "cot" in record and "thought" not in record else "thought"
    return Example(
        question=require_text(record, "question", where),
        thought=require_text(record, thought, where, allow_empty=allow_empty_thought),
        answer=require_answer(record, where),
        id=require_text(record, "id", where, allow_empty=True) if "id" in record else "",
        category=_read_category(record, where),
    )


def _read_category(record: Mapping[str, Any], where: str) -> str:
    if not isinstance(record.get("category"), str):
        return ""
    return require_text(record, "category", where, allow_empty=True)


def read_questions(
    path: AnyPath,
    *,
    limit: int | None = None,
    with_thoughts: bool = False,
    strict: bool = True,
    name: str = "",
) -> list[Example]:
    """Returns the questions of a JSONL file, or only the first `limit`; see `iter_questions`."""
    questions = iter_questions(path, with_thoughts=with_thoughts, strict=strict, name=name)
    return list(islice(questions, limit))


def iter_questions(
    path: AnyPath, *, with_thoughts: bool = False, strict: bool = True, name: str = ""
) -> Iterator[Example]:
    """Yields what is asked in an evaluation: `question` and, where they are, `answer`, `category`.

    Any thought is left out, and so is the solution in a raw GSM8K answer: of an answer with
    `####` only what follows it counts. Without `answer` the example's answer is empty.

    Args:
        path: the file.
        with_thoughts: keep `thought`, or `cot`, where it stands in a line.
        strict: as for `unique_questions`.
        name: what errors and warnings call the file; default: its path.

    Raises:
        DataError: as `iter_examples` does.
    """
    named = name or path

    def numbered() -> Iterator[tuple[int, Example]]:
        for line, record in read_jsonl(path):
            where = f"{named}:{line}"
            answer = read_answer(record, where)
            question = require_text(record, "question", where)
            thought = record.get("thought", record.get("cot")) if with_thoughts else ""
            yield (
                line,
                Example(
                    question,
                    thought if isinstance(thought, str) else "",
                    extract_gold(answer),
                    category=_read_category(record, where),
                ),
            )

    return unique_questions(named, numbered, strict=strict)


class RepeatedQuestions:
    """The questions of one file that came before, of which a warning tells; exact by a hash.

    Attributes:
        count: of the questions that came again.
    """

    def __init__(self, path: AnyPath) -> None:
        self.count = 0
        self._path = path
        self._lines: dict[bytes, int] = {}  # of the first question with this hash
        self._example = (0, 0)

    def is_new(self, line: int, question: str) -> bool:
        """Whether the question of this line came in none before."""
        digest = hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        before = self._lines.setdefault(digest, line)
        if before < line:
            self._example = self._example if self.count else (line, before)
            self.count += 1
        return before == line

    def warn(self) -> None:
        """Says how many came again, if some did: whoever asks them leaves these out."""
        if self.count:
            logger.warning(
                "%s: %s of its lines %s a question of an earlier one (line %d that of line %d); "
                "each question is asked once, as it stands first",
                self._path, f"{self.count:,}", "have" if self.count > 1 else "has", *self._example,
            )  # fmt: skip


def unique_questions(
    path: AnyPath, numbered: Callable[[], Iterator[tuple[int, Example]]], *, strict: bool = True
) -> Iterator[Example]:
    """Yields the examples of `numbered()`, each question once.

    Args:
        path: the file that the error names.
        numbered: starts reading at the first line, each time it is called; yields
            (line number, example). It is called again only to find the first of two lines.
        strict: whether a question that came before is an error; else it is left out, and a warning
            counts those of the lines that were read.

    Raises:
        DataError: if `strict`, for the second of two examples with the same question.
    """
    return _refuse_repeated(path, numbered) if strict else _leave_out_repeated(path, numbered())


def _refuse_repeated(
    path: AnyPath, numbered: Callable[[], Iterator[tuple[int, Example]]]
) -> Iterator[Example]:
    hashes: set[int] = set()
    for line, example in numbered():
        key = hash(example.question)
        if key in hashes:
            # Equal hashes are not yet equal questions: only the file itself can tell.
            same = (n for n, other in numbered() if other.question == example.question)
            first = next(same, line)
            if first < line:
                raise DataError(
                    f"{path}:{line}: question: found {shorten(example.question)}, which already "
                    f"stands in line {first}; needed: every question once; delete line {line} "
                    f"or line {first}"
                )
        hashes.add(key)
        yield example


def _leave_out_repeated(
    path: AnyPath, numbered: Iterator[tuple[int, Example]]
) -> Iterator[Example]:
    repeated = RepeatedQuestions(path)
    try:
        for line, example in numbered:
            if repeated.is_new(line, example.question):
                yield example
    finally:  # also where only the first ones were wanted
        repeated.warn()


def write_examples(path: AnyPath, examples: Iterable[Example], *, overwrite: bool = False) -> int:
    """Writes examples as JSONL, whole or not at all, and returns how many there were.

    An `id` or `category` that is empty is left out.

    Raises:
        OutputExistsError: if the file exists and `overwrite` is false.
    """
    return write_jsonl(path, (example.to_record() for example in examples), overwrite=overwrite)


def extract_solution(record: Mapping[str, Any], where: str) -> str | None:
    """Returns the worked solution in a record as a trace, or None where it has none.

    It is `cot` or `thought`, or GSM8K's `answer` with its `####`. Where it does not state the
    final answer in its last line, the line `Final Answer: ...` is added.

    Examples:
        >>> extract_solution({"question": "1 + 2", "thought": "one more than 2", "answer": "3"}, "")
        'one more than 2\\nFinal Answer: 3'
    """
    answer = read_answer(record, where)
    if "cot" in record or "thought" in record:
        field = "cot" if "cot" in record else "thought"
        solution = require_text(record, field, where, allow_empty=bool(answer)).strip()
    elif "####" in answer:
        return answer.strip()
    else:
        return None
    last = solution.rpartition("\n")[2].lower()
    if not answer or "####" in last or "final answer" in last:
        return solution
    return f"{solution}\n{FINAL_ANSWER} {extract_gold(answer)}".lstrip()


def extract_gold(answer: str) -> str:
    """Returns the gold answer: what follows `####`, or all of it."""
    return answer.rpartition("####")[2].strip()
