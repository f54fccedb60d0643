"""benchmarks/trl_step.py without TRL, which is no dependency: it says how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.paths import ROOT
from helpers.processes import launch


@pytest.mark.integration
def test_without_trl_it_says_how_to_get_it(tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "trl_step.py")
    found = launch(script, "--trl", str(tmp_path / "trl"), "--model", "models/smollm2")
    assert found.returncode == 2
    told = f"found no TRL in {tmp_path / 'trl'}; needed: the folder that it was put into; python -m"
    assert told in found.stderr
