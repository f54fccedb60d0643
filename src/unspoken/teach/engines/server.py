"""POST to a server until it answers: retries, pace, and a key that nobody gets to see.

What another try may mend is tried again, and what it cannot is said at once: a port where nobody
ever answered, a web page where JSON should be, a certificate that does not verify.
"""

from __future__ import annotations

import email.utils
import html
import http.client
import itertools
import json
import logging
import math
import os
import random
import re
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from unspoken.common.address import read_address, read_variable
from unspoken.common.errors import setting
from unspoken.teach.engines import EngineError
from unspoken.teach.engines.exchange import Answer, Client, Exchange, Halt

logger = logging.getLogger(__name__)

_PASSING = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529)
#: Of a gateway that gave up: the model behind it may have worked on, and that may be charged.
_GIVEN_UP = (504, 520, 524)
#: Statuses that can be the fault of this one question.
_ONE_REQUEST = (400, 413, 422)
#: What servers write in place of a status into an error that comes with status 200.
_STATUS_OF_CODE = {
    "invalid_request_error": 400, "context_length_exceeded": 400, "invalid_api_key": 401,
    "authentication_error": 401, "insufficient_quota": 402, "permission_error": 403,
    "model_not_found": 404, "not_found_error": 404, "rate_limit_exceeded": 429,
}  # fmt: skip
_UNKNOWN = 502  # an error that says of itself no more may pass
_LONGEST_DELAY_S = 30.0
_LONGEST_RETRY_AFTER_S = 600.0
#: So long somebody who has never answered is waited for.
PATIENCE_S = 2.0
_TIMED_OUT_TRIES = 3  # each may take as long as an answer, and be charged
_BROKEN_TRIES = 4  # of an answer that breaks off, by a server that never sent a whole one
_WARN_EVERY_S = 30.0


class RefusedError(EngineError):
    """The server understood a request and will not answer it, however often it is asked.

    Attributes:
        text: what it says.
        is_alone: whether that can be the fault of this one question.
    """

    def __init__(self, message: str, text: str, *, is_alone: bool) -> None:
        super().__init__(message)
        self.text = text
        self.is_alone = is_alone


class StoppedError(Exception):
    """The run was asked to end before the request had its answer."""


