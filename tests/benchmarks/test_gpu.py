"""benchmarks/gpu.py at toy size: every part leaves its JSON, whatever happens to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import ROOT
from helpers.patience import patient
from helpers.processes import launch

PARTS = ("works", "step", "scratch", "evaluation", "generation", "smollm2", "decoding")

pytestmark = pytest.mark.integration


def run(output: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The script's status, and the JSON files by part."""
    script = str(ROOT / "benchmarks" / "gpu.py")
    status = launch(script, "--toy", "--output", str(output), *arguments).returncode
    files = {
        path.stem.removeprefix("gpu-"): json.loads(path.read_text(encoding="utf-8"))
        for path in output.glob("gpu-*.json")
    }
    return status, files


@pytest.mark.timeout(1300)
def test_every_part_is_done_or_says_why_it_is_not(tmp_path: Path) -> None:
    seconds = str(patient(1050))  # for all parts, whose limits grow with them
    missing = ("--smollm2", str(tmp_path / "missing.gguf"))
    status, files = run(tmp_path, *missing, "--device", "cpu", "--seconds", seconds)
    assert {name: file["status"] for name, file in files.items()} == {
        name: "skipped" if name == "smollm2" else "done" for name in PARTS
    }
    assert status == 0
    assert "missing.gguf is not there" in files["smollm2"]["reason"]
    for name, file in files.items():
        assert file["toy"] is True
        assert file["date"]
        assert file["versions"]["torch"]
        assert file["machine"]["processor"]
        assert str(ROOT) not in file["command"]
        assert name == "smollm2" or file["results"]
    assert files["works"]["results"]["passed"] > 0
    assert files["works"]["results"]["failed"] == 0
    (level, *_) = files["step"]["results"]["gpt2"]["levels"]
    assert level["losses_agree"]
    assert level["tokens_per_s"]["unspoken"] > 0
    curve = files["scratch"]["results"]["trainings"]["internalized"]["curve"]
    assert [point["step"] for point in curve] == [10, 20]
    assert files["scratch"]["results"]["evaluations"]["internalized"]["num_questions"] == 20


def test_a_part_that_fails_or_takes_too_long_leaves_its_last_lines_and_the_others_run(
    tmp_path: Path,
) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"no model")
    _, files = run(tmp_path, "--only", "evaluation", "--seconds", "1")
    assert files["evaluation"]["status"] == "cut off"
    assert files["evaluation"]["limit_s"] == 1
    assert files["evaluation"]["versions"]["torch"]
    status, files = run(
        tmp_path, "--only", "smollm2", "decoding", "--smollm2", str(damaged), "--device", "cpu"
    )
    assert status == 1
    assert files["smollm2"]["status"] == "failed"
    assert any("damaged.gguf" in line for line in files["smollm2"]["last_lines"])
    assert files["decoding"]["status"] == "done"
