"""What the functions return: typed values that a notebook shows as a table and curves."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Any, overload

from unspoken.common.files import read_json
from unspoken.measure.ask import LoadedModel, load
from unspoken.measure.predictions import Prediction
from unspoken.recipe import layout
from unspoken.recipe.evaluation_records import Evaluation, Metrics
from unspoken.recipe.levels import ALL, kept_levels, level_number
from unspoken.report.read.outcome import Outcome
from unspoken.report.read.results import PhaseResult, RunResult, VariantResult
from unspoken.report.read.run import read_run
from unspoken.report.show import numbers
from unspoken.teach.traces.write import GenerateSummary
from unspoken.teach.vet import VetSummary

#: Records that a notebook shows.
_SHOWN = 5
_PAGE = (
    '<div style="max-width:60em"><p><b>{title}</b></p>{table}'
    '<div style="display:flex;flex-wrap:wrap;gap:1em">{curves}</div>{end}</div>'
)
#: A notebook may be dark, and the figures have the colours of a light ground there.
_CARD = "padding:.5em;background:#fff;color:#222"


@dataclass(frozen=True)
class KeptLevel:
    """The best model of one level of removal.

    Attributes:
        removed: thought tokens that are gone; None: all.
        accuracy, mean_tokens: on the validation questions; None without any.
        folder: of the model.
    """

    removed: int | None
    accuracy: float | None
    mean_tokens: float | None
    folder: Path

    def __getstate__(self) -> dict[str, Any]:
        """Its fields alone: a loaded model stays where it is."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @functools.cached_property
    def model(self) -> LoadedModel:
        """The model, loaded when it is asked for."""
        return load(self.folder, local_files_only=True)


@dataclass(frozen=True)
class RunOutcome:
    """What a run made, read from its folder.

    Attributes:
        folder: of the run.
        main: name of the model that `accuracy`, `model` and `predictions` are of.
        report: the page.

    Examples:
        >>> result = internalize(from_scratch("tiny"), examples)  # doctest: +SKIP
        >>> result.accuracy, result.model.ask("1+2=").answer  # doctest: +SKIP
        (0.98, '3')
    """

    folder: Path
    main: str
    report: Path

    def __getstate__(self) -> dict[str, Any]:
        """Its fields alone: the rest is read from the folder again."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @functools.cached_property
    def run(self) -> RunResult:
        """Everything that the report shows."""
        return read_run(self.folder)

    @property
    def variants(self) -> dict[str, VariantResult]:
        """Every model of the run, in its last phase, by name: internalized, distilled, no_cot."""
        return {variant.name: variant for variant in self._phase.shown}

    @property
    def outcome(self) -> Outcome | None:
        """How far the thought was removed, with a `sentence`; None where it was not to be."""
        return self._phase.outcome

    @property
    def metrics(self) -> Evaluation | None:
        """The figures of the model, on the test questions; without any, on the validation's."""
        return self._phase.figures(self.main)

    @property
    def accuracy(self) -> float | None:
        """The share of right answers; None where there was nothing to measure with."""
        return None if self.metrics is None else self.metrics.accuracy

    @functools.cached_property
    def model(self) -> LoadedModel:
        """The finished model, loaded when it is asked for."""
        return load(f"{self.folder}:{self.main}", local_files_only=True)

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """What the model wrote for each test question."""
        return self.variants[self.main].predictions

    @functools.cached_property
    def levels(self) -> list[KeptLevel]:
        """The models of the levels of removal, the first one first; the fewest tokens last."""
        found = []
        for level, folder in kept_levels(self.variants[self.main].folder).items():
            figures = read_json(folder / layout.VALID_FILE) or {}
            gone = level_number(level)
            removed = None if gone == ALL else gone
            found.append(KeptLevel(removed, figures.get("accuracy"), figures.get("tokens"), folder))
        return found

    @property
    def _phase(self) -> PhaseResult:
        return self.run.phases[-1]

    @property
    def _shortfall(self) -> str:
        """What is left of the thought that was to be removed, and why; empty where nothing is."""
        return "" if self.outcome is None or self.outcome.is_complete else self.outcome.sentence

    def __repr__(self) -> str:
        share = numbers.percent(self.accuracy)
        told = f"{share}, {self._shortfall}" if self._shortfall else f"{self.main}: {share}"
        return f"RunOutcome({str(self.folder)!r}, {told})"

    def _repr_html_(self) -> str:
        from unspoken.report.show.plots import draw_plots

        curves = "".join(
            f'<figure style="flex:1 1 22em;max-width:30em;margin:0;{_CARD}"><figcaption>'
            f"{escape(plot.title)}</figcaption>{plot.svg}</figure>"
            for plot in draw_plots(self._phase, self.folder)
        )
        measured = [each for each in self.variants.values() if each.measured is not None]
        rows = [[each.label, *_figures(each.measured)] for each in measured if each.measured]
        lines = [self._shortfall, f"report: {self.report}"]
        end = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
        return _PAGE.format(
            title=escape(self.run.name), table=_table(_COLUMNS, rows), curves=curves, end=end
        )


