"""Completions that are being written, and the slots in which they stand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from unspoken.measure.slots import Slots

#: Rows that end leave the batch, or others take their places, once they are this share of it.
_SHARE_ENDED = 1 / 8
_SHARE_LEFT_OF_RECORDED = 1 / 4


class Completion(NamedTuple):
    """What was written for one prompt.

    Attributes:
        token_ids: without padding and without the end token.
        stopped: whether the end token, or a stop text, came within the limit.
        num_end_tokens: 1 if an end token was written, else 0.
    """

    token_ids: list[int]
    stopped: bool
    num_end_tokens: int | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens written; the end token counts, it costs a step like the others."""
        end = int(self.stopped) if self.num_end_tokens is None else self.num_end_tokens
        return len(self.token_ids) + end


class StopTexts(NamedTuple):
    """Texts that end a completion, and the tokenizer that finds them.

    The completion holds them; whoever reads it as text cuts them off.
    """

    texts: tuple[str, ...]
    tokenizer: PreTrainedTokenizerBase


@dataclass(eq=False)
class Draft:
    """A completion that is being written.

    Attributes:
        index: of the prompt.
        completion: None until it has ended.
        allowed: tokens written -> those that may come next; None: every one.
    """

    index: int
    prompt: Sequence[int]
    limit: int
    seed: int
    ends: Collection[int]
    finder: StopFinder | None
    token_ids: list[int] = field(default_factory=list)
    completion: Completion | None = None
    allowed: Callable[[Sequence[int]], list[int]] | None = None

    def add(self, token: int) -> None:
        """Adds a token; it may end the completion."""
        if token in self.ends:
            self.completion = Completion(self.token_ids, True)
            return
        self.token_ids.append(token)
        if self.finder is not None and self.finder.ends(self.token_ids):
            self.completion = Completion(self.token_ids, True, 0)
        elif len(self.token_ids) >= self.limit:
            self.completion = self.cut()

    def cut(self) -> Completion:
        """What there is, as a completion that did not stop by itself."""
        return Completion(self.token_ids, False)


class StopFinder:
    """Finds whether a completion ends with a stop text.

    A token has at least one byte, so a stop text lies within as many tokens as it has bytes; some
    more are read, since a tokenizer may write the first of them without its space.
    """

    def __init__(self, stop: StopTexts) -> None:
        self.stop = stop
        self.last_signs = {text[-1] for text in stop.texts} | {"\ufffd"}  # or a part of one
        self.may_end: dict[int, bool] = {}
        self.window = max(len(text.encode()) for text in stop.texts) + 8

    def ends(self, token_ids: Sequence[int]) -> bool:
        """Whether the last token completes a stop text."""
        if not self._may_end(token_ids[-1]):
            return False
        tail = list(token_ids[-self.window :])
        text = self.stop.tokenizer.decode(tail, skip_special_tokens=True)
        return any(each in text for each in self.stop.texts)

    def _may_end(self, token: int) -> bool:
        """Whether a stop text can end with this token; most tokens need no further look."""
        if token not in self.may_end:
            text = self.stop.tokenizer.decode([token], skip_special_tokens=True)
            self.may_end[token] = not self.last_signs.isdisjoint(text)
        return self.may_end[token]


class Table:
    """Which row stands in which slot.

    Attributes:
        slots: where the model writes.
        active: the rows that are being written; the caller's list.
    """

    def __init__(self, slots: Slots, active: list[Draft]) -> None:
        self.slots, self.active = slots, active
        self._seats: list[Draft | None] = [None] * slots.size

    def fill(self, waiting: deque[Draft]) -> list[tuple[int, int]]:
        """Seats waiting rows where enough slots are free; their slots and first tokens."""
        free = [slot for slot, row in enumerate(self._seats) if row is None]
        if len(free) < min(len(waiting), max(1, int(_SHARE_ENDED * self.slots.size))):
            return []
        free = free[: len(waiting)]
        rows = [waiting.popleft() for _ in free]
        if not rows:
            return []
        self.active.extend(rows)
        for slot, row in zip(free, rows, strict=True):
            self._seats[slot] = row
        firsts = self.slots.fill(
            free,
            [row.prompt for row in rows],
            [row.limit for row in rows],
            [row.seed for row in rows],
        )
        return list(zip(free, firsts, strict=True))

    def advance(self) -> list[tuple[int, int]]:
        """Slots and the tokens that were written there, in their order."""
        return [pair for tokens in self.slots.advance() for pair in enumerate(tokens)]

    def add(self, written: Iterable[tuple[int, int]]) -> tuple[int, list[Draft]]:
        """Adds tokens to the rows in these slots; how many they were, and the rows that ended."""
        num_tokens, ended, left = 0, [], []
        for slot, token in written:
            row = self._seats[slot]
            if row is None:
                continue
            num_tokens += 1
            row.add(token)
            if row.completion is not None:
                self._seats[slot] = None
                self.active.remove(row)
                ended.append(row)
                left.append(slot)
        if left:
            self.slots.free(left)
        return num_tokens, ended

    def shrink(self) -> None:
        """Takes empty slots away, once they are enough to be worth it."""
        taken = [slot for slot, row in enumerate(self._seats) if row is not None]
        # what is recorded is recorded again for another size
        worth = _SHARE_LEFT_OF_RECORDED if self.slots.is_recorded else 1 - _SHARE_ENDED
        if not taken or len(taken) > worth * self.slots.size:
            return
        self.slots.keep(taken)
        self._seats = [self._seats[slot] for slot in taken]
