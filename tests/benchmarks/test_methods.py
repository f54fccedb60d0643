"""benchmarks/methods.py: what is known of a cell stays, wherever its run folder is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.paths import ROOT
from helpers.processes import launch

pytestmark = pytest.mark.integration


def test_cells_of_another_machine_stay_in_the_results_and_the_table(tmp_path: Path) -> None:
    output = tmp_path / "methods.json"
    known = json.loads((ROOT / "benchmarks" / "results" / "methods.json").read_text("utf-8"))
    output.write_text(json.dumps(known), encoding="utf-8")
    found = launch(
        str(ROOT / "benchmarks" / "methods.py"), "--only_write",
        "--folder", str(tmp_path / "runs"), "--output", str(output),
        "--seconds", "86400",  # which nobody waits for where nothing is left to do
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    written = json.loads(output.read_text("utf-8"))["results"]
    assert sorted(written, key=str) == sorted(known["results"], key=str)
    rows = [line for line in found.stdout.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len({(cell["task"], cell["method"]) for cell in written})
