"""Run folder -> report.html, report.json and plots: one page that opens offline.

The page is filled from `page.html` with everything escaped; only the plots' SVG, which unspoken
draws itself, and the lines of `page.js` go in as they are. Its policy lets no other script run and
loads nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken.common.files import write_text
from unspoken.recipe.evaluation_records import Evaluation
from unspoken.recipe.layout import DISTILLED, INTERNALIZED, REPORT_FILE, REPORT_PAGE
from unspoken.recipe.records import TracesRecord, TrainingRecord
from unspoken.report.read.results import LABELS, PhaseResult, RunResult
from unspoken.report.read.run import read_run
from unspoken.report.show.break_even import BreakEven, break_even
from unspoken.report.show.classes import ClassTable, class_tables
from unspoken.report.show.conclusion import Conclusion, conclude
from unspoken.report.show.diagnosis import diagnosis_lines, size_rows
from unspoken.report.show.glossary import glossary
from unspoken.report.show.headline import Headline, headlines
from unspoken.report.show.levels import (
    TITLES,
    LevelRow,
    choice_lines,
    level_rows,
    level_values,
    timing_note,
)
from unspoken.report.show.numbers import counted, whole
from unspoken.report.show.palette import DARK, LIGHT
from unspoken.report.show.samples import AnswersShown, choose_samples
from unspoken.report.show.table import Group, Row, make_categories, make_costs_table, make_table
from unspoken.report.show.teacher_words import shares, traces_lines
from unspoken.report.show.usual import find_usual_form

if TYPE_CHECKING:
    from unspoken.report.show.plots import Plot

#: Raise when fields of report.json change their meaning.
_FORMAT = 1


@dataclass(frozen=True)
class PageSection:
    """One phase of the page."""

    phase: PhaseResult
    conclusion: Conclusion
    headlines: list[Headline]
    measured_on: str
    on_validation: bool
    table: list[Group]
    categories: list[Row]
    classes: list[ClassTable]
    levels: list[LevelRow]
    timing: str
    choices: list[str]
    diagnosis: list[str]
    sizes: list[tuple[str, ...]]
    looks: list[Plot]
    plots: list[Plot]
    series: dict[str, Any]
    samples: list[AnswersShown]

    @property
    def is_bare(self) -> bool:
        """Whether nothing would stand below the heading: of a run that has only begun."""
        told = (self.conclusion.notes, self.levels, self.diagnosis, self.plots, self.samples)
        return not (self.phase.key or self.table or any(told))

    @property
    def reading(self) -> str:
        """What people need to know to read the questions; empty for nothing."""
        usual = [sample.usual for sample in self.samples if sample.usual is not None]
        return usual[0].remark if usual else ""


def write_report(folder: Path, pictures: Path | None = None) -> Path:
    """Writes report.html, report.json and plots/ into a run folder; returns the page's path.

    Reads nothing but the folder. Of a run that is half done, it shows what is there and says what
    is missing.

    Args:
        folder: of the run.
        pictures: a folder that gets the figures as SVG files too, for a light and a dark ground.

    Raises:
        DataError: it is not a run folder, or a file in it is broken.
    """
    # matplotlib takes a while to import
    from unspoken.report.show.diagnosis_plots import draw_diagnosis
    from unspoken.report.show.plots import draw_plots, plotted_series, write_pictures

    run = read_run(folder)
    sections = [
        PageSection(
            phase=phase,
            conclusion=conclude(phase),
            headlines=headlines(phase),
            measured_on=_measured_on(phase),
            on_validation=any(m.split == "valid" for m in phase.measured()),
            table=make_table(phase),
            categories=make_categories(phase),
            classes=class_tables(phase),
            levels=level_rows(phase.levels),
            timing=timing_note(phase.levels),
            choices=choice_lines(phase.levels),
            diagnosis=diagnosis_lines(phase.diagnosis, phase.diagnosed_labels)
            if phase.diagnosis
            else [],
            sizes=size_rows(phase.diagnosis, phase.diagnosed_labels) if phase.diagnosis else [],
            looks=draw_diagnosis(phase, folder) if phase.diagnosis else [],
            plots=draw_plots(phase, folder),
            series=plotted_series(phase),
            samples=choose_samples(phase),
        )
        for phase in run.phases
    ]
    paid = break_even(run)
    values = _without_nan(_values(run, sections, paid))
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / REPORT_FILE, text + "\n")
    page = folder / REPORT_PAGE
    write_text(page, _render(run, sections, paid))
    if pictures is not None:
        write_pictures([plot for one in sections for plot in (*one.plots, *one.looks)], pictures)
    return page


def _without_nan(value: Any) -> Any:
    """Values with None for numbers that JSON has no word for, whichever file they are from."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _render(run: RunResult, sections: list[PageSection], paid: list[BreakEven]) -> str:
    from jinja2 import Environment, StrictUndefined

    here = resources.files("unspoken.report.show")
    source, script = (
        here.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.js")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.from_string(source).render(
        run=run,
        sections=sections,
        last=sections[-1],
        traced=traces_lines(run.traces, run.vetted),
        shares=shares(run.vetted),
        costs=make_costs_table(run.costs),
        paid=paid,
        paid_notes=list(dict.fromkeys(note for one in paid for note in one.notes)),
        facts=_facts(run),
        light=LIGHT,
        dark=DARK,
        labels=LABELS,
        level_titles=TITLES,
        usual_form=functools.partial(find_usual_form, run.phases[0].task),
        glossary=glossary,
        script=script,
        # how the page's policy names the one script that may run
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    )


