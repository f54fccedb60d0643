"""The engine that asks a server: faults, costs, the key; a real server that is killed midway."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.patience import Deadline
from helpers.servers import KEY, FakeServer, openai_engine
from helpers.teachers import CHAT, QUESTIONS, records_of, save
from unspoken.common.errors import DataError, RecipeError
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import EngineError, Usage
from unspoken.teach.engines.budget import Budget, Limits, Unanswered
from unspoken.teach.engines.openai import OpenAIEngine
from unspoken.teach.engines.server import Pace, Secret
from unspoken.teach.engines.transformers import transformers_engine
from unspoken.teach.prompts import INSTRUCTION
from unspoken.teach.traces.file import TraceFile
from unspoken.teach.traces.settings import unanswered_path
from unspoken.teach.traces.write import generate_traces
from unspoken.teach.vet import vet_traces


def test_a_server_is_asked_as_the_api_says(server: FakeServer, tmp_path: Path) -> None:
    chat, plain = tmp_path / "chat.jsonl", tmp_path / "plain.jsonl"
    generate_traces(openai_engine(server.url), QUESTIONS[:3], chat)
    body = server.bodies[0]
    assert body["path"] == "/v1/chat/completions"
    assert body["messages"][0] == {"role": "system", "content": INSTRUCTION}
    assert body["messages"][1]["role"] == "user"
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 512, 0.0)
    assert records_of(chat)[0]["cot"] == "2 * 1\nFinal Answer: 2\nQ: next"
    warm = Sampling(max_new_tokens=9, temperature=0.5, top_p=0.9)
    generate_traces(openai_engine(server.url, style="plain"), QUESTIONS[:3], plain, sampling=warm)
    body = server.bodies[3]
    assert body["path"] == "/v1/completions"
    assert body["prompt"].startswith(INSTRUCTION)
    assert (body["top_p"], body["stop"]) == (0.9, ["\nQ:"])
    assert len({body["seed"] for body in server.bodies[3:]}) == 3
    record = records_of(plain)[0]
    assert record["cot"].endswith("Final Answer: 2")
    assert (record["num_prompt_tokens"], record["num_tokens"]) == (100, 50)
    assert (record["stopped"], record["engine"], record["model"]) == (True, "openai", "tiny")


def test_passing_faults_are_bridged_and_nothing_is_doubled(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = {
        0: (500, {}, "oops"),
        1: (503, {}, "<html>"),
        3: (429, {"Retry-After": "0.4"}, "slow down"),
        5: (200, {}, '{"choices": [{"mess'),
        6: (502, {}, ""),
    }
    deadline = Deadline(60)

    def once_two_are_there(body: dict[str, Any]) -> None:
        while server.most_open < 2 and not deadline.has_passed:
            time.sleep(0.005)

    server.refuse = once_two_are_there
    begin = time.perf_counter()
    output = tmp_path / "traces.jsonl"
    summary = generate_traces(openai_engine(server.url, concurrency=4), QUESTIONS, output)
    assert time.perf_counter() - begin > 0.4
    assert len(server.bodies) == 25
    assert 1 < server.most_open <= 4
    assert [record["id"] for record in records_of(output)] == [f"{n}#0" for n in range(20)]
    assert summary.num_written == 20


def test_a_server_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    with pytest.raises(EngineError, match="no answer in 3 tries, the last one: ConnectionRefused"):
        generate_traces(openai_engine(url, max_attempts=3), QUESTIONS, tmp_path / "none.jsonl")
    later: list[FakeServer] = []
    timer = threading.Timer(0.3, lambda: later.append(FakeServer(port)))
    timer.start()
    summary = generate_traces(openai_engine(url), QUESTIONS, tmp_path / "traces.jsonl")
    later[0].close()
    assert summary.num_written == 20


def test_a_server_that_dies_midway_costs_nothing_twice(tmp_path: Path) -> None:
    first = FakeServer()
    first.faults = {n: (401, {}, "bad KEY") for n in range(9, 99)}
    output = tmp_path / "traces.jsonl"
    with pytest.raises(EngineError, match="HTTP 401"):
        generate_traces(openai_engine(first.url, concurrency=1), QUESTIONS, output)
    first.close()
    assert len(records_of(output)) == 9
    second = FakeServer()
    summary = generate_traces(openai_engine(second.url), QUESTIONS, output)
    second.close()
    assert (summary.num_done_before, len(second.bodies)) == (9, 11)
    assert [record["index"] for record in records_of(output)] == list(range(20))


def test_refused_questions_do_not_hold_up_the_others(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def too_long(body: dict[str, Any]) -> str | None:
        return "context length" if body["messages"][-1]["content"] == "1111111 * 2" else None

    server.refuse = too_long
    output = tmp_path / "traces.jsonl"
    generate_traces(openai_engine(server.url), QUESTIONS, output)
    assert re.search(r"2 of 20 samples were refused \(.*context length", caplog.text)
    reasons = [record["finish_reason"] for record in records_of(output)]
    assert Counter(reasons) == {"stop": 18, "refused: context length": 2}
    summary = vet_traces([output], tmp_path / "kept.jsonl", failed=tmp_path / "failed.jsonl")
    assert (summary.rejected["refused"], len(records_of(tmp_path / "failed.jsonl"))) == (2, 1)
    server.refuse = lambda body: "no such parameter"
    before = len(server.bodies)
    with pytest.raises(EngineError, match="HTTP 400: no such parameter"):
        generate_traces(openai_engine(server.url), QUESTIONS, tmp_path / "none.jsonl")
    # eight, the seven that are under way when the eighth is refused, and one that no server refuses
    # for itself; each without a system too
    assert len(server.bodies) - before <= 2 * (8 + 7 + 1) < 2 * len(QUESTIONS)


@pytest.mark.parametrize("num_answered", [0, 8])
def test_any_number_of_questions_may_be_refused(
    server: FakeServer, tmp_path: Path, num_answered: int
) -> None:
    """Also where all that are left are: then 1 + 1 tells them from wrong settings."""
    output = tmp_path / "traces.jsonl"
    prices = {"price_prompt": 1.0, "price_completion": 1.0}
    if num_answered:
        server.faults = {n: (401, {}, "no key") for n in range(num_answered, 99)}
        with pytest.raises(EngineError, match="no key"):
            generate_traces(openai_engine(server.url, concurrency=1), QUESTIONS, output)
        server.faults = {}
    server.refuse = lambda body: "long" if " * " in body["messages"][-1]["content"] else None
    summary = generate_traces(openai_engine(server.url, **prices), QUESTIONS, output)
    assert (summary.num_written, summary.num_missing) == (20 - num_answered, 0)
    records = records_of(output)
    assert [record["index"] for record in records] == list(range(20))
    reasons = [record["finish_reason"] for record in records]
    assert Counter(reasons)["refused: long"] == 20 - num_answered
    (trial,) = [body for body in server.bodies if body["messages"][-1]["content"] == "1 + 1 ="]
    assert trial["messages"][0]["content"] == INSTRUCTION
    assert trial["max_tokens"] == 512
    # nobody keeps the answer, and it is counted like any that may be charged
    lost = Unanswered(unanswered_path(output)).before
    assert lost.num_tokens == 512
    assert summary.cost == pytest.approx((num_answered * 150 + sum(lost)) / 1_000_000)


def test_differences_between_servers_are_bridged(server: FakeServer, tmp_path: Path) -> None:
    def picky(body: dict[str, Any]) -> str | None:
        if "max_tokens" in body:
            return "Unsupported parameter: use 'max_completion_tokens' instead."
        return "System role not supported" if body["messages"][0]["role"] == "system" else None

    server.refuse = picky
    generate_traces(openai_engine(server.url, concurrency=2), QUESTIONS, tmp_path / "traces.jsonl")
    (message,) = server.bodies[-1]["messages"]
    assert message["content"].startswith(f"{INSTRUCTION}\n\n1")
    assert len(server.bodies) <= 20 + 4


def test_separate_reasoning_becomes_a_think_block(server: FakeServer, tmp_path: Path) -> None:
    message = {"reasoning_content": "hm", "content": "Final Answer: 2"}
    choices = [{"message": message, "finish_reason": "length"}]
    server.faults = {0: (200, {}, json.dumps({"choices": choices}))}
    generate_traces(openai_engine(server.url), QUESTIONS[:1], tmp_path / "traces.jsonl")
    (record,) = records_of(tmp_path / "traces.jsonl")
    assert record["cot"] == "<think>\nhm\n</think>\n\nFinal Answer: 2"
    assert (record["stopped"], record["num_tokens"]) == (False, None)
    server.faults = dict.fromkeys((1, 2), (200, {}, "{}"))
    with pytest.raises(EngineError, match=r"without choices\[0\]"):
        generate_traces(openai_engine(server.url), QUESTIONS[:1], tmp_path / "other.jsonl")


#: In each answer 50 tokens are written and counted; a request may write 60.
PRICES = {"price_prompt": 0, "price_completion": 2_000}
ANSWERED, MOST = 0.1, 0.12


@pytest.mark.parametrize("concurrency", [1, 4])
def test_what_may_be_charged_without_an_answer_counts_also_in_the_next_run(
    server: FakeServer, tmp_path: Path, concurrency: int
) -> None:
    gave_up = {n for n in range(200) if n % 3}  # two of three, behind a gateway
    server.faults = {n: (504, {}, "upstream timed out") for n in gave_up}
    output = tmp_path / "traces.jsonl"
    charged = 0.0
    for limit in (1.0, 1.0, 2.0):
        with pytest.raises(EngineError, match=r"max_cost=.* go beyond") as caught:
            generate_traces(
                openai_engine(server.url, max_cost=limit, concurrency=concurrency, **PRICES),
                QUESTIONS,
                output,
                sampling=Sampling(max_new_tokens=60),
            )
        lost = len(gave_up & set(range(len(server.bodies))))
        before, charged = charged, MOST * lost + ANSWERED * (len(server.bodies) - lost)
        assert limit - 2 * MOST * concurrency < charged <= limit
        assert "\n" not in str(caught.value)
    assert before < charged  # a higher limit goes on
    server.faults = {}
    summary = generate_traces(
        openai_engine(server.url, **PRICES), QUESTIONS, output, sampling=Sampling(60)
    )
    assert summary.cost == pytest.approx(20 * ANSWERED + MOST * lost)


def test_what_a_server_does_not_count_costs_the_most_also_in_the_next_run(
    server: FakeServer, tmp_path: Path
) -> None:
    server.usage = False
    for _ in range(2):
        with pytest.raises(EngineError, match=r"max_cost="):
            generate_traces(
                openai_engine(server.url, max_cost=1.0, **PRICES),
                QUESTIONS,
                tmp_path / "traces.jsonl",
                sampling=Sampling(max_new_tokens=60),
            )
        assert len(server.bodies) == 8


def test_what_was_under_way_at_a_kill_counts_as_charged(tmp_path: Path) -> None:
    file = tmp_path / "unanswered.json"
    budget = Budget(1.0, 0, 2_000, Usage(), Unanswered(file))
    assert budget.reserve(Usage(10, 60))
    assert budget.reserve(Usage(10, 60))
    budget.settle(Usage(10, 60), None)
    assert Unanswered(file).before == Usage(20, 120)  # a kill: nobody has told that one is settled
    budget.close()
    assert Unanswered(file).before == Usage()
    assert not file.exists()
    assert budget.lose(Usage(10, 60)) is False  # too late to be counted
    file.write_text('{"version": 1, "num_tokens": "x"}')
    with pytest.raises(DataError, match=r"unanswered.json: num_tokens: "):
        Unanswered(file)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_reply_that_cannot_be_kept_counts_as_charged(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    output, add = tmp_path / "traces.jsonl", TraceFile.add

    def fill_the_disk(file: TraceFile, *args: Any) -> None:
        if len(file.lines) == 3:
            raise DataError("the disk is full")
        add(file, *args)

    monkeypatch.setattr(TraceFile, "add", fill_the_disk)
    engine = openai_engine(server.url, concurrency=concurrency, **PRICES)
    with pytest.raises(DataError, match="disk is full"):
        generate_traces(engine, QUESTIONS, output, sampling=Sampling(60))
    num_lost = len(server.bodies) - len(records_of(output))
    assert num_lost >= 1
    assert Unanswered(unanswered_path(output)).before.num_tokens >= 60 * num_lost
    assert engine.unanswered.before == Unanswered(unanswered_path(output)).before


def test_overwriting_forgets_what_was_spent(server: FakeServer, tmp_path: Path) -> None:
    output = tmp_path / "traces.jsonl"
    server.faults = {0: (504, {}, "timed out")}
    for overwrite, lost in ((False, 1), (True, 0)):
        engine = openai_engine(server.url, **PRICES)
        summary = generate_traces(
            engine, QUESTIONS[:2], output, sampling=Sampling(60), overwrite=overwrite
        )
        assert summary.cost == pytest.approx(2 * ANSWERED + lost * MOST)


def test_the_spend_limit_is_never_passed_and_counts_earlier_runs(
    server: FakeServer, tmp_path: Path
) -> None:
    output = tmp_path / "traces.jsonl"
    prices = {"price_prompt": 1_000, "price_completion": 2_000}  # 0.2 for each answer
    sampling = Sampling(max_new_tokens=60)
    for limit in (1.5, 2.5):
        with pytest.raises(EngineError, match=r"max_cost=.* samples are missing"):
            generate_traces(
                openai_engine(server.url, max_cost=limit, **prices),
                QUESTIONS,
                output,
                sampling=sampling,
            )
        spent = 0.2 * len(server.bodies)
        assert limit - 0.5 < spent <= limit
        assert len(records_of(output)) == len(server.bodies)
    summary = generate_traces(
        openai_engine(server.url, **prices), QUESTIONS, output, sampling=sampling
    )
    assert summary.cost == pytest.approx(4.0)
    with pytest.raises(RecipeError, match="max_cost: found it without price_prompt"):
        openai_engine(server.url, max_cost=1)
    with pytest.raises(RecipeError, match="concurrency: found 0"):
        openai_engine(server.url, concurrency=0)


def test_requests_are_spread_over_the_minute() -> None:
    pace = Pace(600)
    delays = [pace.delay_s() for _ in range(4)]
    assert delays == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.05)
    pace.hold(5)
    assert pace.delay_s() == pytest.approx(5, abs=0.05)
    assert [Pace(None).delay_s() for _ in range(2)] == [0, 0]


def test_the_key_is_nowhere_but_in_the_header(
    server: FakeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server.faults = {0: (500, {}, "KEY"), 1: (429, {}, "KEY"), 22: (401, {}, "bad KEY")}
    engine = openai_engine(server.url, api_key_env="MY_KEY", concurrency=1)
    generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl", progress="generate")
    assert server.keys == {f"Bearer {KEY}"}
    with pytest.raises(EngineError) as caught:
        generate_traces(engine, QUESTIONS, tmp_path / "other.jsonl")
    seen = [repr(caught.value), repr(caught.value.__cause__), caplog.text, repr(vars(engine))]
    seen += [repr(vars(engine.server)), *capsys.readouterr()]
    seen += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert "try 1: HTTP 500: Bearer ***" in caplog.text
    assert "environment variable MY_KEY" in str(caught.value)
    assert not [text for text in seen if KEY in text]
    monkeypatch.setenv("MY_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(EngineError, match="one line of ASCII") as broken:
        openai_engine(server.url, api_key_env="MY_KEY")
    assert KEY not in str(broken.value)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(EngineError, match="found no such environment variable"):
        openai_engine(server.url, api_key_env="MY_KEY")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert Secret("OPENAI_API_KEY", required=False).headers() == {}
    for url in (f"http://user:{KEY}@host/v1", f"http://host/v1?key={KEY}", "host:80", "http://h:x"):
        with pytest.raises(EngineError, match="base_url") as bad:
            openai_engine(url)
        assert KEY not in str(bad.value)


def test_a_redirect_does_not_carry_the_key_away(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    thief = FakeServer()
    server.faults = {n: (302, {"Location": thief.url}, "") for n in range(9)}
    with pytest.raises(EngineError, match="HTTP 302"):
        generate_traces(
            openai_engine(server.url, api_key_env="MY_KEY"), QUESTIONS, tmp_path / "traces.jsonl"
        )
    thief.close()
    assert not thief.bodies


@pytest.mark.integration
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn", "openai")),
    reason="the extra 'serving' of transformers (fastapi, uvicorn, openai) is not installed",
)
def test_a_real_server_writes_what_the_transformers_engine_writes(
    tmp_path: Path, tokenizer: Any
) -> None:
    """Must show 4: equal greedy traces, and a server killed midway loses and doubles nothing."""
    teacher = save(tmp_path / "teacher", tokenizer, CHAT)
    sampling = Sampling(max_new_tokens=24)
    with served(teacher) as (url, restart):
        for style in ("chat", "plain"):
            local, remote = tmp_path / f"local-{style}.jsonl", tmp_path / f"remote-{style}.jsonl"
            generate_traces(
                transformers_engine(teacher, prompt=style), QUESTIONS, local, sampling=sampling
            )
            killed_at: list[int] = []
            engine = OpenAIEngine(url, str(teacher), style=style, limits=Limits(concurrency=2))
            killer = threading.Thread(target=_kill_midway, args=(remote, restart, killed_at))
            killer.start()
            summary = generate_traces(engine, QUESTIONS, remote, sampling=sampling)
            killer.join()
            ours, theirs = records_of(local), records_of(remote)
            print(f"{style}: server killed after {killed_at} of 20 traces, the rest came later")
            assert 5 <= killed_at[0] < 20
            assert summary.num_written == 20
            assert [record["id"] for record in theirs] == [f"{n}#0" for n in range(20)]
            assert [record["cot"] for record in theirs] == [record["cot"] for record in ours]
            assert len({record["cot"] for record in ours}) > 1


def _kill_midway(output: Path, restart: Callable[[], None], killed_at: list[int]) -> None:
    """Kills the server once five traces are there; notes how many were when it was gone."""
    deadline = Deadline(120)
    while not deadline.has_passed:
        if output.exists() and output.read_bytes().count(b"\n") >= 5:
            restart()
            killed_at.append(output.read_bytes().count(b"\n"))
            return
        time.sleep(0.01)


def is_open(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def served(teacher: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A `transformers serve` on loopback, and what kills it and starts another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(teacher),
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32",
    ]  # fmt: skip
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        if running:
            running[-1].kill()
            running[-1].wait()
        running.append(
            subprocess.Popen(
                command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )

    start()
    try:
        deadline = Deadline(120)
        while not is_open(port):  # nobody who never answered is waited for
            assert not deadline.has_passed and running[-1].poll() is None
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1", start
    finally:
        running[-1].kill()
        running[-1].wait()
