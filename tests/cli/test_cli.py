from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.paths import ROOT
from helpers.recipes import tiny_recipe
from unspoken.cli.main import main
from unspoken.recipe import dump_recipe


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Runs in this process; returns the error, which must be lines and exit status 2."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    return error


@pytest.mark.integration
def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom unspoken.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'torch', 'numpy', 'pydantic', 'yaml'} & sys.modules.keys()))"
    )
    began = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    print(f"help took {time.perf_counter() - began:.2f} s")


@pytest.mark.parametrize(
    "verb",
    [
        ["run"], ["check"], ["distil"], ["internalize"], ["generate"], ["merge"],
        ["vet"], ["evaluate"], ["score"], ["compare"], ["report"], ["export"],
        ["download"], ["launch", "slurm"], ["launch", "sagemaker"], ["shard"],
        ["data", "questions"],
        ["data", "multiplication"], ["data", "gsm8k"], ["data", "icot"], ["data", "arithmetic"],
    ],
)  # fmt: skip
def test_every_verb_has_help(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*verb, "--help"])
    assert f"unspoken {' '.join(verb)}" in capsys.readouterr().out


@pytest.mark.integration
@pytest.mark.parametrize("columns", ["0", "2"])
def test_help_fits_any_width_and_none(columns: str) -> None:
    """With two columns or fewer rich never ends; some tools set COLUMNS=0."""
    command = [sys.executable, "-m", "unspoken", "run", "--help"]
    environment = {**os.environ, "COLUMNS": columns}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    assert "RECIPE" in done.stdout, done.stderr


