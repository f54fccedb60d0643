"""Reports of runs with a teacher: whole, half done, with prices, with bad results."""

import json
import re

import pytest
import yaml

from helpers.run_folders import (
    NUM_TEST,
    Page,
    drawn,
    evaluation,
    lead,
    make_run,
    make_variant,
    metrics,
    predictions,
    read_page,
    read_values,
    stage,
    write,
    write_latency,
    write_lines,
)
from unspoken.recipe.diagnosis_record import Diagnosis, OtherSize, ThoughtAgain
from unspoken.recipe.layout import DIAGNOSIS, DIAGNOSIS_FILE, MODELS
from unspoken.report import print_diagnosis, write_report
from unspoken.report.read.run import read_run
from unspoken.report.show import break_even
from unspoken.report.show.levels import TITLES, LevelRow
from unspoken.report.show.summary import summary_lines

RIGHT = {
    "teacher": 39,
    "distilled": 37,
    "explicit": 38,
    "internalized": 35,
    "no_cot": 4,
    "untrained": 0,
}
TOKENS = {"teacher": 20.0, "distilled": 9.0, "untrained": 30.0}
SPEED = {"teacher": 10.0, "distilled": 50.0, "untrained": 20.0}
SECONDS = {"traces": 300.0, "vetted": 1.5, "distilled": 100.0, "internalized": 200.0}
MIB = 1 << 20


@pytest.fixture(autouse=True)
def known_models(monkeypatch):
    """Figures of the models that test_report does not know."""
    for name, tokens in TOKENS.items():
        monkeypatch.setitem(evaluation.__globals__["TOKENS"], name, tokens)
        monkeypatch.setitem(evaluation.__globals__["SPEED"], name, SPEED[name])


def make_teacher_run(folder, **settings):
    """A run folder without any stage; `prices` fill the recipe's costs."""
    defaults = {
        "teacher": {"engine": "transformers", "model": {"name": "big"}, "evaluate": True},
        "distil": {},
        "baselines": {"explicit": "train", "no_cot": True, "untrained": True},
        "costs": {"currency": "EUR", "machine_per_hour": None},
    }
    recipe = yaml.safe_load((make_run(folder) / "recipe.yaml").read_text())
    write(folder / "recipe.yaml", yaml.safe_dump({**recipe, **defaults, **settings}))
    return folder


def done(name, **values):
    return {
        "status": "done",
        "settings": {},
        "seconds": SECONDS[name],
        "peak_memory_bytes": {"host": 500 * MIB},
        **values,
    }


def write_traces(folder, *, cost=None, **values):
    write_lines(folder / "traces/traces.jsonl", [{"question": "1 * 2", "cot": "2"}] * 100)
    figures = {
        "engine": "openai" if cost is not None else "transformers",
        "model": "big <7B>",
        "num_questions": 100,
        "num_traces": 100,
        "num_prompt_tokens": 3_000,
        "num_tokens": 2_400,
        "tokens_per_s": 8.0,
        "cost": cost,
        "currency": "EUR",
    }
    write(folder / "traces/stage.json", done("traces", **{**figures, **values}))


def write_vetted(folder, **values):
    write_lines(folder / "vetted/dataset.jsonl", [{"question": "1 * 2"}] * 90)
    rejected = [
        {"question": "a <b>?", "cot": "x " * 900, "reason": "wrong_answer", "detail": "8, not 9"},
        {"question": "c?", "cot": "first", "reason": "wrong_answer", "detail": "1, not 2"},
        {"question": "d?", "cot": "endless", "reason": "truncated", "answer": "4"},
        {"question": "e?", "cot": "odd", "reason": "some_new_reason"},
    ]
    write_lines(folder / "vetted/rejected.jsonl", rejected)
    figures = {
        "num_traces": 100,
        "num_kept": 90,
        "num_questions": 100,
        "num_questions_kept": 90,
        "num_unverified": 5,
        "rejected": {"truncated": 3, "wrong_answer": 6, "some_new_reason": 1},
        "num_asked_again": 0,
        "num_tokens": 0,
        "cost": 0.0,
    }
    write(folder / "vetted/stage.json", done("vetted", **{**figures, **values}))


def write_model(folder, name, **values):
    """A trained and measured student."""
    make_variant(folder / name, name, RIGHT[name])
    figures = {"model_bytes": 2 * MIB, "base_bytes": 48 * MIB, **values}
    known = json.loads((folder / name / "stage.json").read_text())
    known["state"]["num_tokens"] = 9_000
    if name in SECONDS:
        known["seconds"] = SECONDS[name]
    write(folder / name / "stage.json", {**known, **figures})


