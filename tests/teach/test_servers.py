"""Servers as strangers run them: other words, other forms, broken, silent, or no such server."""

from __future__ import annotations

import gzip
import html
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import KEY, FakeServer, free_port, openai_engine, raw_server
from unspoken.cli.main import main
from unspoken.cli.traces import summary_lines
from unspoken.common.address import read_address, read_variable
from unspoken.measure.sampling import Sampling
from unspoken.recipe import Model, Teacher
from unspoken.teach.engines import EngineError, Prompt, Request, Usage
from unspoken.teach.engines.budget import Unanswered
from unspoken.teach.engines.exchange import Client, Halt
from unspoken.teach.prompts import INSTRUCTION
from unspoken.teach.traces.write import generate_traces

QUESTIONS = [{"question": f"{n} + 2", "answer": "2"} for n in range(20)]
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
    server: FakeServer, tmp_path: Path, answer: Any
) -> None:
    with pytest.raises(EngineError, match="1 of 1 samples were refused") as caught:
        ask(server, tmp_path / "traces.jsonl", answer)
    assert "\n" not in str(caught.value)
    assert "base_url" in str(caught.value)


def test_one_bad_answer_does_not_hold_up_the_others(server: FakeServer, tmp_path: Path) -> None:
    server.faults = {5: (200, {}, '{"choices": []}')}
    output = tmp_path / "traces.jsonl"
    with pytest.raises(
        EngineError, match=r"1 of 20 samples were refused \(\d+#0 in questions:\d+\)"
    ):
        generate_traces(openai_engine(server.url), QUESTIONS, output)
    assert output.read_text().count("\n") == 19


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
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = {0: (500, {}, "chance"), 4: (400, {}, "too long"), 7: (500, {}, "chance")}
    with pytest.raises(EngineError, match="1 of 20 samples were refused"):
        generate_traces(
            openai_engine(server.url, concurrency=1), QUESTIONS, tmp_path / "traces.jsonl"
        )
    assert all(body["messages"][0]["role"] == "system" for body in server.bodies)
    server.refuse = lambda body: "no such model"  # with and without
    with pytest.raises(EngineError, match="no such model"):
        generate_traces(
            openai_engine(server.url, concurrency=1), QUESTIONS, tmp_path / "other.jsonl"
        )


# --- no such server -----------------------------------------------------------------------------


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unspoken.teach.engines.server.PATIENCE_S", 0.3)


def told_in_one_line(url: str, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The error of a run against this server, which ends in patience and not in retries."""
    questions = output.with_suffix(".questions.jsonl")
    questions.write_text("".join(f"{json.dumps(record)}\n" for record in QUESTIONS))
    words = ["generate", "--engine", "openai", "--base_url", url, "--model", "m"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--input", str(questions), "--output", str(output)])
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.split("\n") if "error:" in line]
    assert len(lines) == 1
    tries = re.search(r"no answer in (\d+) tr", lines[0])
    assert tries is None or int(tries[1]) <= 6  # of 12, which take two minutes
    return lines[0]


@pytest.mark.parametrize(
    "page", ["<!DOCTYPE html><html>Log in</html>", "OK", "[]", '"text"', "\n <html>", "3"]
)
def test_a_page_where_json_should_be_is_told_at_once(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], page: str
) -> None:
    server.faults = {n: (200, {"Content-Type": "text/html"}, page) for n in range(400)}
    line = told_in_one_line(server.url, tmp_path / "traces.jsonl", capsys)
    assert "should be" in line
    assert "--base_url" in line
    assert len(server.bodies) <= 8


def test_a_page_from_a_server_that_has_answered_is_passing(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = {5: (200, {}, "<html>we are updating"), 6: (200, {}, ""), 7: (200, {}, "{")}
    engine = openai_engine(server.url, concurrency=1)
    summary = generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl")
    assert (summary.num_written, summary.num_retries) == (20, 3)


@pytest.mark.usefixtures("_impatient")
def test_a_port_where_nobody_ever_answered_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    line = told_in_one_line(url, tmp_path / "traces.jsonl", capsys)
    assert "ConnectionRefusedError" in line
    assert "start it or correct --base_url" in line


@pytest.mark.usefixtures("_impatient")
def test_a_host_that_nobody_knows_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = told_in_one_line("http://nobody.invalid/v1", tmp_path / "traces.jsonl", capsys)
    assert "http://nobody.invalid/v1: no answer" in line


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00\x01\x02"])
@pytest.mark.usefixtures("_impatient")
def test_a_port_where_somebody_else_answers_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], greeting: bytes
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(greeting)

    with raw_server(serve) as url:
        assert "no answer in" in told_in_one_line(url, tmp_path / "traces.jsonl", capsys)


def test_a_certificate_that_does_not_verify_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "server.pem"))
    with raw_server(lambda _: None, lambda raw: context.wrap_socket(raw, server_side=True)) as url:
        line = told_in_one_line(url, tmp_path / "traces.jsonl", capsys)
    assert "its certificate does not verify" in line
    assert "SSL_CERT_FILE" in line


def self_signed(path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed, and its key."""
    pytest.importorskip("cryptography", reason="makes the certificate")
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(encoding))
    return path


