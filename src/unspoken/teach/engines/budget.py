"""Money: what requests cost, and never more than the limit."""

from __future__ import annotations

import threading

from pydantic import model_validator

from unspoken.common.errors import SettingError, setting
from unspoken.common.settings import NumberFromZero, Positive, PositiveNumber, checked
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


class Budget:
    """Money that may be spent: what a request can cost at most is put aside before it is sent."""

    def __init__(
        self, limit: float | None, price_prompt: float, price_completion: float, used: Usage
    ) -> None:
        self.limit = limit
        self.price_prompt = price_prompt
        self.price_completion = price_completion
        self.spent = self.price(*used)
        self.reserved = 0.0
        self._lock = threading.Lock()

    def price(self, num_prompt_tokens: int, num_tokens: int) -> float:
        """What so many tokens cost."""
        prompt, completion = num_prompt_tokens * self.price_prompt, num_tokens
        return (prompt + completion * self.price_completion) / _PER

    def worst(self, request: Request, max_new_tokens: int) -> float:
        """What a request can cost at most: a prompt token has at least one byte."""
        prompt = request.prompt
        texts = [prompt.text, *(message["content"] for message in prompt.messages)]
        size = sum(len(text.encode("utf-8", "replace")) + 16 for text in texts)
        return self.price(size, max_new_tokens)

    def reserve(self, amount: float) -> bool:
        """Puts money aside, or returns false where there is not enough."""
        with self._lock:
            if self.limit is not None and self.spent + self.reserved + amount > self.limit:
                return False
            self.reserved += amount
            return True

    def settle(self, reserved: float, spent: float) -> None:
        """Puts back what was set aside, less what it really took."""
        with self._lock:
            self.reserved -= reserved
            self.spent += spent

    def spent_for(self, reply: Reply | None, worst: float) -> float:
        """What a request cost; all that it could where the server does not tell its tokens."""
        if reply is None:
            return 0.0
        if reply.num_prompt_tokens is None or reply.num_tokens is None:
            return worst
        return self.price(reply.num_prompt_tokens, reply.num_tokens)
