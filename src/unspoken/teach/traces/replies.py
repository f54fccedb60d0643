"""What an engine gives back, held against what it was asked; an engine may be a user's own."""

from __future__ import annotations

import operator
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import SupportsIndex

from unspoken.common.errors import shorten
from unspoken.teach.engines import EngineError, Reply, Request


def checked_replies(
    replies: Iterable[object], requests: Sequence[Request], known: Container[str], engine: str
) -> Iterator[tuple[Request, Reply]]:
    """Yields requests and their replies, each once.

    Args:
        replies: what the engine's `generate` yields.
        requests: all of them.
        known: ids of those that have a reply; looked at before each one is yielded.
        engine: its name.

    Raises:
        EngineError: for what is no number of a request with its reply, or a second reply.
    """
    for one in replies:
        answer = _read(one)
        if answer is None or not 0 <= answer[0] < len(requests):
            raise EngineError(
                f"engine {engine}: found {shorten(one)}; needed: the number of a request, from 0 "
                f"to {len(requests) - 1:,}, and a Reply with text, whole numbers or None, a bool "
                "and a text; correct its generate"
            )
        request = requests[answer[0]]
        if request.id in known:
            raise EngineError(
                f"engine {engine}: found a second reply to {request.place} ({request.id}); needed: "
                "one for each request that is not in skip; correct its generate"
            )
        yield request, answer[1]


def _read(one: object) -> tuple[int, Reply] | None:
    """Number and reply, or None; numpy has whole numbers of its own."""
    if not isinstance(one, tuple) or len(one) != 2:
        return None
    number, reply = one
    counts = (int, type(None))
    if (
        isinstance(number, int | SupportsIndex)  # a protocol alone is slow to look at
        and isinstance(reply, Reply)
        and isinstance(reply.text, str)
        and type(reply.num_prompt_tokens) in counts
        and type(reply.num_tokens) in counts
        and isinstance(reply.stopped, bool)
        and isinstance(reply.finish_reason, str)
    ):
        return operator.index(number), reply
    return None


def require_all(num_missing: int, num_wanted: int, engine: str) -> None:
    """Refuses an engine that ended by itself before everything was answered."""
    if num_missing:
        raise EngineError(
            f"engine {engine}: ended without a reply to {num_missing:,} of {num_wanted:,} "
            "requests; needed: one for each; what is there is kept, and the same call asks for the "
            "rest"
        )