@pytest.mark.parametrize("words", [["ask", "run", "1*2"], ["recipes"], ["report", "run"]])
def test_a_working_directory_that_was_removed_is_one_line(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    error = fails(capsys, *words)
    assert error.count("\n") == 1
    assert error.startswith("error: the working directory cannot be used (No such file")
    main(["--version"])


def test_both_spellings_of_a_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ["data", "multiplication", "--digits", "2", "2", "3", "1", "--num_valid", "1"]
    for spelling, folder in (("--num_train=3", "a"), ("--num-train=3", "b")):
        main([*made, spelling, "--num-test", "1", "--output", str(tmp_path / folder)])
    assert (tmp_path / "a/train.jsonl").read_bytes() == (tmp_path / "b/train.jsonl").read_bytes()
    assert "train.jsonl: 3 examples" in capsys.readouterr().out


@pytest.mark.parametrize("sizes", [["2x2", "3x1"], ["2*2", "3X1"], ["2", "2", "3x1"]])
def test_sizes_are_written_as_in_a_recipe(sizes: list[str], tmp_path: Path) -> None:
    few = ["--num_train", "9", "--num_valid", "1", "--num_test", "1"]
    plain = ["2", "2", "3", "1"]
    for given, folder in ((sizes, "a"), (plain, "b")):
        output = str(tmp_path / folder)
        main(["data", "multiplication", "--digits", *given, *few, "--output", output])
    assert (tmp_path / "a/train.jsonl").read_bytes() == (tmp_path / "b/train.jsonl").read_bytes()


@pytest.mark.parametrize(
    "sizes", [["2x2", "3"], ["3x"], ["x2"], ["3x2x1"], ["two"], ["-3x2"], ["9" * 5000 + "x2"]]
)
def test_sizes_that_are_none_are_one_line(
    sizes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = fails(capsys, "data", "multiplication", f"--digits={sizes[0]}", *sizes[1:],
                  "--output", tmp_path / "x")  # fmt: skip
    assert "--digits" in error and error.count("\n") == 1


def test_nothing_is_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ["data", "multiplication", "--digits", "2", "2", "--num_train", "3"]
    made += ["--num_valid", "1", "--num_test", "1", "--output", str(tmp_path)]
    main(made)
    before = (tmp_path / "train.jsonl").read_bytes()
    assert "--overwrite" in fails(capsys, *made, "--seed", 1)
    assert (tmp_path / "train.jsonl").read_bytes() == before
    main([*made, "--seed", "1", "--overwrite"])
    assert (tmp_path / "train.jsonl").read_bytes() != before


GOOD = '{"question": "1 + 1", "thought": "one more", "answer": "2"}\n'


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("{question: 1}\n", ":2: not JSON"),
        ('{"question": "q", "thought": "t"}\n', ":2: answer: missing"),
        ('{"question": "q", "thought": "t", "answer": ""}\n', ":2: answer: found an empty text"),
        ('{"question": "q", "thought": "t", "answer": [3]}\n', ":2: answer: found"),
        (GOOD, "already stands in line 1"),
        ("\n" + GOOD.replace("1 + 1", "2 + 2"), ":2"),
        ("\udcff\n", ":2"),
    ],
)
def test_malformed_lines_stop_a_run_with_one_line(
    bad: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes((GOOD + bad).encode("utf-8", "surrogateescape"))
    error = fails(
        capsys, "internalize", "--data", path, "--model_name", "x", "--max_steps", 1,
        "--output", tmp_path / "run",
    )  # fmt: skip
    assert expected in error
    assert error.count("\n") == 1
    assert str(path) in error


def test_strict_makes_a_question_that_stands_twice_in_a_test_file_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_text(GOOD.replace("1 + 1", "2 + 2"))
    test.write_text(GOOD * 2)
    model = tmp_path / "no-model"
    model.mkdir()
    asked = ["evaluate", "--base_model", model, "--input", test, "--output", tmp_path / "out.jsonl"]
    assert "test.jsonl:2: question: found '1 + 1'" in fails(capsys, *asked, "--strict")
    assert "no-model" in fails(capsys, *asked)
    learned = ["internalize", "--data", train, "--test", test, "--model_name", model]
    learned += ["--max_steps", 1, "--output", tmp_path / "run"]
    assert "test.jsonl:2: question: found '1 + 1'" in fails(capsys, *learned, "--strict")
    assert "no-model" in fails(capsys, *learned)
    # once the files are taken, too
    assert "test.jsonl:2: question: found '1 + 1'" in fails(capsys, *learned, "--strict")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "recipes/quickstrt.yaml"], "did you mean recipes/quickstart.yaml"),
        (["run", "recipes/quickstart.yaml", "train.epoch=1"], "did you mean 'train.epochs'"),
        (["internalize", "--model_name", "gpt2"], "--model_name: gpt2 is not on this machine"),
        (["internalise"], "internalize"),
        (["data", "multiplication", "--digits", "2", "--output", "x"], "digits"),
        (["data", "icot", "--input", "a.txt", "--output", "b.csv"], ".jsonl"),
        (["data", "icot", "--input", "nowhere.txt", "--output", "b.jsonl"], "nowhere.txt"),
        (["evaluate", "--model", "/no/where", "--input", "x.jsonl", "--output", "y"], "x.jsonl"),
        (["report", "/no/where"], "no such folder; needed: a folder that unspoken run made"),
        (["report", "src"], "no recipe.yaml"),
        (["score", "--input", "no.jsonl", "--output", "y"], "no.jsonl"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert expected in fails(capsys, *arguments)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("asc m", "asc: no such verb; did you mean unspoken ask?"),
        ("internalise", "did you mean unspoken internalize?"),
        ("Distill", "did you mean unspoken distil?"),
        ("slurm quickstart", "did you mean unspoken launch slurm?"),
        ("launch slrm", "launch slrm: no such verb; did you mean unspoken launch slurm?"),
        ("Launch slurm", "Launch: no such verb; did you mean unspoken launch?"),
        ("launch SLURM", "launch SLURM: no such verb; did you mean unspoken launch slurm?"),
        ("dta split", "did you mean unspoken data?"),
        ("data mutliplication", "did you mean unspoken data multiplication?"),
        ("data xyz", "data xyz: no such verb; there are multiplication, arithmetic, gsm8k"),
        ("quickstart", "did you mean unspoken run quickstart?"),
        ("mine.yaml", "did you mean unspoken run mine.yaml?"),
        ("xyz", "xyz: no such verb; there are run, check, recipes"),
    ],
)
def test_a_mistyped_verb_is_guessed(
    typed: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = fails(capsys, *typed.split())
    assert expected in error and error.endswith("Try: unspoken --help\n")


@pytest.mark.parametrize(
    "typed",
    ["distill --out_dir x", "launch slurm", "data split"],
)
def test_a_verb_that_is_there_is_not_guessed_at(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ": missing; needed: " in fails(capsys, *typed.split())


@pytest.mark.parametrize(
    "typed",
    ["report runs/mien", "choose mien", "diagnose runs/mien", "demo runs/mien", "ask runs/mien 1*2",
     "ask runs/mien:explicit 1*2", "export runs/mien --output x", "compare runs/mien runs/mine",
     "evaluate --base_model runs/mien --input runs/mine/test.jsonl --output x",
     "evaluate --base_model gpt2 --input runs/mine/tset.jsonl --output x",
     "score --input runs/mien/test.jsonl --output x"],
)  # fmt: skip
def test_a_mistyped_path_is_guessed(
    typed: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text("name: mine\ndata:\n  task: gsm8k\n")
    (run / "test.jsonl").write_text('{"question": "1+1", "generated": "2", "gold": "2"}\n')
    (run / "predictions.jsonl").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert "did you mean runs/mine" in fails(capsys, *typed.split())


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        (["run"], []),
        (["check"], []),
        (["shard"], ["--prepare"]),
        (["shard"], ["--shard", "1/2"]),
        (["shard"], ["--merge", "2"]),
        (["launch", "slurm"], ["--time", "10", "--dry_run"]),
        (["launch", "slurm"], ["--status"]),
    ],
)
def test_what_works_in_a_run_folder_that_was_moved_asks_where_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str], flags: list[str]
) -> None:
    """check found nothing wrong, and jobs went on in the old place."""
    moved = tmp_path / "moved" / "recipe.yaml"
    moved.parent.mkdir()
    moved.write_text(dump_recipe(tiny_recipe(tmp_path / "run", teacher={"engine": "worked"})))
    (moved.parent / "environment.json").write_text("{}")
    assert f"give output={moved.parent} to go on there" in fails(capsys, *verb, moved, *flags)
    assert not (tmp_path / "run").exists()


