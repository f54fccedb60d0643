"""Test questions that stand in other words: the leak check for what a teacher answered.

Stands on `leaks`, which compares whole questions, and serves `vet`. A question leaks where it is a
test question, where it is one after `leaks.normalize`, or where it shares most of its words with
one, in runs of eight, and calculates with the same numbers.

Shared runs alone would not do: questions of one template share them and differ in their numbers
only. Measured on the questions of `unspoken data arithmetic`, 20,000 against 2,000 for a test:
5,379 share some run of eight, 3,730 at least half of their words, and one of these has the same
numbers, too. Numbers tell siblings apart so well that half of the words may be the limit: then
84 % of the test questions with one word replaced are found, and in GSM8K, whose questions are
longer, 94 % of those with every tenth word replaced. GSM8K's own training questions lose none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from unspoken.common.files import AnyPath
from unspoken.data.jsonl import read_jsonl, require_text
from unspoken.data.leaks import Place, normalize

#: Words of a shared run, as in PaLM's analysis of contamination (arXiv 2204.02311, section 8).
RUN = 8
#: Share of a question's words within such runs from which it counts as the other.
OVERLAP = 0.5
#: At least this share where one has no number, since nothing else tells siblings apart: messages
#: behind one instruction are none because a few of them name an order. From 80 % of its words on,
#: Llama 2's analysis calls a sample dirty (arXiv 2307.09288, appendix A.6).
OVERLAP_WITHOUT_NUMBERS = 0.8
#: A run that more test questions have than this tells of a template, and names no question.
_COMMON = 30

_SIGNS = str.maketrans("×⋅·÷−–—’", "***/---'")
_WORD = re.compile(
    r"(?:(?<![\w)])-)?\d+(?:[./]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*"
    # A sign between letters is a hyphen or a slash of words.
    r"|(?<![^\W\d_])[-+*/^=]|[-+*/^=](?![^\W\d_])|[()<>]"
)
_CALCULATING = re.compile(r"[\d+*/^=-]")

Run = tuple[str, ...]
#: A number or sign, and how often it stood in the question before.
Pair = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A test question that another one repeats.

    Attributes:
        place: where it stands.
        how: exact, normalized (the same but for letter case, blanks and the writing of numbers)
            or 8-gram.
        share: of the shorter question's words, how many stand in runs that both have.
    """

    place: Place
    how: Literal["exact", "normalized", "8-gram"]
    share: float

    def __str__(self) -> str:
        share = f" with {self.share:.0%} of its words" if self.how == "8-gram" else ""
        return f"{self.place.split}:{self.place.line} ({self.how}{share})"


def split_words(question: str) -> list[str]:
    """Returns the words, numbers and signs of a question, as they are compared.

    Examples:
        >>> split_words("Ann's 1,000.50 kg: what is 3/4 - 2 * -5?")
        ["ann's", '1000.5', 'kg', 'what', 'is', '3/4', '-', '2', '*', '-5']
    """
    return _WORD.findall(normalize(question).translate(_SIGNS))


class _Question:
    """What is compared of a question: its words, their runs, and what it calculates with."""

    __slots__ = ("calculating", "runs", "words")

    def __init__(self, question: str) -> None:
        self.words = split_words(question)
        self.runs = frozenset(_list_runs(self.words))
        # As pairs (number or sign, which time), so that <= compares how often each occurs.
        times: Counter[str] = Counter()
        pairs = set()
        for word in filter(_CALCULATING.match, self.words):
            pairs.add((word, times[word]))
            times[word] += 1
        self.calculating = frozenset(pairs)


def _list_runs(words: list[str]) -> list[Run]:
    return [tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)]


def _measure_share(one: _Question, other: _Question) -> float:
    """The share of the shorter one's words that stand in runs of both."""
    shorter, longer = sorted((one, other), key=lambda question: len(question.words))
    return _share_within(shorter.words, longer.runs)


def _share_within(words: list[str], runs: Container[Run]) -> float:
    """The share of words that stand in one of these runs."""
    covered: set[int] = set()
    for start, run in enumerate(_list_runs(words)):
        if run in runs:
            covered.update(range(start, start + RUN))
    return len(covered) / len(words) if words else 0.0


def _needed_share(overlap: float, have_numbers: bool) -> float:
    """The share from which two questions are one; `have_numbers`: whether both calculate."""
    return overlap if have_numbers else max(overlap, OVERLAP_WITHOUT_NUMBERS)


