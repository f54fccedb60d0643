"""What is said about the cost of a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.sagemaker import REGION
from unspoken.common.errors import DataError
from unspoken.launch.sagemaker.prices import cost_lines


def test_cost_says_what_is_known_and_what_not(tmp_path: Path) -> None:
    def lines(name: str, count: int, max_run_s: int, **more: Any) -> list[str]:
        values = {"region": REGION, "spot": False, "prices": table, **more}
        return cost_lines(name, count, max_run_s, **values)

    table = tmp_path / "prices.json"
    table.write_text(json.dumps({"currency": "EUR", "per_hour": {"ml.g5.xlarge": 2}}))
    told = lines("ml.g5.xlarge", 3, 7200, spot=True)
    assert "about 6.00 EUR per hour" in told[0]
    assert "at most 12.00 EUR" in told[0]
    assert "approximate" in told[1]
    assert "spot" in told[2]
    (line,) = lines("ml.p5.48xlarge", 1, 60)
    assert "prices.json has no price for ml.p5.48xlarge; look it up" in line
    (line,) = lines("ml.g5.xlarge", 2, 7200, prices=None)
    assert "not known without a file of prices; docs/sagemaker.md, Cost, says how" in line
    assert "at most 2 h on 2 x ml.g5.xlarge" in line
    prices = {"region": REGION, "per_hour": {"ml.g5.xlarge": 2}}
    table.write_text(json.dumps(prices))
    far = lines("ml.g5.xlarge", 1, 60, region="eu-west-1")
    assert "the job runs in eu-west-1, where prices differ" in far[2]
    assert len(lines("ml.g5.xlarge", 1, 60)) == 2
    table.write_text(json.dumps({"per_hour": {"ml.g5.xlarge": 1.001}}))
    assert "about 1.01 USD per hour" in lines("ml.g5.xlarge", 1, 3600)[0]
    assert "at most 3.01 USD" in lines("ml.g5.xlarge", 1, 3 * 3600)[0]
    for wrong in ("3", '{"a": true}', '{"a": -1}', '{"a": 0}', '{"a": NaN}', '{"a": Infinity}'):
        table.write_text(f'{{"per_hour": {wrong}}}')
        with pytest.raises(DataError, match=r"prices=.*prices.json: needed: JSON such as"):
            lines("ml.g5.xlarge", 1, 60)
