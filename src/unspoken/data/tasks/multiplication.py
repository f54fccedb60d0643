"""Multiplication in the digits of arXiv 2405.14838: problems, worked solutions, data sets.

Numbers are written least significant digit first, a space between digits. 3719 * 3349 is

    question  9 1 7 3 * 9 4 3 3
    thought   1 7 4 3 3 + 0 6 7 8 4 1 ( 1 3 2 2 8 1 ) + 0 0 7 5 1 1 1 ( 1 3 9 7 9 2 1 ) + ...
    answer    1 3 9 4 5 4 2 1

The thought holds the first factor times each digit of the second, shifted by zeros, with the sum
so far in parentheses; the first product needs no sum and the last sum would be the answer. All
numbers have a fixed width: n + 1 digits for a product, n + m for the answer, leading (that is,
last) zeros included. Factors have no leading zero, as in the authors' files.

The width being fixed, a chunk of problems is worked out and written in columns: one numpy row for
each character of the line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unspoken.common.errors import DataError, SettingError, setting, shorten
from unspoken.common.files import AnyPath, refuse_existing
from unspoken.common.settings import LARGEST_SEED, MOST_DIGITS, MOST_EXAMPLES, require_at_least
from unspoken.data.example import Example
from unspoken.data.jsonl import write_dataset

SPLITS = ("train", "valid", "test")

_CHUNK = 8192  # lines worked out together: their columns fit the processor's cache
#: Problems that are drawn together; part of what a seed means.
BLOCK = 65536
#: Spaces of up to so many problems are permuted as a whole (128 MB); part of what a seed means.
LISTED = 2**24

Size = tuple[int, int]


# --- one problem --------------------------------------------------------------------------------


def solve(first: str | Sequence[int], second: str | Sequence[int]) -> Example:
    """Returns the problem with its worked thought and its answer.

    Args:
        first: digits of the first factor, least significant first, as text (with or without
            spaces) or as numbers.
        second: the same for the second factor.

    Examples:
        >>> solve("2 1", "3").thought
        '6 3 0'

    Raises:
        DataError: for a factor that is not made of decimal digits.
    """
    factors = [_read_digits(first), _read_digits(second)]
    columns = np.array(factors[0] + factors[1], dtype=np.uint8)[:, None]
    layout = _Layout.build((len(factors[0]), len(factors[1])), "", 1)
    record = json.loads(layout.render(columns, np.ones(1, dtype=np.int64)))
    return Example(record["question"], record["thought"], record["answer"])


def solve_question(question: str) -> Example:
    """Returns the worked example for a question such as `9 1 7 3 * 9 4 3 3`.

    Raises:
        DataError: for a question of another form.
    """
    first, star, second = question.partition("*")
    if not star:
        raise DataError(
            f"question: found {question!r}; needed: digits, least significant first, such as "
            "'9 1 7 3 * 9 4 3 3'; correct the question"
        )
    return solve(first, second)


def _read_digits(factor: str | Sequence[int]) -> list[int]:
    digits = list(factor.replace(" ", "")) if isinstance(factor, str) else list(factor)
    if not digits or any(str(digit) not in "0123456789" for digit in digits):
        raise DataError(
            f"factor: found {factor!r}; needed: digits 0 to 9, least significant first, such as "
            "'9 1 7 3'; correct the factor"
        )
    return [int(digit) for digit in digits]


# --- a data set ---------------------------------------------------------------------------------


def count_problems(size: Size) -> int:
    """Returns how many problems there are of n by m digits, without leading zeros.

    Swapped factors are different problems.
    """
    return 81 * 10 ** (sum(size) - 2)


@dataclass(frozen=True, slots=True)
class Problems:
    """The problems of one split, in the order of its lines.

    Attributes:
        split: its name; ids are `{split}-{line number}`.
        sizes: the sizes that are mixed.
        order: (N,), for every line the index of its size.
        factors: for every size (digits, problems): the digits of both factors, least significant
            first, the first factor on top; the columns are in the order of the lines.
    """

    split: str
    sizes: tuple[Size, ...]
    order: np.ndarray
    factors: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.order)

    def lines(self) -> Iterator[bytes]:
        """Yields the lines of the split's JSONL file, thousands at a time."""
        id_width = max(7, len(str(len(self))))
        layouts = [_Layout.build(size, f"{self.split}-", id_width) for size in self.sizes]
        done = [0] * len(self.sizes)
        for start in range(0, len(self), _CHUNK):
            order = self.order[start : start + _CHUNK]
            rows: list[bytes] = [b""] * len(order)
            for index, layout in enumerate(layouts):
                places = np.flatnonzero(order == index)
                columns = self.factors[index][:, done[index] : done[index] + len(places)]
                done[index] += len(places)
                text = layout.render(columns, start + 1 + places)
                if len(places) == len(order):
                    rows = [text]
                    break
                width = len(layout.line)
                for row, place in enumerate(places.tolist()):
                    rows[place] = text[row * width : (row + 1) * width]
            yield b"".join(rows)

    def examples(self) -> Iterator[Example]:
        """Yields the split's examples, exactly as its JSONL file would hold them."""
        for chunk in self.lines():
            for line in chunk.splitlines():
                yield Example(**json.loads(line))


