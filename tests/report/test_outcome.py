"""How far the thought was removed, told by page, report.json, terminal and Python: a sentence."""

from __future__ import annotations

import json

import pytest

from helpers.run_folders import (
    LONGEST,
    lead,
    make_run,
    make_variant,
    read_page,
    read_values,
    stage,
    write,
    write_lines,
)
from unspoken.recipe.diagnosis_record import Diagnosis, OtherSize, ThoughtAgain
from unspoken.recipe.layout import DIAGNOSIS, DIAGNOSIS_FILE
from unspoken.report import print_diagnosis, write_report
from unspoken.report.read.run import read_run
from unspoken.report.show.headline import headlines
from unspoken.report.show.samples import choose_samples
from unspoken.report.show.summary import summary_lines
from unspoken.run.api import RunOutcome

ADAPTIVE = {"removal": "adaptive", "loss_below": 0.2, "window": 20}
ACCURATE = {"removal": "adaptive", "accuracy_above": 0.9, "window": 10}


def make(folder, *, final, losses, schedule, accuracies=()):
    """A finished run whose internalized model stopped at the level `final`."""
    run = make_run(folder)
    make_variant(run / "internalized", "internalized", 20, final=final)
    record = stage(final)
    record["settings"] = {"schedule": schedule}
    write(run / "internalized" / "stage.json", record)
    trained = [
        {"step": 10 * number, "event": "train", "loss": loss, "removed": final}
        for number, loss in enumerate(losses, 1)
    ]
    asked = [
        {
            "step": 10 * number,
            "event": "valid",
            "removed": final,
            "num_questions": 20,
            "accuracy": accuracy,
            "mean_tokens": 9.0,
        }
        for number, accuracy in enumerate(accuracies, 1)
    ]
    write_lines(run / "internalized" / "metrics.jsonl", [*trained, *asked])
    return run


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (
            {"final": 0, "losses": [0.9, 0.5, 0.3, 0.4, 0.6], "schedule": ADAPTIVE},
            "not internalized: 0 of 4 tokens removed, the loss of the first level never came "
            "below 0.35 (0.2 was needed)",
        ),
        (
            {"final": 3, "losses": [0.9, 0.3, 0.3], "schedule": ADAPTIVE},
            "not internalized: 3 of 4 tokens removed, the loss of level 3 never came below 0.3 "
            "(0.2 was needed)",
        ),
        (
            {"final": 1, "losses": [0.9], "schedule": ACCURATE, "accuracies": [0.2, 0.85, 0.4]},
            "not internalized: 1 of 4 tokens removed, the validation accuracy of level 1 never "
            "came above 85.0 % (90 % was needed)",
        ),
        (
            {"final": 2, "losses": [0.5], "schedule": {"removal": "linear"}},
            "not internalized: 2 of 4 tokens removed, the schedule had come no further after 100 "
            "steps",
        ),
    ],
)
def test_where_something_is_left_the_sentence_says_what_and_why(tmp_path, log, sentence):
    folder = make(tmp_path / "run", **log)
    outcome = read_run(folder).phases[0].outcome
    assert outcome is not None
    assert (outcome.sentence, outcome.is_complete) == (sentence, False)
    assert (outcome.tokens_removed, outcome.longest_thought) == (log["final"], LONGEST)
    write_report(folder)
    told = " ".join(" ".join(summary_lines(folder)).split())
    assert sentence in told
    title = f"{sentence[0].upper()}{sentence[1:]}."
    assert title in read_page(folder).text.replace("\u00a0", " ")
    assert lead(folder).startswith(title)
    assert read_values(folder)["phases"][0]["outcome"]["sentence"] == sentence


def test_what_an_earlier_level_reached_does_not_count_for_the_last_one(tmp_path):
    schedule = {**ACCURATE, "loss_below": 0.2}
    folder = make(tmp_path / "run", final=1, losses=[0.9, 0.3], schedule=schedule, accuracies=[0.2])
    log = folder / "internalized" / "metrics.jsonl"
    train = {"step": 1, "event": "train", "loss": 0.01, "removed": 0}
    asked = {"step": 1, "event": "valid", "removed": 0, "num_questions": 20, "accuracy": 1.0}
    lines = [train, {**asked, "mean_tokens": 9.0}, *map(json.loads, log.read_text().splitlines())]
    write_lines(log, lines)
    outcome = read_run(folder).phases[0].outcome
    assert outcome is not None
    assert outcome.reason == (
        "the loss of level 1 never came below 0.3 (0.2 was needed) and the validation accuracy of "
        "level 1 never came above 20.0 % (90 % was needed)"
    )


