"""POST to a server until it answers: retries, pace, and a key that nobody gets to see.

The standard library's client is enough: one request takes seconds, so connections need no pool,
and unspoken gains no dependency.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import logging
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from unspoken.common.errors import setting
from unspoken.teach.engines import EngineError

logger = logging.getLogger(__name__)

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PASSING = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529)
_EXAMPLE = "http://localhost:8000/v1"
_LONGEST_DELAY_S = 30.0
_LONGEST_RETRY_AFTER_S = 600.0


class RefusedError(EngineError):
    """The server understood a request and will not answer it, however often it is asked."""

    def __init__(self, message: str, status: int, text: str) -> None:
        super().__init__(message)
        self.status = status
        self.text = text


class StoppedError(Exception):
    """The run was asked to end while a request waited for its next try."""


class Secret:
    """A key from the environment; only the request that needs it sees its value."""

    __slots__ = ("_value", "variable")

    def __init__(self, variable: str, *, required: bool) -> None:
        """Reads the variable; raises EngineError where it is needed and missing or malformed."""
        self.variable = variable
        self._value = os.environ.get(variable, "").strip()
        if required and not self._value:
            raise EngineError(
                f"{setting('api_key_env', variable)}: found no such environment variable; needed: "
                f"the key in it; export {variable}=... or leave {setting('api_key_env')} out"
            )
        if not (self._value.isascii() and self._value.isprintable()):
            raise EngineError(
                f"{variable}: found a key with line breaks or other signs that no header can hold; "
                "needed: one line of ASCII; set the variable again"
            )

    def __repr__(self) -> str:
        return f"Secret({self.variable})"

    def headers(self) -> dict[str, str]:
        """The header that shows the key to the server."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def scrub(self, text: str) -> str:
        """`text` with the key, should a server repeat it, struck out."""
        return text.replace(self._value, "***") if self._value else text


class Pace:
    """Spreads requests evenly over time, and holds all of them when the server asks for it."""

    def __init__(self, requests_per_minute: float | None) -> None:
        self._interval_s = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def delay_s(self) -> float:
        """Takes the next place, and returns the seconds until then."""
        with self._lock:
            now = time.monotonic()
            place = max(now, self._next)
            self._next = place + self._interval_s
            return place - now

    def hold(self, seconds: float) -> None:
        """Lets nobody start for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        return None


class Server:
    """An address that JSON is posted to."""

    def __init__(
        self,
        base_url: str,
        secret: Secret,
        *,
        requests_per_minute: float | None = None,
        timeout_s: float = 600.0,
        max_attempts: int = 12,
        first_delay_s: float = 0.5,
    ) -> None:
        """A server; raises EngineError for an address that cannot be one.

        Args:
            base_url: such as http://localhost:8000/v1.
            secret: its key, if it needs one.
            requests_per_minute: limit over all threads, tries included.
            timeout_s: for one try.
            max_attempts: tries of one request; 12 bridge about three minutes.
            first_delay_s: before the second try; it doubles up to 30 s.
        """
        self.base_url = base_url.rstrip("/")
        parts = _checked_address(self.base_url)
        self.shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._secret = secret
        self._pace = Pace(requests_per_minute)
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts
        self._first_delay_s = first_delay_s
        # A proxy of the surroundings does not lead to this very machine.
        direct = [urllib.request.ProxyHandler({})] if parts.hostname in _LOOPBACK else []
        self._opener = urllib.request.build_opener(_NoRedirect(), *direct)

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        stop: threading.Event,
        lost: Callable[[], None],
    ) -> dict[str, Any]:
        """The server's answer, after as many tries as it takes.

        Args:
            path: such as "chat/completions".
            body: sent as JSON.
            stop: set to give up waiting between two tries.
            lost: called for a try that the server may have worked on without an answer.

        Raises:
            RefusedError: the server says no.
            EngineError: there was no answer in any try.
            StoppedError: `stop` was set while waiting.
        """
        problem = ""
        for attempt in range(self._max_attempts):
            self._wait(self._pace.delay_s(), stop)
            answer, problem, delay_s = self._try(path, body, attempt, lost)
            if answer is not None:
                return answer
            level = logging.WARNING if attempt >= 3 else logging.INFO
            logger.log(level, "%s: try %d: %s", self.shown, attempt + 1, problem)
            if attempt + 1 < self._max_attempts:
                self._wait(delay_s, stop)
        raise EngineError(
            f"{self.shown}: no answer in {self._max_attempts} tries, the last one: {problem}; "
            f"needed: a server that runs; start it or correct {setting('base_url')}, then run the "
            "same command: what is done is kept"
        )

    def _try(
        self, path: str, body: Mapping[str, Any], attempt: int, lost: Callable[[], None]
    ) -> tuple[dict[str, Any] | None, str, float]:
        """The answer or None, what went wrong, and the seconds until the next try."""
        delay_s = min(_LONGEST_DELAY_S, self._first_delay_s * 2**attempt)
        delay_s *= random.uniform(0.5, 1.0)
        request = urllib.request.Request(
            f"{self.base_url}/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **self._secret.headers()},
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                answer = json.loads(response.read())
            if isinstance(answer, dict):
                return answer, "", 0.0
            problem = "found JSON that is not an object"
        except urllib.error.HTTPError as error:
            text = self._read_error(error)
            problem = f"HTTP {error.code}: {text[:300]}"
            if error.code not in _PASSING or "insufficient_quota" in text:
                raise self._refused(error.code, text) from None
            wished_s = _retry_after_s(error.headers.get("Retry-After"))
            if wished_s is not None:
                if wished_s > _LONGEST_RETRY_AFTER_S:
                    raise self._refused(error.code, f"retry after {wished_s:.0f} s") from None
                self._pace.hold(wished_s)
                delay_s = wished_s
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            problem = self._secret.scrub(f"{type(reason).__name__}: {reason}")
            if not isinstance(reason, ConnectionRefusedError):
                lost()
        return None, problem, delay_s

    def _read_error(self, error: urllib.error.HTTPError) -> str:
        try:
            text = error.read(4_000).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            text = str(error.reason)
        return " ".join(self._secret.scrub(text).split())

    def _refused(self, status: int, text: str) -> RefusedError:
        remedy = "correct the settings"
        if status in (401, 403):
            remedy = f"put a valid key into the environment variable {self._secret.variable}"
        elif status == 404:
            remedy = f"correct {setting('model')} or {setting('base_url')} (usually ends in /v1)"
        elif 300 <= status < 400:
            remedy = f"give the address that it redirects to as {setting('base_url')}"
        return RefusedError(
            f"{self.shown}: HTTP {status}: {text[:300]}; needed: a request that it accepts; "
            f"{remedy}",
            status,
            text,
        )

    def _wait(self, seconds: float, stop: threading.Event) -> None:
        if stop.wait(max(0.0, seconds)) if seconds > 0 else stop.is_set():
            raise StoppedError


def _checked_address(base_url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        secret = bool(parts.username or parts.password or parts.query)
        _ = parts.port
    except ValueError:
        raise EngineError(
            f"{setting('base_url')}: not an address; needed: one such as {_EXAMPLE}; correct it"
        ) from None
    if secret:
        raise EngineError(
            f"{setting('base_url')}: found a user, password or query in it; needed: an address "
            "without; put the key into an environment variable and name that with "
            f"{setting('api_key_env')}"
        )
    if not usable:
        raise EngineError(
            f"{setting('base_url')}: found {base_url!r}; needed: an address such as {_EXAMPLE}; "
            "correct it"
        )
    return parts


def _retry_after_s(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
