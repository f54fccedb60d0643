"""Examples as text -> CoTDataset, through a cache on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from unspoken.common.cache import CACHE_VARIABLE, default_cache
from unspoken.common.errors import DataError, setting
from unspoken.common.files import remove, sha256
from unspoken.common.keeper import end_with_parent
from unspoken.common.machine import num_cores
from unspoken.common.places import place_error, writing
from unspoken.common.progress import bar_intervals
from unspoken.data.example import Example, iter_examples
from unspoken.models.template import Template, encode_prompts, rust_tokenizer, token_ids
from unspoken.models.tokenizer import is_character_tokenizer
from unspoken.recipe.choices import name_choices
from unspoken.train.dataset import CoTDataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


#: Raise when the meaning of the cached arrays changes.
_FORMAT = 2
_CHUNK = 4096
#: Bytes of a data file from which on starting worker processes pays.
_LARGE_FILE = 32 << 20
_ARRAYS = (
    "starts", "prompt_lengths", "thought_lengths", "answer_lengths", "step_ends", "step_starts",
    "rows",
)  # fmt: skip


def encode_file(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    *,
    max_length: int | None = None,
    steps: bool = True,
    allow_empty_thought: bool = False,
    unique: bool = True,
    digest: str | None = None,
    cache: Path | None = None,
    num_workers: int | None = None,
    progress: bool = True,
) -> CoTDataset:
    """The examples of a JSONL file as a CoTDataset, from the cache where that is possible.

    Args:
        path: JSONL with question, thought and answer.
        tokenizer: any Hugging Face tokenizer with an end token.
        template: renders the spans.
        max_length: examples with more tokens are left out one by one, and counted.
        steps: find where steps end, which removal by `step` needs; it takes some time.
        allow_empty_thought: take examples whose thought is empty; else they are errors.
        unique: a question that stands there twice is an error; else it may, with other thoughts.
        digest: SHA-256 of the file, where it is known already.
        cache: folder for encoded files; default `unspoken.common.cache.default_cache()`.
        num_workers: processes; default all cores for a large file and one for a small one.
        progress: show a bar.

    Raises:
        DataError: a line of the file cannot be used, or no example is left.
    """
    cache = cache or default_cache()
    encoder = _Encoder(tokenizer, template, max_length, steps)
    key = _cache_key(digest or sha256(path), encoder, [allow_empty_thought, unique])
    folder = cache / "datasets" / key
    other = f"set {CACHE_VARIABLE} to another folder"
    with writing(folder, other=other):
        if (known := _open_cached(folder)) is not None:
            return known
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=folder.parent))
        examples = iter_examples(path, allow_empty_thought=allow_empty_thought, unique=unique)
        bar = tqdm(
            desc=f"encode {path.name}", unit=" examples", disable=not progress, leave=False,
            **bar_intervals(),
        )  # fmt: skip
        try:
            with bar:
                large = path.stat().st_size > _LARGE_FILE
                usual = min(16, num_cores()) if large else 1
                chunks = _encoded(examples, encoder, num_workers or usual)
                _write(chunks, path, max_length, temporary, bar)
            try:
                os.rename(temporary, folder)  # noqa: PTH104  (atomic; fails if another was first)
            except OSError:
                if not (folder / "meta.json").exists():
                    raise
            return _open(folder)
        except Exception as error:
            # looked up while what was written still fills the disk
            raise place_error(error, folder, other=other) or error from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _open_cached(folder: Path) -> CoTDataset | None:
    """What was encoded before; None where there is nothing, or it is damaged and removed."""
    if not folder.exists():
        return None
    try:
        return _open(folder)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        logger.warning("%s: damaged (%s); it is made again", folder, error)
        remove(folder)
        return None


def encode_examples(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    *,
    max_length: int | None = None,
    steps: bool = True,
) -> CoTDataset:
    """Examples that are in memory -> dataset, without a cache; for tests and use from Python."""
    encoder = _Encoder(tokenizer, template, max_length, steps)
    chunks = list(_encoded(iter(examples), encoder, num_workers=1))
    return CoTDataset(
        tokens=np.concatenate([chunk.tokens for chunk in chunks]),
        **_joined(chunks, "the examples", max_length),
        num_dropped=sum(chunk.num_dropped for chunk in chunks),
    )


class _Chunk(NamedTuple):
    """Some encoded examples; arrays as in CoTDataset, `lengths` (n, 3)."""

    tokens: np.ndarray
    lengths: np.ndarray
    step_ends: np.ndarray
    step_counts: np.ndarray
    rows: np.ndarray
    num_read: int
    num_dropped: int


@dataclass(frozen=True)
class _Encoder:
    """Examples -> _Chunk; a value that can be sent to a worker process."""

    tokenizer: PreTrainedTokenizerBase
    template: Template
    max_length: int | None
    steps: bool

    @property
    def dtype(self) -> type[np.unsignedinteger | np.signedinteger]:
        return np.uint16 if len(self.tokenizer) <= np.iinfo(np.uint16).max else np.int32

    def __call__(self, first_row: int, examples: Sequence[Example]) -> _Chunk:
        """Over-long examples are left out; the others keep their number in the file as row."""
        spans = [self.template.spans(example) for example in examples]
        prompts = encode_prompts([span.prompt for span in spans], self.tokenizer, self.template)
        texts = [span.thought for span in spans]
        answers = token_ids(self.tokenizer, [span.answer for span in spans])
        if self.steps:
            thoughts, step_ends = _encode_with_steps(texts, self.tokenizer)
        else:
            thoughts, step_ends = token_ids(self.tokenizer, texts), [()] * len(texts)
        end = int(self.tokenizer.eos_token_id)  # pyright: ignore[reportArgumentType]
        self._require_known(examples, prompts, thoughts, answers)
        flat: list[int] = []
        lengths, kept_ends, rows = [], [], []
        for row, (prompt, thought, answer) in enumerate(
            zip(prompts, thoughts, answers, strict=True)
        ):
            size = (len(prompt), len(thought), len(answer) + 1)
            if self.max_length is None or sum(size) <= self.max_length:
                flat += [*prompt, *thought, *answer, end]
                lengths.append(size)
                kept_ends.append(step_ends[row])
                rows.append(first_row + row)
        return _Chunk(
            tokens=np.asarray(flat, dtype=self.dtype),
            lengths=np.asarray(lengths, dtype=np.int32).reshape(-1, 3),
            step_ends=np.asarray([e for ends in kept_ends for e in ends], dtype=np.int32),
            step_counts=np.asarray([len(ends) for ends in kept_ends], dtype=np.int64),
            rows=np.asarray(rows, dtype=np.int64),
            num_read=len(examples),
            num_dropped=len(examples) - len(rows),
        )

    def _require_known(self, examples: Sequence[Example], *spans: Sequence[list[int]]) -> None:
        """An unknown symbol under the built-in alphabet is a mistake in the recipe."""
        if not is_character_tokenizer(self.tokenizer):
            return
        unknown = self.tokenizer.unk_token_id
        for ids in spans:
            for example, row in zip(examples, ids, strict=True):
                if unknown in row:
                    text = "".join(self.template.spans(example))  # it may be one of the template's
                    missing = sorted(set(text) - set(self.tokenizer.get_vocab()))
                    raise DataError(
                        f"question {example.question[:60]!r}: found the symbols {missing}, which "
                        "the character tokenizer lacks; add them to model.alphabet"
                    )


def _encoded(examples: Iterator[Example], encoder: _Encoder, num_workers: int) -> Iterator[_Chunk]:
    """Encoded chunks in order; memory holds a few of them, never all examples."""
    chunks = _chunks(examples)
    if num_workers == 1 or "fork" not in multiprocessing.get_all_start_methods():
        for first_row, chunk in chunks:
            yield encoder(first_row, chunk)
        return
    # fork, and not spawn: a user's script without a main guard would be run again by every worker
    context = multiprocessing.get_context("fork")
    begin = partial(_begin_worker, os.getpid())
    with ProcessPoolExecutor(num_workers, context, initializer=begin) as pool:
        waiting: deque[Future[_Chunk]] = deque()
        for first_row, chunk in chunks:
            waiting.append(pool.submit(encoder, first_row, chunk))
            if len(waiting) > 2 * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _begin_worker(parent: int) -> None:
    """In a worker: it ends with its parent, and the Rust tokenizer's threads were not forked."""
    end_with_parent()
    if os.getppid() != parent:  # it has been killed already
        os._exit(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _chunks(examples: Iterator[Example]) -> Iterator[tuple[int, list[Example]]]:
    first_row = 0
    while chunk := list(islice(examples, _CHUNK)):
        yield first_row, chunk
        first_row += len(chunk)


def _joined(chunks: Sequence[_Chunk], where: str, max_length: int | None) -> dict[str, np.ndarray]:
    """The arrays of a CoTDataset, `tokens` left out."""
    if not sum(len(chunk.rows) for chunk in chunks):
        raise DataError(
            f"{where}: found none of {sum(chunk.num_dropped for chunk in chunks)} with at most "
            f"{max_length} tokens; needed: shorter ones, or a higher limit; raise "
            f"{setting('data.max_length')}"
        )
    lengths = np.concatenate([chunk.lengths for chunk in chunks])
    counts = np.concatenate([chunk.step_counts for chunk in chunks])
    return {
        "starts": np.concatenate([[0], np.cumsum(lengths.sum(axis=1))[:-1]]).astype(np.int64),
        "prompt_lengths": np.ascontiguousarray(lengths[:, 0]),
        "thought_lengths": np.ascontiguousarray(lengths[:, 1]),
        "answer_lengths": np.ascontiguousarray(lengths[:, 2]),
        "step_ends": np.concatenate([chunk.step_ends for chunk in chunks]),
        "step_starts": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "rows": np.concatenate([chunk.rows for chunk in chunks]),
    }


def _encode_with_steps(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[list[int]], list[Sequence[int]]]:
    """Token ids, and for each text 0 and the number of tokens up to the end of each step."""
    if not tokenizer.is_fast:
        return _encode_each_step(texts, tokenizer)
    step_ends: list[Sequence[int]] = []
    encodings = rust_tokenizer(tokenizer).encode_batch(list(texts), add_special_tokens=False)
    for text, encoding in zip(texts, encodings, strict=True):
        borders = np.cumsum([len(piece) for piece in split_steps(text)])
        # a token belongs to the step in which it begins
        begins = [begin for begin, _ in encoding.offsets]
        ends = np.searchsorted(begins, borders, side="left")
        step_ends.append([0, *np.unique(ends[ends > 0]).tolist()])
    return [encoding.ids for encoding in encodings], step_ends


def _encode_each_step(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[list[int]], list[Sequence[int]]]:
    """As `_encode_with_steps`, for tokenizers that do not say where in the text a token begins."""
    pieces = [split_steps(text) for text in texts]
    ids = [token_ids(tokenizer, row) if row else [] for row in pieces]
    ends = [np.cumsum([0, *(len(piece) for piece in row)]).tolist() for row in ids]
    return [[token for piece in row for token in piece] for row in ids], ends


def split_steps(thought: str) -> list[str]:
    """The steps of a thought: its lines; else its equations `<<...>>`; else its summands.

    Examples:
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


def _write(
    chunks: Iterator[_Chunk], path: Path, max_length: int | None, folder: Path, bar: tqdm
) -> None:
    """Tokens go to the file chunk by chunk; memory holds the lengths only."""
    kept: list[_Chunk] = []
    dtype = "uint16"
    with (folder / "tokens.bin").open("wb") as file:
        for chunk in chunks:
            chunk.tokens.tofile(file)
            dtype = chunk.tokens.dtype.name
            kept.append(chunk._replace(tokens=chunk.tokens[:0].copy()))  # a view would keep all
            bar.update(chunk.num_read)
    for name, array in _joined(kept, str(path), max_length).items():
        np.save(folder / f"{name}.npy", array)
    dropped = sum(chunk.num_dropped for chunk in kept)
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    meta = {"source": str(path), "num_dropped": dropped, "dtype": dtype, "sizes": sizes}
    (folder / "meta.json").write_text(json.dumps(meta))


def _open(folder: Path) -> CoTDataset:
    meta = json.loads((folder / "meta.json").read_text())
    for name, size in meta.get("sizes", {}).items():
        if (folder / name).stat().st_size != size:
            raise ValueError(f"{name} is not whole")
    tokens = np.memmap(folder / "tokens.bin", dtype=meta["dtype"], mode="r")
    return CoTDataset(
        tokens=tokens,
        **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS},
        num_dropped=meta["num_dropped"],
    )


def _cache_key(digest: str, encoder: _Encoder, taken: list[bool]) -> str:
    """Of what is encoded; `taken`: lines that may be, or an error would be missed later."""
    tokenizer, template = encoder.tokenizer, encoder.template
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab())
    chat = str(getattr(tokenizer, "chat_template", None)) if template.name == "chat" else ""
    chat += name_choices("", template.choices)
    settings = [
        _FORMAT,
        digest,
        taken,
        template.name,
        chat,
        encoder.max_length,
        encoder.steps,
        tokenizer.eos_token_id,
        vocabulary,
    ]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
