"""Answers that are one of several classes: which one a text names, and how often which is which.

What is not plainly one class is none: to miss a right answer costs less than to take a wrong one
for right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from unspoken.measure.answers import MAX_CHARACTERS, read_answer
from unspoken.recipe.evaluation_records import Classes, ClassFigures

#: Words of a line that states its answer without a marker.
_SHORT = 12
#: Words beside a class that leave open whether it is meant.
_OPEN = re.compile(
    r"\b(?:not|no|non|nor|never|none|neither|cannot|\w+n['’]?t|without|except|but|than|instead|unlike"
    r"|rather|wrong|incorrect|false|maybe|perhaps|possibly|if|unless|or|either|outside|excluding"
    r"|nicht|kein\w*|oder|weder|sondern|ohne|falsch|pas|ou|ni|sans|nunca|tampoco|sino|né|senza|oppure"
    r"|não|nem|sem)\b|[?]",
    re.IGNORECASE,
)
_REASON = re.compile(
    r"[,;.:]?\s*\b(?:because|since|weil|parce que|porque|perché)\b.*|\([^()]*\)",
    re.DOTALL | re.IGNORECASE,
)
#: Signs around a whole answer; a dot or a minus before a number belongs to it.
_BEFORE = " \t\n*_`'\"“”‘’([{"
_AFTER = " \t\n*_`'\"“”‘’)]}.,;:!"
#: Different answers that are none of the choices: so many are told apart, and shown.
_MOST_OUTSIDE, _MOST_SHOWN, _LONGEST_OUTSIDE = 1_000, 10, 80


class ChoiceRead(NamedTuple):
    """What a text answers.

    Attributes:
        label: one of the choices; None where it names none of them, or nobody can tell which.
        pred: the label, else the answer as it stands, which is then never a label: where another
            choice before it leaves it open, the end of the text.
        is_open: whether it names a choice, but not plainly one.
    """

    label: str | None
    pred: str
    is_open: bool = False


def read_choice(text: str, choices: Sequence[str]) -> ChoiceRead:
    """The one of the choices that a text answers.

    It must stand in the answer as whole words, in any case, and no other choice beside it, nor a
    word such as "not" or "or". Without a marker such as `Final Answer:` the last line is the
    answer if it is short, and no other choice may stand anywhere in the text.

    Args:
        text: everything that was written, without the end token.
        choices: two or more.

    Examples:
        >>> read_choice("Final Answer: The category is **billing**.", ("billing", "login")).label
        'billing'
        >>> read_choice("It is not billing", ("billing", "login"))
        ChoiceRead(label=None, pred='It is not billing', is_open=True)
    """
    pred, is_stated = read_answer(text)
    finder = _finder(tuple(choices))
    label, is_open = finder.read(pred)
    if label is not None and not is_stated and finder.whole(text) is None:
        is_short = len(pred.split()) <= _SHORT and len(text) <= MAX_CHARACTERS
        if not is_short or set(finder.labels_in(text)) != {label}:
            label, is_open = None, True
            pred = pred if finder.whole(pred) is None else _end_of(text)
    return ChoiceRead(label, pred if label is None else label, is_open)


def _end_of(text: str) -> str:
    """The end of a text in one line."""
    line = " ".join(text[-_LONGEST_OUTSIDE:].split())
    return line if len(text) <= _LONGEST_OUTSIDE else f"...{line}"


class _Finder:
    """Finds choices in texts."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        whole = {label.casefold(): label for label in choices}
        bare = Counter(map(_bare, whole))  # "U.S." is read as U.S
        own = {_bare(key): label for key, label in whole.items() if bare[_bare(key)] == 1}
        self._label_of = own | whole
        longest_first = sorted(choices, key=len, reverse=True)
        words = (r"\s+".join(map(re.escape, label.split())) for label in longest_first)
        self._pattern = re.compile("|".join(words), re.IGNORECASE)

    def read(self, answer: str) -> tuple[str | None, bool]:
        """The choice that an answer names; and whether it names one, but not plainly."""
        if (whole := self.whole(answer)) is not None:
            return whole, False
        answer = f"{answer}."  # which was taken away, and may belong to the choice
        places = list(self._places(answer))
        found = {label for label, _, _ in places}
        if len(found) != 1:
            return None, len(found) > 1
        for _, start, end in reversed(places):
            answer = f"{answer[:start]}#{answer[end:]}"
        is_open = _OPEN.search(_REASON.sub("", answer)) is not None
        return (None if is_open else found.pop()), is_open

    def whole(self, answer: str) -> str | None:
        """The choice that an answer is, and nothing else."""
        keys = (" ".join(each.split()).casefold() for each in (answer, _bare(answer)))
        return next((self._label_of[key] for key in keys if key in self._label_of), None)

    def labels_in(self, text: str) -> Iterator[str]:
        """Every choice that stands in a text."""
        return (label for label, _, _ in self._places(text))

    def _places(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Yields choices and where they stand, from left to right, of several the longest."""
        position = 0
        while (found := self._pattern.search(text, position)) is not None:
            start, end = found.span()
            label = self._label_of.get(" ".join(found[0].split()).casefold())
            # "I" and "a" are words, too
            is_word = label is not None and (len(label) > 1 or label == found[0])
            if label is not None and is_word and _stands_alone(text, start, end):
                yield label, start, end
                position = end
            else:
                position = start + 1


def _bare(answer: str) -> str:
    """An answer without the signs around it."""
    return answer.lstrip(_BEFORE).rstrip(_AFTER)


@lru_cache(maxsize=16)
def _finder(choices: tuple[str, ...]) -> _Finder:
    return _Finder(choices)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a part of a text is no part of a longer word or number: non-billing, C++, 4.5, -1."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if _is_word(before[-1:]) or _is_word(after[:1]) or after[:1] in ("+", "#", "%"):
        return False
    if before[-1:] in ("-", "'", "’", "/", "&") and _is_word(before[:-1]):
        return False
    if after[:1] in ("-", "'", "’", "/", "&") and _is_word(after[1:]):
        return False
    if text[start].isdigit() and before[-1:] in ("-", "+", ".", ",", "−"):
        return False
    return not (text[end - 1].isdigit() and after[:1] in (".", ",", ":") and after[1:].isdigit())


def _is_word(sign: str) -> bool:
    return sign.isalnum() or sign == "_"


class ClassCounts:
    """Counts which answers were given where which one is right."""

    def __init__(self, choices: Sequence[str]) -> None:
        self._labels = tuple(choices)
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._outside: Counter[str] = Counter()

    def add(self, gold: str, pred: str) -> None:
        """Counts an answer: a label, or any other text for one that is none of them."""
        is_label = pred in self._labels
        self._pairs[gold, pred if is_label else ""] += 1
        if not is_label:
            shown = pred if len(pred) <= _LONGEST_OUTSIDE else f"{pred[:_LONGEST_OUTSIDE]}..."
            is_known = shown in self._outside or len(self._outside) < _MOST_OUTSIDE
            self._outside[shown if is_known else "others"] += 1

    def to_record(self) -> Classes | None:
        """The figures of what was counted; None where nothing was."""
        if not self._pairs:
            return None
        labels = self._labels
        figures = {label: self._figures(label) for label in labels}
        scores = [one.f1 for one in figures.values() if one.f1 is not None]
        return Classes(
            confusion={
                gold: [self._pairs[gold, pred] for pred in (*labels, "")] for gold in labels
            },
            figures=figures,
            macro_f1=sum(scores) / len(scores),
            num_outside=self._outside.total(),
            outside=dict(self._outside.most_common(_MOST_SHOWN)),
        )

    def _figures(self, label: str) -> ClassFigures:
        right = self._pairs[label, label]
        num_gold = sum(n for (gold, _), n in self._pairs.items() if gold == label)
        num_predicted = sum(n for (_, pred), n in self._pairs.items() if pred == label)
        both = num_gold + num_predicted
        return ClassFigures(
            num_gold=num_gold,
            num_predicted=num_predicted,
            num_correct=right,
            precision=right / num_predicted if num_predicted else None,
            recall=right / num_gold if num_gold else None,
            f1=2 * right / both if both else None,
        )
