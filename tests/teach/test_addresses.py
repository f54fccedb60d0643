"""Servers that are not there, and addresses and keys that are no use or that would be shown."""

from __future__ import annotations

import html
import json
import re
import socket
import ssl
import urllib.parse
from pathlib import Path

import pytest

from helpers.servers import KEY, QUESTIONS, FakeServer, free_port, openai_engine, raw_server
from unspoken.cli.main import main
from unspoken.common.address import read_address, read_variable
from unspoken.recipe import Model, Teacher
from unspoken.teach.engines import EngineError
from unspoken.teach.traces.write import generate_traces


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
