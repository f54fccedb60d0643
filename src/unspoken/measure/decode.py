"""Decoding: token ids of prompts -> token ids of completions.

The one decoder of unspoken. Prompts are answered in their order, many at the same time: a row that
has ended leaves its place to one that waits (`measure/slots.py`). Models that cannot be asked in
this way are asked by transformers' own `generate`, batch by batch. Either way batched and single
decoding give the same tokens, drawn ones too, but for ties in the last bit of two scores.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from unspoken.common.errors import DataError, UnspokenError, setting
from unspoken.common.memory import release_models
from unspoken.common.out_of_memory import is_out_of_memory
from unspoken.measure.rows import Completion, Draft, StopFinder, StopTexts, Table
from unspoken.models.load import num_positions

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

    from unspoken.measure.slots import Slots

logger = logging.getLogger(__name__)

#: Held for a step: while one is recorded, no other thread's may come between.
_STEP = threading.RLock()


class Draws(NamedTuple):
    """How tokens are drawn instead of taking the likeliest.

    Attributes:
        temperature: above 0.
        top_p: only the likeliest tokens with this much probability together.
        seeds: one for each prompt: what is drawn for it depends on no other prompt.
    """

    temperature: float
    top_p: float
    seeds: Sequence[int]


class OutOfMemoryError(UnspokenError):
    """Memory ran out with a single prompt.

    Attributes:
        index: of the prompt.
    """

    def __init__(self, index: int, num_prompt_tokens: int) -> None:
        self.index = index
        super().__init__(
            f"memory ran out with this prompt of {num_prompt_tokens} tokens alone; needed: a "
            f"smaller model, {setting('dtype', 'bfloat16')}, {setting('quantization', 'nf4')}, "
            f"fewer {setting('max_new_tokens')} or a shorter prompt; what is done is kept"
        )


def decode(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    *,
    eos_token_id: int | Sequence[int],
    pad_token_id: int,
    max_new_tokens: int,
    draws: Draws | None = None,
    stop: StopTexts | None = None,
) -> list[Completion]:
    """The completion of each prompt, all at the same time; see `Decoder`."""
    decoder = Decoder(
        model, eos_token_id=eos_token_id, pad_token_id=pad_token_id, batch_size=len(prompts)
    )
    found = dict(decoder.stream(prompts, max_new_tokens, draws=draws, stop=stop))
    return [found[index] for index in range(len(prompts))]


class Decoder:
    """A model that completes prompts, so many at the same time.

    Attributes:
        batch_size: rows at the same time; halved when memory runs out.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        *,
        eos_token_id: int | Sequence[int],
        pad_token_id: int,
        batch_size: int,
        patience: int | None = 1,
    ) -> None:
        """A decoder for one model.

        Args:
            model: a causal language model; it is put into evaluation mode while it writes.
            eos_token_id: ends a completion; several end it as well.
            pad_token_id: fills shorter prompts on the left, for `generate`.
            batch_size: rows at the same time.
            patience: when steps are recorded, where that makes them faster: 0: at the first one,
                1: once so many are made that it has paid, None: never.
        """
        self.model, self.batch_size = model, batch_size
        self._ends = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id)
        self._pad = pad_token_id
        self._patience = patience
        self._slots: Slots | None = None

    def stream(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        *,
        draws: Draws | None = None,
        stop: StopTexts | None = None,
        stopping: Callable[[], bool] = lambda: False,
        wrote: Callable[[int], None] = lambda num_tokens: None,
        allowed: Callable[[Sequence[int]], list[int]] | None = None,
    ) -> Iterator[tuple[int, Completion]]:
        """Yields the number of a prompt and its completion as soon as it is there.

        Args:
            prompts: token ids, without padding. Those of like length should be neighbours, the
                longest first, so that memory that does not suffice shows at once.
            max_new_tokens: limit per completion.
            draws: temperature and seeds; None is greedy.
            stop: texts that end a completion, too.
            stopping: asked between steps; once it says yes, nothing more is written.
            wrote: told how many tokens were written since it was told last.
            allowed: tokens of a completion so far -> those that may come next, at least one; None:
                every one. Only `generate` asks in this way.

        Raises:
            DataError: a prompt is empty, or leaves no position for an answer.
            OutOfMemoryError: memory does not suffice for one prompt alone.
        """
        finder = StopFinder(stop) if stop and stop.texts else None
        waiting = deque(
            Draft(
                index,
                prompt,
                most_new_tokens(self.model, len(prompt), max_new_tokens),
                draws.seeds[index] if draws else 0,
                self._ends,
                finder,
                allowed=allowed,
            )
            for index, prompt in enumerate(prompts)
        )
        with self._evaluating():
            has_more = bool(waiting)
            while has_more:
                has_more = yield from self._until_memory_ends(waiting, draws, stopping, wrote)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Within the block, the model is in evaluation mode; its modules go back to their own."""
        training: list[Any] = []
        with _STEP:
            if self.model.training:  # asking all modules takes as long as a small model's step
                training = [module for module in self.model.modules() if module.training]
                self.model.eval()
        try:
            yield
        finally:
            with _STEP:
                for module in training:
                    module.training = True

    def score(
        self, prompt: Sequence[int], endings: Sequence[Sequence[int]], temperature: float
    ) -> torch.Tensor:
        """(N,) log-probability of each of the endings after the prompt, in float64 on the CPU.

        Args:
            prompt: token ids.
            endings: token ids, at least one each.
            temperature: of the distribution of each token, above 0.

        Raises:
            DataError: the prompt leaves too few positions for the longest ending.
            OutOfMemoryError: memory does not suffice for one ending alone.
        """
        import torch

        longest = max(map(len, endings))
        room = most_new_tokens(self.model, len(prompt), longest)
        if room < longest:
            raise DataError(
                f"a prompt has {len(prompt)} tokens, and the model {room} positions after it; "
                f"needed: {longest} for the longest choice; leave the question out or take a model "
                "with more positions"
            )
        found: list[float] = []
        with self._evaluating():
            while len(found) < len(endings):
                rows = endings[len(found) : len(found) + self.batch_size]
                try:
                    found += self._score_rows(prompt, rows, longest, temperature)
                    continue
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    # leaving the block frees what the traceback holds
                self._halve(len(rows), 0, len(prompt))
        return torch.tensor(found, dtype=torch.float64)

    def _score_rows(
        self,
        prompt: Sequence[int],
        rows: Sequence[Sequence[int]],
        longest: int,
        temperature: float,
    ) -> list[float]:
        """Log-probability of each of these endings, all at the same time."""
        import torch

        # on the right anything may stand: no token sees what follows it
        ids = [[*prompt, *row, *[row[-1]] * (longest - len(row))] for row in rows]
        with torch.inference_mode():
            logits = self.model(input_ids=torch.tensor(ids, device=self.model.device)).logits
            logits = logits[:, len(prompt) - 1 : -1].double() / temperature  # (B, longest, V)
            chances = logits.log_softmax(-1).cpu()
        return [
            sum(float(chance[column, token]) for column, token in enumerate(row))
            for chance, row in zip(chances, rows, strict=True)
        ]

    def write(self, prompt: Sequence[int], max_new_tokens: int) -> Iterator[Completion]:
        """Yields one completion as far as it is written, token by token, at last the whole; greedy.

        On a GPU some tokens come at once. What only `generate` can ask gives the whole alone.
        Several may be written at the same time, in one thread or in many.

        Raises:
            DataError: the prompt leaves no position for an answer.
            OutOfMemoryError: memory does not suffice.
        """
        from unspoken.measure.slots_fit import fits

        if not fits(self.model):
            yield from (found for _, found in self.stream([prompt], max_new_tokens))
            return
        limit = most_new_tokens(self.model, len(prompt), max_new_tokens)
        row = Draft(0, prompt, limit, 0, self._ends, None)
        with _STEP:  # what is written meanwhile, by this thread or others, has slots of its own
            slots, self._slots = self._slots_for(1, None), None
        slots.share([prompt])
        table, waiting, kept = Table(slots, []), deque([row]), slots
        try:
            while row.completion is None:
                with _STEP, self._evaluating():
                    table.add(table.fill(waiting) or table.advance())
                yield row.completion or Completion(list(row.token_ids), False)
        except (RuntimeError, MemoryError) as error:
            kept = None  # some layers may have grown, and others not
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(0, len(prompt)) from error
        finally:
            self._slots = kept

    def _until_memory_ends(
        self,
        waiting: deque[Draft],
        draws: Draws | None,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Generator[tuple[int, Completion], None, bool]:
        """Yields completions; returns whether memory ran out before all were there."""
        from unspoken.measure.slots_fit import fits

        active: list[Draft] = []
        is_free = not waiting or waiting[0].allowed is None
        way = self._in_slots if is_free and fits(self.model) else self._in_batches
        try:
            yield from way(waiting, active, draws, stopping, wrote)
            return False
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # leaving the block frees what the traceback holds
        rows = active or [waiting[place] for place in range(min(self.batch_size, len(waiting)))]
        longest = max(rows, key=lambda row: len(row.prompt))
        self._halve(len(rows), longest.index, len(longest.prompt))
        for row in active:
            row.token_ids = []
        waiting.extendleft(reversed(active))
        return True

    def _in_slots(
        self,
        waiting: deque[Draft],
        active: list[Draft],
        draws: Draws | None,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Iterator[tuple[int, Completion]]:
        """Yields completions; `active` are the rows that are being written."""
        slots = self._slots_for(len(waiting), draws)
        slots.share([row.prompt for row in waiting])
        table = Table(slots, active)
        while (waiting or active) and not stopping():
            with _STEP, self._evaluating():  # another's block may have ended meanwhile
                written = table.fill(waiting) or table.advance()
            num_tokens, ended = table.add(written)
            wrote(num_tokens)
            yield from ((row.index, row.completion) for row in ended if row.completion)
            if not waiting:
                table.shrink()

    def _slots_for(self, number: int, draws: Draws | None) -> Slots:
        """Empty slots for as many rows, those of the last time where they serve."""
        from unspoken.measure.choose import Chooser
        from unspoken.measure.slots import Slots

        size, way = min(self.batch_size, number), draws and draws[:2]
        if self._slots is None or (self._slots.size, self._slots.chooser.way) != (size, way):
            chooser = Chooser(size, self.model.device, way)
            self._slots = Slots(
                self.model, size, chooser, patience=self._patience, before=self._slots
            )
        self._slots.free(range(size))  # some are taken where the last time was broken off
        return self._slots

    def _halve(self, num_rows: int, index: int, num_tokens: int) -> None:
        """Takes half as many rows from now on, and gives memory back.

        Args:
            num_rows: that did not fit.
            index, num_tokens: of the longest of their prompts.

        Raises:
            OutOfMemoryError: there is one row alone.
        """
        if num_rows == 1:
            raise OutOfMemoryError(index, num_tokens)
        self.batch_size = -(-num_rows // 2)
        logger.warning(
            "memory ran out with %d prompts of up to %d tokens; going on with %d at once",
            num_rows, num_tokens, self.batch_size,
        )  # fmt: skip
        self._slots = None
        release_models()

    def _in_batches(
        self,
        waiting: deque[Draft],
        active: list[Draft],
        draws: Draws | None,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None],
    ) -> Iterator[tuple[int, Completion]]:
        """Yields completions that `generate` writes, batch by batch."""
        while waiting and not stopping():
            active[:] = self._next_batch(waiting)
            self._generate(active, draws, wrote)
            yield from ((row.index, row.completion or row.cut()) for row in active)
            active.clear()

    def _next_batch(self, waiting: deque[Draft]) -> list[Draft]:
        """Takes the next rows that have one limit, which is all that `generate` knows."""
        rows = [waiting.popleft()]
        while waiting and len(rows) < self.batch_size and waiting[0].limit == rows[0].limit:
            rows.append(waiting.popleft())
        return rows

    def _generate(
        self, rows: Sequence[Draft], draws: Draws | None, wrote: Callable[[int], None]
    ) -> None:
        """Writes these rows, of one limit, with transformers' `generate`, padded on the left."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        from unspoken.measure.choose import Chooser

        longest, device = max(len(row.prompt) for row in rows), self.model.device
        padding = [longest - len(row.prompt) for row in rows]
        pairs = list(zip(rows, padding, strict=True))
        ids = [[self._pad] * number + list(row.prompt) for row, number in pairs]
        mask = [[0] * number + [1] * len(row.prompt) for row, number in pairs]
        config = GenerationConfig(
            max_new_tokens=rows[0].limit,
            do_sample=False,
            eos_token_id=self._ends[0] if len(self._ends) == 1 else self._ends,
            pad_token_id=self._pad,
        )
        chooser = Chooser(len(rows), device, draws and draws[:2])
        chooser.seat(range(len(rows)), [row.seed for row in rows])

        def add(input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            """(B, T) tokens -> (B,) whether a row is done."""
            open_rows = [
                (row, token)
                for row, token in zip(rows, input_ids[:, -1].tolist(), strict=True)
                if row.completion is None
            ]
            for row, token in open_rows:
                row.add(token)
            wrote(len(open_rows))
            return torch.tensor([row.completion is not None for row in rows], device=device)

        def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return chooser.with_noise(scores)

        processors: Any = [*_constraints(rows, longest), process]
        generate: Any = self.model.generate
        with torch.inference_mode():
            generate(
                torch.tensor(ids, device=device),  # (B, T)
                attention_mask=torch.tensor(mask, device=device),
                generation_config=config,
                logits_processor=LogitsProcessorList(processors),
                stopping_criteria=StoppingCriteriaList([add]),  # pyright: ignore
            )


def _constraints(rows: Sequence[Draft], longest: int) -> list[Any]:
    """What keeps `generate` to the tokens that are allowed, where not all of them are."""
    from transformers import PrefixConstrainedLogitsProcessor

    def allow(number: int, input_ids: torch.Tensor) -> list[int]:
        """The tokens that may come next in a row; (T,) tokens with its prompt of `longest`."""
        row = rows[number]
        if row.completion is not None or row.allowed is None:
            return list(row.ends)
        return row.allowed(input_ids[longest:].tolist())

    is_free = all(row.allowed is None for row in rows)
    return [] if is_free else [PrefixConstrainedLogitsProcessor(allow, num_beams=1)]


def most_new_tokens(model: PreTrainedModel | PeftModel, length: int, max_new_tokens: int) -> int:
    """`max_new_tokens`, or as many as there are positions for after a prompt of this length.

    Raises:
        DataError: the prompt is empty, or leaves no position.
    """
    if length == 0:
        raise DataError(
            "a prompt has no tokens, because the tokenizer has none for any of its signs; needed: "
            "at least one; leave the question out or take a model that knows its signs"
        )
    limit = num_positions(model)
    if limit is None:
        return max_new_tokens
    if length >= limit:
        raise DataError(
            f"a prompt has {length} tokens; the model has {limit} positions and needs one for the "
            "answer; leave the question out or take a model with more positions"
        )
    return min(max_new_tokens, limit - length)
