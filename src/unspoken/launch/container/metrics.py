"""Training's figures as lines of the container's log, and the expressions that find them there.

metrics.jsonl is a file, and CloudWatch reads only what a container prints; so the container prints
one line for each line of it. Both halves stand here so that they fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unspoken.recipe import layout

#: Stages whose figures CloudWatch draws, and which of them.
_STAGES = (
    layout.TEACHER, layout.DISTILLED, layout.INTERNALIZED, layout.EXPLICIT, layout.AT_ONCE,
    layout.NO_COT,
)  # fmt: skip
_FIGURES = ("train:loss", "train:removed", "train:examples_per_s", "valid:accuracy")
_NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"


def metric_line(stage: str, record: dict[str, Any]) -> str:
    """A line of metrics.jsonl as one line of text: numbers only.

    >>> metric_line("internalized", {"step": 10, "event": "train", "loss": 0.5, "removed": 3})
    'metric internalized train step=10 loss=0.5 removed=3'
    """
    numbers = " ".join(
        f"{name}={value}"
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "step"
    )
    return f"metric {stage} {record['event']} step={record['step']} {numbers}"


def metric_definitions() -> list[dict[str, str]]:
    """SageMaker's MetricDefinitions: a name such as internalized:train:loss, and its expression."""
    definitions = []
    for stage in _STAGES:
        for figure in _FIGURES:
            event, _, name = figure.partition(":")
            definitions.append(
                {
                    "Name": f"{stage}:{figure}",
                    "Regex": rf"metric {stage}(?:/\S+)? {event} .*\b{name}={_NUMBER}",
                }
            )
    return definitions


class MetricFollower:
    """New lines of every metrics.jsonl in a run folder, each of them once.

    A run that goes on after an interruption does some steps again; these are not told again.
    """

    def __init__(self, run: Path) -> None:
        """What stands in the folder already counts as told."""
        self.run = run
        self._places: dict[Path, tuple[int, int]] = {}  # file -> (inode, bytes read)
        self._steps: dict[tuple[Path, str], int] = {}
        for _ in self.new_lines():
            pass

    def new_lines(self) -> Iterator[str]:
        """What was written since the last call, as `metric_line` writes it."""
        for path in sorted(self.run.rglob(layout.METRICS_FILE)):
            relative = path.parent.relative_to(self.run)
            if relative.parts and relative.parts[0] != layout.OLD:
                for record in self._new_records(path):
                    yield metric_line(relative.as_posix(), record)

    def _new_records(self, path: Path) -> Iterator[dict[str, Any]]:
        with path.open("rb") as file:
            status = path.stat()
            inode, begin = self._places.get(path, (status.st_ino, 0))
            if inode != status.st_ino or begin > status.st_size:  # written anew by a resumed run
                begin = 0
            file.seek(begin)
            text = file.read()
        whole = text.rfind(b"\n") + 1  # the last line may be half written
        self._places[path] = (status.st_ino, begin + whole)
        for line in text[:whole].splitlines():
            record = _record(line)
            if record is None:
                continue
            key = (path, record["event"])
            if record["step"] > self._steps.get(key, -1):
                self._steps[key] = record["step"]
                yield record


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        return record if isinstance(record["step"], int) and record["event"] else None
    except (ValueError, TypeError, KeyError):
        return None
