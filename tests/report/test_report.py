"""Reports of small synthetic run folders: whole, half done, in phases, and with bad results."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from importlib import resources
from shutil import copytree

import pytest
import yaml

from helpers.paths import ROOT
from helpers.run_folders import (
    LONGEST,
    REMOVED,
    SPEED,
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
    write_lines,
)
from unspoken.cli.main import call
from unspoken.common.errors import DataError
from unspoken.measure.compare import compare_predictions
from unspoken.report import print_metrics, print_summary, write_report
from unspoken.report.read.points import TrainPoint
from unspoken.report.read.run import read_run
from unspoken.report.show.conclusion import conclude
from unspoken.report.show.plots import MOST_POINTS, thinned
from unspoken.report.show.summary import summary_lines


def test_full_report_has_the_numbers(full):
    assert write_report(full) == full / "report.html"
    values = read_values(full)
    (phase,) = values["phases"]
    assert values["missing"] == []
    for name, variant in phase["variants"].items():
        given = json.loads((full / name / "evaluation.json").read_text())
        given.pop("settings")
        # from before undecided answers were counted
        unknown = {"num_undecided": None, "limit": None, "data_sha256": None}
        expected = {**unknown, **given, "split": "test"}
        assert variant["measured"] == expected
        assert variant["steps"] == 100
        assert variant["trained"]["seconds"] == 90.0
        assert variant["speed_ratio"] == SPEED[name] / SPEED["explicit"]
    paths = (full / name / "predictions.jsonl" for name in ("internalized", "no_cot"))
    compared = compare_predictions(*paths).to_json()["overall"]
    assert compared["first"]["num_only"] == 32
    assert phase["comparisons"]["internalized_no_cot"] == json.loads(json.dumps(compared))
    series = phase["series"]
    logged = [json.loads(line) for line in (full / "internalized/metrics.jsonl").open()]
    trained = [record for record in logged if record["event"] == "train"]
    assert [point["loss"] for point in series["train"]["internalized"]] == [
        record["loss"] for record in trained
    ]
    assert [point["step"] for point in series["best_per_level"]] == [20, 40, 100]
    assert values["environment"]["git_revision"] == "c0ffee"
    assert values["recipe"]["seed"] == 7


def test_every_part_of_the_numbers_stands_in_the_list_of_files(full):
    write_report(full)
    text = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    text = text.partition("## report.json")[2].partition("\n## ")[0]
    assert read_values(full).keys() <= set(re.findall(r"`(\w+)`", text))


def test_page_shows_the_table_and_opens_offline(full):
    write_report(full)
    page = read_page(full)
    text = page.text.replace("\u00a0", " ")
    for shown in (
        "90.0 %",
        "76.9–96.0 %",
        "× against explicit",
        "2.2×",
        "9.09 ms",
        "c0ffee",
        "407 k",
        "90.0 s",
    ):
        assert shown in text, shown
    assert "unspoken run tiny.yaml 'name=<b>'" in text
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(load.startswith("#") for load in page.loads)
    assert page.links == ["https://arxiv.org/abs/2405.14838"]
    source = (full / "report.html").read_text(encoding="utf-8")
    assert "@import" not in source
    assert not re.search(r"url\((?!#)", source)
    assert not page.tags & {"link", "img", "iframe"}
    assert runs_only_its_own_script(full)
    assert len(re.findall(r"<svg ", source)) == 3


def runs_only_its_own_script(folder):
    """Whether the one script is the page's, within it, and the policy lets no other one run."""
    source = (folder / "report.html").read_text(encoding="utf-8")
    (script,) = read_page(folder).scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', source)
    allowed = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    own = resources.files("unspoken.report.show").joinpath("page.js").read_text(encoding="utf-8")
    return (
        script == own
        and allowed["default-src"] == ["'none'"]
        and allowed["script-src"] == [f"'sha256-{digest}'"]
        and source.count("<script") == 1
        and not re.search(r"\son\w+=", source)
    )


def test_plots_are_png_files_and_reproducible(full):
    write_report(full)
    pictures = sorted((full / "plots").iterdir())
    assert [path.name for path in pictures] == ["accuracy.png", "loss.png", "tokens.png"]
    first = [(full / "report.html").read_bytes(), *(path.read_bytes() for path in pictures)]
    assert all(data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) > 5000 for data in first[1:])
    write_report(full)
    again = [(full / "report.html").read_bytes(), *(path.read_bytes() for path in pictures)]
    assert first == again
    assert b"mathdefault" not in first[0]  # labels are numbers, not formulas