class _Candidates:
    """Which test questions may be the one that is asked, without a look at each of them.

    Two ways lead to them, and the shorter one is taken. By numbers: those of one stand in the
    other, so the question that has fewer is found by the one that is rarest in the test. By runs:
    runs that many test questions share are looked up only where they cover enough of a question.
    """

    def __init__(self, questions: Sequence[_Question], overlap: float) -> None:
        self._overlap = overlap
        self._runs: dict[Run, list[int]] = defaultdict(list)
        self._pairs: dict[Pair, list[int]] = defaultdict(list)
        self._rarest: dict[Pair | None, list[int]] = defaultdict(list)
        for number, question in enumerate(questions):
            for run in question.runs:
                self._runs[run].append(number)
            for pair in question.calculating:
                self._pairs[pair].append(number)
        for number, question in enumerate(questions):
            pairs = question.calculating
            rarest = min(pairs, key=lambda pair: len(self._pairs[pair]), default=None)
            self._rarest[rarest].append(number)
        self._common = {run for run, held in self._runs.items() if len(held) > _COMMON}
        holders = {number for run in self._common for number in self._runs[run]}
        # by whether they calculate, and with the share of their words that common runs cover
        self._templates: dict[bool, list[tuple[float, int]]] = {False: [], True: []}
        for number in holders:
            question = questions[number]
            share = _share_within(question.words, self._common)
            self._templates[bool(question.calculating)].append((share, number))
        for templates in self._templates.values():
            templates.sort(reverse=True)

    def find(self, asked: _Question) -> list[int]:
        """The numbers of all test questions that may be this one, in their order."""
        ways = [self._by_runs(asked)]
        if asked.calculating:
            ways.append(self._by_numbers(asked))
        shorter = min(ways, key=lambda way: sum(map(len, way)))
        return sorted({number for numbers in shorter for number in numbers})

    def _by_numbers(self, asked: _Question) -> list[Sequence[int]]:
        fewer = [self._rarest[pair] for pair in asked.calculating if pair in self._rarest]
        as_many = min((self._pairs.get(pair, ()) for pair in asked.calculating), key=len)
        return [*fewer, self._rarest.get(None, ()), as_many]

    def _by_runs(self, asked: _Question) -> list[Sequence[int]]:
        found: list[Sequence[int]] = [
            self._runs[run] for run in asked.runs if run in self._runs and run not in self._common
        ]
        share = _share_within(asked.words, self._common) if self._common else 0.0
        for calculates, templates in self._templates.items():
            needed = _needed_share(self._overlap, calculates and bool(asked.calculating))
            enough = takewhile(lambda template: template[0] >= needed, templates)  # noqa: B023
            found.append([number for _, number in (templates if share >= needed else enough)])
        return found


class QuestionIndex:
    """The questions of test files, held in memory; `find` tells which of them a question repeats.

    Args:
        files: JSONL with `question`.
        overlap: share of words from which two questions with the same numbers are one.

    Raises:
        DataError: for a file that cannot be read, naming file:line and field.
    """

    def __init__(self, files: Iterable[AnyPath], overlap: float = OVERLAP) -> None:
        self._overlap = overlap
        self._exact: dict[str, Place] = {}
        self._normalized: dict[str, Place] = {}
        self._places: list[Place] = []
        self._questions: list[_Question] = []
        for file in files:
            for line, record in read_jsonl(file):
                question = require_text(record, "question", f"{file}:{line}")
                self._add(Place(str(file), line, question))
        self._candidates = _Candidates(self._questions, overlap)

    def _add(self, place: Place) -> None:
        self._exact.setdefault(place.question.strip(), place)
        self._normalized.setdefault(normalize(place.question), place)
        self._places.append(place)
        self._questions.append(_Question(place.question))

    def find(self, question: str) -> Overlap | None:
        """Returns the test question that this one is or repeats, or None.

        Questions of fewer than eight words are compared as wholes only. Otherwise one is found
        that is embedded in another text, stands before or after one, or has some words replaced;
        the numbers and signs of one of the two must all stand in the other.
        """
        if place := self._exact.get(question.strip()):
            return Overlap(place, "exact", 1.0)
        if place := self._normalized.get(normalize(question)):
            return Overlap(place, "normalized", 1.0)
        asked = _Question(question)
        best = None
        for number in self._candidates.find(asked):
            other = self._questions[number]
            if asked.runs.isdisjoint(other.runs) or not (
                asked.calculating <= other.calculating or other.calculating <= asked.calculating
            ):
                continue
            share = _measure_share(asked, other)
            needed = _needed_share(self._overlap, bool(asked.calculating and other.calculating))
            if share >= needed and (best is None or share > best.share):
                best = Overlap(self._places[number], "8-gram", share)
        return best