class PassingError(Exception):
    """A try that failed, where another one may not.

    Attributes:
        problem: what went wrong.
        wished_s: after how long the server wants to be asked again, if it says so.
        num_tries: that are made of it at the most, where that is less than usual.
        is_unreached: whether nobody was there.
        is_lost: whether the server may have worked on it, and charge for that.
        may_be_alone: whether it can be the fault of this one question.
    """

    def __init__(
        self,
        problem: str,
        *,
        wished_s: float | None = None,
        num_tries: int | None = None,
        is_unreached: bool = False,
        is_lost: bool = False,
        may_be_alone: bool = False,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.wished_s = wished_s
        self.num_tries = num_tries
        self.is_unreached = is_unreached
        self.is_lost = is_lost
        self.may_be_alone = may_be_alone


class Refusal(NamedTuple):
    """A server's no: an HTTP status, or what stands for it in the answer, and what it says."""

    status: int
    text: str


class Secret:
    """A key from the environment; only the request that needs it sees its value."""

    __slots__ = ("_value", "variable")

    def __init__(self, variable: str, *, required: bool) -> None:
        """Reads the variable; raises EngineError where it is needed and missing or malformed."""
        try:
            self.variable = read_variable(variable)
        except ValueError as error:
            raise EngineError(f"{setting('api_key_env')}: {error}") from None
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

    def _written(self) -> Iterator[str]:
        """The key as it may stand in a text: as it is, in JSON, in an address, in a page."""
        if self._value:
            quoted = json.dumps(self._value)[1:-1]
            yield from (self._value, quoted, quoted.replace("/", "\\/"))
            yield from (urllib.parse.quote(self._value, safe=""), html.escape(self._value))

    def scrub(self, text: str) -> str:
        """`text` in one line, with the key, should a server repeat it, struck out."""
        for written in self._written():
            text = text.replace(written, "***")
        return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


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


class Server:
    """An address that JSON is posted to.

    Attributes:
        shown: the address, for messages.
        num_retries: tries after the first ones, of all requests.
    """

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
            timeout_s: for one try, from its beginning to the last byte of its answer.
            max_attempts: tries of one request; 12 bridge about three minutes.
            first_delay_s: before the second try; it doubles up to 30 s.
        """
        try:
            parts = read_address(base_url, setting("api_key_env"))
        except ValueError as error:
            raise EngineError(f"{setting('base_url')}: {error}") from None
        self.base_url = base_url.rstrip("/")
        self.shown = self.base_url
        self.num_retries = 0
        self._secret = secret
        self._pace = Pace(requests_per_minute)
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts
        self._first_delay_s = first_delay_s
        self._client = Client(parts.hostname or "")
        self._is_reached = False  # it has spoken HTTP
        self._num_answered = 0  # as the API says
        self._warned = 0.0
        self._lock = threading.Lock()

    def post(
        self,
        path: str,
        body: Callable[[], Mapping[str, Any]],
        halt: Halt,
        *,
        lost: Callable[[], None] = lambda: None,
        adapt: Callable[[Refusal], bool] = lambda refusal: False,
        is_patient: bool = True,
    ) -> dict[str, Any]:
        """The server's answer, after as many tries as it takes.

        Args:
            path: such as "chat/completions".
            body: gives what is sent as JSON, for each try.
            halt: ends it.
            lost: called for a try that the server may have worked on without an answer.
            adapt: gets a refusal; whether `body` gives another form now, which is tried at once.
            is_patient: tries again where that may help.

        Raises:
            RefusedError: the server says no.
            EngineError: there was no answer in any try.
            StoppedError: `halt` was set before there was one.
        """
        begin, num_answered = time.monotonic(), math.inf
        for number in itertools.count(1):
            self._wait(self._pace.delay_s(), halt)
            try:
                return self._try(path, body, halt, adapt)
            except PassingError as fault:
                num_answered = min(num_answered, self._num_answered)  # at the first fault
                if fault.is_lost:
                    lost()
                if halt.is_set:
                    raise StoppedError from None
                if not is_patient:
                    raise EngineError(f"{self.shown}: {fault.problem}") from None
                if not self._is_tried_again(fault, number, time.monotonic() - begin):
                    others_have_one = self._num_answered > num_answered
                    raise self._no_answer(fault, number, others_have_one) from None
                self._note_retry(fault, number)
                self._wait(self._delay_s(fault, number), halt)
        raise AssertionError("counting ended")

    def scrub(self, text: str) -> str:
        """What a server said, in one line and without the key."""
        return self._secret.scrub(text)

    def _try(
        self,
        path: str,
        body: Callable[[], Mapping[str, Any]],
        halt: Halt,
        adapt: Callable[[Refusal], bool],
    ) -> dict[str, Any]:
        """The answer to one try, or to one that follows it at once in another form."""
        while True:
            with halt.watching(self._timeout_s) as exchange:
                answer = self._send(path, body(), exchange)
            self._is_reached = True
            read = self._read(answer)
            if not isinstance(read, Refusal):
                self._num_answered += "choices" in read
                return read
            if halt.is_set or not adapt(read):
                raise self._error_of(read, _retry_after_s(answer.headers.get("Retry-After")))

    def _send(self, path: str, body: Mapping[str, Any], exchange: Exchange) -> Answer:
        """What comes back; raises a PassingError where nothing does."""
        headers = {"Content-Type": "application/json", **self._secret.headers()}
        raw, limit_s = json.dumps(body).encode(), self._timeout_s
        try:
            return self._client.post(f"{self.base_url}/{path}", raw, headers, exchange, limit_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise self._bad_certificate(reason) from None
            sent = exchange.is_connected
            if exchange.is_cut or (sent and isinstance(reason, TimeoutError)):
                raise PassingError(
                    f"no whole answer within {limit_s:g} s",
                    num_tries=_TIMED_OUT_TRIES,
                    is_lost=True,
                ) from None
            kind = type(reason if isinstance(reason, Exception) else error).__name__
            problem = self._secret.scrub(f"{kind}: {reason}")[:300]
            raise PassingError(problem, is_unreached=True, is_lost=sent) from None

    def _read(self, answer: Answer) -> dict[str, Any] | Refusal:
        """What the server answers, or that it refuses.

        Raises:
            PassingError: the answer breaks off.
            RefusedError: it cannot be read.
            EngineError: no such server speaks like this.
        """
        if not 200 <= answer.status < 300:
            return Refusal(
                answer.status, self._secret.scrub(answer.body.decode("utf-8", "replace"))
            )
        try:
            values = json.loads(answer.body) if not answer.is_too_long else {}
            problem = _error_in(values) if isinstance(values, dict) else None
        except RecursionError:
            values = problem = None
        except ValueError:  # no JSON, or not all of it
            self._refuse_text(answer)
        if values is None or answer.is_too_long:
            raise RefusedError(
                f"{self.shown}: found an answer that is too long or nested too deep to be one; "
                f"needed: an OpenAI-compatible server; correct {setting('base_url')}",
                "",
                is_alone=True,
            )
        if not isinstance(values, dict):
            self._refuse_text(answer)
        return (
            values if problem is None else Refusal(problem.status, self._secret.scrub(problem.text))
        )

    def _refuse_text(self, answer: Answer) -> NoReturn:
        """Raises what an answer with status 200 means that is no JSON object."""
        text = self._secret.scrub(answer.body[:4_000].decode("utf-8", "replace"))
        breaks_off = not text or text.startswith("{")
        if breaks_off or self._num_answered:
            raise PassingError(
                f"found an answer that breaks off: {text[:100]}" if breaks_off
                else f"found no JSON: {text[:100]}",
                num_tries=None if self._num_answered else _BROKEN_TRIES,
                is_lost=True,
            )  # fmt: skip
        kind = "a web page" if text.startswith("<") else "no JSON object"
        if text.startswith(("data:", "event:", ":")):
            raise EngineError(
                f"{self.shown}: found a stream of events, which nobody asked for ({text[:100]}); "
                "needed: answers in one piece; turn streaming off in the server or its proxy"
            )
        raise EngineError(
            f"{self.shown}: found {kind} where the answer should be ({text[:100]}); needed: the "
            f"address of an OpenAI-compatible server; correct {setting('base_url')} (usually ends "
            "in /v1)"
        )

    def _error_of(self, refusal: Refusal, wished_s: float | None) -> PassingError | RefusedError:
        """Whether a refusal is for now or for good."""
        status, text = refusal
        waits_too_long = wished_s is not None and wished_s > _LONGEST_RETRY_AFTER_S
        if status in _PASSING and not waits_too_long and "insufficient_quota" not in text:
            if wished_s is not None:
                self._pace.hold(wished_s)
            return PassingError(
                f"HTTP {status}: {text[:300]}",
                wished_s=wished_s,
                is_lost=status in _GIVEN_UP,
                may_be_alone=status == 500,
            )
        remedy = "correct the settings"
        if status in _PASSING and waits_too_long:
            text = f"{text[:200]} (retry after {wished_s:.0f} s)"
            remedy = "run the same command later: what is done is kept"
        elif status in (401, 403):
            remedy = f"put a valid key into the environment variable {self._secret.variable}"
        elif status == 404:
            remedy = f"correct {setting('model')} or {setting('base_url')} (usually ends in /v1)"
        elif 300 <= status < 400:
            remedy = f"give the address that it redirects to as {setting('base_url')}"
        return RefusedError(
            f"{self.shown}: HTTP {status}: {text[:300]}; needed: a request that it accepts; "
            f"{remedy}",
            text,
            is_alone=status in _ONE_REQUEST,
        )

    def _bad_certificate(self, reason: ssl.SSLCertVerificationError) -> EngineError:
        return EngineError(
            f"{self.shown}: its certificate does not verify ({reason.verify_message}); needed: one "
            "that this machine trusts, for this host; name the file of the authority that signed "
            f"it in the environment variable SSL_CERT_FILE, or correct {setting('base_url')}"
        )

    def _is_tried_again(self, fault: PassingError, number: int, seconds: float) -> bool:
        """Whether there is another try after so many, which took so long together."""
        if number >= min(self._max_attempts, fault.num_tries or self._max_attempts):
            return False
        return self._is_reached or not fault.is_unreached or seconds < PATIENCE_S

    def _no_answer(self, fault: PassingError, number: int, others_have_one: bool) -> EngineError:
        """What is raised after so many tries; others may have had an answer meanwhile."""
        tries = "1 try" if number == 1 else f"{number} tries"
        message = f"{self.shown}: no answer in {tries}, the last one: {fault.problem}; needed: "
        is_slow = fault.num_tries is not None and self._num_answered > 0
        if is_slow or (fault.may_be_alone and others_have_one):
            return RefusedError(
                f"{message}a question that it can answer", fault.problem, is_alone=True
            )
        return EngineError(
            f"{message}a server that runs; start it or correct {setting('base_url')}, then run the "
            "same command: what is done is kept"
        )

    def _note_retry(self, fault: PassingError, number: int) -> None:
        """Counts another try, and says so now and then: many requests may wait at once."""
        with self._lock:
            self.num_retries += 1
            now = time.monotonic()
            is_told = number >= 4 and now - self._warned > _WARN_EVERY_S
            if is_told:
                self._warned = now
        level = logging.WARNING if is_told else logging.INFO
        logger.log(level, "%s: try %d: %s", self.shown, number, fault.problem)

    def _delay_s(self, fault: PassingError, number: int) -> float:
        """Seconds until the next try."""
        longest_s = min(_LONGEST_DELAY_S, self._first_delay_s * 2 ** (number - 1))
        # who says "after 0 s", or names a time that is past, is still asked ever more slowly
        return max(fault.wished_s or 0.0, longest_s * random.uniform(0.5, 1.0))

    def _wait(self, seconds: float, halt: Halt) -> None:
        if halt.wait(seconds):
            raise StoppedError


def _error_in(values: Mapping[str, Any]) -> Refusal | None:
    """The error that an answer with status 200 holds, if it holds one."""
    choices = values.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    error = values.get("error") or (first.get("error") if isinstance(first, dict) else None)
    if not error and values.get("object") == "error":
        error = values
    if not error:
        return None
    if not isinstance(error, dict):
        return Refusal(_UNKNOWN, str(error))
    text = error.get("message")
    return Refusal(_status_of(error), text if isinstance(text, str) else json.dumps(error))


def _status_of(error: Mapping[str, Any]) -> int:
    """The status that an error's fields stand for; one that may pass where they say nothing."""
    for value in (error.get("code"), error.get("status"), error.get("type")):
        if isinstance(value, str) and value in _STATUS_OF_CODE:
            return _STATUS_OF_CODE[value]
        number = (
            int(value) if isinstance(value, str) and re.fullmatch("[45][0-9]{2}", value) else value
        )
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return _UNKNOWN


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
    except (ValueError, TypeError, OverflowError, OSError):
        return None
