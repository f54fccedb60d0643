"""A batch of slots, each with a row of its own: rows end and others begin, whatever the others do.

A slot is a row of the key-value cache with a position of its own. So rows of any length stand
beside each other, and one that has ended is replaced without a copy of the others. A row stands
at the left, without padding: what lies right of its position is masked.

`model()` does the arithmetic, with a mask of four dimensions, which transformers takes as it is.
`measure/slots_fit.py` says which models can be asked so; the others are left to `generate`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from unspoken.measure.capture import record_cuda_graph, record_operations
from unspoken.measure.choose import Chooser
from unspoken.measure.model_call import ModelCall, scores_agree

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

#: Columns of the cache that are added at a time, at least. On a CPU rows that stand close together
#: stay in its own cache (256 rows of the quickstart's model: 1.08 times as fast as with 64); what
#: is recorded for one row alone is forgotten where columns are added.
_COLUMNS = {"cuda": 256}
_FEW_COLUMNS = 16
_COLUMNS_OF_ONE = 64
#: Prompt tokens read at once, padding included. On a CPU what a layer makes of a few stays in
#: its cache, and prompts of like length need little padding: SmolLM2 reads 1.5 times as fast.
_PREFILL_TOKENS = {"cuda": 16_384}
_FEW_PREFILL_TOKENS = 1_024
#: A beginning that prompts share is read once, from so many tokens on.
_FEWEST_SHARED = 16
#: Up to so many weights times rows Python takes longer than the arithmetic of a step on a CPU.
_SMALL = 8_000_000
#: Steps of one shape before it is recorded: about what recording costs in steps.
_STEPS_BEFORE_RECORDING = {"cpu": 400, "cuda": 40}
_STEPS_BEFORE_RECORDING_AGAIN = {"cpu": 400, "cuda": 0}  # known to work, and kernels are loaded
#: Places that recording goes ahead.
_STEPS_OF_RECORDING = 3
#: Prompts that are read alone are recorded in lengths that are a multiple of this.
_READ_COLUMNS = 16
_READS_BEFORE_RECORDING = {"cpu": 300, "cuda": 5}
#: Steps between two looks at what was written: each look waits for the GPU.
_STEPS_PER_LOOK = {"cuda": 8}


class _SlotLayer(DynamicLayer):
    """Keys and values of one layer; a step writes into each row at the row's own position.

    Attributes:
        keys, values: (B, heads, T, width).
    """

    keys: Any
    values: Any

    def __init__(self, slots: Slots, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.is_initialized = True
        self._slots = slots

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes what one token of each row adds; returns all columns that are in use."""
        slots, keys, values = self._slots, self.keys, self.values
        places = slots.cursor.to(keys.device)
        if slots.size == 1:
            keys.index_copy_(2, places, key_states)
            values.index_copy_(2, places, value_states)
        else:
            rows = slots.rows.to(keys.device)
            keys[rows, :, places] = key_states[:, :, 0]
            values[rows, :, places] = value_states[:, :, 0]
        return keys[:, :, : slots.width], values[:, :, : slots.width]


