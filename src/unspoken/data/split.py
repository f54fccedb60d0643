"""Questions of one's own, divided into files to train, validate and test with."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from unspoken.common.errors import DataError, SettingError, setting
from unspoken.data.leaks import normalize

#: Splits in the order in which they take their part; training gets what is left.
HELD_OUT = ("test", "valid")


def split_records(
    records: Sequence[Mapping[str, Any]],
    sizes: Mapping[str, float],
    *,
    seed: int = 0,
    by: str | None = None,
) -> dict[str, list[Mapping[str, Any]]]:
    """Divides records at random into train, valid and test, no question in two of them.

    Questions that are the same for the leak check (`unspoken.data.leaks.normalize`) stay together.
    Sizes count different questions, so a file has more lines where questions are repeated in it.

    Args:
        records: each with a field `question`.
        sizes: of `test` and `valid`: below 1 a share of the questions, else a number of them; 0
            for none. What is left is `train`.
        seed: the same one gives the same files.
        by: a field whose values have, as nearly as can be, the same share in every file; what is
            over goes to the values with the largest remainders (Hamilton's method).

    Returns:
        Records by split, in their order in `records`; no key for a split of size 0.

    Raises:
        DataError: a record without the field `by`.
        SettingError: more is asked for than there is, or nothing would be left to train with.

    Examples:
        >>> records = [{"question": f"{n} + 1", "kind": "ab"[n % 2]} for n in range(10)]
        >>> parts = split_records(records, {"test": 0.4}, by="kind")
        >>> {name: sorted(record["kind"] for record in part) for name, part in parts.items()}
        {'train': ['a', 'a', 'a', 'b', 'b', 'b'], 'test': ['a', 'a', 'b', 'b']}
    """
    groups = _shuffled_groups(records, by, Random(seed))
    num_questions = sum(map(len, groups.values()))
    counts = {name: _count(name, sizes.get(name, 0), num_questions) for name in HELD_OUT}
    _require_some_left(counts, num_questions)
    chosen = {name: _taken(groups, count) for name, count in counts.items() if count}
    left = [index for rest in groups.values() for group in rest for index in group]
    parts = {"train": left, **{name: chosen[name] for name in ("valid", "test") if name in chosen}}
    return {name: [records[index] for index in sorted(part)] for name, part in parts.items()}


def _require_some_left(counts: Mapping[str, int], num_questions: int) -> None:
    """Refuses to hold out every question."""
    if sum(counts.values()) >= num_questions:
        raise SettingError(
            "test",
            found=" and ".join(f"{count:,} for {name}" for name, count in counts.items()),
            needed=f"fewer than the {num_questions:,} different questions that there are, so that "
            "some are left to train with",
            remedy=f"lower it, or {setting('valid')}",
        )


def _taken(groups: Mapping[Any, list[list[int]]], count: int) -> list[int]:
    """Takes so many questions out of the groups, as evenly as can be; returns their records."""
    shares = _shares({value: len(rest) for value, rest in groups.items()}, count)
    taken = [groups[value].pop() for value, share in shares.items() for _ in range(share)]
    return [index for group in taken for index in group]


def _shuffled_groups(
    records: Sequence[Mapping[str, Any]], by: str | None, random: Random
) -> dict[Any, list[list[int]]]:
    """Indices of the records of one question together, in lists by the value of the field."""
    questions: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        questions[normalize(record["question"])].append(index)
    groups: dict[Any, list[list[int]]] = defaultdict(list)
    for indices in questions.values():
        first = records[indices[0]]
        if by is not None and by not in first:
            raise DataError(
                f"record {indices[0] + 1}: {by}: missing; found the fields {', '.join(first)}; "
                f"needed: the field that {setting('by')} names, in every record; correct it"
            )
        groups["" if by is None else str(first[by])].append(indices)
    for listed in groups.values():
        random.shuffle(listed)
    return dict(groups)


def _count(name: str, size: float, num_questions: int) -> int:
    """How many questions a size means."""
    if not (math.isfinite(size) and size >= 0 and (size < 1 or size == int(size))):
        raise SettingError(
            name,
            found=f"{size}",
            needed="a share of the questions below 1, such as 0.1, or a whole number of them",
            remedy="correct it",
        )
    return int(size) if size >= 1 else math.ceil(size * num_questions - 1e-9)


def _shares(sizes: Mapping[Any, int], count: int) -> dict[Any, int]:
    """`count` divided in proportion to sizes, in whole numbers: largest remainders."""
    total = sum(sizes.values())
    exact = {value: count * size / total for value, size in sizes.items()}
    shares = {value: int(share) for value, share in exact.items()}
    over = sorted(exact, key=lambda value: (shares[value] - exact[value], -sizes[value]))
    for value in over[: count - sum(shares.values())]:
        shares[value] += 1
    return shares
