"""How the next token is chosen, and the seed of each sample."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, and when that ends.

    Attributes:
        max_new_tokens: limit per reply.
        temperature: 0 takes the likeliest token.
        top_p: only the likeliest tokens with this much probability together.
        seed: of the whole run; `Request.seed` follows from it.
        stop: texts that end a reply; they do not belong to it.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


def seed_of(seed: int, name: str) -> int:
    """A seed, 0 to 2^31 - 1, for one sample of a run."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1
