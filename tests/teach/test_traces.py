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

from helpers.engines import QUESTIONS, FakeEngine
from helpers.paths import ROOT
from unspoken.cli.main import main
from unspoken.common.errors import DataError, OutputExistsError, RecipeError
from unspoken.common.locks import locked
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import Usage
from unspoken.teach.engines.worked import WorkedEngine
from unspoken.teach.prompts import PromptWriter, make_prompt_writer
from unspoken.teach.traces.merge import merge_traces
from unspoken.teach.traces.settings import settings_path
from unspoken.teach.traces.write import generate_traces, shard_path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_plain_prompt_is_the_documented_one() -> None:
    expected = (
        "You are a careful reasoning assistant. Solve the problem step-by-step and end with a "
        "line that starts with 'Final Answer:'.\n\nQ: What is 15% of 240?\n\nA:"
    )
    assert PromptWriter()("What is 15% of 240?").text == expected


def test_few_shot_examples_and_a_system_prompt_stand_before_the_question(tmp_path: Path) -> None:
    shots = tmp_path / "shots.jsonl"
    shots.write_text('{"question": "1 + 1", "thought": "one more", "answer": "2"}\n')
    plain = make_prompt_writer("plain", "Think.", shots)("2 + 2").text
    assert plain == "Think.\n\nQ: 1 + 1\n\nA: one more\nFinal Answer: 2\n\nQ: 2 + 2\n\nA:"
    chat = make_prompt_writer("chat", "", shots)("2 + 2").messages
    assert [message["role"] for message in chat] == ["user", "assistant", "user"]
    shots.write_text('{"question": "1 + 1", "answer": "2"}\n')
    with pytest.raises(DataError, match=r"shots.jsonl:1: thought: missing"):
        make_prompt_writer("plain", None, shots)
    with pytest.raises(DataError, match=r"^system_prompt: "):
        make_prompt_writer("trained", "Think.")


def test_records_have_the_seeds_fields_and_stand_in_order(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    questions = [{**record, "category": "sums"} for record in QUESTIONS]
    summary = generate_traces(FakeEngine(), questions, output)
    records = read(output)
    assert [record["id"] for record in records] == [f"{n}#0" for n in range(20)]
    assert [record["question"] for record in records] == [q["question"] for q in QUESTIONS]
    assert [record["answer"] for record in records] == [q["answer"] for q in QUESTIONS]
    assert records[0]["cot"].endswith("Final Answer: 1")
    assert {"num_tokens", "num_prompt_tokens", "stopped", "engine", "model"} <= records[0].keys()
    assert records[0]["category"] == "sums"
    assert (summary.num_wanted, summary.num_written, summary.num_tokens) == (20, 20, 100)
    assert summary.cost == 1.0
    again = generate_traces(FakeEngine(), questions, output)
    assert (again.num_done_before, again.num_written, again.num_tokens) == (20, 0, 100)


def test_an_interrupted_run_goes_on_and_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, whole)
    for after in (1, 4, 7, 19):
        output = tmp_path / f"broken-{after}.jsonl"
        with pytest.raises(KeyboardInterrupt):
            generate_traces(FakeEngine(break_after=after), QUESTIONS, output)
        assert len(read(output)) == after
        engine = FakeEngine()
        summary = generate_traces(engine, QUESTIONS, output)
        assert (summary.num_done_before, summary.num_written) == (after, 20 - after)
        assert engine.used == Usage(10 * after, 5 * after)
        assert len(engine.chunks) == 5 - after // 4
        assert output.read_bytes() == whole.read_bytes()


def test_a_torn_last_line_is_removed_reported_and_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output)
    whole = output.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for lost in (1, 2, 30, last):
        output.write_bytes(whole[:-lost])
        summary = generate_traces(FakeEngine(), QUESTIONS, output)
        assert output.read_bytes() == whole
        assert summary.num_written == int(lost > 1)  # a whole line only lacks its end
        assert (summary.num_torn_bytes > 0) == (1 < lost < last)
    assert "torn" in caplog.text
    output.write_bytes(whole[:-5] + b"\x00" * 500)
    assert generate_traces(FakeEngine(), QUESTIONS, output).num_torn_bytes > 500
    output.write_bytes(b'{"id": 3\n' + whole)
    with pytest.raises(DataError, match=r"traces.jsonl:1: found a line that unspoken generate did"):
        generate_traces(FakeEngine(), QUESTIONS, output)


