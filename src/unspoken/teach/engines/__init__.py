"""Who answers a prompt: a local model, a server, or the worked solution of a task.

An engine turns requests into replies; `unspoken.teach.traces.write` decides what is asked and keeps
what is answered. Engines share no base class: whatever has the attributes of `Engine` is one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypedDict, runtime_checkable

from unspoken.common.errors import UnspokenError
from unspoken.measure.sampling import Sampling

#: How a question is put. chat: messages; plain: one text; trained: as unspoken trained the model;
#: none: not at all, the engine looks at the record.
Style = Literal["chat", "plain", "trained", "none"]


#: Begins the `finish_reason` of a reply that a server would not give; what it said follows.
REFUSED = "refused"


class EngineError(UnspokenError):
    """An engine that cannot answer: a server that refuses, memory or money that ran out."""


class Message(TypedDict):
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the engine is asked: `messages` in style chat, else `text`."""

    text: str = ""
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One sample that is wanted of one question.

    Attributes:
        id: of the sample, such as "17#0".
        index: of the question, in its file.
        sample: 0, 1, ... for the samples of one question.
        record: the question's line, with whatever fields it has.
        prompt: the question as the engine is asked.
        seed: of this sample alone, so that it never depends on what else is asked.
        where: the question stands, such as "questions.csv:7"; empty: that is not known.
    """

    id: str
    index: int
    sample: int
    record: Mapping[str, Any]
    prompt: Prompt
    seed: int
    where: str = ""

    @property
    def place(self) -> str:
        """What errors call its question."""
        return self.where or f"question {self.index}"

    @property
    def question(self) -> str:
        """The question as it stands in the file."""
        return self.record["question"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one request.

    Attributes:
        text: without the end token and without blanks around it.
        num_prompt_tokens, num_tokens: read and written; None where a server does not tell.
        stopped: whether it ended by itself, not at the limit.
        finish_reason: "stop", "length", what else a server says, or `REFUSED` and why.
    """

    text: str
    num_prompt_tokens: int | None
    num_tokens: int | None
    stopped: bool
    finish_reason: str


class Usage(NamedTuple):
    """Tokens read and written, in sum."""

    num_prompt_tokens: int = 0
    num_tokens: int = 0

    def plus(self, num_prompt_tokens: int | None, num_tokens: int | None) -> Usage:
        """The sum with so many more, or fewer; None adds nothing."""
        return Usage(
            self.num_prompt_tokens + (num_prompt_tokens or 0), self.num_tokens + (num_tokens or 0)
        )

    def minus(self, other: Usage) -> Usage:
        """The difference."""
        return self.plus(-other.num_prompt_tokens, -other.num_tokens)


@runtime_checkable
class Engine(Protocol):
    """What `unspoken.teach.traces.write.generate_traces` needs of an engine.

    Attributes:
        name: "transformers", "openai", "worked", or that of one's own.
        model: which model answers, for people.
        style: how it wants its prompts.

    One that has to try again now and then says how often, as `num_retries`. One that may be charged
    for requests without a reply writes them into its `unanswered`, which `generate_traces` sets.
    """

    name: str
    model: str
    style: Style

    def settings(self) -> dict[str, Any]:
        """What decides its replies; a file is only continued with equal settings."""
        ...

    def cost(self, usage: Usage) -> float | None:
        """What so many tokens cost, or None where no price is known."""
        ...

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        skip: Collection[int],
        used: Usage,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Iterator[tuple[int, Reply]]:
        """Yields the number of a request and its reply, in any order.

        Args:
            requests: all of them, also those that are done, so that batches can be formed the
                same way again.
            sampling: for all of them.
            skip: numbers of requests that are not to be answered.
            used: tokens that earlier runs took or may have taken; a spend limit counts them.
            stopping: once it returns true, nothing new is begun.
            wrote: told how many tokens were written since it was told last.
        """
        ...


def reply_text(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first stop text, without blanks around it.

    Examples:
        >>> reply_text(" Final Answer: 4\\n\\nQ: What else?", ["\\nQ:"])
        'Final Answer: 4'
    """
    ends = [place for each in stop if (place := text.find(each)) >= 0]
    return text[: min(ends, default=len(text))].strip()


def without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with the system message at the head of the first user message.

    For chat templates that have no system role.
    """
    if not messages or messages[0]["role"] != "system":
        return tuple(messages)
    system, first, *rest = messages
    merged = Message(role=first["role"], content=f"{system['content']}\n\n{first['content']}")
    return (merged, *rest)