def test_a_server_behind_a_good_certificate_is_asked(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = self_signed(tmp_path / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    url = server.url.replace("http:", "https:")
    summary = generate_traces(openai_engine(url), QUESTIONS, tmp_path / "traces.jsonl")
    assert summary.num_written == 20


@pytest.mark.parametrize(
    "address",
    [
        "http://local host/v1",
        " http://localhost/v1",
        "http://localhost/v1\n",
        "http://localhost/v1/caf\u00e9",
        "http://b\u00fccher.example/v1",
        "http://localhost:8000/v1\u200b",
        "http://local\x00host/v1",
        "http://localhost:99999/v1",
        "http://localhost:port/v1",
        "http://a..b/v1",
        f"http://{'a' * 64}/v1",
        "http://[::1/v1",
        "http://a%20b/v1",
        "http:///v1",
        "http://:8000/v1",
        "localhost:8000/v1",
        "ftp://localhost/v1",
        "file:///etc/passwd",
        "//localhost/v1",
        "",
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    with pytest.raises(EngineError, match=r"^base_url: found .*; needed: ") as caught:
        openai_engine(address)
    assert "\n" not in str(caught.value)
    assert "--base_url" in told_in_one_line(address, tmp_path / "traces.jsonl", capsys)
    assert not (tmp_path / "traces.jsonl.settings.json").exists()


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:8000/v1",
        "https://api.example.com/v1/",
        "http://[::1]:8000/v1",
        "http://10.0.0.7:8000/openai/deployments/gpt-4o/v1",
        "https://xn--bcher-kva.example/caf%C3%A9/v1",
        "http://gpu_node.cluster:8000",
        "http://localhost:/v1",
    ],
)
def test_what_is_an_address_is_taken(address: str) -> None:
    assert read_address(address, "api_key_env").hostname


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{KEY}@host/v1",
        f"http://{KEY}@host/v1",
        f"http://host/v1?key={KEY}",
        f"http://host/v1?{KEY}",
        f"http://host/v1#{KEY}",
        f"http://host/{KEY}/v1",
        f"http://host/v1;key={KEY}",
        f"http://host/v1/token={KEY}",
        f"http://host/%73k-{KEY[3:]}/v1",
        f"http://host/v1/api-key={KEY}",
        f"http://host/v1/hf_{KEY}",
        f"user:{KEY}@host/v1",
        f"{KEY}",
        f"http:{KEY}@host",
        f"http://{KEY}:80x/v1",
        f"http://user:{KEY}@host/v1 ",
    ],
)
def test_a_key_in_an_address_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    for shown in (KEY, KEY[3:]):
        with pytest.raises(EngineError, match="base_url") as caught:
            openai_engine(address)
        assert shown not in str(caught.value)
        with pytest.raises(ValueError, match=r"teacher.base_url") as refused:
            Teacher(engine="openai", base_url=address)
        assert shown not in json.dumps([error["msg"] for error in refused.value.errors()])
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: mine\nteacher: {engine: openai, model: {name: m}}\n")
    for overrides in ([f"teacher.base_url={address}"], []):
        if not overrides:
            value = json.dumps(address)
            recipe.write_text(
                f"name: mine\nteacher: {{engine: openai, model: {{name: m}}, base_url: {value}}}\n"
            )
        with pytest.raises(SystemExit):
            main(["run", str(recipe), f"output={tmp_path / 'run'}", *overrides])
        told = capsys.readouterr()
        assert "base_url" in told.err
        assert KEY[3:] not in told.err + told.out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given",
    [
        KEY, "hf_AbCdEfGhIjKlMnOpQrStUvWx", "gsk_0123456789abcdef0123", "A=B", "my key", "$TEACHER",
        "TEACHER KEY", "\u00c4", "x\0y", "7SEVEN", "Bearer abc",
    ],
)  # fmt: skip
def test_a_key_in_place_of_its_variable_is_refused_and_not_shown(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    with pytest.raises(EngineError, match="api_key_env: found what is no name of an env") as caught:
        openai_engine(server.url, api_key_env=given)
    assert given not in str(caught.value)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "name: mine\ndata: {task: arithmetic}\nmodel: {name: m}\ntrain: {epochs: 1}\n"
        "teacher: {engine: openai, model: {name: m}, base_url: 'http://localhost/v1'}\n"
    )
    with pytest.raises(SystemExit):
        variable = f"teacher.api_key_env={json.dumps(given)}"
        main(["run", str(recipe), f"output={tmp_path / 'run'}", variable])
    told = capsys.readouterr()
    assert "api_key_env" in told.err
    assert given not in told.err + told.out or "\0" in given
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    ["OPENAI_API_KEY", "openai_api_key", "HF_TOKEN", "KEY_OF_THE_TEACHER_2", "teacherKey", "_K"],
)
def test_what_is_a_variable_is_taken(name: str) -> None:
    assert read_variable(name) == name


