"""Money: what requests cost, and never more than the limit."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from pydantic import model_validator

from unspoken.common.errors import SettingError, setting
from unspoken.common.settings import NumberFromZero, Positive, PositiveNumber, checked
from unspoken.recipe.records import UnansweredRecord
from unspoken.teach.engines import Reply, Request, Usage

_PER = 1_000_000  # prices are for so many tokens


@checked
class Limits:
    """How fast a server is asked, and what that may cost.

    Attributes:
        concurrency: requests at a time.
        requests_per_minute: limit, tries included.
        max_cost: never spend more than this on one file; needs both prices.
        price_prompt, price_completion: for a million tokens.

    Raises:
        SettingError: for values that make no sense.
    """

    concurrency: Positive = 8
    requests_per_minute: PositiveNumber | None = None
    max_cost: PositiveNumber | None = None
    price_prompt: NumberFromZero | None = None
    price_completion: NumberFromZero | None = None

    @model_validator(mode="after")
    def _a_cost_that_can_be_counted(self) -> Limits:
        for name in ("price_prompt", "price_completion"):
            if self.max_cost is not None and getattr(self, name) is None:
                raise SettingError(
                    "max_cost",
                    found=f"it without {setting(name)}",
                    needed="the price of a million tokens, or nothing can be counted",
                    remedy="give both prices",
                )
        return self


class Unanswered:
    """Tokens that may have been charged without a reply that was kept, in a file beside the traces.

    A request is in the file before it is sent, so that a run that goes on after a kill counts what
    was under way. What was answered meanwhile may be counted twice until the run has ended.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Reads the file, where there is one; without a path nothing is kept.

        Raises:
            DataError: it cannot be read.
        """
        self._path = path
        found = UnansweredRecord.read(path) if path else None
        self.before = Usage(found.num_prompt_tokens, found.num_tokens) if found else Usage()
        self._written = self.before

    def added_to(self, used: Usage) -> Usage:
        """All tokens that may have been charged, where so many were answered."""
        return used.plus(*self.before)

    def cover(self, at_risk: Usage) -> None:
        """Sees to it that the file holds at least so many tokens more than it did at first."""
        wanted = self.before.plus(*at_risk)
        most = Usage(*map(max, wanted, self._written))
        if most != self._written:
            self._write(most)

    def close(self, lost: Usage) -> None:
        """Writes how many there were in the end; no file where there were none."""
        self.before = self.before.plus(*lost)
        if self.before != self._written:
            self._write(self.before)
        if self._path and not any(self.before):
            self._path.unlink(missing_ok=True)

    def replace_by(self, parts: Iterable[Unanswered]) -> None:
        """Writes what these hold together, in place of what the file held."""
        self.before, together = Usage(), Usage()
        for part in parts:
            together = together.plus(*part.before)
        self.close(together)

    def _write(self, usage: Usage) -> None:
        self._written = usage
        if self._path:
            record = UnansweredRecord(
                num_prompt_tokens=usage.num_prompt_tokens, num_tokens=usage.num_tokens
            )
            record.write(self._path)


class Budget:
    """Money that may be spent: what a request can cost at most is put aside before it is sent."""

    def __init__(
        self,
        limit: float | None,
        price_prompt: float,
        price_completion: float,
        used: Usage,
        unanswered: Unanswered | None = None,
    ) -> None:
        self.limit = limit
        self.price_prompt = price_prompt
        self.price_completion = price_completion
        self.spent = self.price(*used)
        self.reserved = 0.0
        self._unanswered = unanswered or Unanswered()
        self._lost = Usage()
        self._at_risk = Usage()  # lost, or under way
        self._is_closed = False
        self._lock = threading.Lock()

    def price(self, num_prompt_tokens: int, num_tokens: int) -> float:
        """What so many tokens cost."""
        prompt, completion = num_prompt_tokens * self.price_prompt, num_tokens
        return (prompt + completion * self.price_completion) / _PER

    def worst(self, request: Request, max_new_tokens: int) -> float:
        """What a request can cost at most."""
        return self.price(*most_tokens(request, max_new_tokens))

    def reserve(self, most: Usage) -> bool:
        """Puts the money for so many tokens aside, or returns false where there is not enough."""
        amount = self.price(*most)
        with self._lock:
            if self.limit is not None and self.spent + self.reserved + amount > self.limit:
                return False
            self.reserved += amount
            self._at_risk = self._at_risk.plus(*most)
            self._unanswered.cover(self._at_risk)
            return True

    def settle(self, most: Usage, reply: Reply | None) -> None:
        """Puts back what was set aside, less what the reply took: all, where it does not tell."""
        with self._lock:
            self.reserved -= self.price(*most)
            if reply is None:
                self._at_risk = self._at_risk.minus(most)
            elif reply.num_prompt_tokens is None or reply.num_tokens is None:
                self.spent += self.price(*most)
                self._lost = self._lost.plus(*most)
            else:
                self.spent += self.price(reply.num_prompt_tokens, reply.num_tokens)
                self._at_risk = self._at_risk.minus(most)

    def lose(self, tokens: Usage) -> bool:
        """Counts a try that may be charged though it has no answer; whether another can be paid."""
        with self._lock:
            if self._is_closed:
                return False
            self.spent += self.price(*tokens)
            self._lost, self._at_risk = self._lost.plus(*tokens), self._at_risk.plus(*tokens)
            self._unanswered.cover(self._at_risk)
            return self.limit is None or self.spent + self.reserved <= self.limit

    def close(self) -> None:
        """Writes down what was lost; nothing counts any more."""
        with self._lock:
            self._is_closed = True
            self._unanswered.close(self._lost)


def most_tokens(request: Request, max_new_tokens: int) -> Usage:
    """How many tokens a request can take: one of a prompt has at least one byte."""
    prompt = request.prompt
    texts = [prompt.text, *(message["content"] for message in prompt.messages)]
    size = sum(len(text.encode("utf-8", "replace")) + 16 for text in texts)
    return Usage(size, max_new_tokens)
