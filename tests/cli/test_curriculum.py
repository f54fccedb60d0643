"""The seed's own command: multiplications of growing size, then GSM8K, with nothing else given."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from helpers.recipes import tiny_gpt2
from unspoken.cli.main import main
from unspoken.recipe import load_recipe

pytestmark = pytest.mark.integration

SEED = shlex.split("internalize --epochs 10 --batch_size 32 --learning_rate 5e-5 --model_name")


def gsm8k(folder: Path) -> Path:
    """A folder with raw files as GSM8K's, with few problems."""
    folder.mkdir()
    for name, first in (("train", 1), ("test", 100)):
        records = [
            {"question": f"Ann has {n} apples and buys {n}. How many are there?",
             "answer": f"She has {n}+{n}=<<{n}+{n}={2 * n}>>{2 * n} apples.\n#### {2 * n}"}
            for n in range(first, first + 40)
        ]  # fmt: skip
        text = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text(text)
    return folder


def test_without_network_and_source_it_says_what_it_would_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "empty"))
    with pytest.raises(SystemExit) as caught:
        main([*SEED, "gpt2-medium"])
    assert caught.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: --model_name: gpt2-medium is not on this machine")
    assert "unspoken download --student NAME" in first
    assert second.startswith("error: --source: GSM8K is not on this machine")
    assert "--source FOLDER" in second
    assert not list(tmp_path.glob("runs/*"))


def test_without_network_and_model_it_says_which_one_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unspoken.cli.internalize.run_and_report", None)  # told before it begins
    Path("mine.jsonl").write_text('{"question": "1+1=", "thought": "1, 2", "answer": "2"}\n')
    with pytest.raises(SystemExit) as caught:
        main(["internalize", "--data", "mine.jsonl"])
    assert caught.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("error: --model_name: found none, and gpt2-medium, which is taken then")
    assert told.endswith("give its folder: --model_name models/student")


def test_with_a_source_it_goes_through_all_phases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_gpt2(tmp_path / "tiny")
    few = shlex.split("--num_train 64 --num_valid 4 --num_test 4 --max_steps 2 --max_length 400")
    limits = ["train.threads=1", "evaluate.max_new_tokens=4", "evaluate.num_latency=1"]
    main([*SEED, str(model), "--source", str(gsm8k(tmp_path / "raw")), *few, *limits])
    recipe = load_recipe(tmp_path / "runs" / "internalize" / "recipe.yaml")
    phases = recipe.resolved_phases()
    assert [phase.data.task for phase in phases] == [*["multiplication"] * 3, "gsm8k"]
    assert all((p.train.epochs, p.train.batch_size) == (10, 32) for p in phases)
    assert all(phase.train.learning_rate == 5e-5 for phase in phases)
    done = sorted((tmp_path / "runs" / "internalize").rglob("internalized/**/stage.json"))
    stages = [json.loads(path.read_text()) for path in done]
    assert len([stage for stage in stages if stage["status"] == "done"]) >= 4
