"""Figures on their way from metrics.jsonl to CloudWatch."""

from __future__ import annotations

import json
import re
from pathlib import Path

from unspoken.launch.container.metrics import MetricFollower, metric_definitions, metric_line


def test_every_metric_is_told_once_even_where_a_run_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "internalized" / "metrics.jsonl"
    path.parent.mkdir()
    lines = [json.dumps({"step": step, "event": "train", "loss": step / 8}) for step in range(1, 6)]
    path.write_text("\n".join(lines[:2]) + "\n")
    follower = MetricFollower(tmp_path)
    assert list(follower.new_lines()) == []
    with path.open("a") as file:
        file.write(lines[2] + "\n" + lines[3][:10])
    assert list(follower.new_lines()) == ["metric internalized train step=3 loss=0.375"]
    path.unlink()
    path.write_text("\n".join(lines) + "\n")
    assert [line.split()[3] for line in follower.new_lines()] == ["step=4", "step=5"]


def test_cloudwatch_finds_the_numbers_that_are_printed() -> None:
    figures = {"loss": 1.5e-05, "removed": 7, "learning_rate": 0.1, "examples_per_s": 95.25}
    train = metric_line("internalized/2-large", {"step": 10, "event": "train", **figures})
    valid = metric_line("internalized", {"step": 20, "event": "valid", "accuracy": 0.9875})
    expected = {
        "internalized:train:loss": (train, "1.5e-05"),
        "internalized:train:removed": (train, "7"),
        "internalized:train:examples_per_s": (train, "95.25"),
        "internalized:valid:accuracy": (valid, "0.9875"),
    }
    definitions = {item["Name"]: item["Regex"] for item in metric_definitions()}
    assert len(definitions) <= 40, "SageMaker takes no more"
    for name, (line, number) in expected.items():
        match = re.search(definitions[name], line)
        assert match is not None, name
        assert match[1] == number
    assert not re.search(definitions["explicit:train:loss"], train)
    assert not re.search(definitions["internalized:train:loss"], valid)
