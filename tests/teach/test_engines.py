"""Engines as commands name them, and what importing them costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.teachers import CHAT, QUESTIONS, records_of, save
from unspoken.cli.main import call, main
from unspoken.cli.merge import merge
from unspoken.common.errors import RecipeError
from unspoken.teach.engines.make import EngineOptions, make_engine
from unspoken.teach.traces.settings import settings_path


def test_the_seeds_command_works(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = save(tmp_path / "teacher", tokenizer, CHAT)
    questions = tmp_path / "raw_questions.jsonl"
    questions.write_text("".join(f"{json.dumps(record)}\n" for record in QUESTIONS))
    output = tmp_path / "cot_dataset.jsonl"
    words = ["generate", "--teacher_dir", str(teacher), "--input", str(questions)]
    words += ["--max_new_tokens", "16", "--output"]
    call([*words, str(output), "--start_index", "2", "--num_samples", "5"])
    assert [record["index"] for record in records_of(output)] == [2, 3, 4, 5, 6]
    assert "5 of 5 traces" in capsys.readouterr().out
    call([*words, str(output)])
    for number in (1, 2):
        call([*words, str(tmp_path / "part.jsonl"), "--shard", f"{number}/2"])
    parts = sorted(tmp_path.glob("part-*.jsonl"))
    merge(*parts, output=tmp_path / "merged.jsonl")
    assert "merged.jsonl: 20 traces" in capsys.readouterr().out
    merged = [record["cot"] for record in records_of(tmp_path / "merged.jsonl")]
    assert merged == [record["cot"] for record in records_of(output)]
    with pytest.raises(RecipeError, match="shard: found '3'"):
        call([*words, str(tmp_path / "bad.jsonl"), "--shard", "3"])


def test_flags_reach_the_engine_by_both_spellings(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = save(tmp_path / "teacher", tokenizer, CHAT)
    table = tmp_path / "questions.csv"
    table.write_text("problem,solution,topic\n1 + 1,2,sums\n1 + 2,3,sums\n")
    output = tmp_path / "traces.jsonl"
    flags = f"generate --teacher_dir {teacher} --input {table} --output {output} --batch-size 1"
    more = "--question_field problem --answer-field solution --prompt plain --max_new_tokens 4"
    main([*flags.split(), *more.split(), "--trust_remote_code"])
    assert "2 of 2 traces" in capsys.readouterr().out
    records = records_of(output)
    assert [record["answer"] for record in records] == ["2", "3"]
    assert records[0]["topic"] == "sums"
    settings = json.loads(settings_path(output).read_text())["settings"]
    assert (settings["prompt"], settings["max_new_tokens"]) == ("plain", 4)
    with pytest.raises(SystemExit) as ended:
        main([*flags.split(), "--prompt", "plain"])
    assert ended.value.code == 2
    assert "found the fields problem, solution, topic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "options", "flag"),
    [
        ("transformers", {}, "teacher_dir: found nothing"),
        ("transformers", {"teacher_dir": "t", "base_url": "http://localhost/v1"}, "base_url"),
        ("openai", {}, "base_url: found nothing"),
        ("openai", {"base_url": "http://localhost/v1"}, "model: found nothing"),
        ("openai", {"base_url": "http://localhost/v1", "prompt": "trained"}, "prompt"),
        ("openai", {"base_url": "http://localhost/v1", "quantization": "nf4"}, "quantization"),
        ("openai", {"base_url": "http://localhost/v1", "revision": "main"}, "revision"),
        ("worked", {"max_cost": 1.0}, "max_cost"),
        ("worked", {"prompt": "chat"}, "prompt"),
    ],
)
def test_an_option_that_is_missing_or_not_for_this_engine_is_named(
    engine: Any, options: dict[str, Any], flag: str
) -> None:
    with pytest.raises(RecipeError, match=f"^{flag}"):
        make_engine(engine, EngineOptions(**options))


@pytest.mark.integration
def test_making_an_engine_imports_nothing_heavy() -> None:
    code = (
        "import sys; from unspoken.teach.engines.make import make_engine; make_engine('worked'); "
        "print([name for name in ('torch', 'transformers', 'cyclopts') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