def write_measured(folder, name, num_correct=None, **values):
    right = RIGHT[name] if num_correct is None else num_correct
    write(folder / name / "evaluation.json", {**evaluation(name, right), **values})
    write_lines(folder / name / "predictions.jsonl", predictions(name, right))


@pytest.fixture(autouse=True)
def removed_tokens(monkeypatch):
    monkeypatch.setitem(make_variant.__globals__["REMOVED"], "distilled", lambda step: 0)


@pytest.fixture
def full(tmp_path):
    """All six models, without prices."""
    folder = make_teacher_run(tmp_path / "run")
    write_traces(folder)
    write_vetted(folder)
    write_measured(folder, "teacher", examples_per_s_single=None, latency_p50_s=None)
    write_measured(folder, "untrained")
    for name in ("distilled", "explicit", "no_cot"):
        write_model(folder, name)
    write_model(folder, "internalized", started_from="distilled")
    for name, steps in (("distilled", 60), ("explicit", 160), ("no_cot", 160)):
        known = json.loads((folder / name / "stage.json").read_text())
        known["state"]["step"] = steps
        write(folder / name / "stage.json", known)
    return folder


def plain(text):
    return re.sub(r"\s+", " ", text.replace("\u00a0", " "))


def paid(folder):
    return {(one.student, one.measure): one for one in break_even.break_even(read_run(folder))}


def test_all_models_stand_in_the_order_of_the_run(full, without_plots):
    write_report(full)
    (phase,) = read_values(full)["phases"]
    wanted = tuple(name for name in MODELS if name != "at_once")
    assert tuple(phase["variants"]) == wanted
    assert phase["variants"]["internalized"]["steps_before"] == 60
    assert set(phase["comparisons"]) >= {"internalized_teacher", "distilled_untrained"}
    source = (full / "report.html").read_text()
    heads = re.findall(r'<th scope="col" class="dot-(\w+)">', source)
    assert tuple(heads) == wanted
    text = plain(Page(source).text)
    assert "60 + 100" in text
    assert "× against explicit" in text and "2.2×" in text
    assert not any("not equal" in note for note in phase["notes"])
    assert any("60 + 100 optimizer steps" in note for note in phase["notes"])


def test_lead_tells_teacher_student_and_internalized(full):
    assert lead(full) == (
        "Of 40 held-out questions, the teacher answers 97.5 % right, the explicit student 92.5 % "
        "and the internalized student 87.5 %. They write 20, 9 and 5 tokens per question and "
        "answer 100, 500 and 1,100 questions per second, in batches. The difference between the "
        "teacher and the internalized student is within chance. Trained for as many steps without "
        "removing anything, the student answers 95.0 % right; that difference is within chance. "
        "The internalized student is better than the same student trained without a chain of "
        "thought: 10.0 %. It is better than the untrained student: 0.0 %."
    )


def test_lead_says_what_is_bad(full):
    write_measured(full, "internalized", 3)
    (full / "explicit" / "evaluation.json").unlink()
    text = lead(full)
    assert "The internalized student is 90.0 points (73.9 to 95.3) below its teacher." in text
    assert "Removing the thought cost 85.0 points (67.5 to 92.0)." in text
    assert "is no better than the same student trained without a chain of thought, 10.0 %" in text
    assert "It is no better than the untrained student, 0.0 %" in text
    write_measured(full, "no_cot", 30)
    assert "is worse than the same student trained without a chain of thought: 75.0 %" in lead(full)


def test_explicit_student_stands_in_for_the_baseline(full, without_plots):
    for name in ("stage.json", "evaluation.json", "predictions.jsonl", "metrics.jsonl"):
        (full / "explicit" / name).unlink()
    write_report(full)
    phase = read_values(full)["phases"][0]
    assert phase["variants"]["internalized"]["speed_ratio"] == pytest.approx(110 / 50)
    assert "× against explicit student" in plain(read_page(full).text)
    assert "Against the explicit student the difference is within chance." in lead(full)


