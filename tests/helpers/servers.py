"""Servers on loopback that stand in for a teacher's: as the API says, or as strangers are."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from unspoken.teach.engines.budget import Limits
from unspoken.teach.engines.openai import OpenAIEngine

#: Which may stand in no file and no message.
KEY = "sk-planted-0123456789"
#: Sums for a teacher, whose answer is said to be 2 always.
QUESTIONS = [{"question": f"{n} + 2", "answer": "2"} for n in range(20)]


class FakeServer:
    """An OpenAI-compatible server on loopback: what it answers follows from the question alone.

    `faults` maps the number of a request, from 0, to (status, headers, body) that it gets instead.
    """

    def __init__(self, port: int = 0, max_requests: int = 400) -> None:
        self.faults: dict[int, tuple[int, dict[str, str], str]] = {}
        self.refuse: Callable[[dict[str, Any]], str | None] = lambda body: None
        self.bodies: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.usage = True
        self.delay_s = 0.0
        self.num_open = self.most_open = 0
        self.lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(size))
                with fake.lock:
                    number = len(fake.bodies)
                    fake.bodies.append({**body, "path": self.path})
                    fake.keys.add(self.headers["Authorization"])
                    fake.num_open += 1
                    fake.most_open = max(fake.most_open, fake.num_open)
                time.sleep(fake.delay_s)
                status, headers, text = fake.answer(number, body, self.headers)
                if number >= max_requests:
                    status, text = 400, "too many requests for a test"
                with fake.lock:
                    fake.num_open -= 1
                raw = text.encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def answer(self, number: int, body: Any, headers: Any) -> tuple[int, dict[str, str], str]:
        if number in self.faults:
            status, extra, text = self.faults[number]
            return status, extra, text.replace("KEY", str(headers["Authorization"]))
        if refusal := self.refuse(body):
            return 400, {}, refusal
        asked = body.get("prompt") or body["messages"][-1]["content"]
        text = f" {asked[::-1]}\nFinal Answer: 2\nQ: next"
        choice = {"text": text} if "prompt" in body else {"message": {"content": text}}
        reply: dict[str, Any] = {"choices": [{**choice, "finish_reason": "stop"}]}
        if self.usage:
            reply["usage"] = {"prompt_tokens": 100, "completion_tokens": 50}
        return 200, {}, json.dumps(reply)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def openai_engine(url: str, **options: Any) -> OpenAIEngine:
    """An engine of this server, with limits and settings in any order."""
    names = [field.name for field in fields(Limits) if field.name in options]
    limits = Limits(**{name: options.pop(name) for name in names})
    return OpenAIEngine(url, "tiny", limits=limits, **{"first_delay_s": 0.02, **options})


def free_port() -> int:
    """A port where nobody is, and nobody has been."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def raw_server(
    serve: Callable[[socket.socket], None],
    wrap: Callable[[socket.socket], socket.socket] | None = None,
) -> Iterator[str]:
    """A server that does what it likes with each connection; yields its base_url.

    Args:
        serve: gets a connection, in a thread of its own.
        wrap: makes another socket of the listening one, such as one of TLS.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    listening = wrap(listening) if wrap is not None else listening
    is_over = threading.Event()

    def accept() -> None:
        while not is_over.is_set():
            try:
                connection = listening.accept()[0]
            except OSError:  # over, or a client that broke off while it greeted
                continue
            threading.Thread(target=attend, args=(connection,), daemon=True).start()

    def attend(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the client has gone
            serve(connection)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http{'s' if wrap else ''}://127.0.0.1:{port}/v1"
    finally:
        is_over.set()
        listening.close()