@dataclass(frozen=True)
class EvaluationOutcome:
    """How a model did on questions.

    Attributes:
        title: of the model.
        metrics: the figures.
        predictions: what it wrote for each question, judged.
    """

    title: str
    metrics: Metrics
    predictions: list[Prediction]

    @property
    def accuracy(self) -> float | None:
        """The share of right answers; None without gold answers."""
        return self.metrics.accuracy

    def __repr__(self) -> str:
        share = numbers.percent(self.accuracy)
        return f"EvaluationOutcome({self.title!r}, {share} of {self.metrics.num_questions})"

    def _repr_html_(self) -> str:
        table = _table(_COLUMNS, [[self.title, *_figures(self.metrics)]])
        wrong = [p for p in self.predictions if p.correct is False][:_SHOWN]
        rows = [[p.question, p.pred, p.gold or "", p.generated] for p in wrong]
        end = _table(["question", "answered", "right", "written"], rows) if rows else ""
        return _PAGE.format(title=escape(self.title), table=table, curves="", end=end)


@dataclass(frozen=True)
class TracesOutcome(Sequence[dict[str, Any]]):
    """What a teacher wrote; a sequence of records with question and cot.

    Attributes:
        traces: the records.
        summary: how many, how fast, at which price.
    """

    traces: list[dict[str, Any]]
    summary: GenerateSummary

    def __len__(self) -> int:
        return len(self.traces)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self.traces[index]

    def __repr__(self) -> str:
        return f"TracesOutcome({len(self):,} traces)"

    def _repr_html_(self) -> str:
        rows = [[str(one.get("question")), str(one.get("cot"))] for one in self.traces[:_SHOWN]]
        table = _table(["question", "written"], rows)
        return _PAGE.format(title=f"{len(self):,} traces", table=table, curves="", end="")


@dataclass(frozen=True)
class VettingOutcome(Sequence[dict[str, Any]]):
    """Traces that a student may learn from; a sequence of the records that were kept.

    Attributes:
        kept: with question, thought and answer.
        rejected: the others, with reason and detail.
        summary: how many, and why not.
    """

    kept: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    summary: VetSummary

    def __len__(self) -> int:
        return len(self.kept)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self.kept[index]

    def __repr__(self) -> str:
        return f"VettingOutcome({len(self):,} of {self.summary.num_traces:,} traces kept)"

    def _repr_html_(self) -> str:
        counts = [["kept", f"{len(self.kept):,}"]]
        counts += [[reason, f"{count:,}"] for reason, count in self.summary.rejected.items()]
        title = f"{len(self.kept):,} of {self.summary.num_traces:,} traces kept"
        return _PAGE.format(title=title, table=_table(["", "traces"], counts), curves="", end="")


_COLUMNS = ["model", "accuracy", "95 % interval", "tokens written", "answers/s, one at a time"]


def _figures(measured: Metrics) -> Iterator[str]:
    """The cells of a model's row."""
    yield numbers.percent(measured.accuracy)
    yield numbers.percent_range(measured.interval)
    yield numbers.mean(measured.mean_tokens)
    yield numbers.rate(measured.examples_per_s_single)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