def test_traces_say_what_was_rejected_and_why(full, without_plots):
    write_report(full)
    page = read_page(full)
    text = plain(page.text)
    assert "The teacher (big <7B>) wrote 100 traces of 100 questions: 2,400 tokens" in text
    assert "90 were kept and 10 rejected; 10 of 100 questions are left without one." in text
    assert "5 of those kept could not be verified" in text
    source = plain((full / "report.html").read_text())
    rows = re.findall(r'<th scope="row">([\w ]+)</th><td>(\d)</td><td>([\d.]+ %)</td>', source)
    assert rows == [
        ("wrong answer", "6", "6.0 %"),
        ("stopped at the limit", "3", "3.0 %"),
        ("some new reason", "1", "1.0 %"),
    ]
    assert "a <b>?" in text
    assert "wrong answer: 8, not 9" in text
    assert "<b>?" not in source
    values = read_values(full)
    assert [one["question"] for one in values["vetted"]["examples"]] == ["a <b>?", "d?", "e?"]
    assert len(values["vetted"]["examples"][0]["text"]) < 500
    assert page.open == []


def test_one_trace_is_not_several(full, without_plots):
    one = dict.fromkeys(("num_traces", "num_questions"), 1)
    write_traces(full, **one, num_tokens=1)
    kept = dict.fromkeys(("num_kept", "num_questions_kept", "num_asked_again"), 1)
    write_vetted(full, **one, **kept, rejected={})
    path = full / "internalized" / "predictions.jsonl"
    write_lines(path, [{**each, "num_tokens": 1} for each in predictions("internalized", 35)])
    write_report(full)
    text = plain(read_page(full).text)
    assert "wrote 1 trace of 1 question: 1 token, " in text
    assert "Of 1 trace (1 was asked for in addition, where none was good), 1 was kept and 0" in text
    assert "internalized, 1 token: " in text
    write(full / "traces/stage.json", {"status": "running"})
    (full / "traces/traces.jsonl").write_text("{}\n")
    assert "The teacher is not done; it has written 1 trace." in read_run(full).missing


def test_equal_steps_are_told_only_where_they_were(full):
    assert "Trained for as many steps without removing anything, the student" in lead(full)
    known = json.loads((full / "explicit/stage.json").read_text())
    known["state"]["step"] = 100
    write(full / "explicit/stage.json", known)
    assert "Trained without removing anything, the student" in lead(full)


def batches(folder, **sizes):
    """The sizes of the students' batches, as their records have them."""
    for name, size in sizes.items():
        known = json.loads((folder / name / "stage.json").read_text())
        known["settings"] = {"train": {"batch_size": size}} if size else {}
        write(folder / name / "stage.json", known)


def test_another_number_of_examples_is_told_beside_as_many_steps(full):
    plain_rival = "is better than the same student trained without a chain of thought"
    batches(full, distilled=8, internalized=16, explicit=16, no_cot=16)
    # 160 steps of 16, against 60 of 8 and 100 of 16
    told = "for as many steps but on 1.2 times as many examples"
    assert f"Trained {told} without removing anything, the student answers 95.0 %" in lead(full)
    assert f"{plain_rival} ({told}): 10.0 %." in lead(full)
    (full / "internalized/evaluation.json").unlink()
    told = "on 5.3 times as many examples"
    assert f"explicit student {plain_rival} ({told}): 10.0 %." in lead(full)
    write_measured(full, "internalized")
    batches(full, no_cot=13, explicit=None)  # within 5 %, and a record that does not tell
    text = lead(full)
    assert "as many examples" not in text and "Trained for as many steps without" in text
    batches(full, distilled=None, no_cot=99)
    assert "as many examples" not in lead(full)
    recipe = yaml.safe_load((full / "recipe.yaml").read_text())
    write(full / "recipe.yaml", yaml.safe_dump({**recipe, "teacher": None, "distil": None}))
    write_model(full, "internalized")
    batches(full, internalized=16, explicit=16)
    told = "The model that writes its thought (on 1.6 times as many examples) answers 95.0 % right"
    assert told in lead(full)


def test_costs_are_what_was_measured(full, without_plots):
    write_report(full)
    values = read_values(full)
    costs = {one["name"]: one for one in values["costs"]}
    assert list(costs) == [
        "traces", "vetted", "distilled", "internalized", "explicit", "no_cot", "evaluate",
    ]  # fmt: skip
    assert costs["traces"]["seconds"] == 300.0
    assert costs["traces"]["size_bytes"] == (full / "traces/traces.jsonl").stat().st_size
    assert costs["vetted"]["num_tokens"] is None
    assert costs["distilled"]["tokens_per_s"] == pytest.approx(9_000 / 90)
    assert costs["distilled"]["base_bytes"] == 48 * MIB
    assert costs["explicit"]["seconds"] is None
    assert all(one["cost"] is None and one["gpu_bytes"] is None for one in costs.values())
    assert costs["evaluate"]["note"] == "6 models"
    text = plain(read_page(full).text)
    assert "adapter; base 48 MiB" in text
    assert "5.0 min" in text
    assert "Peak memory, GPU" not in text
    assert "EUR" not in text.split("How this was made")[0]