def test_finding_of_a_good_run(full):
    assert lead(full) == (
        "Without writing its thought, the internalized model answers 90.0 % of 40 held-out "
        "questions right. It is better than the same model trained without a chain of thought: "
        "10.0 %. It writes 5 tokens instead of 9 and answers 2.2 times as many questions per "
        "second at batch 1. The model that writes its thought answers 95.0 % right; that "
        "difference is within chance."
    )


def test_finding_says_what_is_bad(tmp_path):
    folder = make_run(tmp_path)
    make_variant(folder / "explicit", "explicit", 40)
    make_variant(folder / "internalized", "internalized", 5, final=3)
    make_variant(folder / "no_cot", "no_cot", 6)
    text = lead(folder)
    assert text.startswith("Not internalized: 3 of 4 tokens removed, ")
    assert "Without writing its thought" not in text
    assert "no better than the same model trained without a chain of thought, 15.0 %" in text
    assert "answers 100.0 % right, 87.5 points (71.3 to 94.5) more." in text
    make_variant(folder / "no_cot", "no_cot", 30)
    assert "It is worse than the same model trained without a chain of thought: 75.0 %" in lead(
        folder
    )


@pytest.mark.parametrize(
    ("right", "told"),
    [
        (4, "is better than the same {} with its whole thought removed at once: 10.0 %."),
        (30, "is worse than the same {} with its whole thought removed at once: 75.0 %."),
        (
            17,
            "is no better than the same {} with its whole thought removed at once, 42.5 %: the "
            "difference is within chance.",
        ),
    ],
)
def test_all_at_once_is_told_alike_whether_or_not_a_stage_distils(full, right, told):
    make_variant(full / "internalized", "internalized", 16)
    copytree(full / "internalized", full / "at_once")
    write(full / "at_once" / "evaluation.json", evaluation("internalized", right))
    write_lines(full / "at_once" / "predictions.jsonl", predictions("internalized", right))
    recipe = yaml.safe_load((full / "recipe.yaml").read_text())
    recipe["baselines"]["at_once"] = True
    write(full / "recipe.yaml", yaml.safe_dump(recipe))
    assert f"10.0 %. It {told.format('model')}" in lead(full)
    write(full / "recipe.yaml", yaml.safe_dump({**recipe, "distil": {}}))
    assert f"10.0 %. It {told.format('student')}" in lead(full)


def test_a_run_without_baselines_has_a_report(tmp_path):
    folder = make_run(tmp_path, explicit="off", no_cot=False)
    make_variant(folder / "internalized", "internalized", 36)
    write_report(folder)
    values = read_values(folder)
    assert values["phases"][0]["variants"]["no_cot"]["measured"] is None
    assert values["phases"][0]["comparisons"]["internalized_no_cot"] is None
    assert any("baselines.no_cot=true" in line for line in values["missing"])
    assert lead(folder).endswith("answers 90.0 % of 40 held-out questions right.")
    assert read_page(folder).open == []


def test_explicit_model_borrowed_from_before_removal(full, without_plots):
    recipe = yaml.safe_load((full / "recipe.yaml").read_text())
    recipe["baselines"]["explicit"] = "before_removal"
    write(full / "recipe.yaml", yaml.safe_dump(recipe))
    (full / "explicit" / "stage.json").unlink()
    (full / "explicit" / "metrics.jsonl").unlink()
    write(full / "explicit" / "model" / "valid.json", {"step": 12, "accuracy": 0.9})
    write_report(full)
    phase = read_values(full)["phases"][0]
    explicit = phase["variants"]["explicit"]
    assert explicit["borrowed"]
    assert explicit["steps"] == 12
    assert explicit["trained"]["num_parameters"] == 407_424
    assert any("step 12 of 100" in note for note in phase["notes"])


def test_models_of_an_earlier_recipe_are_not_shown(full, without_plots):
    write(full / "untrained" / "evaluation.json", evaluation("explicit", 2))
    make_run(full, explicit="off", no_cot=False)
    write_report(full)
    (phase,) = read_values(full)["phases"]
    assert list(phase["variants"]) == ["explicit", "internalized", "no_cot"]
    for name in ("explicit", "no_cot"):
        assert phase["variants"][name]["status"] == "absent"
        assert phase["variants"][name]["measured"] is None
        assert phase["series"]["train"][name] == []
    assert lead(full).endswith("answers 90.0 % of 40 held-out questions right.")
    assert not any("McNemar" in note for note in phase["notes"])