def test_score_judges_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        {"generated": "Step 1\nFinal Answer: $29.00", "gold": "29", "mine": 1},
        {"generated": "A: 7", "gold": "8"},
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    main(["score", "--input", str(path), "--output", str(tmp_path / "out.jsonl")])
    scored = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [record["correct"] for record in scored] == [True, False]
    assert scored[0]["mine"] == 1
    assert "50" in capsys.readouterr().out


@pytest.mark.integration
def test_raw_gsm8k_through_all_of_the_removal_and_evaluate(
    tmp_path: Path, shared_data: Path
) -> None:
    from helpers.recipes import tiny_gpt2

    model = tiny_gpt2(tmp_path / "tiny")
    raw = shared_data / "gsm8k"
    small = tmp_path / "train.jsonl"
    small.write_text("".join((raw / "train.jsonl").read_text().splitlines(True)[:64]))
    main(
        f"internalize --epochs 10 --batch_size 32 --learning_rate 5e-5 --model_name {model} "
        f"--data {small} --test {raw / 'test.jsonl'} --delta 60 --output {tmp_path / 'run'} "
        "--max_length 500 evaluate.limit=4 evaluate.num_latency=1 data.num_valid=0".split()
    )
    stage = json.loads((tmp_path / "run/internalized/stage.json").read_text())
    assert stage["level"] == "all"
    main(
        f"evaluate --model {tmp_path / 'run/internalized/model'} --input {raw / 'test.jsonl'} "
        f"--output {tmp_path / 'predictions.jsonl'} --limit 20 --num_latency 2".split()
    )
    records = [json.loads(line) for line in (tmp_path / "predictions.jsonl").open()]
    assert len(records) == 20
    assert records[0]["gold"] == "18"


@pytest.mark.parametrize(
    "command",
    [
        ["compare", "FILE", "FILE", "--output", "FILE"],
        ["generate", "--input", "FILE", "--output", "FILE"],
        ["evaluate", "--base_model", "nowhere", "--input", "FILE", "--output", "FILE"],
        ["data", "questions", "--input", "FILE", "--output", "FILE"],
        ["data", "split", "--input", "FILE", "--output", "FOLDER", "--test", "1"],
    ],
)
def test_no_file_is_replaced_by_what_is_made_of_it(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.jsonl"
    text = '{"question": "1+1", "answer": "2", "note": "mine"}\n'
    file.write_text(text)
    words = [str({"FILE": file, "FOLDER": tmp_path}.get(word, word)) for word in command]
    with pytest.raises(SystemExit) as end:
        main([*words, "--overwrite"])
    assert end.value.code == 2
    assert "train.jsonl: found it among the inputs; needed: another" in capsys.readouterr().err
    assert file.read_text() == text


def test_traces_to_merge_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "part1.jsonl").touch()
    said = fails(capsys, "merge", tmp_path / "part2.jsonl", "--output", tmp_path / "all.jsonl")
    assert "part2.jsonl: no such file; needed: traces" in said
    assert f"did you mean {tmp_path / 'part1.jsonl'}?" in said


def test_a_hub_that_is_silent_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unspoken.check.hub.hub_answers", lambda: False)
    (tmp_path / "q.jsonl").write_text('{"question": "1+1", "answer": "2"}\n')
    files = ("--input", tmp_path / "q.jsonl", "--output", tmp_path / "p.jsonl")
    said = fails(capsys, "evaluate", "--base_model", "nothere", *files)
    assert said.startswith("error: --base_model nothere: no such folder here") and "hub" in said
