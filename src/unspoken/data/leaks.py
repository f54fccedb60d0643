"""The leak check: no question that a model trains on may also validate or test it.

Two questions are the same if they are equal, or if they are after `normalize`, which undoes
differences of letter case, spacing and the writing of numbers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from unspoken.common.errors import DataError, setting


@dataclass(frozen=True, slots=True)
class Place:
    """Where a question stands: the split (or file) and the line, counted from 1."""

    split: str
    line: int
    question: str


@dataclass(frozen=True, slots=True)
class Leak:
    """A question that stands in two splits, at two places."""

    first: Place
    second: Place

    @property
    def exact(self) -> bool:
        """Whether both are equal as they stand, not only after `normalize`."""
        return self.first.question == self.second.question


_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,]*\d)")
_DECIMALS = re.compile(r"(?<![\d.])(\d*)\.(\d+)(?!\.?\d)")
_LOOSE_BLANK = re.compile(r"(?<![^\W\d_]) | (?![^\W\d_])")


def normalize(question: str) -> str:
    """Returns the question as the leak check compares it.

    Unicode is brought to its compatible form (NFKC) and lower case; thousands separators and
    decimal zeros at the end go (`1,000.50` is `1000.5`, `3.0` is `3`, `.5` is `0.5`); blanks stay
    only between letters. Zeros in front stay, because digits may be written least significant
    first, where `0 1 2` is another number than `1 2`.

    Examples:
        >>> normalize("She pays  $1,000.50 for 3.0 kg.")
        'she pays$1000.5for3kg.'
        >>> normalize("0 1 2 * 3"), normalize("012*3"), normalize("1 2 * 3")
        ('012*3', '012*3', '12*3')
    """
    text = question if question.isascii() else unicodedata.normalize("NFKC", question)
    text = " ".join(text.lower().split())
    # Before the blanks go: "1, 200" is a list of two numbers, "1,200" is one.
    if "," in text:
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    if "." in text:
        text = _DECIMALS.sub(_simplify_decimal, text)
    return _LOOSE_BLANK.sub("", text)


def _simplify_decimal(match: re.Match[str]) -> str:
    decimals = match[2].rstrip("0")
    whole = match[1] or "0"
    return f"{whole}.{decimals}" if decimals else whole


def find_leaks(splits: Mapping[str, Iterable[str]]) -> list[Leak]:
    """Returns every question of one split that stands in another one, too.

    Splits whose name starts with `train` are read last, one question at a time, and are not held
    against each other; the others are held in memory. Their order decides nothing else.

    Args:
        splits: name of a split (or path of its file) -> its questions.
    """
    held: dict[str, list[Place]] = {}
    leaks: list[Leak] = []
    for place in _iter_places(splits, training=False):
        key = normalize(place.question)
        others = held.setdefault(key, [])
        leaks += [Leak(other, place) for other in others if other.split != place.split]
        others.append(place)
    for place in _iter_places(splits, training=True):
        leaks += [Leak(place, other) for other in held.get(normalize(place.question), ())]
    return leaks


def _iter_places(splits: Mapping[str, Iterable[str]], training: bool) -> Iterator[Place]:
    for split, questions in splits.items():
        if _is_training(split) == training:
            for line, question in enumerate(questions, start=1):
                yield Place(split, line, question)


def _is_training(split: str) -> bool:
    """Tells by the last part of a name: `train`, `runs/data/train.jsonl`, `train-phase-2`."""
    return re.split(r"[/\\]", split)[-1].startswith("train")


def check_leaks(
    splits: Mapping[str, Iterable[str]],
    *,
    allow: bool = False,
    files: Mapping[str, str | Path] | None = None,
) -> list[Leak]:
    """Returns the leaks, if any are allowed; without leave, one is an error.

    Args:
        splits: as for `find_leaks`.
        allow: whether leaks are only returned.
        files: name of a split -> its file, for the message; default the name itself.

    Raises:
        DataError: if there is a leak and `allow` is false; it counts them by pair of splits and
            names the first.
    """
    leaks = find_leaks(splits)
    if not leaks or allow:
        return leaks
    counts = Counter(f"{leak.first.split} and {leak.second.split}" for leak in leaks)
    counted = ", ".join(f"{count:,} between {pair}" for pair, count in counts.items())
    first, second = leaks[0].first, leaks[0].second
    one, other = ((files or {}).get(place.split, place.split) for place in (first, second))
    how = "is" if leaks[0].exact else "is, but for spacing and the writing of numbers,"
    raise DataError(
        f"{one}:{first.line}: question: found {len(leaks):,} in two splits ({counted}); "
        f"{first.question[:60]!r} {how} {other}:{second.line}"
        + ("" if leaks[0].exact else f" {second.question[:60]!r}")
        + "; needed: splits that share no question; delete it from one of them, or allow leaks: "
        f"{setting('data.allow_leaks', True)}"
    )