def test_a_diagnosis_calls_the_explicit_student_by_the_name_that_the_page_has(full, capsys):
    again = ThoughtAgain("explicit", 0.1, [0.5, 0.5], 0.2, 0.3, 9)
    size = OtherSize("2 x 2", "explicit", True, 9, 0.5, (0.4, 0.6))
    found = Diagnosis(again=[again], sizes=[size])
    found.write(full / DIAGNOSIS / DIAGNOSIS_FILE)
    write_report(full)
    source = (full / "report.html").read_text()
    told = plain(Page(source).text)
    assert 'the model "explicit student" begins' in told and '"explicit CoT" begins' not in told
    figure = drawn(full, "likeliest next ones").lower()
    assert "var(--distilled, #cc79a7)" in figure and "var(--explicit" not in figure
    print_diagnosis(found, full)
    assert "explicit student" in capsys.readouterr().out


def test_break_even_is_counted_in_time(full):
    one = paid(full)["internalized", "time"]
    # (300 + 1.5 + 100 + 200) s / (1/100 - 1/1100) s
    assert one.num_questions == 66_165
    assert sum(one.one_off.values()) == 601.5
    assert one.outcome == "pays"
    assert plain(one.sentence) == (
        "By time, the internalized student has paid for itself after 66,165 answered questions: "
        "(generate 300 s + vet 1.5 s + distil 100 s + internalize 200 s) / "
        "(teacher 0.01 s - student 0.0009091 s a question)."
    )
    assert "in batches of 8" in one.notes[0]
    assert paid(full)["distilled", "time"].one_off.keys() == {"generate", "vet", "distil"}
    assert ("internalized", "money") not in paid(full)


def test_break_even_of_models_that_took_turns(full):
    write_latency(full, {"teacher": 0.02, "internalized": 0.0101, "distilled": 0.02})
    one = paid(full)["internalized", "time"]
    assert (one.outcome, one.num_questions) == ("pays", 60_758)  # 601.5 s / (0.02 - 0.0101) s
    (note,) = one.notes
    assert "one at a time, teacher and student taking turns" in note
    other = paid(full)["distilled", "time"]
    assert (other.outcome, other.num_questions) == ("unknown", None)
    assert "no difference measured between the teacher's 0.02 s" in other.sentence


def test_too_few_turns_for_an_interval_are_not_taken_for_no_difference(full):
    write_latency(full, {"teacher": 0.02, "internalized": 0.0101}, num=5)
    one = paid(full)["internalized", "time"]
    assert (one.outcome, one.num_questions) == ("pays", 60_758)
    assert one.notes[1] == "They were too few for an interval: the difference may be chance."


def test_a_slower_student_that_took_turns_never_pays(full):
    write_latency(full, {"teacher": 0.02, "internalized": 0.03})
    assert paid(full)["internalized", "time"].outcome == "never"


def test_break_even_of_a_student_trained_from_the_base_leaves_distilling_out(full):
    write_model(full, "internalized")
    assert "distil" not in paid(full)["internalized", "time"].one_off


def test_a_student_that_was_not_timed_has_no_break_even(full):
    write_measured(full, "internalized", examples_per_s=None, seconds=None)
    one = paid(full)["internalized", "time"]
    assert (one.outcome, one.num_questions) == ("unknown", None)
    assert one.sentence.endswith(": the time for a question was not measured.")


def test_a_student_that_is_not_faster_never_pays(full, without_plots):
    write_measured(full, "teacher", examples_per_s=900.0)
    one = paid(full)["distilled", "time"]
    assert (one.outcome, one.num_questions) == ("never", None)
    assert "never pays for itself" in one.sentence
    write_report(full)
    assert plain(one.sentence) in plain(read_page(full).text)
    assert "explicit student never (by time)" in plain("\n".join(summary_lines(full)))


def test_a_student_that_is_as_fast_as_its_teacher_never_pays(full):
    own = json.loads((full / "distilled" / "evaluation.json").read_text())
    write_measured(full, "teacher", examples_per_s=own["examples_per_s"])
    one = paid(full)["distilled", "time"]
    assert one.teacher_per_question == one.student_per_question
    assert (one.outcome, one.num_questions) == ("never", None)


def test_break_even_takes_the_time_of_generating_where_the_teacher_was_not_asked(full):
    (full / "teacher" / "evaluation.json").unlink()
    one = paid(full)["internalized", "time"]
    assert one.teacher_per_question == 3.0
    assert "300 s / 100 traces" in one.notes[0]


