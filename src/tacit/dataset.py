"""CoTDataset: examples as spans of token ids, prompt | thought | answer, in contiguous arrays.

Encoded once: the cache is keyed by the content of the data file, the tokenizer and the template,
written atomically, and memory-mapped, so a million examples cost little memory and several
processes share it. Which examples form step t follows from (seed, t) alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from tacit.errors import DataError
from tacit.example import Example, iter_examples
from tacit.template import Template

#: Raise when the meaning of the cached arrays changes.
_FORMAT = 1
_CHUNK = 4096
_ARRAYS = (
    "starts",
    "prompt_lengths",
    "thought_lengths",
    "answer_lengths",
    "step_ends",
    "step_starts",
    "rows",
)


@dataclass(frozen=True, eq=False)
class CoTDataset:
    """Encoded examples; n of them, N tokens in all.

    Attributes:
        tokens: (N,) uint16 or int32, every example's prompt, thought and answer with end token.
        starts: (n,) int64, where each example begins in `tokens`.
        prompt_lengths, thought_lengths, answer_lengths: (n,) int32, tokens in each span.
        step_ends: (S,) int32, for unit `step`: 0 and then the thought tokens up to the end of
            each step, one example after the other.
        step_starts: (n + 1,) int64, where each example begins in `step_ends`.
        rows: (n,) int64, the number of the example in its file; over-long ones are left out.
        num_dropped: examples left out because they were longer than `max_length`.
    """

    tokens: np.ndarray
    starts: np.ndarray
    prompt_lengths: np.ndarray
    thought_lengths: np.ndarray
    answer_lengths: np.ndarray
    step_ends: np.ndarray
    step_starts: np.ndarray
    rows: np.ndarray
    num_dropped: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, (n,) int32."""
        return self.prompt_lengths + self.thought_lengths + self.answer_lengths

    @property
    def longest_thought(self) -> int:
        """Tokens in the longest thought."""
        return int(self.thought_lengths.max())

    @property
    def most_steps(self) -> int:
        """Steps (lines or equations) in the thought that has most."""
        return int((self.step_starts[1:] - self.step_starts[:-1]).max()) - 1

    def tokens_removed(
        self,
        indices: np.ndarray,
        removed: np.ndarray,
        *,
        side: Literal["left", "right"] = "left",
        unit: Literal["token", "step"] = "token",
    ) -> np.ndarray:
        """How many tokens go when `removed` tokens or steps go, (B,) int64; at most all."""
        thought = self.thought_lengths[indices].astype(np.int64)
        if unit == "token":
            return np.minimum(removed, thought)
        first = self.step_starts[indices]
        num_steps = self.step_starts[indices + 1] - first - 1
        gone = np.minimum(removed, num_steps)
        if side == "left":
            return self.step_ends[first + gone].astype(np.int64)
        return thought - self.step_ends[first + num_steps - gone]

    def steps_per_epoch(self, batch_size: int) -> int:
        """Optimizer steps in one pass; the rest of less than a batch waits for the next pass."""
        return max(1, len(self) // batch_size)

    def batch_indices(
        self, step: int, batch_size: int, seed: int, group_by_length: bool = True
    ) -> np.ndarray:
        """Which examples form optimizer step `step`, (batch_size,) int64.

        A pure function of its arguments, whatever number of processes asks.
        """
        epoch, position = divmod(step, self.steps_per_epoch(batch_size))
        order = self._order(epoch, batch_size, seed, group_by_length)
        chosen = order[position * batch_size : (position + 1) * batch_size]
        if len(chosen) < batch_size:  # fewer examples than one batch: go round
            chosen = np.resize(order, batch_size)
        return chosen

    @lru_cache(maxsize=2)  # noqa: B019  (one dataset per run; its arrays are what memory holds)
    def _order(self, epoch: int, batch_size: int, seed: int, group: bool) -> np.ndarray:
        """A permutation of all examples; grouped, batches within a window have like lengths."""
        random = np.random.default_rng([seed, epoch, 0x0DE2])
        order = random.permutation(len(self))
        lengths = self.lengths
        if not group or lengths.min() == lengths.max() or len(self) < 2 * batch_size:
            return order
        num_batches = len(self) // batch_size
        order = order[: num_batches * batch_size]
        window = 32 * batch_size
        batches: list[np.ndarray] = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[np.argsort(lengths[part], kind="stable")].reshape(-1, batch_size)
            batches.append(part[random.permutation(len(part))])
        return np.concatenate(batches).ravel()

    def prompts(self, indices: Sequence[int] | np.ndarray | None = None) -> list[list[int]]:
        """Token ids of the prompts, what a model is asked with."""
        chosen = range(len(self)) if indices is None else indices
        return [
            self.tokens[self.starts[i] : self.starts[i] + self.prompt_lengths[i]].tolist()
            for i in chosen
        ]


def encode_file(
    path: Path,
    tokenizer: Any,
    template: Template,
    *,
    max_length: int | None = None,
    allow_empty_thought: bool = False,
    cache: Path | None = None,
    progress: bool = True,
) -> CoTDataset:
    """The examples of a JSONL file as a CoTDataset, from the cache where that is possible.

    Args:
        path: JSONL with question, thought and answer.
        tokenizer: any Hugging Face tokenizer with an end token.
        template: renders the spans.
        max_length: examples with more tokens are left out one by one, and counted.
        allow_empty_thought: take examples whose thought is empty; else they are errors.
        cache: folder for encoded files; default $TACIT_CACHE or ~/.cache/tacit.
        progress: show a bar.

    Raises:
        DataError: a line of the file cannot be used, or no example is left.
    """
    cache = cache or default_cache()
    key = _cache_key(path, tokenizer, template, max_length)
    folder = cache / "datasets" / key
    if not (folder / "meta.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=folder.parent))
        try:
            examples = iter_examples(path, allow_empty_thought=allow_empty_thought)
            encoder = _Encoder(tokenizer, template, max_length)
            _write(examples, path, encoder, temporary, progress)
            try:
                os.rename(temporary, folder)  # noqa: PTH104  (atomic; fails if another was first)
            except OSError:
                if not (folder / "meta.json").exists():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return _open(folder)


def encode_examples(
    examples: Sequence[Example],
    tokenizer: Any,
    template: Template,
    *,
    max_length: int | None = None,
) -> CoTDataset:
    """The same in memory, without a cache; for tests and for use from Python."""
    encoder = _Encoder(tokenizer, template, max_length)
    for start in range(0, len(examples), _CHUNK):
        encoder.add(examples[start : start + _CHUNK])
    encoder.require_some("the examples")
    return CoTDataset(
        tokens=np.concatenate(encoder.tokens),
        **encoder.arrays(),
        num_dropped=encoder.num_dropped,
    )


def default_cache() -> Path:
    """$TACIT_CACHE, or ~/.cache/tacit."""
    chosen = os.environ.get("TACIT_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "tacit"


class _Encoder:
    """Encodes chunk by chunk into arrays that grow."""

    def __init__(self, tokenizer: Any, template: Template, max_length: int | None) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.max_length = max_length
        self.num_read = 0
        self.tokens: list[np.ndarray] = []
        self.lengths: list[np.ndarray] = []  # (n, 3) per chunk
        self.step_ends: list[np.ndarray] = []
        self.step_counts: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []
        self.num_dropped = 0

    def add(self, examples: Sequence[Example]) -> None:
        """Appends these examples, the over-long ones left out."""
        spans = [self.template.spans(example) for example in examples]
        prompts = encode_prompts([span.prompt for span in spans], self.tokenizer, self.template)
        thoughts, step_ends = _encode_thoughts([span.thought for span in spans], self.tokenizer)
        answers = _token_ids(self.tokenizer, [span.answer for span in spans])
        end = self.tokenizer.eos_token_id
        flat: list[int] = []
        lengths, kept_steps, rows = [], [], []
        for row, (prompt, thought, answer) in enumerate(
            zip(prompts, thoughts, answers, strict=True)
        ):
            size = (len(prompt), len(thought), len(answer) + 1)
            if self.max_length is not None and sum(size) > self.max_length:
                self.num_dropped += 1
                continue
            flat += [*prompt, *thought, *answer, end]
            lengths.append(size)
            kept_steps.append(step_ends[row])
            rows.append(self.num_read + row)
        self.num_read += len(examples)
        self.tokens.append(np.asarray(flat, dtype=np.int32))
        self.lengths.append(np.asarray(lengths, dtype=np.int32).reshape(-1, 3))
        self.step_counts.append(np.asarray([len(ends) for ends in kept_steps], dtype=np.int64))
        self.step_ends.append(np.asarray([e for ends in kept_steps for e in ends], dtype=np.int32))
        self.rows.append(np.asarray(rows, dtype=np.int64))

    def require_some(self, where: str) -> None:
        if not any(len(rows) for rows in self.rows):
            raise DataError(
                f"{where}: all {self.num_dropped} examples have more than {self.max_length} "
                "tokens; raise data.max_length"
            )

    def arrays(self) -> dict[str, np.ndarray]:
        lengths = np.concatenate(self.lengths)
        counts = np.concatenate(self.step_counts)
        return {
            "starts": np.concatenate([[0], np.cumsum(lengths.sum(axis=1))[:-1]]).astype(np.int64),
            "prompt_lengths": np.ascontiguousarray(lengths[:, 0]),
            "thought_lengths": np.ascontiguousarray(lengths[:, 1]),
            "answer_lengths": np.ascontiguousarray(lengths[:, 2]),
            "step_ends": np.concatenate(self.step_ends),
            "step_starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            "rows": np.concatenate(self.rows),
        }


def encode_prompts(prompts: Sequence[str], tokenizer: Any, template: Template) -> list[list[int]]:
    """Token ids of rendered prompts, as a plain `tokenizer(prompt)` gives them.

    A start token that the tokenizer adds by itself stays; an end token at the end does not.
    """
    ids = _token_ids(tokenizer, prompts, special=template.adds_special_tokens)
    end = tokenizer.eos_token_id
    return [row[:-1] if len(row) > 1 and row[-1] == end else row for row in ids]


def _encode_thoughts(texts: Sequence[str], tokenizer: Any) -> tuple[list[list[int]], list]:
    """Token ids, and for each text 0 and the number of tokens up to the end of each step."""
    if not tokenizer.is_fast:
        pieces = [split_steps(text) for text in texts]
        ids = [[_token_ids(tokenizer, [piece])[0] for piece in row] for row in pieces]
        ends = [np.cumsum([0, *(len(piece) for piece in row)]).tolist() for row in ids]
        return [[token for piece in row for token in piece] for row in ids], ends
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_attention_mask=False,
        return_offsets_mapping=True,
        verbose=False,
    )
    step_ends = []
    for text, offsets in zip(texts, encoded["offset_mapping"], strict=True):
        borders = np.cumsum([len(piece) for piece in split_steps(text)])
        # a token belongs to the step in which it begins
        begins = np.fromiter((begin for begin, _ in offsets), dtype=np.int64, count=len(offsets))
        ends = np.searchsorted(begins, borders, side="left")
        step_ends.append([0, *np.unique(ends[ends > 0]).tolist()])
    return encoded["input_ids"], step_ends


def split_steps(thought: str) -> list[str]:
    """The steps of a thought: its lines; else its equations `<<...>>`; else its summands.

    Example:
        >>> split_steps("<<1+2=3>> <<3*3=9>>")
        ['<<1+2=3>>', ' <<3*3=9>>']
    """
    if "\n" in thought.rstrip("\n"):
        border = r"(?<=\n)(?!\n)"
    elif "<<" in thought:
        border = r"(?<=>>)(?!\n)"
    else:
        border = r"(?= \+|(?<! )\+)"  # partial products of a multiplication
    return [piece for piece in re.split(border, thought) if piece]


def _token_ids(tokenizer: Any, texts: Sequence[str], special: bool = False) -> list[list[int]]:
    encoded = tokenizer(
        list(texts), add_special_tokens=special, return_attention_mask=False, verbose=False
    )
    return encoded["input_ids"]


def _write(
    examples: Iterator[Example], path: Path, encoder: _Encoder, folder: Path, progress: bool
) -> None:
    """Memory holds one chunk and the lengths, never all tokens.

    The Rust tokenizers encode each chunk on all cores.
    """
    most = len(encoder.tokenizer)
    dtype = np.uint16 if most <= np.iinfo(np.uint16).max else np.int32
    bar = tqdm(desc=f"encode {path.name}", unit=" examples", disable=not progress, leave=False)
    with (folder / "tokens.bin").open("wb") as file:
        while chunk := list(islice(examples, _CHUNK)):
            encoder.add(chunk)
            encoder.tokens.pop().astype(dtype).tofile(file)
            bar.update(len(chunk))
    bar.close()
    encoder.require_some(str(path))
    for name, array in encoder.arrays().items():
        np.save(folder / f"{name}.npy", array)
    meta = {"source": str(path), "num_dropped": encoder.num_dropped, "dtype": np.dtype(dtype).name}
    (folder / "meta.json").write_text(json.dumps(meta))


def _open(folder: Path) -> CoTDataset:
    meta = json.loads((folder / "meta.json").read_text())
    tokens = np.memmap(folder / "tokens.bin", dtype=meta["dtype"], mode="r")
    return CoTDataset(
        tokens=tokens,
        **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS},
        num_dropped=meta["num_dropped"],
    )


def _cache_key(path: Path, tokenizer: Any, template: Template, max_length: int | None) -> str:
    digest = hashlib.sha256(file_hash(path).encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab())
    chat = str(getattr(tokenizer, "chat_template", None)) if template.name == "chat" else ""
    settings = [_FORMAT, template.name, chat, max_length, tokenizer.eos_token_id, vocabulary]
    digest.update(json.dumps(settings).encode())
    return digest.hexdigest()[:32]


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(
            f"{path}: no such data file; check data.train, data.valid, data.test"
        ) from None
    return digest.hexdigest()
