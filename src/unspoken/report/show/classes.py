"""Answers that are one of several classes: which were given where which are right, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from unspoken.common.errors import shorten
from unspoken.recipe.evaluation_records import Classes
from unspoken.report.read.results import PhaseResult
from unspoken.report.show import numbers


@dataclass(frozen=True)
class ClassTable:
    """How one model tells the classes apart.

    Attributes:
        name, label: of the model, for programs and for people.
        header, rows: a row for each right class: how often which one was answered, and how well it
            is told from the others.
        notes: sentences on all of them.
    """

    name: str
    label: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


def class_tables(phase: PhaseResult) -> list[ClassTable]:
    """The tables of a phase's models, of those whose answers are classes."""
    found = [(variant, variant.measured and variant.measured.classes) for variant in phase.shown]
    return [
        class_table(classes, variant.name, variant.label) for variant, classes in found if classes
    ]


def class_table(classes: Classes, name: str = "", label: str = "") -> ClassTable:
    """The table of one model."""
    header = ("right class", *classes.confusion, "none", *_FIGURES)
    rows = [
        (gold, *map(numbers.whole, counts), *_figures(classes, gold))
        for gold, counts in classes.confusion.items()
    ]
    return ClassTable(name, label, header, rows, class_notes(classes))


def narrow_rows(table: ClassTable, width: int) -> Sequence[Sequence[str]]:
    """Header and rows for a terminal.

    Where the names of the classes would not fit as columns, their numbers are; where these do not
    fit either, the confusion is left out.
    """
    rows = [table.header, *table.rows]
    figures = len(_FIGURES)
    confused = [
        (*row[:-figures], *row[1 - figures :]) for row in rows
    ]  # counts sum up to questions
    header, *classes = confused
    numbers_of = range(1, len(classes) + 1)
    numbered = [
        (header[0], *map(str, numbers_of), *header[len(classes) + 1 :]),
        *((f"{n} {row[0]}", *row[1:]) for n, row in zip(numbers_of, classes, strict=True)),
    ]
    for found in (confused, numbered):
        widths = [max(map(len, column)) + 2 for column in zip(*found, strict=True)]
        if sum(widths) <= width:
            return found
    return [(row[0], *row[-figures:]) for row in rows]


#: Answers that are none of the classes.
_MOST_SHOWN = 3
#: Columns after the counts.
_FIGURES = ("questions", "precision", "recall", "F1")


def _figures(classes: Classes, label: str) -> tuple[str, ...]:
    one = classes.figures[label]
    shares = (one.precision, one.recall, one.f1)
    return (numbers.whole(one.num_gold), *map(numbers.percent, shares))


def class_notes(classes: Classes) -> list[str]:
    """What the classes have in common, and the answers that are none of them."""
    notes = [f"macro F1 {numbers.percent(classes.macro_f1)}"]
    if classes.num_outside:
        shown = ", ".join(
            f"{shorten(text, 40) if text else 'no answer'} ({count:,})"
            for text, count in islice(classes.outside.items(), _MOST_SHOWN)
        )
        more = ", ..." if len(classes.outside) > _MOST_SHOWN else ""
        is_one = classes.num_outside == 1
        answers = "answer is" if is_one else "answers are"
        notes.append(
            f"{classes.num_outside:,} {answers} not plainly one of the classes and "
            f"{'counts' if is_one else 'count'} as wrong: {shown}{more}"
        )
    return notes
