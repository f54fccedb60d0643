from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unspoken.cli.compare import compare
from unspoken.common.errors import DataError, ModelError, OutputExistsError
from unspoken.data.jsonl import write_jsonl
from unspoken.measure.compare import compare_predictions
from unspoken.measure.paired import paired_interval
from unspoken.measure.stats import mcnemar_exact, wilson_interval
from unspoken.recipe.evaluation_records import Evaluation
from unspoken.recipe.records import TrainingRecord


def write(path: Path, rights: str, **fields: Any) -> Path:
    """Predictions with one character for each: + right, - wrong, ? not judged."""
    verdicts = {"+": True, "-": False, "?": None}
    start = fields.pop("start", 0)
    records = [
        {"question": f"{n}?", "correct": verdicts[sign], "num_tokens": n, **fields}
        for n, sign in enumerate(rights, start=start)
    ]
    write_jsonl(path, records, overwrite=True)
    return path


def test_answers_are_paired_by_question_and_not_by_line(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", "++--+?-")
    second = write(tmp_path / "b.jsonl", "+-+-+++", num_tokens=2)
    lines = second.read_text().splitlines()
    second.write_text("\n".join(reversed(lines)) + "\n")
    found = compare_predictions(first, second)
    assert (found.num_only_in_first, found.num_only_in_second, found.num_ungraded) == (0, 0, 1)
    pair = found.overall
    assert (pair.num_questions, pair.first.num_correct, pair.second.num_correct) == (6, 3, 4)
    assert (pair.first.num_only, pair.second.num_only) == (1, 2)
    assert pair.first.interval == wilson_interval(3, 6)
    assert pair.difference == pytest.approx(1 / 6)
    assert pair.interval == paired_interval(both=2, only_first=2, only_second=1, neither=1)
    assert pair.p_value == mcnemar_exact(1, 2)
    assert (pair.first.mean_tokens, pair.second.mean_tokens) == ((0 + 1 + 2 + 3 + 4 + 6) / 6, 2)
    assert found.categories == {}
    back = compare_predictions(second, first).overall
    assert back.difference == -pair.difference
    assert back.interval == pytest.approx((-pair.interval[1], -pair.interval[0]))


def test_questions_with_another_gold_answer_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verdicts by two answers do not compare; one answer in two forms is one."""
    golds = [("18", "18"), ("1,000", "1000"), ("4", "5"), ("6*3=18\n#### 18", "18"), ("no", "yes")]
    paths = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for side, path in enumerate(paths):
        records = [
            {"question": str(number), "correct": True, "gold": pair[side]}
            for number, pair in enumerate(golds)
        ]
        write_jsonl(path, records)
    for one, other in (paths, reversed(paths)):
        found = compare_predictions(one, other)
        assert (found.overall.num_questions, found.num_other_gold, found.num_ungraded) == (3, 2, 0)
    compare(*paths)
    assert "questions: 3 (left out: 2 with another gold answer in B)" in capsys.readouterr().out


def test_nothing_is_compared_where_all_gold_answers_differ(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", "++", gold="1"), write(tmp_path / "b", "+-", gold="2")
    with pytest.raises(DataError, match=r"another gold answer .* to each of the 2 questions"):
        compare_predictions(first, second)


def test_questions_in_one_file_only_are_counted(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", "++-+")
    second = write(tmp_path / "b.jsonl", "+-+", start=2)
    found = compare_predictions(first, second)
    assert (found.num_only_in_first, found.num_only_in_second) == (2, 1)
    assert found.overall.num_questions == 2
    assert (found.overall.first.num_only, found.overall.second.num_only) == (1, 1)


def test_each_category_is_compared(tmp_path: Path) -> None:
    for name, rights in (("a", ["+-", "--"]), ("b", ["++", "+-"])):
        files = [
            write(tmp_path / f"{name}{n}.jsonl", signs, category=category, start=10 * n)
            for n, (signs, category) in enumerate(zip(rights, ("algebra", "ratios"), strict=True))
        ]
        lines = "".join(file.read_text() for file in files)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    found = compare_predictions(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert list(found.categories) == ["algebra", "ratios"]
    assert found.categories["algebra"].first.accuracy == 0.5
    assert found.categories["ratios"].second.accuracy == 0.5
    assert found.overall.num_questions == 4
    bare = write(tmp_path / "bare.jsonl", "++++", start=10)
    of_second = compare_predictions(bare, tmp_path / "b.jsonl").categories
    assert {name: each.num_questions for name, each in of_second.items()} == {"ratios": 2}


def test_odd_records_are_compared_like_others(tmp_path: Path) -> None:
    records = [
        {"question": "a", "correct": 1, "num_tokens": 10**400, "category": "\ud800"},
        {"question": "b", "correct": 0.0, "num_tokens": 3, "category": 7},
        {"question": "c", "correct": True, "num_tokens": 3, "category": ""},
    ]
    write_jsonl(tmp_path / "a.jsonl", records)
    pair = compare_predictions(tmp_path / "a.jsonl", tmp_path / "a.jsonl")
    assert (pair.overall.num_questions, pair.overall.first.num_correct) == (3, 2)
    assert pair.overall.first.mean_tokens is None
    assert list(pair.categories) == ["?"]


def test_the_interval_of_paired_proportions() -> None:
    # Newcombe 1998, table II: method 10
    assert paired_interval(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    low, high = paired_interval(50, 0, 0, 50)
    assert -0.2 < low < 0 < high < 0.2
    for counts in [(1, 0, 0, 0), (0, 9, 0, 0), (0, 0, 9, 0), (5, 5, 0, 0), (0, 0, 0, 3)]:
        low, high = paired_interval(*counts)
        assert -1 <= low <= (counts[1] - counts[2]) / sum(counts) <= high <= 1
        assert high - low > 0.1


def test_pairs_that_agree_make_the_interval_narrower_with_a_correction_for_continuity() -> None:
    """Both right 20, both wrong 22: phi = (20 * 22 - 5 * 3 - 50 / 2) / sqrt(25 * 25 * 23 * 27)."""
    (low, high), (other_low, other_high) = wilson_interval(25, 50), wilson_interval(23, 50)
    phi = 400 / math.sqrt(25 * 25 * 23 * 27)
    below, above = (0.5 - low, other_high - 0.46), (high - 0.5, 0.46 - other_low)
    down, up = (math.sqrt(a * a - 2 * phi * a * b + b * b) for a, b in (below, above))
    assert paired_interval(20, 5, 3, 22) == pytest.approx((0.04 - down, 0.04 + up))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"question": "other", "correct": True}, r"b\.jsonl: found none of the 1 questions of"),
        ({"question": "0?"}, r"b\.jsonl:1: correct: missing; .* unspoken score --input"),
        ({"question": "0?", "correct": "yes"}, r"b\.jsonl:1: correct: found 'yes'"),
        ({"question": "0?", "correct": [1]}, r"b\.jsonl:1: correct: found '\[1\]'"),
        ({"correct": True}, r"b\.jsonl:1: question: missing"),
        ({"question": "0?", "correct": None}, r"found no gold answer for any of the 1 questions"),
    ],
)
def test_files_that_cannot_be_compared(tmp_path: Path, second: Any, message: str) -> None:
    first = write(tmp_path / "a.jsonl", "+")
    write_jsonl(tmp_path / "b.jsonl", [second])
    with pytest.raises(DataError, match=message):
        compare_predictions(first, tmp_path / "b.jsonl")


def test_several_samples_of_a_question_are_refused_with_advice(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", "++")
    first.write_text(first.read_text() + first.read_text())
    with pytest.raises(DataError, match=r'a\.jsonl:3: .* in line 1 already; .*"sample": 0'):
        compare_predictions(first, write(tmp_path / "b.jsonl", "++"))


def test_folders_of_runs_stand_for_their_predictions(tmp_path: Path) -> None:
    for variant in ("internalized", "explicit"):
        for run in ("x", "y"):
            write(tmp_path / run / variant / "predictions.jsonl", "+-")
    found = compare_predictions(tmp_path / "x", tmp_path / "y" / "explicit")
    assert found.first == str(tmp_path / "x" / "internalized" / "predictions.jsonl")
    assert found.second == str(tmp_path / "y" / "explicit" / "predictions.jsonl")
    with pytest.raises(DataError, match=r"found x/.*, y/.*; needed: one file"):
        compare_predictions(tmp_path, tmp_path / "y")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: found no predictions\.jsonl"):
        compare_predictions(tmp_path / "x", tmp_path / "empty")


def test_a_run_that_measured_nothing_yet_is_told_how_to_finish(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    (run / "internalized" / "levels" / "removed-0000").mkdir(parents=True)
    (run / "recipe.yaml").write_text("name: x\n")
    told = r"not measured its model; .*; finish it first: unspoken run '.*/my run/recipe\.yaml'"
    with pytest.raises(DataError, match=told):
        compare_predictions(run, write(tmp_path / "a.jsonl", "+"))


def test_names_of_a_runs_models_stand_for_their_predictions(tmp_path: Path) -> None:
    run = tmp_path / "Läufe 1"
    for variant in ("internalized", "distilled"):
        write(run / variant / "predictions.jsonl", "+-")
        (run / variant / "model").mkdir()
    (run / "recipe.yaml").write_text("name: x\n")
    found = compare_predictions(f"{run}:explicit", f"{run}:internalized")
    assert found.first == str(run / "distilled" / "predictions.jsonl")
    assert found.second == str(run / "internalized" / "predictions.jsonl")
    with pytest.raises(ModelError, match=r"no such model \(no_cot\); it has "):
        compare_predictions(f"{run}:no_cot", run)


def test_models_that_were_only_measured_and_last_phases_have_predictions(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for variant in ("internalized", "explicit", "untrained", "teacher"):
        write(run / variant / "predictions.jsonl", "+-")
    (run / "internalized" / "levels" / "removed-0000").mkdir(parents=True)
    (run / "recipe.yaml").write_text("name: x\n")
    for variant in ("explicit", "untrained", "teacher"):
        found = compare_predictions(f"{run}:{variant}", run)
        assert found.first == str(run / variant / "predictions.jsonl")
    phases = tmp_path / "phases"
    for phase in ("1-a", "2-b"):
        write(phases / "internalized" / phase / "predictions.jsonl", "+-")
    (phases / "recipe.yaml").write_text("name: x\nphases: [{name: a}, {name: b}]\n")
    assert compare_predictions(phases, run).first == str(
        phases / "internalized" / "2-b" / "predictions.jsonl"
    )


def test_levels_of_removal_have_the_predictions_of_their_test(tmp_path: Path) -> None:
    """A chosen level's stand in the frontier, the finished model's own level has that one's."""
    run = tmp_path / "my run"
    training, frontier = run / "internalized", run / "frontier"
    write(training / "predictions.jsonl", "+-")
    (run / "recipe.yaml").write_text("name: x\n")
    record = TrainingRecord(status="done", level="0009", longest_thought=9, model_sha256="now")
    record.write(training / "stage.json")
    for level, sha256 in (("0003", "now"), ("0005", "before"), ("0009", "now")):
        (training / "levels" / f"removed-{level}").mkdir(parents=True)
        write(frontier / level / "predictions.jsonl", "+-")
        settings: Any = {"split": "test", "training_sha256": sha256}
        measured = Evaluation(num_questions=2, num_graded=2, num_correct=1, settings=settings)
        measured.write(frontier / level / "evaluation.json")
    for name, folder in (("level-3", frontier / "0003"), ("level-9", training)):
        found = compare_predictions(f"{run}:{name}", run)
        assert found.first == str(folder / "predictions.jsonl")
    told = r"level-5: .* not answered .* test questions; .* evaluate --model '.*my run:level-5' "
    with pytest.raises(DataError, match=told):
        compare_predictions(f"{run}:level-5", run)


def test_the_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path / "a.jsonl", "++--+" * 20, category="ratios")
    second = write(tmp_path / "b.jsonl", "+++-+" * 20 + "?", num_tokens=7, category="ratios")
    output = tmp_path / "comparison.json"
    compare(first, second, output=output)
    text = capsys.readouterr().out
    lines = text.splitlines()
    rows = [" ".join(line.split()) for line in lines]
    assert "questions: 100 (left out: 1 in B only)" in lines
    assert "accuracy 60.0 % 80.0 %" in rows
    assert "right here only 0 20" in rows
    assert "B - A: +20.0 points, 95 % interval +11.8 to +28.0; p = 1.91e-06 (McNemar)" in lines
    assert "ratios 100 60.0 % 80.0 % +20.0 +11.8 to +28.0 1.9e-06" in rows
    assert text.isascii()
    assert max(map(len, lines[2:-1])) <= 80
    values = json.loads(output.read_text())
    assert values["overall"]["second"]["mean_tokens"] == 7
    assert values["overall"]["p_value"] == mcnemar_exact(0, 20)
    with pytest.raises(OutputExistsError):
        compare(first, second, output=output)
    compare(first, second, output=output, overwrite=True)


@pytest.mark.integration
def test_comparing_needs_no_torch() -> None:
    code = (
        "import sys, unspoken.measure.compare\n"
        "sys.exit(bool({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