def test_break_even_is_counted_in_money(full, without_plots):
    write_traces(full, cost=2.0)
    one = paid(full)["internalized", "money"]
    assert one.outcome == "unknown"
    assert "costs.machine_per_hour is not set" in one.sentence
    make_teacher_run(full, costs={"currency": "EUR", "machine_per_hour": 3.6})
    write_vetted(full, num_asked_again=10, cost=0.5)
    write_measured(full, "teacher", cost=0.03)
    one = paid(full)["internalized", "money"]
    # (2.5 + 601.5 s * 0.001) / (0.02 - 0.001 / 1100)
    assert one.num_questions == 156
    assert one.unit == "EUR"
    assert one.one_off == {"traces": 2.5, "machine": pytest.approx(0.6015)}
    assert "(traces EUR 2.5 + machine 0.1671 h at EUR 3.6 an hour)" in one.sentence
    write_report(full)
    text = plain(read_page(full).text)
    assert "Price of the tokens" in text
    assert "EUR 0.50" in text
    values = read_values(full)
    costs = {one["name"]: one["cost"] for one in values["costs"]}
    assert (costs["traces"], costs["vetted"], costs["evaluate"]) == (2.0, 0.5, 0.03)
    assert {one["measure"] for one in values["break_even"]} == {"time", "money"}


def test_a_free_machine_is_said(full):
    make_teacher_run(full, costs={"currency": "EUR", "machine_per_hour": 0})
    write_traces(full, cost=2.0)
    one = paid(full)["internalized", "money"]
    assert one.num_questions == 100
    assert "The machine is counted as free: costs.machine_per_hour is 0." in one.notes


def test_break_even_needs_stages_that_are_done(full):
    known = json.loads((full / "vetted" / "stage.json").read_text())
    write(full / "vetted" / "stage.json", {**known, "status": "running"})
    one = paid(full)["internalized", "time"]
    assert (one.outcome, one.num_questions) == ("unknown", None)
    assert "stage vet was not measured to its end" in one.sentence


def test_break_even_of_a_run_without_a_stage_or_the_time_of_its_traces_is_not_known(full):
    (full / "teacher" / "evaluation.json").unlink()
    write_traces(full, seconds=None)
    assert paid(full)["internalized", "time"].outcome == "unknown"
    write_traces(full)
    assert paid(full)["internalized", "time"].outcome == "pays"
    (full / "vetted" / "stage.json").unlink()
    assert paid(full)["internalized", "time"].outcome == "unknown"


def test_worked_solutions_are_no_teacher_to_save(full):
    write_traces(full, engine="worked", model=None)
    (full / "teacher" / "evaluation.json").unlink()
    assert paid(full)["internalized", "time"].outcome == "unknown"


def test_classes_have_a_table_of_each_model(full, without_plots):
    figures = {"num_gold": 20, "num_predicted": 18, "num_correct": 17}
    figures |= {"precision": 17 / 18, "recall": 17 / 20, "f1": 34 / 38}
    never = {"num_gold": 20, "num_predicted": 0, "num_correct": 0}
    never |= {"precision": None, "recall": 0.0, "f1": 0.0}
    classes = {
        "confusion": {"a<b": [17, 0, 3], "log in": [1, 0, 19]},
        "figures": {"a<b": figures, "log in": never},
        "macro_f1": 17 / 38,
        "num_outside": 22,
        "outside": {"<i>": 12, "": 10},
    }
    write_measured(full, "internalized", classes=classes)
    write_report(full)
    text = (full / "report.html").read_text(encoding="utf-8")
    assert "Classes: internalized" in text
    assert "a&lt;b" in text and "94.4" in text and "no answer (10)" in text
    assert read_values(full)["phases"][0]["variants"]["internalized"]["measured"]["classes"][
        "confusion"
    ] == {"a<b": [17, 0, 3], "log in": [1, 0, 19]}
    told = "\n".join(summary_lines(full))
    assert "none" in told and "macro F1 44.7" in told
    names = {"Schlüssel verloren": [11, 0, 4, 2, 1], "Nebenkosten": [0, 3, 0, 0, 0]}
    names |= {"Heizung": [0] * 5, "Lärm": [0, 0, 0, 12, 0]}
    for many, told in (
        (names, "1 Schlüssel verloren  11  0  4   2     1     94.4 %  85.0 %  89.5 %"),
        ({f"class number {n}": [1] * 10 for n in range(9)}, "9 class number 8  1  1  1"),
    ):
        classes |= {"confusion": many, "figures": dict.fromkeys(many, figures)}
        write_measured(full, "internalized", classes=classes)
        lines = summary_lines(full)
        assert told in "\n".join(lines) and max(map(len, lines[:-1])) <= 80
    many = {f"class number {n}": [1] * 21 for n in range(20)}
    classes |= {"confusion": many, "figures": dict.fromkeys(many, figures)}
    write_measured(full, "internalized", classes=classes)
    told = summary_lines(full)
    assert "none" not in "\n".join(told) and max(map(len, told[:-1])) <= 80