def test_what_a_kill_left_of_a_sort_is_removed(tmp_path: Path) -> None:
    output = tmp_path / "traces[1].jsonl"
    left, other = tmp_path / ".traces[1].jsonl.7.tmp", tmp_path / ".traces1.jsonl.7.tmp"
    for path in (left, other):
        path.write_text("half")
    generate_traces(FakeEngine(), QUESTIONS, output)
    assert (left.exists(), other.exists()) == (False, True)


def test_other_settings_are_refused_and_say_what_differs(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate_traces(FakeEngine(break_after=3), QUESTIONS, output)
    before = output.read_bytes()
    with pytest.raises(OutputExistsError, match=r"temperature: 0.0 then, 0.5 now"):
        generate_traces(FakeEngine(), QUESTIONS, output, sampling=Sampling(temperature=0.5))
    with pytest.raises(OutputExistsError, match=r"system_prompt: .* then, 'Think.' now"):
        generate_traces(FakeEngine(), QUESTIONS, output, system_prompt="Think.")
    with pytest.raises(OutputExistsError, match=r"teacher: None then, 'abc' now"):
        generate_traces(FakeEngine(teacher="abc"), QUESTIONS, output)
    assert output.read_bytes() == before
    generate_traces(FakeEngine(teacher="abc"), QUESTIONS, output, overwrite=True)
    assert len(read(output)) == 20
    settings_path(output).unlink()
    with pytest.raises(OutputExistsError, match="cannot be continued"):
        generate_traces(FakeEngine(), QUESTIONS, output)


def test_other_questions_are_refused_and_more_are_welcome(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS[:6], output)
    summary = generate_traces(FakeEngine(), QUESTIONS, output)
    assert (summary.num_done_before, summary.num_written) == (6, 14)
    with pytest.raises(DataError, match="changed or moved"):
        generate_traces(FakeEngine(), QUESTIONS[::-1], output)
    with pytest.raises(DataError, match="not there"):
        generate_traces(FakeEngine(), QUESTIONS[:5], output)
    twice = [{"id": "a", "question": "x"}, {"id": "a", "question": "y"}]
    with pytest.raises(DataError, match=r"questions:2: id: found 'a'"):
        generate_traces(FakeEngine(), twice, tmp_path / "other.jsonl")


def test_start_index_and_num_samples_work_on_one_file(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    generate_traces(FakeEngine(), QUESTIONS, output, start_index=15)
    generate_traces(FakeEngine(), QUESTIONS, output, num_samples=4)
    assert [record["index"] for record in read(output)] == [*range(4), *range(15, 20)]
    ids = [{"id": f"q{n}", **record} for n, record in enumerate(QUESTIONS)]
    output = tmp_path / "samples.jsonl"
    warm = Sampling(temperature=1.0)
    generate_traces(FakeEngine(), ids, output, num_samples=2, samples_per_question=3, sampling=warm)
    records = read(output)
    assert [record["id"] for record in records] == [f"q{n}#{s}" for n in (0, 1) for s in range(3)]
    assert len({record["cot"] for record in records}) == 6  # a seed for each sample


def test_settings_without_sense_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    bad: list[dict[str, Any]] = [
        {"samples_per_question": 2},
        {"shard": (0, 4)},
        {"shard": (5, 4)},
        {"num_samples": 0},
        {"start_index": -1},
    ]
    for options in bad:
        with pytest.raises(RecipeError, match="needed: "):
            generate_traces(FakeEngine(), QUESTIONS, output, **options)
    assert not output.exists()


def test_shards_merge_into_what_one_run_writes(tmp_path: Path) -> None:
    whole, merged = tmp_path / "whole.jsonl", tmp_path / "merged.jsonl"
    parts = [shard_path(tmp_path / "part.jsonl", (i, 3)) for i in (1, 2, 3)]
    assert parts[0].name == "part-00001-of-00003.jsonl"
    engine = WorkedEngine()
    questions = [{"question": f"{n % 10} * {n // 10 + 1}"} for n in range(20)]
    generate_traces(engine, questions, whole)
    for number, path in enumerate(parts, start=1):
        generate_traces(engine, questions, path, shard=(number, 3))
    with pytest.raises(DataError, match=r"7 samples are missing: 1#0, 4#0, 7#0"):
        merge_traces([parts[0], parts[2]], merged)
    summary = merge_traces([parts[2], parts[0], parts[1], parts[1]], merged)
    assert merged.read_bytes() == whole.read_bytes()
    assert (summary.num_samples, summary.num_doubled, summary.missing) == (20, 7, ())
    assert generate_traces(engine, questions, merged).num_written == 0
    with pytest.raises(OutputExistsError):
        merge_traces(parts, merged)
    some = merge_traces(parts[:2], merged, allow_missing=True, overwrite=True)
    assert (some.num_samples, len(some.missing)) == (14, 6)
    changed = parts[1].read_text().replace("Final Answer:", "Answer:")
    copy = tmp_path / "copy.jsonl"
    copy.write_text(changed)
    settings_path(copy).write_bytes(settings_path(parts[1]).read_bytes())
    with pytest.raises(DataError, match="with another text"):
        merge_traces([*parts, copy], tmp_path / "conflict.jsonl")
    other = tmp_path / "other.jsonl"
    generate_traces(FakeEngine(), questions, other)
    with pytest.raises(DataError, match="other settings than"):
        merge_traces([parts[0], other], tmp_path / "mixed.jsonl")


def test_worked_solutions_need_no_model(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    questions = [
        {"question": "2 1 * 3"},
        {"question": "a", "thought": "b", "answer": "c"},
        {"question": "d", "cot": "e\nFinal Answer: f", "answer": "f"},
        {"question": "g", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"},
    ]
    summary = generate_traces(WorkedEngine(), questions, output)
    records = read(output)
    assert [record["cot"] for record in records] == [
        "6 3 0\nFinal Answer: 6 3 0",
        "b\nFinal Answer: c",
        "e\nFinal Answer: f",
        "2 + 2 = <<2+2=4>>4\n#### 4",
    ]
    assert records[3]["answer"] == "4"
    assert "thought" not in records[1]
    assert summary.num_tokens == 0
    with pytest.raises(DataError, match="question 0: found 'why'"):
        generate_traces(WorkedEngine(), [{"question": "why"}], tmp_path / "none.jsonl")


def test_the_seeds_questions_have_right_worked_solutions(tmp_path: Path) -> None:
    main(["data", "arithmetic", "--output", str(tmp_path)])
    questions, output = tmp_path / "raw_questions.jsonl", tmp_path / "cot_dataset.jsonl"
    main(["generate", "--engine", "worked", "--input", str(questions), "--output", str(output)])
    asked, records = read(questions), read(output)
    assert len(records) == len(asked) == 377
    for record, question in zip(records, asked, strict=True):
        assert (record["question"], record["answer"]) == (question["question"], question["answer"])
        assert record["category"] == question["category"]
        assert record["cot"].startswith("Step 1: ")
        assert record["cot"].splitlines()[-1] == f"Final Answer: {question['answer']}"


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    code = (
        "import sys, time; from pathlib import Path; from unspoken.common.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(output)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(DataError, match=rf"process {other.pid} on .* is writing to it"):
            generate_traces(FakeEngine(), QUESTIONS, output)
        other.kill()
    generate_traces(FakeEngine(), QUESTIONS, output)  # a killed process leaves no lock
    with locked(output), pytest.raises(DataError), locked(output):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "traces.jsonl",
        "traces.jsonl.settings.json",
    ]


SLOW = """
import sys, time
sys.path.insert(0, sys.argv[1])
from helpers.engines import FakeEngine, QUESTIONS
from unspoken.teach.traces.write import generate_traces

class SlowEngine(FakeEngine):
    def generate(self, *arguments, **options):
        for number, reply in super().generate(*arguments, **options):
            time.sleep(0.004)
            yield number, reply

many = [{"question": f"{record['question']} ({n})"} for n in range(10) for record in QUESTIONS]
summary = generate_traces(SlowEngine(), many, sys.argv[2])
sys.exit(75 if summary.interrupted else 0)
"""


def start_slow(output: Path) -> subprocess.Popen[str]:
    """Begins a run of 200 traces and waits until it writes, or ends."""
    size = output.stat().st_size if output.exists() else 0
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(ROOT / "tests"), str(output)],
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (output.exists() and output.stat().st_size != size):
        time.sleep(0.002)
    return process


@pytest.mark.slow
def test_kill_9_at_ten_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    whole, output = tmp_path / "whole.jsonl", tmp_path / "traces.jsonl"
    start_slow(whole).communicate()
    generator = random.Random(0)
    num_killed, sizes = 0, []
    while num_killed < 10:
        process = start_slow(output)
        time.sleep(generator.uniform(0, 0.08))
        assert process.poll() is None, process.communicate()[1]
        os.kill(process.pid, signal.SIGKILL)
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


#: Forks a process for each output that it reads a line with, since importing torch takes seconds.
TEACHER = """
import os, sys
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
    pid = os.fork()
    if pid == 0:
        run(line.strip())
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_a_model_that_is_killed_ten_times_writes_what_it_writes_at_a_stretch(
    tmp_path: Path, tokenizer: Any
) -> None:
    """Must show 3: greedy traces of a transformers model, byte for byte as if nothing happened.

    The moments are spread over the whole run, from loading to sorting.
    """
    from helpers.teachers import save

    teacher, questions = save(tmp_path / "teacher", tokenizer), tmp_path / "questions.jsonl"
    asked = [{"question": f"{n} * {'7' * (n % 9 + 1)}"} for n in range(400)]
    questions.write_text("".join(f"{json.dumps(record)}\n" for record in asked))
    whole, output = tmp_path / "whole.jsonl", tmp_path / "traces.jsonl"
    flags = ["--teacher_dir", str(teacher), "--prompt", "plain", "--batch_size", "8"]
    flags += ["--input", str(questions), "--max_new_tokens", "24"]
    main(["generate", *flags, "--output", str(whole)])
    generator = random.Random(0)
    with subprocess.Popen(
        [sys.executable, "-c", TEACHER, str(teacher), str(questions)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    ) as runner:  # fmt: skip
        assert runner.stdin is not None
        assert runner.stdout is not None
        assert runner.stdout.readline() == "ready\n"

        def run(target: Path, kill_after_s: float | None) -> int:
            assert runner.stdin is not None
            assert runner.stdout is not None
            runner.stdin.write(f"{target}\n")
            pid = int(runner.stdout.readline())
            if kill_after_s is not None:
                time.sleep(kill_after_s)
                os.kill(pid, signal.SIGKILL)
            return int(runner.stdout.readline())

        begin = time.perf_counter()
        assert run(tmp_path / "timed.jsonl", None) == 0
        seconds = time.perf_counter() - begin
        lines: list[int] = []
        while len(lines) < 10:
            left_s = seconds * (1 - (lines[-1] if lines else 0) / 400)
            if run(output, generator.uniform(0, 0.2 + 2 * left_s / (10 - len(lines)))) == 0:
                assert output.read_bytes() == whole.read_bytes()
                output.unlink()  # it was faster than thought: once more
                continue
            raw = output.read_bytes() if output.exists() else b""
            lines.append(raw.count(b"\n"))
            if len(lines) % 3 == 0:  # a crash of the machine loses more than kill -9
                output.write_bytes(raw[: -generator.randrange(1, 900)])
        runner.stdin.close()
    print(f"killed after {lines} of 400 lines; at a stretch {seconds:.1f} s")
    main(["generate", *flags, "--output", str(output)])
    assert output.read_bytes() == whole.read_bytes() == (tmp_path / "timed.jsonl").read_bytes()
    assert [record["id"] for record in read(output)] == [f"{n}#0" for n in range(400)]
    assert len({record["cot"] for record in read(output)}) > 100


def test_sigterm_ends_after_the_running_batch_and_can_go_on(tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    process = start_slow(output)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (75, "")
    num_done = len(read(output))
    assert 0 < num_done < 200
    assert num_done % 4 == 0
    assert start_slow(output).communicate()[1] == ""
    assert len(read(output)) == 200
