"""A whole `unspoken run` within a limit of seconds, and what it reached by then.

The run is a process of its own, as a user starts it. At the limit it gets SIGTERM, saves where it
is and ends; the same command with the same `--folder` goes on from there. The figures are written
anew with every validation, so that nothing is lost when the machine is taken away.

Seconds count from the start of the process, imports and data included; those of a training count
from its first line in metrics.jsonl. `all_right_after_s` says for each number of removed tokens
when a validation first answered every question; `all_removed` whether that number went up to all.

    python benchmarks/run_within.py multiplication-4x4-scratch --seconds 180 \
        schedule.removal=adaptive
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cases import write_results

from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.recipe.levels import ALL, level_folder, level_name

POLL_SECONDS = 0.5
SAVING_SECONDS = 20  # between SIGTERM and SIGKILL


class Watch:
    """Reads the run's metrics.jsonl files as they grow, and notes when each line came."""

    def __init__(self, folder: Path, num_questions: int) -> None:
        self.folder, self.num_questions = folder, num_questions
        self.begin = time.perf_counter()
        self.read: dict[str, int] = {}
        self.trainings: dict[str, dict[str, Any]] = {}

    def look(self) -> bool:
        """Takes in the new lines; returns whether there was a validation among them."""
        now, news = time.perf_counter() - self.begin, False
        for path in sorted(self.folder.glob("*/metrics.jsonl")):
            name = path.parent.name
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]
            for line in whole[self.read.get(name, 0) :]:
                news |= self._note(name, json.loads(line), now)
            self.read[name] = len(whole)
        return news

    def _note(self, name: str, line: dict[str, Any], now: float) -> bool:
        training = self.trainings.setdefault(
            name, {"first_line_after_s": now, "all_right_after_s": {}, "curve": []}
        )
        seconds = now - training["first_line_after_s"]
        training["steps"], training["seconds"] = line["step"], seconds
        if line["event"] != "valid":
            training["loss"], training["removed"] = line["loss"], line["removed"]
            training.setdefault("losses", []).append([line["step"], line["loss"]])
            training["losses"] = training["losses"][-5:]
            return False
        keys = ("step", "removed", "num_correct", "num_questions", "digit_accuracy", "mean_tokens")
        training["curve"].append({"seconds": seconds, **{key: line[key] for key in keys}})
        if line["num_correct"] == line["num_questions"] >= self.num_questions:
            training["all_right_after_s"].setdefault(str(line["removed"]), seconds)
        return True

    def figures(self) -> dict[str, Any]:
        """What is known so far: the curve of each training, the evaluation of each model."""
        evaluations = {}
        for path in sorted(self.folder.glob("*/evaluation.json")):
            values = json.loads(path.read_text(encoding="utf-8"))
            evaluations[path.parent.name] = {
                key: value for key, value in values.items() if isinstance(value, int | float | list)
            }
        for name, training in self.trainings.items():
            training["all_removed"] = level_folder(self.folder / name, level_name(ALL)).exists()
        return {"trainings": self.trainings, "evaluations": evaluations}


def main() -> int:
    """Runs, watches, stops at the limit, writes; the status of the run, 0 where it was cut off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipe", help="file or name of a recipe")
    parser.add_argument("overrides", nargs="*", help="section.key=value, as for unspoken run")
    parser.add_argument("--seconds", type=float, required=True, help="the limit")
    parser.add_argument("--folder", type=Path, required=True, help="of the run")
    parser.add_argument("--questions", type=int, default=1000, help="that have to be right")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_intermixed_args()
    load = os.getloadavg()
    watch = Watch(arguments.folder, arguments.questions)
    command = [sys.executable, "-m", "unspoken", "run", arguments.recipe]
    process = subprocess.Popen(
        [*command, *arguments.overrides, f"output={arguments.folder}"], stdin=subprocess.DEVNULL
    )
    cut_off = False
    try:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            if watch.look():
                write_results(arguments.output, watch.figures(), load)
            if not cut_off and time.perf_counter() - watch.begin > arguments.seconds:
                cut_off = True
                process.send_signal(signal.SIGTERM)
                process.wait(SAVING_SECONDS)
    finally:
        process.kill()
        status = process.wait()
        watch.look()
        ended = {"status": status, "cut_off": cut_off}
        ended["seconds"] = time.perf_counter() - watch.begin
        write_results(arguments.output, {**watch.figures(), **ended}, load)
    for name, training in watch.trainings.items():
        last = training["curve"][-1] if training["curve"] else None
        print(f"{name}: {training['steps']} steps in {training['seconds']:.0f} s, last: {last}")
    return 0 if cut_off and status == EXIT_INTERRUPTED else status


if __name__ == "__main__":
    sys.exit(main())
