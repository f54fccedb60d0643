"""What a report says first: figures, numbers in their usual form, words that are explained."""

import json
import re

import pytest

from helpers.run_folders import (
    lead,
    make_run,
    make_variant,
    predictions,
    read_page,
    write,
    write_latency,
    write_lines,
)
from unspoken.report import write_report
from unspoken.report.read.run import read_run
from unspoken.report.show import numbers
from unspoken.report.show.glossary import glossary
from unspoken.report.show.headline import headlines
from unspoken.report.show.summary import summary_lines
from unspoken.report.show.usual import find_usual_form


def figures(folder):
    """The large figures of a run with their words, as the page has them."""
    found = headlines(read_run(folder).phases[0])
    return [
        f"{one.figure} {one.words} ({one.against})".replace("\u00a0", " ").removesuffix(" ()")
        for one in found
    ]


def test_three_figures_stand_above_everything(full, without_plots):
    told = [
        "90.0 % right, without writing the thought (95.0 % with the thought written; 10.0 % if "
        "never shown one)",
        "5 tokens written for an answer (9 with the thought written)",
        "2.2× as many answers a second (110 against 50.0 a second, one at a time)",
    ]
    assert figures(full) == told
    write_report(full)
    head = " ".join(read_page(full).text.replace("\u00a0", " ").partition("Results")[0].split())
    assert all(line.partition(" (")[0] in head for line in told)
    assert "Without writing its thought" not in head  # the paragraph comes after them
    lines = " ".join("\n".join(summary_lines(full)).split())
    assert "90.0 % right, without writing the thought (95.0 % with" in lines
    assert "2.2x as many answers a second (110 against 50.0 a second" in lines


def test_figures_do_not_claim_what_did_not_happen(full):
    record = (full / "internalized" / "stage.json").read_bytes()
    (full / "internalized" / "stage.json").unlink()
    assert figures(full)[0].startswith("90.0 % right (95.0 % with the thought written;")
    (full / "internalized" / "stage.json").write_bytes(record)
    make_variant(full / "internalized", "internalized", 5, final=3)
    assert figures(full)[0].startswith("12.5 % right, with 1 token of the thought left")
    write_latency(full, {"explicit": 0.02, "internalized": 0.02})
    assert figures(full)[2] == (
        "1× as many answers a second (no difference measured: 50.0 against 50.0 a second, one at a "
        "time)"
    )
    (full / "internalized" / "evaluation.json").unlink()
    assert figures(full) == [
        "95.0 % right, writing the thought (10.0 % if never shown one)",
        "9 tokens written for an answer",
    ]


def test_one_is_not_several(full, without_plots):
    for name in ("explicit", "internalized", "no_cot"):
        path = full / name / "evaluation.json"
        ones = dict.fromkeys(("num_questions", "num_graded", "num_undecided"), 1)
        write(path, json.dumps(json.loads(path.read_text()) | ones))
    environment = json.loads((full / "environment.json").read_text())
    environment["machine"] = {"num_threads": 1}
    write(full / "environment.json", json.dumps(environment))
    write_report(full)
    text = read_page(full).text
    assert "Measured on 1 question of the test split" in text
    assert "1 thread\n" in text
    assert "answers 90.0 % of 1 held-out question right" in text.replace("\u00a0", " ")
    assert "could not be decided and counts as wrong" in text
    assert "tiny: 1 test question" in summary_lines(full)


def test_a_model_that_writes_as_much_is_the_one_whose_speed_is_told(full):
    path = full / "internalized" / "evaluation.json"
    write(path, json.dumps(json.loads(path.read_text()) | {"mean_tokens": 12.0}))
    assert (
        "It writes 12 tokens (the model that writes its thought: 9) and answers 2.2 times as many"
    ) in lead(full)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (numbers.parameters(999_885_952), "1 B"),  # of a model that is called 1B
        (numbers.parameters(999_499), "999 k"),
        (numbers.rate(0.0031), "0.0031"),  # a large teacher on a CPU
        (numbers.rate(0.0), "0.00"),
        (numbers.rate(0.5), "0.50"),
        (numbers.duration(4e-7), "0.0004 ms"),
        (numbers.times(0.0042, (0.004, 0.0044), between="-"), "0.0042× (0.004-0.0044)"),
        (numbers.percent(1 / 300_000), "0.0003 %"),
        (numbers.percent_range((1e-17, 1 - 1e-16), between="-"), "0.0-100.0 %"),
    ],
)
def test_what_is_small_or_nearly_round_keeps_its_digits(written, text):
    assert written.replace("\u00a0", " ") == text


def test_models_that_are_not_there_have_no_column(tmp_path, without_plots):
    folder = make_run(tmp_path, explicit="off", no_cot=False)
    make_variant(folder / "internalized", "internalized", 36)
    write_report(folder)
    source = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<th scope="col" class="dot-(\w+)">', source) == ["internalized"]
    table = "\n".join(summary_lines(folder))
    assert "no CoT  " not in table and "explicit" not in table.partition("The")[0]


REVERSED = {"question": "4 5 4 * 7 2", "gold": "8 5 2 2 1", "pred": "85221", "correct": True}


def test_numbers_stand_in_their_usual_form_beside_the_models(full, without_plots):
    for name, wrote in (("explicit", "8713+08090#85221"), ("internalized", "#85221")):
        record = {**next(predictions(name, 1)), **REVERSED, "generated": wrote}
        wrong = {**record, "question": "4 5 4 * 8 2", "gold": "2 1 7 2 1"}
        wrong |= {"pred": "85220", "correct": False, "generated": "#85220"}
        other = {"question": "1 1 1 * 2 0", "gold": "2 2 2", "pred": "x", "generated": "#x"}
        write_lines(full / name / "predictions.jsonl", [record, wrong, {**wrong, **other}])
    write_report(full)
    text = " ".join(read_page(full).text.split())
    assert "Question4 5 4 * 7 2 454 × 27Answer8 5 2 2 1 12,258 " in text
    assert "least significant digit first: 4 5 4 * 7 2 is 454 × 27, and 8 5 2 2 1 is 12,258" in text
    assert "read as 85221, which is 12,258" in text
    assert "read as 85220, which is 2,258" in text
    lines = "\n".join(summary_lines(full))
    assert "for example 454 x 27 = 12,258, digits in reverse:\n  explicit CoT  8713+0" in lines


@pytest.mark.parametrize(
    ("task", "question", "gold"),
    [
        ("multiplication", "12 * 2", "24"),  # read in reverse it would be 42
        ("multiplication", "4 5 4 * 7 2", "1"),
        ("multiplication", "<b>4 5</b>", "8 5"),
        ("multiplication", "4 5 4 * 7 2", ""),
        ("multiplication", f"{'4 ' * 9_000}* 7 2", "8 5"),
        ("arithmetic", "4 5 4 * 7 2", "8 5 2 2 1"),
        (None, "What is 454 * 27?", "12258"),
    ],
)
def test_no_usual_form_where_the_answer_is_not_what_it_would_be(task, question, gold):
    assert find_usual_form(task, question, gold) is None


def test_words_are_explained_where_they_are_used(full, without_plots):
    assert [title for title, _ in glossary("in nats. McNemar's exact test")] == [
        "nats", "McNemar's test",
    ]  # fmt: skip
    write_report(full)
    text = read_page(full).text.partition("Words")[2]
    for word in ("Wilson 95 % interval", "McNemar's test", "no CoT"):
        assert word in text
    assert "linear probe" not in text