class Slots:
    """Rows that are written at the same time, one token of each at a step.

    Attributes:
        size: number of slots.
        rows: (B,) 0, 1, ...
        tokens: (B,) the token of each row that is read next.
        places: (B,) the position at which it is read.
        cursor: (B,) the positions of the step that is being calculated.
        width: columns of the cache that the step looks at.
        is_recorded: whether steps are replayed.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        size: int,
        chooser: Chooser,
        *,
        patience: int | None = 1,
        before: Slots | None = None,
    ) -> None:
        """Empty slots.

        Args:
            model: one that `fits`, in evaluation mode.
            size: rows at the same time.
            chooser: of as many rows.
            patience: recording begins after the usual number of steps times this; 0: at once;
                None: never.
            before: slots of the same model, whose shared beginning is kept.
        """
        self.size, self.chooser = size, chooser
        self._call = ModelCall(model)
        self._kind = chooser.counts.device.type
        steps = _STEPS_BEFORE_RECORDING.get(self._kind)
        self._patience = patience
        self._steps_before_recording = (
            None if steps is None or patience is None else steps * patience
        )
        self.width = self._capacity = 0
        self._layers: list[_SlotLayer] = []
        self._cache: Any = None
        self.beginning: list[int] = before.beginning if before else []
        self.shared: DynamicCache | None = before.shared if before else None
        device = chooser.counts.device
        self.rows = torch.arange(size, device=device)
        self.tokens = torch.zeros(size, dtype=torch.long, device=device)
        self.places = torch.zeros(size, dtype=torch.long, device=device)
        self.cursor = self.places
        self._last = torch.zeros(size, dtype=torch.long, device=device)
        self._reach = [0] * size  # as `places`, without asking the device
        self._ends = [0] * size  # as `_last`
        self._forget_recordings()

    @torch.inference_mode()
    def fill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]], limits: Sequence[int],
             seeds: Sequence[int] | None) -> list[int]:  # fmt: skip
        """Begins rows in these slots; returns the first token of each.

        Args:
            slots: numbers of them.
            prompts: token ids.
            limits: tokens that will be written after each at the most.
            seeds: of what is drawn.
        """
        firsts: list[int] = []
        if seeds is not None:
            self.chooser.seat(slots, seeds)
        for slot, prompt, limit in zip(slots, prompts, limits, strict=True):
            self._reach[slot], self._ends[slot] = len(prompt), len(prompt) + limit - 1
        self._grow(max(len(prompt) for prompt in prompts))
        start, most = 0, _PREFILL_TOKENS.get(self._kind, _FEW_PREFILL_TOKENS)
        while start < len(slots):
            longest = max(map(len, prompts[start:]))
            stop = start + max(1, most // longest)
            scores = self._recorded_read(prompts[0])
            if scores is None:
                scores = self._read(slots[start:stop], prompts[start:stop])
            index = torch.tensor(slots[start:stop], device=self.rows.device)
            chosen = self.chooser.choose(scores, index)
            self.tokens[index] = chosen
            firsts += chosen.tolist()
            start = stop
        index = torch.tensor(slots, device=self.rows.device)
        self.places[index] = torch.tensor([len(p) for p in prompts], device=self.rows.device)
        self._last[index] = torch.tensor([self._ends[s] for s in slots], device=self.rows.device)
        return firsts

    def share(self, prompts: Sequence[Sequence[int]]) -> None:
        """Reads the beginning of these prompts, which are to come, only once where all share it."""
        count = _count_shared(prompts)
        is_worth_it = count >= _FEWEST_SHARED and self.size > 1 and not self._call.is_spread
        beginning = list(prompts[0][:count]) if is_worth_it else []
        if beginning != self.beginning:
            self.beginning, self.shared = beginning, None

    @torch.inference_mode()
    def free(self, slots: Sequence[int]) -> None:
        """Takes rows out: until they are filled again, their slots need no columns."""
        for slot in slots:
            self._reach[slot] = self._ends[slot] = 0
        index = torch.tensor(slots, device=self.rows.device)
        self.places[index] = 0
        self._last[index] = 0

    @torch.inference_mode()
    def keep(self, slots: Sequence[int]) -> None:
        """Only these slots remain, in this order."""
        index = torch.tensor(slots, device=self.rows.device)
        for layer in self._layers:
            layer.keys = layer.keys.index_select(0, index.to(layer.keys.device))
            layer.values = layer.values.index_select(0, index.to(layer.values.device))
        self.size = len(slots)
        self.rows = self.rows[: self.size]
        self.tokens, self.places = self.tokens[index], self.places[index]
        self._last = self._last[index]
        self._reach = [self._reach[slot] for slot in slots]
        self._ends = [self._ends[slot] for slot in slots]
        self.chooser.keep(slots)
        self._forget_recordings()

    @torch.inference_mode()
    def advance(self) -> list[list[int]]:
        """Some steps; returns for each the token that it wrote in each slot.

        Rows that are at their limit write on, to be cut off.
        """
        left = max(end - reach for end, reach in zip(self._ends, self._reach, strict=True))
        number = min(_STEPS_PER_LOOK.get(self._kind, 1), max(1, left))
        furthest = max(
            min(end, reach + number - 1)
            for end, reach in zip(self._ends, self._reach, strict=True)
        )  # fmt: skip
        self._grow(furthest + 1)
        step = self._step_of_this_shape()
        written = []
        for _ in range(number):
            self.width = self._capacity if self.is_recorded else max(self._reach) + 1
            step()
            written.append(self.tokens.clone())
            self._reach = [
                min(reach + 1, end) for reach, end in zip(self._reach, self._ends, strict=True)
            ]
        self._num_steps += number
        return torch.stack(written).tolist()

    def score(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(B,) tokens at (B,) places -> (B, V) scores of what follows; writes to the cache."""
        self.cursor = places
        columns = torch.arange(self.width, device=places.device)
        masks = self._call.masks(columns, places[:, None], self._dtype)
        return self._call(
            tokens[:, None], self._cache, attention_mask=masks, position_ids=places[:, None]
        )[:, -1]

    def _step(self) -> None:
        """One token of each row, in place."""
        self._advance_with(self.score(self.tokens, self.places))

    def _advance_with(self, scores: torch.Tensor) -> None:
        self.tokens.copy_(self.chooser.choose(scores))
        torch.minimum(self.places + 1, self._last, out=self.places)

    # --- recording ------------------------------------------------------------------------------

    def _forget_recordings(self) -> None:
        self.is_recorded = False
        self._recorded: Callable[[], None] | None = None
        self._readers: dict[int, Callable[[Sequence[int]], torch.Tensor] | None] = {}
        self._num_steps = self._num_reads = 0

    def _step_of_this_shape(self) -> Callable[[], None]:
        """The recorded step, where there is one or it is time for one, else `_step`."""
        if self._recorded is None and self._is_worth_recording():
            self._record()
        return self._recorded or self._step

    def _is_worth_recording(self) -> bool:
        limit = self._steps_before_recording
        if limit is None or self._num_steps < limit or self._call.is_spread:
            return False
        if max(self._reach) + _STEPS_OF_RECORDING > self._capacity:
            return False
        return self._kind == "cuda" or self._call.num_weights * self.size <= _SMALL

    def _record(self) -> None:
        """Records a step of this shape; where it does not do the same, steps stay as they are."""
        before = self.tokens.clone(), self.places.clone(), self.chooser.counts.clone()
        self.width, self.is_recorded = self._capacity, True
        try:
            is_gpu = self._kind == "cuda"
            recorded = record_cuda_graph(self._step) if is_gpu else self._operations()
        except Exception as error:
            logger.debug("a decoding step cannot be recorded: %s", error)
            recorded = None
        self._rewind(before)
        if recorded is None or not self._agrees(recorded, before):
            self._steps_before_recording, self.is_recorded = None, False
            return
        self._recorded = recorded
        self._steps_before_recording = _STEPS_BEFORE_RECORDING_AGAIN[self._kind]

    def _rewind(self, before: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
        for tensor, value in zip(
            (self.tokens, self.places, self.chooser.counts), before, strict=True
        ):
            tensor.copy_(value)

    def _operations(self) -> Callable[[], None]:
        """A step whose scores are a list of operations; what is drawn is not."""
        score = record_operations(self.score, self.tokens, self.places)

        def step() -> None:
            self._advance_with(score(self.tokens, self.places))

        return step

    def _agrees(
        self,
        recorded: Callable[[], None],
        before: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> bool:
        """Whether a recorded step writes what a plain one writes; both are undone."""
        if self.chooser.way is not None and self._kind == "cpu":
            return True  # its generators cannot be undone; only the scores are recorded
        found = []
        for step in (self._step, recorded):
            step()
            found.append((self.tokens.clone(), self.places.clone()))
            self._rewind(before)
        return all(torch.equal(one, other) for one, other in zip(*found, strict=True))

    # --- a prompt that is read alone ------------------------------------------------------------

    def _recorded_read(self, prompt: Sequence[int]) -> torch.Tensor | None:
        """(1, V) scores of what follows the only slot's prompt, or None: nothing is recorded."""
        self._num_reads += 1
        length = -(-len(prompt) // _READ_COLUMNS) * _READ_COLUMNS
        if length not in self._readers:
            if not self._is_worth_recording_reads(length):
                return None
            self._readers[length] = self._new_reader(prompt, length)
        reader = self._readers[length]
        return None if reader is None else reader(prompt)

    def _is_worth_recording_reads(self, length: int) -> bool:
        limit = _READS_BEFORE_RECORDING.get(self._kind)
        if self.size > 1 or not self._layers or limit is None or self._patience is None:
            return False
        if self._num_reads <= limit * self._patience or self._call.is_spread:
            return False
        positions = self._call.num_positions
        if length > self._capacity or (positions is not None and length > positions):
            return False
        return self._kind == "cuda" or self._call.num_weights * length <= 4 * _SMALL

    def _new_reader(
        self, prompt: Sequence[int], length: int
    ) -> Callable[[Sequence[int]], torch.Tensor] | None:
        """Records reading so many columns; None where that does not give the same scores."""
        device = self.rows.device
        tokens = torch.zeros(length, dtype=torch.long, device=device)
        end = torch.zeros(1, dtype=torch.long, device=device)
        places = torch.arange(length, device=device)
        self.width = self._capacity
        put: dict[str, torch.Tensor] = {}
        score = self._score_of_prompt

        def read() -> None:
            put["scores"] = score(tokens, places, end)

        def ask(prompt: Sequence[int]) -> torch.Tensor:
            tokens[: len(prompt)] = torch.tensor(prompt, device=device)
            end.fill_(len(prompt) - 1)
            self.width = self._capacity
            replay()
            return put["scores"]

        try:
            if self._kind == "cuda":
                replay = record_cuda_graph(read)
            else:
                score, replay = record_operations(score, tokens, places, end), read
            found = ask(prompt)
        except Exception as error:
            logger.debug("reading a prompt cannot be recorded: %s", error)
            return None
        return ask if scores_agree(found, self._read([0], [prompt])) else None

    def _score_of_prompt(
        self, tokens: torch.Tensor, places: torch.Tensor, end: torch.Tensor
    ) -> torch.Tensor:
        """(T,) tokens at (T,) places -> (1, V) scores of what follows column `end`."""
        self.cursor = places
        columns = torch.arange(self.width, device=places.device)
        masks = self._call.masks(columns, places[:, None], self._dtype)  # (T, 1, 1, width)
        is_one = isinstance(masks, torch.Tensor)
        turned = (
            masks.transpose(0, 2) if is_one else {k: m.transpose(0, 2) for k, m in masks.items()}
        )
        extra = {"attention_mask": turned, "position_ids": places[None]}
        if "logits_to_keep" in self._call.names:
            return self._call(tokens[None], self._cache, logits_to_keep=end, **extra)[:, -1]
        return self._call(tokens[None], self._cache, **extra).index_select(1, end)[:, -1]

    # --- cache ----------------------------------------------------------------------------------

    def _read(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Reads prompts into these slots; (G, V) scores of what follows each."""
        longest = max(map(len, prompts))
        scores, cache = self._read_after(self._read_shared(prompts), prompts)
        if not self._layers:
            self._layers = [self._new_layer(layer) for layer in cache.layers]
            self._cache = Cache(layers=list(self._layers))
        index = torch.tensor(slots)
        layers: Any = cache.layers
        for layer, read in zip(self._layers, layers, strict=True):
            layer.keys[index.to(layer.keys.device), :, :longest] = read.keys
            layer.values[index.to(layer.values.device), :, :longest] = read.values
        return scores

    def _read_after(
        self, shared: DynamicCache, prompts: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, DynamicCache]:
        """Reads what is left of prompts; (G, V) scores of what follows each, and the cache.

        Args:
            shared: with as many rows, what was read of each already.
            prompts: whole.
        """
        start, longest, device = shared.get_seq_length(), max(map(len, prompts)), self.rows.device
        # a row's own last token instead of padding: it is read, but nothing looks at it
        rows = [[*prompt[start:], *[prompt[-1]] * (longest - len(prompt))] for prompt in prompts]
        ends = torch.tensor([len(prompt) - start - 1 for prompt in prompts], device=device)
        return self._call.at(torch.tensor(rows, device=device), shared, ends), shared

    def _read_shared(self, prompts: Sequence[Sequence[int]]) -> DynamicCache:
        """A cache with a row for each prompt, which holds the beginning that all of them share.

        It is empty where there is none, and for a model whose scores are others after it.
        """
        if not self.beginning:
            return DynamicCache()
        if self.shared is None:
            device, self.shared = self.rows.device, DynamicCache()
            ids = torch.tensor([self.beginning], device=device)
            self._call.at(ids, self.shared, torch.tensor([ids.shape[1] - 1], device=device))
            two = prompts[:2]
            parts, wholes = self._repeated(len(two)), DynamicCache()
            if not scores_agree(self._read_after(parts, two)[0], self._read_after(wholes, two)[0]):
                logger.debug("the beginning of prompts is not read once: scores differ")
                self.shared = DynamicCache()
        return self._repeated(len(prompts))

    def _repeated(self, number: int) -> DynamicCache:
        """The shared beginning, in so many rows."""
        cache = DynamicCache()
        layers: Any = self.shared.layers if self.shared is not None else []
        for index, layer in enumerate(layers):
            shape = (number, -1, -1, -1)
            cache.update(layer.keys.expand(shape), layer.values.expand(shape), index)
        return cache

    def _new_layer(self, read: Any) -> _SlotLayer:
        self._dtype = read.keys.dtype
        keys, values = (
            like.new_zeros(self.size, like.shape[1], self._capacity, like.shape[3])
            for like in (read.keys, read.values)
        )
        return _SlotLayer(self, keys, values)

    def _grow(self, columns: int) -> None:
        """Makes place for so many columns."""
        if columns <= self._capacity:
            return
        wanted = min(max(self._ends) + 1, max(columns, 2 * self._capacity))
        unit = _COLUMNS.get(self._kind, _FEW_COLUMNS if self.size > 1 else _COLUMNS_OF_ONE)
        self._capacity = -(-max(columns, wanted) // unit) * unit
        for layer in self._layers:
            layer.keys, layer.values = self._wider(layer.keys), self._wider(layer.values)
        self._forget_recordings()

    def _wider(self, old: torch.Tensor) -> torch.Tensor:
        new = old.new_zeros(*old.shape[:2], self._capacity, old.shape[3])
        new[:, :, : old.shape[2]] = old
        return new


def _count_shared(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens at the beginning that all prompts have; each keeps one of its own, at least."""
    if len(prompts) < 2:
        return 0
    rows = [list(prompt) for prompt in prompts]
    first, last = min(rows), max(rows)
    most = min(map(len, prompts)) - 1
    return next((n for n in range(most) if first[n] != last[n]), most)