def test_explicit_model_trained_under_an_earlier_recipe_is_not_the_borrowed_one(full):
    make_run(full, explicit="before_removal")
    assert read_run(full).phases[0].variants["explicit"].status == "absent"
    write(full / "explicit" / "model" / "valid.json", {"step": 12, "accuracy": 0.9})
    explicit = read_run(full).phases[0].variants["explicit"]
    assert (explicit.status, explicit.borrowed, explicit.last_step) == ("measured", True, 12)
    assert explicit.train == []
    make_run(full, explicit="train")
    (full / "explicit" / "stage.json").unlink()
    assert read_run(full).phases[0].variants["explicit"].status == "absent"


def asked_of(folder, name, *, split="test", limit=None, digest="b" * 64):
    known = json.loads((folder / name / "evaluation.json").read_text())
    known["settings"] = {"split": split, "evaluate": {"limit": limit}, "data_sha256": digest}
    write(folder / name / "evaluation.json", known)


def test_models_that_were_asked_other_questions_are_named(full):
    for name in ("explicit", "internalized", "no_cot"):
        asked_of(full, name)
    assert not any(
        "same questions, so" in note for note in conclude(read_run(full).phases[0]).notes
    )
    asked_of(full, "no_cot", digest="c" * 64)
    note = conclude(read_run(full).phases[0]).notes[0]
    assert note == (
        "The models were not all asked the same questions, so their figures compare only roughly. "
        "explicit CoT, internalized: all of the test split (SHA-256 bbbbbbbb); no CoT: all of the "
        "test split (SHA-256 cccccccc)."
    )
    asked_of(full, "no_cot", split="valid", limit=20)
    assert (
        "no CoT: the first 20 of the validation split"
        in conclude(read_run(full).phases[0]).notes[0]
    )


def test_without_questions_nothing_will_be_measured(tmp_path, without_plots):
    folder = make_run(tmp_path, explicit="off")
    for name in ("internalized", "no_cot"):
        write(folder / name / "stage.json", stage(LONGEST))
    write(folder / "data" / "stage.json", {"status": "done", "files": {"train": "train.jsonl"}})
    write_report(folder)
    text = read_page(folder).text
    nothing = "is trained; no test and no validation questions were given to measure it with."
    assert lead(folder) == f"There is no result: the internalized model {nothing}"
    assert f"The no CoT model {nothing}" in text
    assert "measured yet" not in text
    assert "tiny: nothing measured" in summary_lines(folder)
    files = {"train": "train.jsonl", "valid": "valid.jsonl"}
    write(folder / "data" / "stage.json", {"status": "done", "files": files})
    write_report(folder)
    assert "The no CoT model is trained but not measured yet." in read_page(folder).text


