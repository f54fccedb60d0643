"""Judging files of generated and gold answers."""

import json

import pytest

from unspoken.common.errors import DataError, OutputExistsError
from unspoken.measure.score import score_file
from unspoken.measure.stats import wilson_interval
from unspoken.report.show.summary import metrics_lines

RECORDS = [
    {"id": 7, "generated": "Step 1\nFinal Answer: $36.00", "gold": "36", "note": {"ü": [1, None]}},
    {"generated": "Final Answer: 37", "gold": "36", "pred": "36", "correct": True},
    {"generated": "", "gold": "36"},
    {"generated": "#### 18", "gold": "She makes <<9*2=18>>18.\n#### 18"},
]


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


SCORED = [
    {**record, "pred": pred, "correct": correct}
    for record, pred, correct in zip(
        RECORDS, ["$36.00", "37", "", "18"], [True, False, False, True], strict=True
    )
]


def test_records_are_judged_and_kept(tmp_path):
    source = write(tmp_path / "in.jsonl", RECORDS)
    before = source.read_bytes()
    score_file(source, tmp_path / "out.jsonl")
    scored = read(tmp_path / "out.jsonl")
    assert [record["pred"] for record in scored] == ["$36.00", "37", "", "18"]
    assert [record["correct"] for record in scored] == [True, False, False, True]
    assert scored[0] == {**RECORDS[0], "pred": "$36.00", "correct": True}
    assert [list(record) for record in scored] == [list(record) for record in SCORED]
    assert source.read_bytes() == before


def test_a_file_is_judged(tmp_path):
    output = tmp_path / "new" / "scored.jsonl"
    summary = score_file(write(tmp_path / "in.jsonl", RECORDS), output)
    assert summary == {
        "count": 4,
        "correct": 2,
        "accuracy": 0.5,
        "interval": list(wilson_interval(2, 4)),
        "no_answer": 1,
        "undecided": 0,
        "output": str(output),
    }
    assert read(output) == SCORED
    assert "ü" in output.read_text(encoding="utf-8")


def test_samples_of_a_question_are_no_questions_of_their_own(tmp_path):
    """Four that always agree tell no more than one."""
    answers = ["36", "36", "7", "36", "7"]
    samples = [
        {"generated": f"#### {answer}", "gold": "36", "sample": number}
        for answer in answers
        for number in range(4)
    ]
    found = score_file(write(tmp_path / "samples.jsonl", samples), tmp_path / "out.jsonl")
    assert (found["count"], found["correct"]) == (20, 12)
    assert found["interval"] == pytest.approx(wilson_interval(3, 5))
    assert found["num_questions"] == 5
    shown = [" ".join(line.split()) for line in metrics_lines(found)]
    assert shown[:2] == ["questions 5", "accuracy 60.0 % (12 of 20 samples right)"]
    single = [{**each, "sample": 0} for each in samples]
    found = score_file(write(tmp_path / "single.jsonl", single), tmp_path / "out2.jsonl")
    assert found["interval"] == list(wilson_interval(12, 20))


@pytest.mark.parametrize("choices", [None, ("36", "7")])
def test_answers_without_a_gold_one_are_kept_and_not_judged(tmp_path, choices):
    """As `unspoken evaluate` writes them: null is an answer that is not known."""
    golds = ["36", None, "7", None, None]
    records = [{"generated": "#### 36", "gold": gold} for gold in golds]
    found = score_file(
        write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl", choices=choices
    )
    assert [one["correct"] for one in read(tmp_path / "out.jsonl")] == [
        True,
        None,
        False,
        None,
        None,
    ]
    assert (found["count"], found["num_graded"], found["correct"]) == (5, 2, 1)
    assert (found["accuracy"], found["interval"]) == (0.5, list(wilson_interval(1, 2)))
    shown = [" ".join(line.split()) for line in metrics_lines(found)]
    assert shown[:2] == ["questions 5", "accuracy 50.0 % (1 of 2 right)"]
    none = write(tmp_path / "none.jsonl", records[1:2])
    found = score_file(none, tmp_path / "out2.jsonl", choices=choices)
    assert (found["num_graded"], found["accuracy"], found["interval"]) == (0, None, None)
    assert "accuracy" not in "".join(metrics_lines(found))


def test_what_nobody_can_tell_is_counted_and_never_right(tmp_path):
    records = [
        {"generated": "Final Answer: 9^{9^{9^{9}}}", "gold": "2"},
        {"generated": "Final Answer: 2", "gold": "2", "undecided": True},
    ]
    summary = score_file(write(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl")
    assert (summary["correct"], summary["undecided"]) == (1, 1)
    first, second = read(tmp_path / "out.jsonl")
    assert (first["correct"], first["undecided"]) == (False, True)
    assert "undecided" not in second


def test_an_output_is_replaced_only_on_request(tmp_path):
    source = write(tmp_path / "in.jsonl", RECORDS)
    output = tmp_path / "out.jsonl"
    output.write_text("precious\n")
    with pytest.raises(OutputExistsError, match=r"out\.jsonl.*overwrite=true"):
        score_file(source, output)
    assert output.read_text() == "precious\n"
    score_file(source, output, overwrite=True)
    assert len(read(output)) == 4


def test_a_file_can_be_judged_in_place(tmp_path):
    source = write(tmp_path / "in.jsonl", RECORDS)
    score_file(source, source, overwrite=True)
    assert read(source) == SCORED


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"generated": "36"}, r"in\.jsonl:2: gold: missing.*needed: .*"),
        ({"gold": "36"}, r"in\.jsonl:2: generated: missing.*needed: .*"),
        (
            {"generated": 36, "gold": 36},
            r"in\.jsonl:2: generated: found the number 36; ",
        ),
        ({"generated": "36", "gold": [36]}, r"in\.jsonl:2: gold: found a list; needed: .*; "),
        ({"generated": None, "gold": "36"}, r"in\.jsonl:2: generated: found null; needed: "),
        ({"generated": "36", "gold": " "}, r"in\.jsonl:2: gold: found .*blank.*; needed: "),
        ([1], r"in\.jsonl:2: .*needed: "),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(tmp_path, line, message):
    source = write(tmp_path / "in.jsonl", [RECORDS[0], line])
    with pytest.raises(DataError, match=message) as caught:
        score_file(source, tmp_path / "out.jsonl")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_gold_answer_may_be_a_number(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"generated": "#### 2.5", "gold": 2.5}])
    assert score_file(source, tmp_path / "out.jsonl")["correct"] == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl"):
        score_file(tmp_path / "absent.jsonl", tmp_path / "out.jsonl")
