"""How the next token is chosen, and the seed of each sample."""

from __future__ import annotations

import hashlib

from pydantic import model_validator

from unspoken.common.errors import SettingError, setting
from unspoken.common.settings import Positive, Seed, Share, Temperature, checked
from unspoken.recipe.teacher import MAX_NEW_TOKENS


@checked
class Sampling:
    """How the next token is chosen, and when that ends.

    Attributes:
        max_new_tokens: limit per reply.
        temperature: 0 takes the likeliest token.
        top_p: only the likeliest tokens with this much probability together; needs a temperature.
        seed: of the whole run; `Request.seed` follows from it.
        stop: texts that end a reply; they do not belong to it.

    Raises:
        SettingError: for values that make no sense.
    """

    max_new_tokens: Positive = MAX_NEW_TOKENS
    temperature: Temperature = 0.0
    top_p: Share = 1.0
    seed: Seed = 0
    stop: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _top_p_of_something_drawn(self) -> Sampling:
        if self.temperature == 0 and self.top_p < 1:
            greedy = setting("temperature", 0)
            raise SettingError(
                "top_p",
                found=f"{self.top_p} with {greedy}, which does not look at it",
                needed="a temperature above 0, such as 0.7",
                remedy=f"set it, or leave {setting('top_p')} out",
            )
        return self

    def require_samples(self, number: int, name: str = "num_samples") -> None:
        """Checks that so many samples of one question can be drawn and can differ.

        Args:
            number: of samples.
            name: of the setting that asks for them.

        Raises:
            SettingError: fewer than one, or several that would all be the same.
        """
        if number < 1:
            raise SettingError(name, found=number, needed="at least 1", remedy="correct it")
        if number > 1 and self.temperature == 0:
            greedy = setting("temperature", 0)
            raise SettingError(
                name,
                found=f"{number} with {greedy}, which makes them all the same",
                needed="a temperature above 0, such as 0.7",
                remedy="set it",
            )


def seed_of(seed: int, name: str) -> int:
    """A seed, 0 to 2^31 - 1, for one sample of a run."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1