def generate(
    digits: Sequence[Size], num_train: int, num_valid: int, num_test: int, seed: int = 0
) -> dict[str, Problems]:
    """Returns the problems of train, valid and test, none of which shares a question.

    Every problem of a size is equally likely, and none is drawn twice. Several sizes have equal
    shares (what does not divide goes to the first ones) and are shuffled together. A size with
    fewer problems than its share gives all it has, the others make up for it, and valid and test
    have their proportion of it, rounded up, before train has any. The same arguments give the
    same problems on every machine. With one size, valid and test are drawn first, so more
    training examples leave them as they are.

    Args:
        digits: pairs (digits of the first factor, digits of the second).
        num_train: examples to train with, of all sizes together.
        num_valid: examples to validate with.
        num_test: examples to test with.
        seed: a whole number of at least 0.

    Raises:
        SettingError: for a setting that cannot be, or more problems than there are.
    """
    sizes = _check_sizes(digits)
    counts = {"num_train": num_train, "num_valid": num_valid, "num_test": num_test}
    require_at_least(0, MOST_EXAMPLES, **counts)
    require_at_least(0, LARGEST_SEED, seed=seed)
    counts = {"train": num_train, "valid": num_valid, "test": num_test}
    shares = _share_out(sizes, counts)
    drawn = [
        _draw(size, sum(share.values()), seed) for size, share in zip(sizes, shares, strict=True)
    ]
    problems = {}
    for index, split in enumerate(SPLITS):
        order = np.repeat(
            np.arange(len(sizes), dtype=np.uint16), [share[split] for share in shares]
        )
        if len(sizes) > 1:
            order = np.random.default_rng([seed, 0, 0, index]).permutation(order)
        factors = tuple(
            table[:, _locate_split(share, split)]
            for table, share in zip(drawn, shares, strict=True)
        )
        problems[split] = Problems(split, sizes, order, factors)
    return problems


def require_enough(digits: Sequence[Size], num_train: int, num_valid: int, num_test: int) -> None:
    """Checks that so many problems of these sizes exist, without making them.

    Raises:
        SettingError: as `generate`.
    """
    counts = {"train": num_train, "valid": num_valid, "test": num_test}
    require_at_least(0, MOST_EXAMPLES, **{f"num_{split}": count for split, count in counts.items()})
    _share_out(_check_sizes(digits), counts)


def examples(
    digits: Sequence[Size], num_train: int, num_valid: int, num_test: int, seed: int = 0
) -> dict[str, list[Example]]:
    """Returns the examples of train, valid and test, as `write_multiplication` writes them.

    Raises:
        SettingError: as `generate`.
    """
    problems = generate(digits, num_train, num_valid, num_test, seed)
    return {split: list(part.examples()) for split, part in problems.items()}


