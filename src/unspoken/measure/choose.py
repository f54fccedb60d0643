"""The next token of each row: the likeliest one, or one that is drawn for this row alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_BITS = 64
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << _BITS)
_FACTORS = (0xBF58476D1CE4E5B9 - (1 << _BITS), 0x94D049BB133111EB - (1 << _BITS))


class Chooser:
    """Chooses tokens for rows that come and go; what a row draws depends on its seed alone.

    The token with the largest score + Gumbel noise is distributed as the softmax of the scores
    (the Gumbel-max trick). On a CPU each row has a torch generator. On other devices a generator
    for each row would be a kernel for each row and token, so the noise is a hash of seed, number
    of the token and token: some kernels for all rows, which a CUDA graph can hold.
    """

    def __init__(self, size: int, device: torch.device, way: tuple[float, float] | None) -> None:
        """A chooser for rows of scores.

        Args:
            size: number of rows; their seeds come with `seat`.
            device: of the scores.
            way: temperature, above 0, and the probability that the likeliest tokens have together
                from which is drawn; None: the likeliest.
        """
        self.way = way
        self.counts = torch.zeros(size, dtype=torch.long, device=device)  # drawn in each row
        self._seeds = torch.zeros(size, dtype=torch.long, device=device)
        self._generators: list[torch.Generator | None] = [None] * size

    def seat(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Begins to draw anew in these rows."""
        if self.way is None:
            return
        index = torch.tensor(rows, device=self.counts.device)
        self._seeds[index] = torch.tensor(seeds, device=self.counts.device)
        self.counts[index] = 0
        if self._seeds.device.type == "cpu":
            for row, seed in zip(rows, seeds, strict=True):
                self._generators[row] = torch.Generator().manual_seed(seed)

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows remain, in this order."""
        self._generators = [self._generators[row] for row in rows]
        index = torch.tensor(rows, device=self.counts.device)
        self._seeds, self.counts = self._seeds[index], self.counts[index]

    def choose(self, scores: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """(R, V) scores of these rows, by default of all -> (R,) tokens."""
        return self.with_noise(scores, rows).argmax(dim=-1)

    def with_noise(self, scores: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """(R, V) scores -> (R, V), whose largest is the chosen token."""
        if self.way is None:
            return scores
        temperature, top_p = self.way
        scores = _most_likely(scores.float() / temperature, top_p)
        noise = self._exponential(scores, rows)
        return scores - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()

    def _exponential(self, scores: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """(R, V) exponentially distributed noise; the next of each row."""
        if scores.device.type == "cpu":
            noise = torch.ones_like(scores)
            numbers = range(len(noise)) if rows is None else rows.tolist()
            for number, row in zip(numbers, noise, strict=True):
                generator = self._generators[number]
                if generator is not None:
                    row.exponential_(generator=generator)
            return noise
        if rows is None:
            noise = hashed_noise(self._seeds, self.counts, scores.shape[-1])
            self.counts.add_(1)
            return noise
        noise = hashed_noise(self._seeds[rows], self.counts[rows], scores.shape[-1])
        self.counts[rows] += 1
        return noise


def _most_likely(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """(R, V) scores, -inf for all but the likeliest tokens with this probability together."""
    if top_p >= 1:
        return scores
    ordered, tokens = scores.sort(dim=-1, descending=True)
    before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
    ordered = ordered.masked_fill(before >= top_p, float("-inf"))
    return torch.empty_like(scores).scatter_(-1, tokens, ordered)


def hashed_noise(seeds: torch.Tensor, counts: torch.Tensor, num_tokens: int) -> torch.Tensor:
    """(R,) seeds and (R,) numbers of tokens -> (R, V) exponential noise that follows from them.

    SplitMix64 (Steele et al. 2014) of the token, from a state that is SplitMix64 of the number of
    the token, from the seed. Uniform numbers of 32 bits near 0 keep all their bits in fp32, so the
    smallest noise, which wins, is not rounded to 0.
    """
    state = _mixed(_mixed(seeds) + (counts + 1) * _GOLDEN)[:, None]
    tokens = torch.arange(1, num_tokens + 1, device=seeds.device)
    bits = _shifted(_mixed(state + tokens * _GOLDEN), 32)
    uniform = (bits.float() + 0.5) * 2.0**-32
    return -torch.log1p(-uniform.clamp_max(1 - 2.0**-24))


def _mixed(values: torch.Tensor) -> torch.Tensor:
    """The finalizer of SplitMix64; products wrap around."""
    values = (values ^ _shifted(values, 30)) * _FACTORS[0]
    values = (values ^ _shifted(values, 27)) * _FACTORS[1]
    return values ^ _shifted(values, 31)


def _shifted(values: torch.Tensor, places: int) -> torch.Tensor:
    """Shifts to the right; torch's own shift repeats the sign."""
    return (values >> places) & ((1 << (_BITS - places)) - 1)