def _measured_on(phase: PhaseResult) -> str:
    """Which questions the table is about."""
    measured = phase.measured()
    if not measured:
        return ""
    split = {"test": "test split", "valid": "validation split"}.get(
        measured[0].split, measured[0].split
    )
    counts = sorted({one.num_questions for one in measured})
    asked = " or ".join(whole(count) for count in counts[:-1])
    asked = " or ".join(filter(None, [asked, counted(counts[-1], "questions")]))
    first = "the first " if any(one.limit is not None for one in measured) else ""
    ungraded = measured[0].num_questions - measured[0].num_graded_questions
    without = f" ({ungraded:,} of them without a gold answer, not graded)" if ungraded else ""
    return (
        f"Measured on {first}{asked} of the {split}{without}. Intervals are Wilson 95 % intervals."
    )


def _facts(run: RunResult) -> list[tuple[str, list[str]]]:
    """What a reader needs to repeat the run: name and lines of text."""
    known = run.environment
    machine = known.get("machine", {})
    words = [machine.get("gpu"), machine.get("processor"), machine.get("system")]
    threads = machine.get("num_threads")
    words.append(counted(threads, "threads") if threads else None)
    hashes = [
        f"{f'{phase.name} ' if phase.key else ''}{split}: {value}"
        for phase in run.phases
        for split, value in phase.data_hashes.items()
    ]
    versions = known.get("versions", {})
    seed = known.get("seed", run.recipe.get("seed"))
    facts = [
        ("Started", [str(known.get("started", ""))]),
        ("Machine", [", ".join(str(word) for word in words if word)]),
        ("Versions", [", ".join(f"{name} {version}" for name, version in versions.items())]),
        ("Git revision", [str(known.get("git_revision") or "not in a git checkout")]),
        ("Seed", ["" if seed is None else str(seed)]),
        ("Data, SHA-256", hashes),
    ]
    return [(name, lines) for name, lines in facts if any(lines)]


def _values(run: RunResult, sections: list[PageSection], paid: list[BreakEven]) -> dict[str, Any]:
    """report.json: the table, the curves and where they come from."""
    return {
        "format": _FORMAT,
        "name": run.name,
        "description": run.description,
        "missing": run.missing,
        "phases": [_phase_values(section) for section in sections],
        "traces": run.traces and _traces_values(run.traces),
        "vetted": run.vetted and asdict(run.vetted),
        "costs": [asdict(stage) for stage in run.costs],
        "break_even": [asdict(one) for one in paid],
        "environment": run.environment,
        "recipe": run.recipe,
    }


def _traces_values(traces: TracesRecord) -> dict[str, Any]:
    names = (
        "engine", "model", "num_questions", "num_traces", "num_prompt_tokens", "num_tokens",
        "cost", "currency", "seconds", "cut_off", "num_taken_over",
    )  # fmt: skip
    return {"done": traces.is_done, **{name: getattr(traces, name) for name in names}}


def _phase_values(section: PageSection) -> dict[str, Any]:
    phase = section.phase
    pairs = [
        (name, rival)
        for name in (INTERNALIZED, DISTILLED)
        for rival in phase.variants
        if name in phase.variants and rival not in (INTERNALIZED, name)
    ]
    comparisons = {f"{name}_{rival}": phase.compare(name, rival) for name, rival in pairs}
    return {
        "name": phase.name,
        "key": phase.key,
        "finding": section.conclusion.lead,
        "notes": section.conclusion.notes,
        "data_sha256": phase.data_hashes,
        "outcome": phase.outcome and {**asdict(phase.outcome), "sentence": phase.outcome.sentence},
        "variants": {name: _variant_values(phase, name) for name in phase.variants},
        "comparisons": {
            name: None if paired is None else asdict(paired) for name, paired in comparisons.items()
        },
        "diagnosis": phase.diagnosis and asdict(phase.diagnosis),
        "levels": level_values(phase.levels),
        "series": section.series,
        "plots": [plot.png for plot in (*section.plots, *section.looks)],
    }


def _variant_values(phase: PhaseResult, name: str) -> dict[str, Any]:
    variant, ratio = phase.variants[name], phase.speed_ratio(name)
    return {
        "label": variant.label,
        "status": variant.status,
        "borrowed": variant.borrowed,
        "steps": variant.last_step,
        "steps_before": variant.steps_before,
        "started_from": variant.started_from,
        "tokens_left": variant.tokens_left,
        "speed_ratio": ratio and ratio.value,
        "speed_ratio_interval": ratio and ratio.interval,
        "measured": variant.measured and _measured_values(variant.measured),
        "trained": variant.trained and _trained_values(variant.trained),
    }


def _measured_values(measured: Evaluation) -> dict[str, Any]:
    figures = measured.to_json()
    del figures["settings"], figures["cost"], figures["dtype"]
    return {
        "split": measured.split,
        "limit": measured.limit,
        "data_sha256": measured.data_sha256,
        **figures,
    }


def _trained_values(trained: TrainingRecord) -> dict[str, Any]:
    peak = trained.peak_memory_bytes
    return {
        "steps": trained.state.step,
        "level": trained.level,
        "seconds": trained.state.seconds,
        "all_removed_at": trained.state.all_removed_at,
        "num_parameters": trained.num_parameters,
        "num_train": trained.num_train,
        "num_dropped": trained.num_dropped,
        "longest_thought": trained.longest_thought,
        "precision": trained.precision,
        "peak_memory": peak.host if peak.gpu is None else peak.gpu,
        "on_gpu": peak.gpu is not None,
        "num_trained_parameters": trained.num_trained_parameters,
    }
