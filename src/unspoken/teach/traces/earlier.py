"""Earlier traces that answer what is asked now: what was paid for once is not asked again.

Where questions are added to a set, removed or corrected, the others stay as they are, and so does
what a teacher with the same settings wrote for them. The earlier files are only read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from unspoken.common.errors import DataError, OutputExistsError
from unspoken.teach.engines import REFUSED, Reply, Request
from unspoken.teach.traces.settings import require_same_settings

#: Of a record, where its reply is an earlier file's.
TAKEN_OVER = "taken_over"


class _Trace(TypedDict):
    """What is needed of an earlier record."""

    id: str
    question: str
    cot: str
    num_prompt_tokens: int | None
    num_tokens: int | None
    stopped: bool
    finish_reason: str


_TRACE: TypeAdapter[_Trace] = TypeAdapter(_Trace)


def take_over(
    earlier: Sequence[Path],
    requests: Sequence[Request],
    settings: Mapping[str, Any],
    *,
    done: Collection[int],
) -> Iterator[tuple[int, Reply]]:
    """Yields numbers of requests with the replies that earlier files have to their questions.

    First those under the same id, which would be written again as they are. What is left of a
    question under another id, such as one that has moved up, answers it as well. Each reply is
    used once, whatever files it was copied to, and one that was refused is not: it may be given
    now.

    Args:
        earlier: files of traces, the first one counts most; those made with other settings, or
            that cannot be read, have nothing to give.
        requests: all of them.
        settings: with which they are asked.
        done: numbers of those that need no reply.
    """
    files = [path for path in earlier if _has_settings(path, settings)]
    left = {number for number in range(len(requests)) if number not in done}
    used: set[int] = set()
    for key in (_same_id, _same_sample):
        wanted: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number in sorted(left, reverse=True):
            wanted[key(requests[number].id, requests[number].question)].append(number)
        for name, trace in _traces(files, lambda: bool(left)):
            numbers = wanted.get(key(trace["id"], trace["question"]))
            if numbers and name not in used:
                used.add(name)
                number = numbers.pop()
                left.remove(number)
                yield number, _reply(trace)


def _same_id(name: str, question: str) -> tuple[str, str]:
    return name, question


def _same_sample(name: str, question: str) -> tuple[str, str]:
    return name.rpartition("#")[2], question


def _has_settings(path: Path, settings: Mapping[str, Any]) -> bool:
    try:
        require_same_settings(path, dict(settings))
    except (DataError, OutputExistsError):
        return False
    return path.exists()


def _traces(files: Sequence[Path], goes_on: Callable[[], bool]) -> Iterator[tuple[int, _Trace]]:
    """Whole records that were not refused, while more are wanted; a kill may have torn the last.

    Each comes with a number that its copies in other files have, too: equal replies to a question
    are counted within a file.
    """
    for path in files:
        met: Counter[int] = Counter()
        with path.open("rb") as file:
            for raw in file:
                if not goes_on():
                    return
                try:
                    trace = _TRACE.validate_json(raw)
                except ValidationError:
                    continue
                if not trace["finish_reason"].startswith(REFUSED):
                    reply = hash((*_same_sample(trace["id"], trace["question"]), trace["cot"]))
                    met[reply] += 1
                    yield hash((reply, met[reply])), trace


def _reply(trace: _Trace) -> Reply:
    return Reply(
        trace["cot"],
        trace["num_prompt_tokens"],
        trace["num_tokens"],
        trace["stopped"],
        trace["finish_reason"],
    )