@pytest.mark.integration
@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_no_table_scrolls_sideways(full, without_plots, monkeypatch, browser, width):
    figures = {"num_gold": 20, "num_predicted": 18, "num_correct": 17}
    figures |= {"precision": 17 / 18, "recall": 17 / 20, "f1": 34 / 38}
    names = ["billing", "could-not-log-in-at-all", "other"]
    classes = {
        "confusion": {name: [1_000, 20, 3, 4] for name in names},
        "figures": dict.fromkeys(names, figures),
        "macro_f1": 17 / 38,
        "num_outside": 0,
        "outside": {},
    }
    write_measured(full, "internalized", classes=classes)
    level = LevelRow(
        (
            "0004",
            "16",
            "98.4 %",
            "96.9 to 99.2 %",
            "13.9 ms",
            "1.2× (1.1 to 1.3)",
            "as left",
            "at most 12 tokens, within 2 points",
        ),
        is_chosen=True,
    )
    monkeypatch.setattr("unspoken.report.show.page.level_rows", lambda levels: [level])
    write_report(full)
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(120_000)  # two busy cores
    page.goto((full / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    regions = {one.get_attribute("aria-label"): one for one in page.locator(".scroll").all()}
    assert {"Results", "Classes: internalized", "Levels of removal", "Costs"} <= set(regions)
    for name, region in regions.items():
        assert region.evaluate("one => one.scrollWidth - one.clientWidth") == 0, name
    # on a phone a cell names its column, and nothing of the row is lost
    levels = regions["Levels of removal"]
    assert levels.locator("thead").is_visible() == (width > 600)
    assert tuple(levels.locator("tbody tr > *").all_inner_texts()) == level.cells
    told = levels.locator("tbody tr > *").evaluate_all(
        "all => all.map(one => getComputedStyle(one, '::before').content)"
    )
    titles = [f'"{title}"' for title in TITLES]
    assert told == (titles if width < 600 else ["none"] * len(titles))
    # nothing can be scrolled on paper, which is as wide as A4 between its margins, and white
    page.set_viewport_size({"width": 718, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    right = "getBoundingClientRect().right"
    ends = f"one => one.{right} - one.parentElement.{right}"
    for name, region in regions.items():
        assert region.locator("table").evaluate(ends) <= 0, name
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(34, 34, 34)"
    page.close()


def test_accuracy_is_told_by_category(full, without_plots):
    share = {"num_graded": 10, "num_correct": 9, "accuracy": 0.9, "interval": [0.6, 0.98]}
    write_measured(full, "internalized", categories={"ages & <i>": share, "prices": share})
    write_measured(full, "teacher", categories={"prices": {**share, "num_correct": 10}})
    write_report(full)
    page = read_page(full)
    text = plain(page.text)
    assert "Right answers by category" in text
    assert "ages & <i>" in text
    assert "9 of 10" in text
    assert "10 of 10" in text
    measured = read_values(full)["phases"][0]["variants"]["internalized"]["measured"]
    assert measured["categories"]["prices"]["num_correct"] == 9


def test_several_samples_are_not_paired(full):
    records = [
        {**record, "sample": sample}
        for record in predictions("internalized", 35)
        for sample in (0, 1)
    ]
    for name in ("internalized", "no_cot"):
        write_lines(full / name / "predictions.jsonl", records)
    phase = read_run(full).phases[0]
    assert phase.compare("internalized", "no_cot") is None


def test_verdicts_by_other_gold_answers_are_not_paired(full):
    records = [*predictions("no_cot", 4)]
    records[0]["gold"] = "7"
    path = full / "no_cot" / "predictions.jsonl"
    write_lines(path, records)
    compare = read_run(full).phases[0].compare
    assert compare("internalized", "no_cot").num_questions == NUM_TEST - 1
    write_lines(path, [{**record, "gold": "7.5"} for record in records])
    assert read_run(full).phases[0].compare("internalized", "no_cot") is None


def test_a_run_that_has_only_traces_so_far_has_a_report(tmp_path, without_plots):
    folder = make_teacher_run(tmp_path)
    write(folder / "traces" / "stage.json", {"status": "running", "settings": {}, "seconds": 9.0})
    write(folder / "traces" / "traces.jsonl", '{"question": "1"}\n{"question": "2"}\n{"ques')
    write_report(folder)
    text = plain(read_page(folder).text)
    assert "There is no result yet: no student's training has begun." in text
    assert "wrote 2 traces so far, in 9.00 s." in text
    assert "The teacher is not done; it has written 2 traces." in text
    assert "The traces are not vetted yet." in text
    assert "The explicit student is not there yet." in text
    assert "The teacher is not measured yet." in text
    assert "Break-even" not in text
    assert read_values(folder)["break_even"] == []
    lines = "\n".join(summary_lines(folder))
    assert "traces: 2 written\n" in lines
    assert " 0 " not in lines
    (row,) = re.findall(
        r'<th scope="row"[^>]*>generate</th>.*', (folder / "report.html").read_text()
    )
    assert "so far" in row


def test_a_run_that_has_only_distilled_so_far_has_a_report(tmp_path):
    folder = make_teacher_run(tmp_path)
    write_traces(folder)
    write_vetted(folder)
    write_model(folder, "distilled")
    write(folder / "internalized" / "stage.json", {"status": "running", "seconds": 5.0})
    write_lines(folder / "internalized" / "metrics.jsonl", metrics(lambda step: 0, 50))
    write_report(folder)
    assert lead(folder).startswith(
        "Of 40 held-out questions, the explicit student answers 92.5 % right. It writes 9 tokens"
    )
    text = plain(read_page(folder).text)
    assert "its log ends at step 50." in text
    assert "The no CoT model is not there yet." in text
    assert paid(folder)["distilled", "time"].outcome == "pays"
    assert ("internalized", "time") not in paid(folder)
    assert sorted(path.name for path in (folder / "plots").iterdir())[0] == "accuracy.png"


def test_distilling_alone_has_a_report(tmp_path, without_plots):
    folder = make_teacher_run(tmp_path, internalize=False, teacher=None, baselines={})
    write_model(folder, "distilled")
    write_report(folder)
    assert read_values(folder)["traces"] is None
    assert read_values(folder)["break_even"] == []
    text = read_page(folder).text
    assert "The internalized model" not in text
    assert "The no CoT model is not part of this recipe" in text
    assert "explicit student answers 92.5 %" in lead(folder)


def test_teacher_from_scratch_is_a_stage(full, without_plots):
    write(full / "teacher" / "stage.json", {**stage(0), "seconds": 50.0, "model_bytes": MIB})
    assert read_run(full).costs[0].name == "traces"  # the recipe's teacher is not trained here
    scratch = {
        "model": {"config": {"model_type": "gpt2"}, "tokenizer": "characters"},
        "train": {"max_steps": 50},
        "num_train": 100,
    }
    make_teacher_run(full, teacher={**scratch, "evaluate": False})  # measured as it was trained
    assert read_run(full).phases[0].figures("teacher") is not None
    write_report(full)
    assert read_values(full)["costs"][0]["label"] == "train the teacher"
    assert "training the teacher is not counted" in plain(read_page(full).text)


def test_nothing_is_left_of_a_teacher_that_the_recipe_no_longer_has(full, without_plots):
    make_teacher_run(full, teacher=None, baselines={"no_cot": True})
    write_report(full)
    values = read_values(full)
    variants = values["phases"][0]["variants"]
    assert {name for name, one in variants.items() if one["status"] != "absent"} == {
        "distilled", "internalized", "no_cot",
    }  # fmt: skip
    assert (values["traces"], values["vetted"], values["break_even"]) == (None, None, [])
    names = [one["name"] for one in values["costs"]]
    assert names == ["distilled", "internalized", "no_cot", "evaluate"]
    assert values["costs"][-1]["note"] == "3 models"
    assert "traces:" not in "\n".join(summary_lines(full))


def test_a_stage_that_a_kill_cut_off_has_no_rate_and_no_break_even(full, without_plots):
    write_traces(full, cut_off=True)
    known = json.loads((full / "distilled" / "stage.json").read_text())
    write(full / "distilled" / "stage.json", {**known, "cut_off": True})
    costs = {one.name: one for one in read_run(full).costs}
    for name in ("traces", "distilled"):
        assert costs[name].seconds is not None
        assert costs[name].tokens_per_s is None
        assert costs[name].note == "time before a kill is missing"
    assert costs["internalized"].note == ""
    one = paid(full)["internalized", "time"]
    assert (one.outcome, one.num_questions) == ("unknown", None)
    assert (
        "the wall time of stage generate is not whole: a kill came in between, and the time "
        "before it is missing."
    ) in one.sentence
    write_report(full)
    (row,) = re.findall(r'<th scope="row"[^>]*>generate</th>.*', (full / "report.html").read_text())
    assert "time before a kill is missing" in row
    assert "in 5.0 min (the time before a kill is missing)" in plain(read_page(full).text)


def test_tokens_without_a_cost_have_the_recipes_prices(full):
    write_traces(full, currency="USD")
    write_vetted(full, num_asked_again=10, num_prompt_tokens=300, num_tokens=200)
    costs = {one.name: one.cost for one in read_run(full).costs}
    assert costs["traces"] is None
    assert costs["vetted"] is None
    teacher = {"engine": "openai", "price_prompt": 1_000.0, "price_completion": 2_000.0}
    make_teacher_run(full, teacher=teacher, costs={"currency": "EUR", "machine_per_hour": 0})
    run = read_run(full)
    costs = {one.name: (one.cost, one.currency) for one in run.costs}
    assert costs["traces"] == (pytest.approx(3.0 + 4.8), "EUR")
    assert costs["vetted"] == (pytest.approx(0.3 + 0.4), "EUR")
    one = paid(full)["internalized", "money"]
    assert one.unit == "EUR"
    assert one.one_off["traces"] == pytest.approx(8.5)
    assert one.num_questions == 109
    write_traces(full, cost=2.0, currency="USD")  # what was charged stays
    charged = read_run(full).costs[0]
    assert (charged.cost, charged.currency) == (2.0, "USD")


def test_worked_solutions_cost_no_tokens_and_no_money(full, without_plots):
    write_traces(full, engine="worked", model=None, cost=0.0)
    write_report(full)
    text = plain(read_page(full).text)
    assert "The worked solutions of the data gave 100 traces of 100 questions, in" in text
    assert "2,400 tokens" not in text.partition("worked solutions")[2].partition(".")[0]


def test_summary_counts_traces_that_were_asked_again(full):
    write_vetted(full, num_traces=120, num_kept=90, num_asked_again=20)
    text = plain("\n".join(summary_lines(full)))
    assert "traces: 100 written, 20 asked again, 90 kept, 30 rejected (6 wrong answer" in text


def test_without_questions_the_teacher_is_not_waited_for(tmp_path):
    folder = make_teacher_run(tmp_path)
    write(folder / "distilled" / "stage.json", stage(0))
    write(folder / "data" / "stage.json", {"status": "done", "files": {"train": "train.jsonl"}})
    run = read_run(folder)
    nothing = "no test and no validation questions were given to measure it with."
    assert f"The teacher is not measured; {nothing}" in run.missing
    assert f"The explicit student is trained; {nothing}" in run.missing
    assert lead(folder) == f"There is no result: the explicit student is trained; {nothing}"


def test_plots_name_every_model(full):
    write_report(full)
    tokens = drawn(full, "tokens written per question")
    for label in ("teacher", "explicit student", "internalized", "untrained student"):
        assert f">{label}<" in tokens
    loss = drawn(full, "Mean loss")
    assert ">teacher<" not in loss


def test_summary_fits_a_terminal(full):
    lines = summary_lines(full)
    assert max(map(len, lines[:-1])) <= 80
    assert "\n".join(lines[:-1]).isascii()
    text = "\n".join(lines)
    assert "60+100" in text
    assert (
        "traces: 100 written, 90 kept, 10 rejected (6 wrong answer, 3 stopped at the limit"
    ) in plain(text)
    assert "break-even: internalized after 66,165 questions (by time)" in plain(text)
    rows = lines[lines.index(next(line for line in lines if "95 % interval" in line)) + 1 :]
    table = [line.split()[0] for line in rows if "%" in line]
    assert table == ["teacher", "explicit", "explicit", "internalized", "no", "untrained"]


def test_untrained_is_shown_without_a_teacher(tmp_path, without_plots):
    baselines = {"explicit": "off", "no_cot": False, "untrained": True}
    folder = make_run(tmp_path, baselines=baselines)
    make_variant(folder / "internalized", "internalized", 36)
    write_measured(folder, "untrained")
    write_report(folder)
    values = read_values(folder)
    assert "untrained" in values["phases"][0]["variants"]
    assert values["costs"] == []
    assert "Costs" not in read_page(folder).text
    assert values["phases"][0]["variants"]["untrained"]["measured"]["num_questions"] == NUM_TEST
