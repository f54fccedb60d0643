"""How OpenAI-compatible servers differ: in what they take, and in the form of their answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import Reply, Request, reply_text, without_system
from unspoken.teach.engines.server import Refusal

logger = logging.getLogger(__name__)

_ENDED = {
    "stop", "eos", "eos_token", "end_of_text", "end_turn", "stop_sequence", "stop_token",
    "completed", "complete", "finished", "done",
}  # fmt: skip
_CUT = {
    "length", "max_tokens", "max_new_tokens", "max_output_tokens", "max_length", "model_length",
    "token_limit",
}  # fmt: skip
_THINKING = ("thinking", "thought", "reasoning", "reasoning_content", "reasoning_text")
_TEXTS = ("text", "thinking", "reasoning", "content", "summary")  # where a part has its own
_DEEPEST = 6  # parts within parts
_MOST_TOKENS = 10**9
_BAD_REQUEST = (400, 422)
_FAILED_TRIES = 2  # of a server that breaks down: one may be chance
_USELESS_TRIALS = 8


class Dialect:
    """What is known of how one server wants to be asked; its inquiries find it out.

    Attributes:
        limit_field: where it reads how many tokens may be written.
        takes_system: whether it takes a system message; None until that is known.
        num_useless: questions that it refused with a system message and without.
    """

    def __init__(self) -> None:
        self.limit_field = "max_tokens"
        self.takes_system: bool | None = None
        self.num_useless = 0


class Inquiry:
    """One request in the form that a server takes."""

    def __init__(
        self, request: Request, sampling: Sampling, *, model: str, is_plain: bool, dialect: Dialect
    ) -> None:
        """Sends nothing; `is_plain`: one text instead of messages."""
        self._request = request
        self._sampling = sampling
        self._model = model
        self._is_plain = is_plain
        self._dialect = dialect
        self._sent: dict[str, Any] = {}
        self._merges = False  # tries without a system message, to see whether that helps
        self._has_tried = False
        self._num_failed = 0

    def body(self) -> dict[str, Any]:
        """What is sent, by what is known of the server now."""
        messages, sampling = self._request.prompt.messages, self._sampling
        body: dict[str, Any] = {
            "model": self._model,
            self._dialect.limit_field: sampling.max_new_tokens,
            "temperature": sampling.temperature,
        }
        if self._is_plain:
            body["prompt"] = self._request.prompt.text
        else:
            merges = self._merges or self._dialect.takes_system is False
            body["messages"] = list(without_system(messages) if merges else messages)
        if sampling.temperature > 0:
            body["seed"] = self._request.seed
        if sampling.top_p < 1:
            body["top_p"] = sampling.top_p
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        self._sent = body
        return body

    def adapt(self, refusal: Refusal) -> bool:
        """Whether `body` gives another form now, because of how servers differ."""
        wants_other_limit = "max_completion_tokens" in refusal.text.lower()
        if refusal.status in _BAD_REQUEST and wants_other_limit and "max_tokens" in self._sent:
            self._dialect.limit_field = "max_completion_tokens"
            return True
        if not self._has_system:
            self._end_trial()
            return False
        if self._dialect.takes_system is False:  # another question has found it out meanwhile
            return True
        self._merges = self._may_be_the_system(refusal.status)
        self._has_tried |= self._merges
        return self._merges

    def note_answer(self) -> None:
        """Learns from the question's having been answered."""
        if self._has_system:
            self._dialect.takes_system = True
        elif self._merges and self._dialect.takes_system is None:
            self._dialect.takes_system = False
            logger.warning("the server takes no system message: the user's message holds its text")

    @property
    def _has_system(self) -> bool:
        return (self._sent.get("messages") or [{}])[0].get("role") == "system"

    def _end_trial(self) -> None:
        if self._merges:
            self._merges = False
            self._dialect.num_useless += 1

    def _may_be_the_system(self, status: int) -> bool:
        """Whether a refusal may be for the system message, and it was not tried without."""
        known = self._dialect.takes_system or self._dialect.num_useless >= _USELESS_TRIALS
        if known or self._has_tried:
            return False
        if status == 500:
            self._num_failed += 1
        return status in _BAD_REQUEST or self._num_failed >= _FAILED_TRIES


def read_reply(answer: Mapping[str, Any], sampling: Sampling) -> Reply:
    """The first choice of an answer; a server's separate reasoning becomes a <think> block.

    Raises:
        ValueError: there is no first choice with a text.
    """
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise ValueError("no choice")
    message = choice.get("message")
    if isinstance(message, dict):
        content = message.get("content")
        reasoning = message.get("reasoning_content") or message.get("reasoning")
    elif "text" in choice or message is not None:
        content, reasoning = choice.get("text") if message is None else message, None
    else:
        raise ValueError("no text")
    thought, text = _split_parts(content)
    thought = thought or "".join(_split_parts(reasoning))
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    num_tokens = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    reason = _finish_reason(choice.get("finish_reason"), num_tokens, sampling.max_new_tokens)
    return Reply(
        text=reply_text(
            f"<think>\n{thought}\n</think>\n\n{text}" if thought else text, sampling.stop
        ),
        num_prompt_tokens=_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        num_tokens=num_tokens,
        stopped=reason in ("stop", "unknown"),
        finish_reason=reason,
    )


def _split_parts(content: Any, depth: int = 0) -> tuple[str, str]:
    """What is thought and what is said in a text, a part or a list of parts; both joined."""
    if content is None or isinstance(content, str):
        return "", content or ""
    if depth > _DEEPEST or not isinstance(content, list | dict):
        raise ValueError("no text")
    if isinstance(content, list):
        pairs = [_split_parts(part, depth + 1) for part in content]
        return "".join(pair[0] for pair in pairs), "".join(pair[1] for pair in pairs)
    thought, text = _split_parts(_own_text(content), depth + 1)
    thinks = content.get("type") in _THINKING or content.get("thought") is True
    return (thought + text, "") if thinks else (thought, text)


def _own_text(part: Mapping[str, Any]) -> Any:
    """What a part says itself, under whatever name; None where it says nothing."""
    return next((part[name] for name in _TEXTS if part.get(name) is not None), None)


def _finish_reason(said: Any, num_tokens: int | None, limit: int) -> str:
    """stop, length, unknown where a server does not tell, or what else it says."""
    said = said.get("type") if isinstance(said, dict) else said
    word = said.strip().lower() if isinstance(said, str) else ""
    if word in _ENDED:
        return "stop"
    if word in _CUT:
        return "length"
    if word:
        return word[:100]
    if num_tokens is None:
        return "unknown"
    return "length" if num_tokens >= limit else "stop"


def _count(value: Any) -> int | None:
    """A number of tokens, also as text; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if 0 <= number <= _MOST_TOKENS and number.is_integer() else None