@pytest.mark.parametrize(("final", "label"), [(0, "not internalized"), (2, "partly internalized")])
def test_the_model_is_not_called_internalized_where_it_is_not(tmp_path, capsys, final, label):
    folder = make(tmp_path / "run", final=final, losses=[1.0], schedule=ADAPTIVE)
    assert any(line.startswith(label) for line in summary_lines(folder))
    again = ThoughtAgain("internalized", 0.1, [0.5, 0.5], 0.2, 0.3, 9)
    size = OtherSize("2 x 2", "internalized", True, 9, 0.5, (0.4, 0.6))
    Diagnosis(again=[again], sizes=[size]).write(folder / DIAGNOSIS / DIAGNOSIS_FILE)
    write_report(folder)
    assert label in read_page(folder).text
    phase = read_run(folder).phases[0]
    samples = choose_samples(phase)
    assert samples and all(sample.written[-1].label == label for sample in samples)
    assert phase.diagnosis is not None
    print_diagnosis(phase.diagnosis, folder)
    told = capsys.readouterr().out
    assert label in told and 'the model "internalized"' not in told


def test_python_says_what_was_reached_in_place_of_a_bare_percentage(tmp_path):
    folder = make(tmp_path / "run", final=0, losses=[1.0], schedule=ADAPTIVE)
    result = RunOutcome(folder, "internalized", folder / "report.html")
    assert result.outcome is not None and not result.outcome.is_complete
    sentence = result.outcome.sentence
    assert sentence.startswith("not internalized: 0 of 4 tokens removed, ")
    told = repr(result).replace("\u00a0", " ")
    assert told == f"RunOutcome({str(folder)!r}, 50.0 %, {sentence})"
    assert f"<p>{sentence}</p>" in result._repr_html_()
    assert list(result.variants) == ["internalized"], "models that are not part of the run"


def test_where_all_is_removed_nothing_is_added(tmp_path):
    folder = make(tmp_path / "run", final=LONGEST, losses=[0.1], schedule=ADAPTIVE)
    outcome = read_run(folder).phases[0].outcome
    assert outcome is not None
    assert outcome.sentence == "internalized: 4 of 4 tokens removed"
    assert not any("tokens removed" in line for line in summary_lines(folder))
    result = RunOutcome(folder, "internalized", folder / "report.html")
    assert "tokens removed" not in repr(result) + result._repr_html_()


def test_removal_that_measures_says_what_it_measured(tmp_path):
    search = {
        "reference": [0.1, 0.1, 0.2, 0.2, 0.3],
        "recovered": 3,
        "left_at": 40,
        "size": 1,
        "failures": 3,
        "undone": 3,
        "best": 1.834,
        "best_held": 20,
    }
    schedule = {"removal": "adaptive", "margin": 2.5, "last_margin": 0.3}
    folder = make(tmp_path / "run", final=3, losses=[0.1], schedule=schedule)
    path = folder / "internalized" / "stage.json"
    record = json.loads(path.read_text())
    record["state"]["schedule"] = {"removed": 3, "stopped": True, "search": search}
    write(path, record)
    outcome = read_run(folder).phases[0].outcome
    assert outcome is not None
    assert outcome.sentence == (
        "not internalized: 3 of 4 tokens removed, with 1 more, the loss never came below 1.83 "
        "(needed: 0.60 nats a question)"
    )


def make_by_steps(folder, *, loss, **found):
    """A run that has removed the first of a thought's steps; its log counts tokens."""
    schedule = {**ADAPTIVE, "unit": "step"}
    run = make(folder, final=1, losses=[], schedule=schedule)
    path = run / "internalized" / "stage.json"
    write(path, {**json.loads(path.read_text()), "longest_thought": 141, **found})
    line = {"step": 10, "event": "train", "loss": loss, "removed": 42}
    write_lines(run / "internalized" / "metrics.jsonl", [line])
    return run


def test_steps_of_a_thought_are_told_as_the_tokens_that_they_have(tmp_path):
    folder = make_by_steps(tmp_path / "run", loss=0.7, tokens_removed=42)
    phase = read_run(folder).phases[0]
    assert phase.outcome is not None
    assert phase.outcome.sentence == (
        "not internalized: 42 of 141 tokens removed, the loss of level 1 never came below 0.7 "
        "(0.2 was needed)"
    )
    assert headlines(phase)[0].words == "right, with 99 tokens of the thought left"


def test_where_an_older_run_did_not_count_these_tokens_none_are_told(tmp_path):
    folder = make_by_steps(tmp_path / "run", loss=0.7)
    phase = read_run(folder).phases[0]
    assert phase.outcome is not None
    assert phase.outcome.sentence == "not internalized: some of 141 tokens removed"
    assert headlines(phase)[0].words == "right, with some tokens of the thought left"
    write_report(folder)
    assert "partly internalized" in read_page(folder).text
    assert read_values(folder)["phases"][0]["outcome"]["tokens_removed"] is None


def test_before_the_training_has_ended_there_is_no_outcome(tmp_path):
    folder = make(tmp_path / "run", final=2, losses=[0.1], schedule=ADAPTIVE)
    write(folder / "internalized" / "stage.json", stage(2, status="running"))
    assert read_run(folder).phases[0].outcome is None