def test_a_half_finished_run_says_how_far_it_came(tmp_path):
    folder = make_run(tmp_path)
    write(folder / "internalized" / "stage.json", {"status": "running", "settings": {}})
    write_lines(folder / "internalized" / "metrics.jsonl", metrics(REMOVED["internalized"], 50))
    with (folder / "internalized" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "ev')
    write_report(folder)
    text = read_page(folder).text
    assert "The internalized model is not trained to the end; its log ends at step 50." in text
    assert "The no CoT model is not there yet." in text
    assert "metrics.jsonl has a line that was cut off" in text
    assert "with 3 thought tokens removed" in text
    assert (folder / "plots" / "loss.png").exists()
    assert (folder / "plots" / "tokens.png").exists()


def test_run_that_has_only_begun(tmp_path, without_plots, capsys):
    write(tmp_path / "recipe.yaml", "name: begun\n")
    write_report(tmp_path)
    assert "training has not begun" in read_page(tmp_path).text
    assert "Results" not in read_page(tmp_path).text  # there is nothing to stand below it
    print_summary(tmp_path)
    assert "nothing measured yet" in capsys.readouterr().out


def test_a_recipe_that_this_version_does_not_know_shows_all_that_is_there(full, without_plots):
    recipe = yaml.safe_load((full / "recipe.yaml").read_text())
    recipe["schedule"] = {"speed_of_old": 3}
    del recipe["baselines"]
    write(full / "recipe.yaml", yaml.safe_dump(recipe))
    write(full / "untrained" / "evaluation.json", evaluation("explicit", 2))
    write_report(full)
    values = read_values(full)
    found = {name: one["status"] for name, one in values["phases"][0]["variants"].items()}
    assert found == dict.fromkeys(("explicit", "internalized", "no_cot", "untrained"), "measured")
    (why,) = values["missing"]
    assert "cannot use recipe.yaml (recipe.yaml: schedule.speed_of_old: unknown key" in why


def test_each_of_two_phases_has_its_figures(tmp_path):
    folder = make_run(tmp_path, phases=("easy", "hard <1>"), no_cot=False, explicit="off")
    for key, num_correct in (("1-easy", 40), ("2-hard <1>", 30)):
        make_variant(folder / "internalized" / key, "internalized", num_correct)
    write_report(folder)
    values = read_values(folder)
    found = [phase["variants"]["internalized"]["measured"] for phase in values["phases"]]
    assert [measured["num_correct"] for measured in found] == [40, 30]
    assert (folder / "plots" / "1-easy-loss.png").exists()
    page = read_page(folder)
    assert re.search(r"Last phase, hard <1>\s+75\.0.%\s*right, without writing", page.text)
    assert lead_of_page(page, "hard <1>").startswith("Without writing its thought")
    assert "Phase 2: hard <1>" in page.text
    assert len(page.ids) == len(set(page.ids))
    assert sum(line.startswith("internalized") for line in summary_lines(folder)) == 2


def lead_of_page(page, phase):
    """The first words of a phase's section."""
    return page.text.partition(f"Phase 2: {phase}")[2].strip()


def test_questions_cannot_inject_html(full, without_plots):
    make_variant(
        full / "internalized", "internalized", 36, question="<script>alert({})</script> & more"
    )
    make_variant(full / "explicit", "explicit", 36, question="<script>alert({})</script> & more")
    write_report(full)
    page = read_page(full)
    assert runs_only_its_own_script(full)
    assert "<script>alert(0)</script> & more" in page.text


def test_long_texts_fold_away(full, without_plots):
    records = list(predictions("internalized", 36))
    records[0]["generated"] = "word " * 400
    records[36]["generated"] = "\n" * 400  # a model that writes nothing else until it is cut off
    write_lines(full / "internalized" / "predictions.jsonl", records)
    write_report(full)
    source = (full / "report.html").read_text(encoding="utf-8")
    assert "<details><summary>word word" in source
    assert "<details><summary>(blank) …" in source


def test_long_questions_fold_away_as_well(full, without_plots):
    for name, num_correct in (("explicit", 38), ("internalized", 36)):
        tale = "a long tale of {} " + "and so on " * 40
        records = list(predictions(name, num_correct, tale))
        write_lines(full / name / "predictions.jsonl", records)
    write_report(full)
    source = (full / "report.html").read_text(encoding="utf-8")
    assert "<dd><details><summary>a long tale of 0 and so on" in source


def test_without_gold_answers_no_accuracy_is_told(tmp_path, capsys):
    folder = make_run(tmp_path, explicit="off", no_cot=False)
    make_variant(folder / "internalized", "internalized", 0, graded=False)
    records = [
        {**record, "gold": None, "correct": None} for record in predictions("internalized", 0)
    ]
    write_lines(folder / "internalized" / "predictions.jsonl", records)
    write_report(folder)
    assert (
        read_values(folder)["phases"][0]["variants"]["internalized"]["measured"]["accuracy"] is None
    )
    text = read_page(folder).text
    assert "its accuracy is unknown" in text
    assert "not graded" in text
    print_summary(folder)
    assert capsys.readouterr().out


def test_validation_split_is_said(tmp_path, without_plots):
    folder = make_run(tmp_path, explicit="off", no_cot=False)
    make_variant(folder / "internalized", "internalized", 36, split="valid")
    write_report(folder)
    text = read_page(folder).text
    assert "These are validation questions, not test questions" in text
    assert "40 validation questions right" in text
    assert "VALIDATION" in "\n".join(summary_lines(folder))


def test_answers_that_nobody_can_judge_are_told(full, without_plots, capsys):
    page = full / "report.html"
    write_report(full)
    assert "Undecided" not in page.read_text(encoding="utf-8")
    known = json.loads((full / "internalized" / "evaluation.json").read_text())
    write(full / "internalized" / "evaluation.json", {**known, "num_undecided": 1_200})
    write_report(full)
    assert "Undecided" in page.read_text(encoding="utf-8")
    told = "1,200 of the internalized model's answers could not be decided and count as wrong."
    assert told in conclude(read_run(full).phases[0]).notes
    print_summary(full)
    assert told in " ".join(capsys.readouterr().out.split())
    print_metrics({**known, "num_undecided": 1_200})
    assert "undecided, not right  1,200" in capsys.readouterr().out


def test_summary_fits_a_terminal(full, capsys):
    print_summary(full)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"report: {full / 'report.html'}"
    table = lines[:-1]
    assert max(map(len, table)) <= 80
    row = next(line for line in table if line.startswith("internalized"))
    words = " ".join(row.split())
    assert words == "internalized 90.0 % 76.9 to 96.0 % 5 110 2.2x 9.09 ms 100"
    assert "\n".join(table).isascii()


def test_a_number_keeps_its_unit_on_its_line_of_a_terminal(full):
    for name in ("explicit", "internalized", "no_cot"):
        make_variant(full / name, name, 0)
    lines = summary_lines(full)
    assert "  0.0 %  right, without writing the thought (0.0 % with the thought written;" in lines
    assert "         0.0 % if never shown one)" in lines


def test_an_example_that_would_write_in_the_terminal_is_left_out(full):
    assert "for example" in "\n".join(summary_lines(full))
    for name in ("explicit", "internalized"):
        make_variant(full / name, name, 36, question="\x1b[2J{} apples")
    assert "\x1b" not in "\n".join(summary_lines(full))


def test_metrics_of_an_evaluation_and_of_a_score(capsys):
    print_metrics({**evaluation("internalized", 36), "latency_p50_s": None})
    text = capsys.readouterr().out
    assert "90.0 %  (36 of 40 right)" in text
    assert "median" not in text
    score = {"count": 4, "correct": 2, "accuracy": 0.5, "interval": [0.15, 0.85], "no_answer": 1}
    print_metrics({**score, "output": "scored.jsonl"})
    text = capsys.readouterr().out
    assert "50.0 %  (2 of 4 right)" in text
    assert "15.0 to 85.0 %" in text
    print_metrics(evaluation("internalized", 36, graded=False))
    assert "accuracy" not in capsys.readouterr().out


def test_what_is_no_run_folder(tmp_path):
    with pytest.raises(DataError, match=r"no recipe\.yaml"):
        write_report(tmp_path)
    write(tmp_path / "recipe.yaml", "name: x\n")
    write(tmp_path / "internalized" / "evaluation.json", "{")
    with pytest.raises(DataError, match=r"evaluation\.json:1: not JSON"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [{"evaluate": 1.5}, {"evaluate": {"limit": "a"}}, {"split": ["test"]}, {"data_sha256": 1}],
)
def test_damaged_settings_of_an_evaluation_are_named(full, without_plots, settings):
    file = full / "internalized" / "evaluation.json"
    write(file, {**json.loads(file.read_text()), "settings": settings})
    with pytest.raises(DataError, match=rf"{file}: settings\.{next(iter(settings))}"):
        write_report(full)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e999"])
def test_numbers_that_json_does_not_know_leave_the_report_whole(full, without_plots, number):
    file = full / "environment.json"
    file.write_text(file.read_text().replace("{", f'{{"a": {number}, "b": [{number}],', 1))
    write_report(full)
    assert read_values(full)["environment"]["a"] is None


def test_long_logs_are_thinned():
    points = [TrainPoint(step, float(step), 0) for step in range(1, 10_001)]
    few = thinned(points)
    assert len(few) <= MOST_POINTS
    assert few[-1].step == 10_000
    assert few[0].loss == pytest.approx(sum(range(1, 26)) / 25)
    assert thinned([]) == []


@pytest.mark.parametrize("has_browser", [True, False])
def test_a_browser_is_given_the_address_of_the_page(
    full, without_plots, monkeypatch, capsys, has_browser
):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or has_browser)
    monkeypatch.chdir(full.parent)  # a relative path is no address
    call(["report", full.name])
    assert opened == []
    capsys.readouterr()
    call(["report", full.name, "--browser"])
    address = (full / "report.html").as_uri()
    assert opened == [address]
    assert (f"open {address} in one" in capsys.readouterr().out) is not has_browser


@pytest.mark.integration
def test_report_does_not_import_torch(full):
    code = (
        "import sys; from pathlib import Path; from unspoken.report import write_report;"
        f"write_report(Path({str(full)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
