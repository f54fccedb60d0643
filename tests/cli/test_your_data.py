"""docs/your-data.md: its commands, from a table to a student that answers at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.guides import run_guide
from helpers.paths import ROOT
from helpers.teachers import save
from unspoken.data.jsonl import read_jsonl

pytestmark = pytest.mark.integration

TRAINED = ["train.max_steps=2", "train.threads=1", "evaluate.num_latency=1",
           "evaluate.max_new_tokens=8"]  # fmt: skip


def test_the_commands_lead_from_a_table_to_a_student_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unspoken.models.tokenizer import character_tokenizer

    save(tmp_path / "models" / "smollm2", character_tokenizer())
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
    run_guide(guide, {"distil": TRAINED, "internalize": TRAINED, "ask": ["--max_new_tokens", "8"]})
    sizes = [len(list(read_jsonl(f"prices/{name}.jsonl"))) for name in ("train", "test")]
    assert sizes == [4, 2]
    assert set(next(read_jsonl("prices/train.jsonl"))[1]) == {"question", "thought", "answer"}
    out = capsys.readouterr().out
    assert "4 examples in prices/train.jsonl" in out and "2 test questions" in out
    assert Path("prices/at_once/report.html").is_file()
