"""What a report says of models that took turns in being timed, or were timed apart."""

import json

import pytest

from helpers.run_folders import (
    lead,
    make_run,
    read_page,
    read_values,
    write_latency,
)
from unspoken.report import write_report
from unspoken.report.read.run import read_run
from unspoken.report.show.conclusion import conclude
from unspoken.report.show.summary import summary_lines


def notes(folder):
    return " ".join(conclude(read_run(folder).phases[0]).notes).replace("\u00a0", " ")


def test_models_that_took_turns_are_compared_by_medians_with_an_interval(full, without_plots):
    write_latency(full, {"explicit": 0.02, "internalized": 0.01, "no_cot": 0.02})
    phase = read_run(full).phases[0]
    ratio = phase.speed_ratio("internalized")
    assert ratio.value == pytest.approx(2.0)
    assert ratio.interval == pytest.approx((2.0, 2.0))  # what slowed down both changes nothing
    assert phase.figures("internalized").latency_p50_s == pytest.approx(0.01)
    assert phase.figures("internalized").examples_per_s_single == pytest.approx(100)
    write_report(full)
    values = read_values(full)["phases"][0]["variants"]
    assert values["internalized"]["speed_ratio"] == pytest.approx(2.0)
    assert values["internalized"]["speed_ratio_interval"] == pytest.approx([2.0, 2.0])
    text = " ".join(read_page(full).text.replace("\u00a0", " ").split())
    assert "2.00× (2.00–2.00)" in text  # as many decimals as tell the ends apart, two at most
    assert "no difference from explicit measured" in text
    assert "12 of them, each asked of one model after the other" in notes(full)
    assert "2.00 times as many (95 % interval 2.00 to 2.00) questions per second" in lead(full)
    lines = [" ".join(line.split()) for line in summary_lines(full)]
    assert any("5 100 2.0x 10.0 ms 100" in line for line in lines)
    assert any("5 50.0 = 20.0 ms 100" in line for line in lines)
    told = " ".join(lines)
    assert "models taking turns: internalized 2.00x (2.00 to 2.00)" in told
    assert "no CoT no difference measured" in told
    assert max(map(len, summary_lines(full)[:-1])) <= 80


def test_a_difference_within_the_noise_is_none(full):
    write_latency(full, {"explicit": 0.02, "internalized": 0.01, "no_cot": 0.02})
    path = full / "latency" / "latency.json"
    known = json.loads(path.read_text())
    known["models"]["internalized"]["seconds"] = [0.019, 0.022] * 6
    path.write_text(json.dumps(known))
    assert "answers as many (no difference measured) questions per second" in lead(full)


def test_too_few_questions_give_no_interval(full):
    write_latency(full, {"explicit": 0.02, "internalized": 0.01}, num=5)
    ratio = read_run(full).phases[0].speed_ratio("internalized")
    assert (ratio.value, ratio.interval) == (pytest.approx(2.0), None)
    assert "too few questions for intervals" in notes(full) and "bootstrap" not in notes(full)


def test_a_model_that_was_timed_alone_took_no_turns_and_has_no_ratio(full):
    write_latency(full, {"internalized": 0.01})
    told = notes(full)
    assert "Single questions were timed in one pass at the end, 12 of them." in told
    assert "Ratios" not in told
    write_latency(full, {"internalized": 0.01, "no_cot": 0.02})
    path = full / "explicit" / "evaluation.json"  # so that nothing is known of the one that writes
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "examples_per_s_single": None}))
    told = notes(full)
    assert told.endswith("another one first each time.")
    assert "Ratios" not in told


def test_models_that_were_loaded_in_turns_say_so(full):
    write_latency(full, {"explicit": 0.02, "internalized": 0.01}, turns=[2] * 6)
    assert "in 6 turns of one model after the other, loaded each time" in notes(full)
    assert "a bootstrap over turns" in notes(full)
    assert "Single questions of no CoT were timed minutes apart" in notes(full)


def test_times_of_a_model_that_changed_since_do_not_count(full):
    write_latency(full, {"explicit": 0.02, "internalized": 0.01, "no_cot": 0.02})
    path = full / "internalized" / "evaluation.json"
    known = json.loads(path.read_text())
    known["settings"]["model_sha256"] = "another"
    path.write_text(json.dumps(known))
    phase = read_run(full).phases[0]
    assert not phase.took_turns("internalized")
    assert phase.speed_ratio("internalized").interval is None
    assert phase.took_turns("explicit", "no_cot")


def test_what_could_not_be_timed_has_the_name_that_the_page_has(full):
    write_latency(full, {"explicit": 0.02, "internalized": 0.01})
    path = full / "latency" / "latency.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "not_timed": {"no_cot": "whose model was removed"}}))
    assert "Not timed: no CoT, whose model was removed." in notes(full)


def test_models_that_are_measured_and_not_timed_yet_are_named(full):
    for name in ("explicit", "internalized", "no_cot"):
        path = full / name / "evaluation.json"
        known = json.loads(path.read_text())
        path.write_text(json.dumps({**known, "examples_per_s_single": None}))
    write_latency(full, {"explicit": 0.02, "internalized": 0.01})
    assert read_run(full).missing == ["Single questions of no CoT are not timed yet."]
    make_run(full, evaluate={"num_latency": 0})
    assert read_run(full).missing == []


def test_a_run_from_before_says_that_its_models_were_timed_apart(full):
    assert "of explicit CoT, internalized, no CoT were timed minutes apart" in notes(full)
