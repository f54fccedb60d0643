"""Traces of runs that were killed or stopped are those of a run that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import ROOT
from helpers.patience import patient
from unspoken.cli.main import main


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


SLOW = """
import sys, time
sys.path.insert(0, sys.argv[1])
from helpers.engines import FakeEngine, QUESTIONS
from unspoken.teach.traces.write import generate_traces

class SlowEngine(FakeEngine):
    def generate(self, *arguments, stopping, **options):
        replies = super().generate(*arguments, stopping=stopping, **options)
        for count, (number, reply) in enumerate(replies):
            time.sleep(0.004)
            while count >= most and not stopping():  # whoever is to end it need not hurry
                time.sleep(0.01)
            yield number, reply

most = int(sys.argv[3])
many = [{"question": f"{record['question']} ({n})"} for n in range(10) for record in QUESTIONS]
summary = generate_traces(SlowEngine(), many, sys.argv[2])
sys.exit(75 if summary.interrupted else 0)
"""


def start_slow(output: Path, most: int = 200) -> subprocess.Popen[str]:
    """Begins a run of 200 traces and waits until it writes, or ends.

    After so many of its own it waits for a signal.
    """
    size = output.stat().st_size if output.exists() else 0
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(ROOT / "tests"), str(output), str(most)],
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (output.exists() and output.stat().st_size != size):
        time.sleep(0.002)
    return process


@pytest.mark.integration
def test_kill_9_at_ten_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    whole, output = tmp_path / "whole.jsonl", tmp_path / "traces.jsonl"
    start_slow(whole).communicate()
    generator = random.Random(0)
    num_killed, sizes = 0, []
    while num_killed < 10:
        process = start_slow(output, most=18)  # ten times 18 are less than all
        time.sleep(generator.uniform(0, 0.08))
        process.kill()
        assert process.wait() == -signal.SIGKILL, process.communicate()[1]
        process.communicate()
        num_killed += 1
        raw = output.read_bytes()
        sizes.append(raw.count(b"\n"))
        if num_killed % 3 == 0:  # a crash of the machine tears what kill -9 alone does not
            output.write_bytes(raw[: -generator.randrange(1, 60)])
    print(f"killed after {sizes} of 200 lines")
    process = start_slow(output)
    assert process.communicate()[1] == ""
    assert output.read_bytes() == whole.read_bytes()
    assert len({record["id"] for record in read(output)}) == len(read(output)) == 200


#: Forks a process for each line, since importing torch takes seconds. It kills it, too: who has not
#: waited for it yet knows that the number is no other process's, also where it has ended already.
TEACHER = """
import json, os, signal, sys, time
import torch
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines.transformers import transformers_engine
from unspoken.teach.traces.write import generate_traces

torch.set_num_threads(1)
teacher, questions = sys.argv[1:]

def run(output):
    engine = transformers_engine(teacher, prompt="plain", batch_size=8)
    generate_traces(engine, questions, output, sampling=Sampling(max_new_tokens=24))

run(questions + ".warm")
print("ready", flush=True)
for line in sys.stdin:
    output, kill_after_s = json.loads(line)
    pid = os.fork()
    if pid == 0:
        run(output)
        os._exit(0)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.integration
def test_a_model_that_is_killed_ten_times_writes_what_it_writes_at_a_stretch(
    tmp_path: Path, tokenizer: Any
) -> None:
    """Must show 3: greedy traces of a transformers model, byte for byte as if nothing happened.

    The moments are spread over the whole run, from loading to sorting.
    """
    from helpers.teachers import save

    teacher, questions = save(tmp_path / "teacher", tokenizer), tmp_path / "questions.jsonl"
    asked = [{"question": f"{n} * {'7' * (n % 9 + 1)}"} for n in range(200)]
    questions.write_text("".join(f"{json.dumps(record)}\n" for record in asked))
    whole, output = tmp_path / "whole.jsonl", tmp_path / "traces.jsonl"
    flags = ["--teacher_dir", str(teacher), "--prompt", "plain", "--batch_size", "8"]
    flags += ["--input", str(questions), "--max_new_tokens", "24"]
    main(["generate", *flags, "--output", str(whole)])
    generator = random.Random(0)
    with subprocess.Popen(
        [sys.executable, "-c", TEACHER, str(teacher), str(questions)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        # the threads that encode prompts are not there in a fork, which would wait for them
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    ) as runner:  # fmt: skip
        assert runner.stdin is not None
        assert runner.stdout is not None
        assert runner.stdout.readline() == "ready\n"

        def run(target: Path, kill_after_s: float | None) -> int:
            assert runner.stdin is not None
            assert runner.stdout is not None
            runner.stdin.write(f"{json.dumps([str(target), kill_after_s])}\n")
            return int(runner.stdout.readline())

        begin = time.perf_counter()
        assert run(tmp_path / "timed.jsonl", None) == 0
        seconds = time.perf_counter() - begin
        lines: list[int] = []
        while len(lines) < 10:
            left_s = seconds * (1 - (lines[-1] if lines else 0) / 200)
            if run(output, generator.uniform(0, 0.2 + 2 * left_s / (10 - len(lines)))) == 0:
                assert output.read_bytes() == whole.read_bytes()
                output.unlink()  # it was faster than thought: once more
                continue
            raw = output.read_bytes() if output.exists() else b""
            lines.append(raw.count(b"\n"))
            if len(lines) % 3 == 0:  # a crash of the machine loses more than kill -9
                output.write_bytes(raw[: -generator.randrange(1, 900)])
        runner.stdin.close()
    print(f"killed after {lines} of 200 lines; at a stretch {seconds:.1f} s")
    main(["generate", *flags, "--output", str(output)])
    assert output.read_bytes() == whole.read_bytes() == (tmp_path / "timed.jsonl").read_bytes()
    assert [record["id"] for record in read(output)] == [f"{n}#0" for n in range(200)]
    assert len({record["cot"] for record in read(output)}) > 50


@pytest.mark.integration
def test_sigterm_ends_after_the_running_batch_and_can_go_on(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    process = start_slow(output, most=100)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=patient(20))
    assert (process.returncode, error) == (75, "")
    num_done = len(read(output))
    assert 0 < num_done < 200
    assert num_done % 4 == 0
    assert start_slow(output).communicate()[1] == ""
    assert len(read(output)) == 200
