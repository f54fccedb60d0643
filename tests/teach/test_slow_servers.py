"""Servers that are slow, silent or busy to the end, and what a stop does to what is under way."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import QUESTIONS, FakeServer, openai_engine, raw_server
from helpers.teachers import records_of
from unspoken.cli.traces import summary_lines
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import EngineError, Prompt, Request, Usage
from unspoken.teach.engines.budget import Budget, Unanswered
from unspoken.teach.engines.exchange import Client, Halt
from unspoken.teach.traces.write import generate_traces


def drip(connection: socket.socket, head: bytes) -> None:
    """Says one byte now and then, for ever."""
    connection.recv(1)
    connection.sendall(head)
    while True:
        time.sleep(0.05)
        connection.sendall(b" ")


HEADS = {
    "in the head": b"HTTP/1.1 200 OK\r\nX-Wait:",
    "in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{",
    "in a body without an end": b"HTTP/1.1 200 OK\r\n\r\n{",
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "in an error": b"HTTP/1.1 500 No\r\nContent-Length: 99999\r\n\r\n",
}


@pytest.mark.parametrize("place", HEADS)
def test_a_request_as_a_whole_has_a_limit(tmp_path: Path, place: str) -> None:
    with raw_server(lambda connection: drip(connection, HEADS[place])) as url:
        engine = openai_engine(url, timeout_s=0.3, max_attempts=2)
        with pytest.raises(
            EngineError, match=r"no answer in 2 tries, .*no whole answer within 0.3"
        ):
            generate_traces(engine, QUESTIONS[:2], tmp_path / "traces.jsonl")


def test_a_question_without_an_answer_does_not_hold_up_the_others(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = server.answer

    def answer(number: int, body: Any, headers: Any) -> tuple[int, dict[str, str], str]:
        if "13 + 2" in body["messages"][-1]["content"]:
            time.sleep(1.5)
        return given(number, body, headers)

    server.answer = answer
    output = tmp_path / "traces.jsonl"
    generate_traces(openai_engine(server.url, timeout_s=0.5), QUESTIONS, output)
    (record,) = [record for record in records_of(output) if not record["stopped"]]
    assert record["finish_reason"] == "refused: no whole answer within 0.5 s"
    assert "1 of 20 samples were refused (13#0 in questions:14)" in caplog.text


def test_one_answer_shows_that_the_settings_are_right(server: FakeServer) -> None:
    """Whatever is said to 1 + 1, which is asked where there was none."""
    given, is_tried, is_told = server.answer, threading.Event(), threading.Event()

    def answer(number: int, body: Any, headers: Any) -> tuple[int, dict[str, str], str]:
        asked = body["prompt"]
        if asked == "0 + 2":
            is_tried.wait(60)
            return given(number, body, headers)
        if asked == "1 + 1 =":
            is_tried.set()
            is_told.wait(60)
        return 400, {}, "no"

    server.answer = answer
    engine = openai_engine(server.url, style="plain", concurrency=9)
    requests = [replace(one, prompt=Prompt(one.question)) for one in make_requests(12)]
    replies = engine.generate(requests, Sampling(), skip=(), used=Usage(), stopping=lambda: False)
    assert next(replies)[0] == 0
    is_told.set()
    assert [number for number, _ in replies] == list(range(1, 12))


def hang(connection: socket.socket) -> None:
    """Takes everything and never says anything."""
    while connection.recv(65_536):
        pass


@pytest.mark.parametrize("place", ["nowhere", *HEADS])
def test_a_stop_waits_only_a_moment_for_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    monkeypatch.setattr("unspoken.teach.engines.openai.STOP_S", 0.5)
    serve = hang if place == "nowhere" else lambda connection: drip(connection, HEADS[place])
    with raw_server(serve) as url:
        engine = openai_engine(url)
        engine.unanswered = Unanswered(tmp_path / "unanswered.json")
        stops = threading.Event()
        timer = threading.Timer(0.3, stops.set)
        timer.start()
        replies = engine.generate(
            make_requests(3), Sampling(), skip=(), used=Usage(), stopping=stops.is_set
        )
        assert list(replies) == []
    # the server had all three, and may charge them; an error with a status is not charged
    sent = Unanswered(tmp_path / "unanswered.json").before.num_tokens // Sampling().max_new_tokens
    assert sent == 3
    for thread in threading.enumerate():  # none is left behind
        if thread.daemon and thread.name.endswith("(run)"):
            thread.join(5)
            assert not thread.is_alive()


def make_requests(count: int) -> list[Request]:
    return [
        Request(
            f"{n}#0", n, 0, QUESTIONS[n], Prompt(messages=({"role": "user", "content": "?"},)), n
        )
        for n in range(count)
    ]


def test_nothing_is_sent_after_the_cut(server: FakeServer) -> None:
    halt = Halt()
    halt.cut()
    client = Client("127.0.0.1")
    with halt.watching(9) as exchange, pytest.raises(OSError):
        client.post(server.url, b"{}", {}, exchange, 9)
    assert server.bodies == []


def test_what_answers_within_the_moment_is_kept(server: FakeServer, tmp_path: Path) -> None:
    server.delay_s = 0.6
    stops = threading.Event()
    threading.Timer(0.3, stops.set).start()
    engine = openai_engine(server.url, concurrency=4)
    replies = engine.generate(
        make_requests(9), Sampling(), skip=(), used=Usage(), stopping=stops.is_set
    )
    assert sorted(number for number, _ in replies) == [0, 1, 2, 3]


def test_the_last_line_tells_the_retries(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults = {n: (503, {}, "busy") for n in (2, 3, 5)}
    engine = openai_engine(server.url, concurrency=2)
    summary = generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl")
    assert summary.num_retries == 3
    assert summary_lines(summary)[-1].endswith("; 3 retries")
    again = generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl")
    assert again.num_retries == 0
    assert "retries" not in summary_lines(again)[-1]


@pytest.mark.parametrize(
    "wish", ["0", "-5", "0.0", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "", "soon"]
)
def test_a_server_that_wants_to_be_asked_at_once_is_given_time(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: str
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Halt, "wait", lambda halt, seconds: waits.append(seconds) or halt.is_set)
    server.faults = {n: (429, {"Retry-After": wish}, "slow down") for n in range(6)}
    engine = openai_engine(server.url, first_delay_s=1.0)
    assert generate_traces(engine, QUESTIONS[:1], tmp_path / "traces.jsonl").num_written == 1
    assert len([wait for wait in waits if wait >= 0.5]) == 6
    assert sum(waits) >= 15  # half of 1 + 2 + 4 + 8 + 15


@pytest.mark.parametrize("is_date", [False, True])
def test_a_server_is_asked_again_when_it_wants_to_be(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_date: bool
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Halt, "wait", lambda halt, seconds: waits.append(seconds) or halt.is_set)
    wish = formatdate(time.time() + 300, usegmt=True) if is_date else "300"
    server.faults = {0: (429, {"Retry-After": wish}, "slow down")}
    engine = openai_engine(server.url, first_delay_s=0.001)
    assert generate_traces(engine, QUESTIONS[:1], tmp_path / "traces.jsonl").num_written == 1
    assert max(waits) == pytest.approx(300, abs=100 if is_date else 1e-9)
    assert len(server.bodies) == 2


def test_a_server_that_wants_to_be_asked_in_hours_ends_the_command(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Halt, "wait", lambda halt, seconds: halt.is_set)
    server.faults = {n: (429, {"Retry-After": "7200"}, "slow down") for n in range(9)}
    with pytest.raises(EngineError, match=r"retry after 7200 s.*run the same command later"):
        generate_traces(openai_engine(server.url), QUESTIONS[:1], tmp_path / "traces.jsonl")
    assert len(server.bodies) == 1


def test_what_was_put_aside_for_a_request_that_never_went_is_not_counted(tmp_path: Path) -> None:
    unanswered = tmp_path / "unanswered.json"
    most = Usage(10, 5)
    budget = Budget(None, 1.0, 1.0, Usage(), Unanswered(unanswered))
    for _ in range(3):
        assert budget.reserve(most)
        budget.settle(most, None)
    assert (budget.reserved, budget.spent) == (0, 0)
    assert Unanswered(unanswered).before == most, "no more than was at risk at one time"
    budget.close()
    assert not unanswered.exists()


def test_many_requests_that_fail_warn_once(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = {n: (503, {}, "busy") for n in range(60)}
    engine = openai_engine(server.url, first_delay_s=0.001)
    generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl")
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