@pytest.mark.parametrize(
    "words",
    [
        "--api-key {}",
        "--api-key={}",
        "--api_key {}",
        "--hf-token {}",
        "-token={}",
        "--ssl-password {}",
    ],
)
def test_a_key_in_the_command_of_a_server_is_refused_and_not_shown(words: str) -> None:
    for key in (KEY, "abcdef"):
        command = f"vllm serve {{model}} --port {{port}} {words.replace('{}', key)}"
        with pytest.raises(ValueError, match="what looks like a key") as refused:
            Teacher(engine="openai", serve=command, model=Model(name="m"))
        assert key not in json.dumps([error["msg"] for error in refused.value.errors()])
    harmless = "vllm serve {model} --port {port} --tokenizer x --max-num-batched-tokens 8192"
    assert Teacher(engine="openai", serve=harmless, model=Model(name="m")).serve == harmless


def test_a_key_that_a_server_repeats_in_another_spelling_is_struck_out(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = 'ab"cd\\ef/gh+12345&x'
    monkeypatch.setenv("OPENAI_API_KEY", key)
    quoted = json.dumps(key)
    for number, shown in enumerate(
        [
            key,
            quoted,
            quoted.replace("/", "\\/"),
            urllib.parse.quote(key, safe=""),
            html.escape(key),
        ]
    ):
        server.faults[number] = (401, {}, f"bad key {shown}")
        with pytest.raises(EngineError, match="bad key") as caught:
            generate_traces(openai_engine(server.url), QUESTIONS[:1], tmp_path / "traces.jsonl")
        assert "12345" not in str(caught.value)


# --- servers that are slow to the end -----------------------------------------------------------


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
    server: FakeServer, tmp_path: Path
) -> None:
    given = server.answer

    def answer(number: int, body: Any, headers: Any) -> tuple[int, dict[str, str], str]:
        if "13 + 2" in body["messages"][-1]["content"]:
            time.sleep(1.5)
        return given(number, body, headers)

    server.answer = answer
    output = tmp_path / "traces.jsonl"
    with pytest.raises(
        EngineError, match=r"1 of 20 samples were refused \(13#0 in questions:14\).*3 tries"
    ):
        generate_traces(openai_engine(server.url, timeout_s=0.5), QUESTIONS, output)
    assert output.read_text().count("\n") == 19


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
    assert [wait for wait in waits if wait >= 0.5] == sorted(waits)[-6:]
    assert sum(waits) >= 15  # half of 1 + 2 + 4 + 8 + 15


def test_many_requests_that_fail_warn_once(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = {n: (503, {}, "busy") for n in range(60)}
    engine = openai_engine(server.url, first_delay_s=0.001)
    generate_traces(engine, QUESTIONS, tmp_path / "traces.jsonl")
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
