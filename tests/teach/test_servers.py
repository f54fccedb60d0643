"""Servers as strangers run them: answers and errors in other words and other forms."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import QUESTIONS, FakeServer, openai_engine, raw_server
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import EngineError
from unspoken.teach.prompts import INSTRUCTION
from unspoken.teach.traces.write import generate_traces

GOOD = {"choices": [{"message": {"content": "Final Answer: 2"}, "finish_reason": "stop"}]}


def choice_of(**fields: Any) -> dict[str, Any]:
    return {"message": {"content": "Final Answer: 2"}, "finish_reason": "stop", **fields}


def ask(server: FakeServer, output: Path, *answers: Any, **options: Any) -> dict[str, Any]:
    """The record of one question, to which the server gives these answers in turn, or texts."""
    first = len(server.bodies)
    for number, answer in enumerate(answers):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        server.faults[first + number] = (200, {}, text)
    output.unlink(missing_ok=True)
    sampling = Sampling(max_new_tokens=64)
    engine = openai_engine(server.url, **options)
    generate_traces(engine, QUESTIONS[:1], output, sampling=sampling, overwrite=True)
    return json.loads(output.read_text())


# --- answers in other forms ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "num_tokens", "reason"),
    [
        ("stop", 9, "stop"),
        ("eos_token", 9, "stop"),
        ("EOS", None, "stop"),
        ("stop_sequence", 9, "stop"),
        ("end_turn", 9, "stop"),
        ({"type": "stop", "matched": 2}, 9, "stop"),
        (None, 9, "stop"),
        (None, 64, "length"),
        (None, None, "unknown"),
        ("", 9, "stop"),
        (7, 9, "stop"),
        ("length", 9, "length"),
        ("max_tokens", 9, "length"),
        ("MAX_TOKENS", None, "length"),
        ("content_filter", 9, "content_filter"),
        ("tool_calls", 9, "tool_calls"),
    ],
)
def test_the_reasons_of_other_servers_are_understood(
    server: FakeServer, tmp_path: Path, said: Any, num_tokens: int | None, reason: str
) -> None:
    usage = {} if num_tokens is None else {"usage": {"completion_tokens": num_tokens}}
    answer = {"choices": [choice_of(finish_reason=said)], **usage}
    record = ask(server, tmp_path / "traces.jsonl", answer)
    assert record["finish_reason"] == reason
    assert record["stopped"] == (reason in ("stop", "unknown"))


THOUGHT = "<think>\nhm\n</think>\n\nFinal Answer: 2"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "Final "}, {"type": "text", "text": "Answer: 2"}]},
         "Final Answer: 2"),
        ({"content": ["Final ", "Answer: 2"]}, "Final Answer: 2"),
        ({"content": {"type": "text", "text": "Final Answer: 2"}}, "Final Answer: 2"),
        ({"content": [{"type": "thinking", "thinking": "hm"},
                      {"type": "text", "text": "Final Answer: 2"}]}, THOUGHT),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                      {"type": "text", "text": "Final Answer: 2"}]}, THOUGHT),
        ({"content": [{"type": "reasoning", "text": "hm"}, "Final Answer: 2"]}, THOUGHT),
        ({"content": [{"text": "hm", "thought": True}, {"text": "Final Answer: 2"}]}, THOUGHT),
        ({"content": [{"type": "redacted_thinking", "data": "x"}, "Final Answer: 2"]},
         "Final Answer: 2"),
        ({"content": "Final Answer: 2", "reasoning": [{"type": "text", "text": "hm"}]}, THOUGHT),
        ({"content": None, "reasoning_content": "hm"}, "<think>\nhm\n</think>"),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": "half a \ud83d"}, "half a \ud83d"),
    ],
)  # fmt: skip
def test_content_in_parts_is_joined(
    server: FakeServer, tmp_path: Path, message: dict[str, Any], text: str
) -> None:
    answer = {"choices": [choice_of(message=message)]}
    assert ask(server, tmp_path / "traces.jsonl", answer)["cot"] == text


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ("none", (None, None)),
        (["a"], (None, None)),
        ({"prompt_tokens": "12", "completion_tokens": 3.0}, (12, 3)),
        ({"prompt_tokens": "many", "completion_tokens": None}, (None, None)),
        ({"prompt_tokens": -4, "completion_tokens": True}, (None, None)),
        ({"prompt_tokens": 1e300, "completion_tokens": {"n": 1}}, (None, None)),
        ({"input_tokens": 5, "output_tokens": 6}, (5, 6)),
    ],
)
def test_a_usage_that_is_none_counts_as_unknown(
    server: FakeServer, tmp_path: Path, usage: Any, counts: tuple[Any, Any]
) -> None:
    prices = {"max_cost": 9.0, "price_prompt": 1.0, "price_completion": 1.0}
    record = ask(server, tmp_path / "traces.jsonl", {**GOOD, "usage": usage}, **prices)
    assert (record["num_prompt_tokens"], record["num_tokens"]) == counts


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"choices": []},
        {"choices": {"0": 1}},
        {"choices": ["text"]},
        {"choices": [{}]},
        {"choices": [choice_of(message={"content": 5})]},
        {"choices": [choice_of(message=7)]},
        '{"choices": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"choices": [{"message": {"content": ' + "[" * 400 + "]" * 400 + "}}]}",
    ],
)
def test_an_answer_without_a_text_is_one_line(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    record = ask(server, tmp_path / "traces.jsonl", answer)
    assert "1 of 1 samples were refused" in caplog.text
    for said in (record["finish_reason"], caplog.records[-1].getMessage()):
        assert "base_url" in said
        assert "\n" not in said
    server.answer = lambda number, body, headers: (200, {}, json.dumps({"choices": []}))
    with pytest.raises(EngineError, match="base_url"):
        ask(server, tmp_path / "none.jsonl")


def test_one_bad_answer_does_not_hold_up_the_others(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = {5: (200, {}, '{"choices": []}')}
    output = tmp_path / "traces.jsonl"
    generate_traces(openai_engine(server.url), QUESTIONS, output)
    assert re.search(r"1 of 20 samples were refused \(\d+#0 in questions:\d+\)", caplog.text)
    assert output.read_text().count('"finish_reason": "stop"') == 19


@pytest.mark.parametrize("num_answered", [0, 7])
def test_a_question_that_breaks_the_server_down_does_not_hold_up_the_others(
    server: FakeServer, tmp_path: Path, num_answered: int
) -> None:
    """Where others are answered meanwhile; else the server itself is to blame."""
    given, tried_again = server.answer, threading.Event()

    def answer(number: int, body: Any, headers: Any) -> tuple[int, dict[str, str], str]:
        breaks = "0 + 2" in body["messages"][-1]["content"] or num_answered == 0
        if breaks and number > 1:
            tried_again.set()
        elif not breaks:
            tried_again.wait(60)
        return (500, {}, "assertion failed") if breaks else given(number, body, headers)

    server.answer = answer
    output = tmp_path / "traces.jsonl"
    engine = openai_engine(server.url, concurrency=2, max_attempts=6, first_delay_s=0.1)
    if num_answered:
        generate_traces(engine, QUESTIONS[:8], output)
        assert '"refused: HTTP 500: assertion failed"' in output.read_text().splitlines()[0]
    else:
        with pytest.raises(EngineError, match="no answer in 6 tries"):
            generate_traces(engine, QUESTIONS[:8], output)
    assert output.read_text().count('"finish_reason": "stop"') == num_answered


@pytest.mark.parametrize(
    ("name", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)],
)
def test_an_answer_that_is_compressed_unasked_is_read(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    body = pack(json.dumps(GOOD).encode())
    for sent, is_read in ((body, True), (b"no such form", False)):
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {name}\r\nContent-Length: {len(sent)}\r\n\r\n"
        answer = head.encode() + sent

        def serve(connection: socket.socket, answer: bytes = answer) -> None:
            connection.recv(65_536)
            connection.sendall(answer)

        with raw_server(serve) as url:
            engine = openai_engine(url, max_attempts=2)
            if is_read:
                assert generate_traces(engine, QUESTIONS[:1], tmp_path / "t.jsonl").num_written == 1
                continue
            with pytest.raises(EngineError, match="an answer that cannot be unpacked"):
                generate_traces(engine, QUESTIONS[:1], tmp_path / "none.jsonl")


@pytest.mark.parametrize("start", ["data: {}", ": PROCESSING\n\ndata: {}", "event: message\n"])
def test_a_stream_of_events_is_called_what_it_is(
    server: FakeServer, tmp_path: Path, start: str
) -> None:
    server.faults = {n: (200, {}, start) for n in range(9)}
    with pytest.raises(EngineError, match=r"a stream of events.*turn streaming off"):
        generate_traces(openai_engine(server.url), QUESTIONS[:1], tmp_path / "traces.jsonl")


# --- errors in other forms ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"code": 429, "message": "slow down"}},
        {"error": {"code": 502, "message": "upstream"}},
        {"error": {"code": "503", "message": "loading"}},
        {"error": {"code": "rate_limit_exceeded", "message": "slow down"}},
        {"error": {"message": "try later", "type": "server_error", "code": None}},
        {"error": "overloaded"},
        {"object": "error", "message": "busy", "code": 50001},
        {"choices": [{"error": {"code": 502, "message": "upstream"}, "finish_reason": "error"}]},
    ],
)
def test_an_error_with_status_200_is_tried_again(
    server: FakeServer, tmp_path: Path, error: dict[str, Any]
) -> None:
    engine = openai_engine(server.url)
    server.faults = {n: (200, {}, json.dumps(error)) for n in (0, 1)}
    summary = generate_traces(engine, QUESTIONS[:1], tmp_path / "traces.jsonl")
    assert (summary.num_written, summary.num_retries, len(server.bodies)) == (1, 2, 3)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, "no answer in 3 tries.*HTTP 429: slow"),
        ({"error": {"code": 401, "message": "bad key"}}, "HTTP 401: bad key; .*OPENAI_API_KEY"),
        ({"error": {"type": "invalid_api_key", "message": "no"}}, "HTTP 401: no"),
        ({"error": {"code": "insufficient_quota", "message": "pay"}}, "HTTP 402: pay"),
        ({"error": {"code": "context_length_exceeded", "message": "long"}}, "HTTP 400: long"),
        ({"error": {"code": 404, "message": {"deep": 1}}}, 'HTTP 404: {"code": 404'),
    ],
)
def test_an_error_with_status_200_is_shown(
    server: FakeServer, tmp_path: Path, error: dict[str, Any], message: str
) -> None:
    server.faults = {n: (200, {}, json.dumps(error)) for n in range(9)}
    with pytest.raises(EngineError, match=message):
        generate_traces(
            openai_engine(server.url, max_attempts=3), QUESTIONS[:1], tmp_path / "traces.jsonl"
        )


def test_signs_that_a_terminal_obeys_are_not_shown(server: FakeServer, tmp_path: Path) -> None:
    server.faults = {0: (401, {}, "\x1b[2J\x07bad\r\nkey\x00")}
    with pytest.raises(EngineError, match=r"HTTP 401: \[2J bad key; ") as caught:
        generate_traces(openai_engine(server.url), QUESTIONS[:1], tmp_path / "traces.jsonl")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize(
    "words", ["System role not supported", "Nur user und assistant sind erlaubt", "", "{}"]
)
def test_a_system_message_refused_in_any_words_is_merged(
    server: FakeServer, tmp_path: Path, status: int, words: str
) -> None:
    def answer(number: int, body: Any, headers: Any) -> tuple[int, dict[str, str], str]:
        is_refused = body["messages"][0]["role"] == "system"
        return (status, {}, words) if is_refused else (200, {}, json.dumps(GOOD))

    server.answer = answer
    engine = openai_engine(server.url, concurrency=2)
    summary = generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl")
    assert summary.num_written == 20
    (message,) = server.bodies[-1]["messages"]
    assert message["content"].startswith(f"{INSTRUCTION}\n\n")
    assert len(server.bodies) <= 20 + (2 if status < 500 else 4)


def test_a_system_message_is_kept_where_it_was_not_the_fault(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = {0: (500, {}, "chance"), 4: (400, {}, "too long"), 7: (500, {}, "chance")}
    generate_traces(openai_engine(server.url, concurrency=1), QUESTIONS, tmp_path / "traces.jsonl")
    assert "1 of 20 samples were refused" in caplog.text
    assert all(body["messages"][0]["role"] == "system" for body in server.bodies)
    server.refuse = lambda body: "no such model"  # with and without
    with pytest.raises(EngineError, match="no such model"):
        generate_traces(
            openai_engine(server.url, concurrency=1), QUESTIONS, tmp_path / "other.jsonl"
        )
