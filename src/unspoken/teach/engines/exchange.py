"""One request over HTTP and what comes back, over a connection that can be cut off at any time.

The standard library's client is enough: one request takes seconds, so connections need no pool,
and unspoken gains no dependency. What it lacks stands here: a limit on a request as a whole (its
own starts anew with every byte), and an end from another thread.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: How long one address may take to let us in.
_CONNECT_S = 10.0
_GZIP_OR_ZLIB = 47  # of zlib: whichever it is
_MOST_BYTES = 64 * 2**20  # of an answer; a thought of a million tokens has 5


@dataclass(frozen=True)
class Answer:
    """What a server says to one request, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_too_long(self) -> bool:
        """Whether the body goes on after what is held of it."""
        return len(self.body) > _MOST_BYTES


class Exchange:
    """A request under way."""

    def __init__(self) -> None:
        self.is_connected = False
        self.is_cut = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def hold(self, connected: socket.socket) -> None:
        """Takes note of the connection, which may have to be cut off."""
        # a copy reaches the connection itself, also after TLS has taken the first socket away
        with self._lock:
            self.is_connected = True
            self._socket = connected.dup()
            if self.is_cut:
                self._shut()

    def cut(self) -> None:
        """Ends it at once: whoever waits for the answer gets an error. To be called anywhere."""
        with self._lock:
            self.is_cut = True
            self._shut()

    def close(self) -> None:
        """Lets go of the connection, whose owner has closed it."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the other side was faster
                self._socket.shutdown(socket.SHUT_RDWR)


class Halt:
    """Asks what is under way to end: waits end when it is set, connections when they are cut."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._exchanges: set[Exchange] = set()
        self._is_cut = False

    @property
    def is_set(self) -> bool:
        """Whether nothing new is to be begun."""
        return self._event.is_set()

    def set(self) -> None:
        """Lets nothing new begin; what is under way may end by itself."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Waits so long, or until it is set; returns whether it is."""
        return self._event.wait(seconds) if seconds > 0 else self.is_set

    def cut(self) -> None:
        """Lets nothing new begin, and cuts off what is under way."""
        self.set()
        with self._lock:
            self._is_cut = True
            for exchange in self._exchanges:
                exchange.cut()

    @contextlib.contextmanager
    def watching(self, limit_s: float) -> Iterator[Exchange]:
        """Within the block the exchange that it gets is cut off after so long, and by `cut`."""
        exchange = Exchange()
        timer = threading.Timer(limit_s, exchange.cut)
        timer.daemon = True
        timer.start()
        with self._lock:
            self._exchanges.add(exchange)
            if self._is_cut:  # it came between the last look at `is_set` and now
                exchange.cut()
        try:
            yield exchange
        finally:
            with self._lock:
                self._exchanges.discard(exchange)
            timer.cancel()
            exchange.close()


class Client:
    """Posts to one host."""

    def __init__(self, hostname: str) -> None:
        # A proxy of the surroundings does not lead to this very machine.
        direct = [urllib.request.ProxyHandler({})] if hostname in _LOOPBACK else []
        self._opener = urllib.request.build_opener(_AnyStatus(), _Http(), _Https(), *direct)

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], exchange: Exchange, limit_s: float
    ) -> Answer:
        """The answer, whatever its status; a redirect is one, too, and would carry a key away.

        Raises:
            OSError, http.client.HTTPException: there was none. `exchange` knows whether it was cut
                off, and whether the server was reached.
        """
        request = _Request(url, data=body, headers=dict(headers))
        request.exchange = exchange
        with self._opener.open(request, timeout=limit_s) as response:
            raw = response.read(_MOST_BYTES + 1)
            if exchange.is_cut:  # a body without a given length only ends
                raise TimeoutError("cut off")
            return Answer(response.status, response.headers, _unpacked(raw, response.headers))


def _unpacked(raw: bytes, headers: Mapping[str, str]) -> bytes:
    """The body of an answer, also of a server that compresses without being asked to."""
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("gzip", "x-gzip", "deflate") or len(raw) > _MOST_BYTES:
        return raw
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(raw, _MOST_BYTES + 1)
    except zlib.error as error:
        raise http.client.HTTPException(f"an answer that cannot be unpacked: {error}") from None


class _Request(urllib.request.Request):
    exchange: Exchange


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Hands every answer on, instead of raising an error or following a redirect."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


class _Connection(http.client.HTTPConnection):
    """A connection that its exchange can cut off."""

    exchange: Exchange

    def connect(self) -> None:
        limit_s = self.timeout
        self.timeout = min(limit_s or _CONNECT_S, _CONNECT_S)
        super().connect()
        self.sock.settimeout(limit_s)
        self.exchange.hold(self.sock)


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    """The same over TLS, whose greeting begins after `_Connection.connect`."""


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_connect_by(_Connection, req), req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        return self.do_open(_connect_by(_SecureConnection, req), req)


def _connect_by(kind: type[_Connection], request: _Request) -> Any:
    """What urllib calls for a connection; it belongs to the request's exchange."""

    def connect(host: str, **options: Any) -> _Connection:
        connection = kind(host, **options)
        connection.exchange = request.exchange
        return connection

    return connect