def write_multiplication(
    output: AnyPath,
    digits: Sequence[Size],
    num_train: int,
    num_valid: int,
    num_test: int,
    *,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes train.jsonl, valid.jsonl, test.jsonl and dataset.json, and returns the latter.

    See `generate` for what the files hold.

    Raises:
        SettingError: as `generate`, and for a split without examples.
        OutputExistsError: if one of the files exists and `overwrite` is false.
    """
    require_at_least(1, num_train=num_train, num_valid=num_valid, num_test=num_test)
    refuse_existing(
        [f"{output}/{name}" for name in (*(f"{split}.jsonl" for split in SPLITS), "dataset.json")],
        overwrite=overwrite,
    )
    problems = generate(digits, num_train, num_valid, num_test, seed)
    description = {
        "task": "multiplication",
        "settings": {"digits": [list(size) for size in problems["train"].sizes]},
        "seed": seed,
        "sizes": {
            split: {
                f"{n}x{m}": table.shape[1]
                for (n, m), table in zip(part.sizes, part.factors, strict=True)
            }
            for split, part in problems.items()
        },
    }
    pieces = {split: part.lines() for split, part in problems.items()}
    return write_dataset(output, pieces, description, overwrite=overwrite)


def _check_sizes(digits: Sequence[Size]) -> tuple[Size, ...]:
    """Returns the sizes, once every one is found to be possible and to stand there once."""
    sizes: list[Size] = []
    problem = None if digits else "no size"
    for pair in digits:
        if len(pair) != 2 or min(pair) < 1 or max(pair) > MOST_DIGITS:
            problem = " ".join(map(shorten, pair))[:60] or "nothing"
            break
        size = (int(pair[0]), int(pair[1]))
        if size in sizes:
            problem = f"{size[0]} {size[1]} twice"
            break
        sizes.append(size)
    if problem is not None:
        raise SettingError(
            "digits",
            found=problem,
            needed=f"pairs of whole numbers from 1 to {MOST_DIGITS:,}, each pair once",
            remedy="give such as 4 4",
        )
    return tuple(sizes)


def _share_out(sizes: Sequence[Size], counts: dict[str, int]) -> list[dict[str, int]]:
    """Returns how many problems each size gives to each split."""
    total = sum(counts.values())
    spaces = [count_problems(size) for size in sizes]
    if total > sum(spaces):
        names = ", ".join(
            f"{space:,} of {n}x{m} digits" for (n, m), space in zip(sizes, spaces, strict=True)
        )
        asked = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        raise SettingError(
            "digits",
            found=f"sizes of which {sum(spaces):,} problems exist ({names}), but {total:,} are "
            f"asked for ({asked})",
            needed="no more than exist",
            remedy=f"lower {setting('num_train')} or add a size with more digits",
        )
    given = _fill_spaces(spaces, total)
    held_out = counts["valid"] + counts["test"]
    shares = []
    before = {"all": 0, "held_out": 0, "valid": 0}
    for index in range(len(sizes)):
        # Rounding the running totals, not the shares, keeps the sums exact.
        everything = before["all"] + given[index]
        held = -(-held_out * everything // total) if total else 0
        valid = -(-counts["valid"] * held // held_out) if held_out else 0
        share = {"valid": valid - before["valid"]}
        share["test"] = held - before["held_out"] - share["valid"]
        share["train"] = given[index] - share["valid"] - share["test"]
        shares.append(share)
        before = {"all": everything, "held_out": held, "valid": valid}
    return shares


def _fill_spaces(spaces: Sequence[int], total: int) -> list[int]:
    """Returns equal shares of the total, none larger than its space."""
    given = [0] * len(spaces)
    open_ones = list(range(len(spaces)))
    while open_ones:
        share, rest = divmod(total - sum(given), len(open_ones))
        small = [index for index in open_ones if spaces[index] <= share]
        if not small:
            for rank, index in enumerate(open_ones):
                given[index] = share + (rank < rest)
            break
        for index in small:
            given[index] = spaces[index]
        open_ones = [index for index in open_ones if index not in small]
    return given


def _locate_split(share: dict[str, int], split: str) -> slice:
    """Returns where a split's problems stand among those drawn for a size."""
    start = 0
    for name, count in share.items():
        if name == split:
            return slice(start, start + count)
        start += count
    raise KeyError(split)


def _draw(size: Size, count: int, seed: int) -> np.ndarray:
    """Returns `count` different problems of one size, (n + m, count) digits as uint8."""
    n, m = size
    space = count_problems(size)
    generator = np.random.default_rng([seed, n, m])
    if space <= LISTED or 4 * count > space:
        index = generator.permutation(space)[:count]
        first, second = np.divmod(index, 9 * 10 ** (m - 1))
        return np.vstack(
            [_split_digits(first + 10 ** (n - 1), n), _split_digits(second + 10 ** (m - 1), m)]
        )
    # Few of many: draw digits and leave out what came before. One stream of blocks, whatever the
    # count, so that the first problems of a seed are always the same.
    problems = np.empty((0, n + m), dtype=np.uint8)
    while len(problems) < count:
        blocks = [problems]
        for _ in range(-(-(count - len(problems)) // BLOCK)):
            block = generator.integers(0, 10, (BLOCK, n + m), dtype=np.uint8)
            block[:, [n - 1, n + m - 1]] = generator.integers(1, 10, (BLOCK, 2), dtype=np.uint8)
            blocks.append(block)
        problems = np.concatenate(blocks)
        _, firsts = np.unique(_make_keys(problems), return_index=True)
        if len(firsts) < len(problems):
            problems = problems[np.sort(firsts)]
    return np.ascontiguousarray(problems[:count].T)


def _make_keys(problems: np.ndarray) -> np.ndarray:
    """Returns one comparable value for each row of digits."""
    width = problems.shape[1]
    if width <= 19:  # fits 64 bits
        keys = np.zeros(len(problems), dtype=np.uint64)
        for column in range(width):
            keys += problems[:, column] * np.uint64(10**column)
        return keys
    return np.ascontiguousarray(problems).view(f"V{width}").ravel()


def _split_digits(numbers: np.ndarray, width: int) -> np.ndarray:
    """Returns the decimal digits of numbers, (width, N) uint8, least significant first."""
    powers = 10 ** np.arange(width, dtype=np.int64)
    return (numbers // powers[:, None] % 10).astype(np.uint8)


# --- lines in columns ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """One JSONL line of a size: its constant characters and where its digits stand.

    Attributes:
        size: digits of both factors.
        line: the line, with zeros in place of its digits.
        places: name of a number -> the characters that are its digits.
    """

    size: Size
    line: bytes
    places: dict[str, slice]

    @classmethod
    def build(cls, size: Size, id_prefix: str, id_width: int) -> _Layout:
        """Returns the layout of lines with ids of a prefix and a number of that width."""
        n, m = size
        line = bytearray(f'{{"id": "{id_prefix}'.encode())
        places = {"id": slice(len(line), len(line) + id_width)}
        line += b"0" * id_width

        def number(name: str, width: int) -> None:
            places[name] = slice(len(line), len(line) + 2 * width - 1, 2)
            line.extend(b" ".join([b"0"] * width))

        line += b'", "question": "'
        number("first", n)
        line += b" * "
        number("second", m)
        line += b'", "thought": "'
        for i in range(m):
            line += b" + " * (i > 0) + b"0 " * i
            number(f"product {i}", n + 1)
            if 0 < i < m - 1:
                line += b" ( "
                number(f"sum {i}", n + 1 + i)
                line += b" )"
        line += b'", "answer": "'
        number("answer", n + m)
        line += b'"}\n'
        return cls(size, bytes(line), places)

    def render(self, factors: np.ndarray, ids: np.ndarray) -> bytes:
        """Returns the lines of problems.

        Args:
            factors: (n + m, N) digits of both factors, least significant first.
            ids: (N,) the number in the id of each line.
        """
        n, m = self.size
        width = self.places["id"].stop - self.places["id"].start
        canvas = np.empty((len(self.line), factors.shape[1]), dtype=np.uint8)  # (characters, N)
        canvas[:] = np.frombuffer(self.line, dtype=np.uint8)[:, None]
        canvas[self.places["id"]] += _split_digits(ids, width)[::-1]
        canvas[self.places["first"]] += factors[:n]
        canvas[self.places["second"]] += factors[n:]
        for i, (product, total) in enumerate(_multiply(factors[:n], factors[n:])):
            canvas[self.places[f"product {i}"]] += product
            if f"sum {i}" in self.places:
                canvas[self.places[f"sum {i}"]] += total[: n + 1 + i]
            if i == m - 1:
                canvas[self.places["answer"]] += total
        return canvas.T.tobytes()


def _multiply(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields, for each digit of the second factor, its product and the sum so far.

    Args:
        first: (n, N) digits as uint8, least significant first.
        second: (m, N) digits.

    Yields:
        The product before its shift (n + 1, N) and the running sum (n + m, N). Both arrays are
        reused: copy what should last.
    """
    n, m = len(first), len(second)
    product = np.zeros((n + 1, first.shape[1]), dtype=np.uint8)
    total = np.zeros((n + m, first.shape[1]), dtype=np.uint8)
    for i in range(m):
        carry = np.zeros(first.shape[1], dtype=np.uint8)
        for j in range(n):
            value = first[j] * second[i] + carry  # at most 9 * 9 + 8
            carry = value // 10
            product[j] = value - 10 * carry
        product[n] = carry
        carry = np.zeros_like(carry)
        for j in range(n + 1):
            value = total[i + j] + product[j] + carry
            carry = (value > 9).view(np.uint8)
            total[i + j] = value - 10 * carry
        yield product, total
