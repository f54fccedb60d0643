"""What `unspoken diagnose` found, in words and numbers: for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from unspoken.recipe.diagnosis_record import Diagnosis, OtherSize, Probe, Probes
from unspoken.recipe.layout import REPORT_PAGE
from unspoken.report.read.run import read_run
from unspoken.report.show.numbers import percent, percent_range, whole
from unspoken.report.show.summary import plain, table_lines

WHERE = {"prompt": "before it writes", "answer": "as it answers"}


def diagnosis_lines(found: Diagnosis, labels: Mapping[str, str]) -> list[str]:
    """A sentence for each finding, without sizes, which are a table.

    Args:
        found: in one phase of a run.
        labels: the models' names there, as `PhaseResult.diagnosed_labels` has them.
    """
    told = [*_digits(found), *_probes(found.probes, labels), *_again(found, labels)]
    return [*told, *found.notes]


def size_rows(found: Diagnosis, labels: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Titles, then for each size the share of right answers of each model."""
    models = list(dict.fromkeys(one.model for one in found.sizes))
    if not models:
        return []
    rows = [("size", *(labels[name] for name in models))]
    for size in dict.fromkeys(one.size for one in found.sizes):
        asked = {one.model: one for one in found.sizes if one.size == size}
        trained = any(one.is_trained for one in asked.values())
        cells = [_size_cell(asked.get(name)) for name in models]
        rows.append((f"{size}, trained on" if trained else size, *cells))
    return rows


def _size_cell(one: OtherSize | None) -> str:
    return "-" if one is None else f"{percent(one.accuracy)} ({percent_range(one.interval)})"


def print_diagnosis(found: Diagnosis, folder: Path) -> None:
    """Prints the findings in the last phase of a run, and where the pictures are."""
    labels = read_run(folder).phases[-1].diagnosed_labels
    lines, rows = diagnosis_lines(found, labels), size_rows(found, labels)
    lines += ["", *table_lines(rows)] if rows else []
    lines += ["", f"pictures: {folder / REPORT_PAGE}"]
    print("\n".join(map(plain, lines)))  # noqa: T201


def place_name(place: str, *, places: Sequence[str]) -> str:
    """What a digit of the answer is called.

    Example:
        >>> place_name("0", places=["0", "1"]), place_name("sign", places=["sign"])
        ('digit 1 of 2', 'sign')
    """
    if not place.lstrip("-").isdigit():
        return place
    digits = [one for one in places if one.lstrip("-").isdigit()]
    return f"digit {digits.index(place) + 1} of {len(digits)}"


def _digits(found: Diagnosis) -> list[str]:
    if not found.digits:
        return []
    last = found.digits[-1]
    worst = min(last.places, key=lambda place: last.places[place])
    best = max(last.places, key=lambda place: last.places[place])
    if last.places[best] == last.places[worst]:
        return [
            f"At the last level each digit of the answer is right in {percent(last.places[best])}."
        ]
    names = {place: place_name(place, places=list(last.places)) for place in (worst, best)}
    return [
        f"At the last level {names[best]} of the answer is right in {percent(last.places[best])}, "
        f"{names[worst]} in {percent(last.places[worst])} (digits from the least significant one)."
    ]


def best_layers(probe: Probe) -> list[float]:
    """For each target the share of the layer that has most of it, the embeddings left out."""
    layers = probe.shares[1:] or probe.shares
    return [max(column) for column in zip(*layers, strict=True)]


def _probes(probes: Probes | None, labels: Mapping[str, str]) -> list[str]:
    if probes is None:
        return []
    chance = sum(probes.chance) / len(probes.chance)
    shares: dict[str, list[str]] = {}
    for probe in probes.probes:
        best = best_layers(probe)
        told = f"{percent(sum(best) / len(best))} {WHERE[probe.where]}"
        shares.setdefault(labels[probe.model], []).append(told)
    models = "; ".join(f"{name} {' and '.join(told)}" for name, told in shares.items())
    return [
        f"Linear probes for the {len(probes.targets)} digits of the thought's numbers, fitted to "
        f"{whole(probes.num_fitted)} questions and tested on {whole(probes.num_tested)}; the mean "
        f"share that is right, in each digit's best layer (always saying the most frequent digit: "
        f"{percent(chance)}): {models}."
    ]


def _again(found: Diagnosis, labels: Mapping[str, str]) -> list[str]:
    lines = []
    for one in found.again:
        later = one.tokens[1:]
        tokens = percent(sum(later) / len(later)) if later else "none"
        lines.append(
            f'Asked for its thought again, the model "{labels[one.model]}" begins with it by '
            f"itself in {percent(one.unasked)} of {whole(one.num_questions)} questions; given the "
            f"true tokens before, {tokens} of the others are its likeliest next ones; given only "
            f"the first, it writes {percent(one.whole)} of the thoughts to the end and "
            f"{percent(one.accuracy)} of the answers right."
        )
    return lines
