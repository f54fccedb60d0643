"""A server that this run starts and ends: any program that answers as OpenAI's API does.

It listens on loopback, at a port that is free. `unspoken.common.keeper` stands between, so that the
program and everything that it has started end with this process, however that ends.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from unspoken.common.errors import setting
from unspoken.common.keeper import GRACE_S
from unspoken.measure.sampling import Sampling
from unspoken.recipe.teacher import split_command
from unspoken.teach.engines import EngineError, Reply, Request, Style, Usage
from unspoken.teach.engines.budget import Unanswered
from unspoken.teach.engines.exchange import Halt
from unspoken.teach.engines.openai import OpenAIEngine, call_in_thread
from unspoken.teach.engines.server import RefusedError

_HOST = "127.0.0.1"
#: How often it may die and be started again.
_RESTARTS = 1
#: How many ports are tried where each is taken by another program before the server has it.
_PORTS = 3
_PORT_TAKEN = re.compile(r"address (is )?already in use|EADDRINUSE|couldn't bind", re.IGNORECASE)
_LOOK_EVERY_S = 0.1
_ASK_EVERY_S = 0.5
_TAIL_BYTES, _TAIL_LINES, _TAIL_SIGNS = 8_000, 4, 600
#: By torchrun and accelerate, for the processes of this run; a server that starts processes of its
#: own would take these for theirs.
_OF_THIS_RUN = re.compile(
    r"(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|"
    r"(TORCHELASTIC|ACCELERATE|FSDP)_.*"
)


class LocalServer:
    """A program that serves, and its log."""

    def __init__(self, command: str, model: str, log: Path) -> None:
        """Starts it at a free port.

        Args:
            command: as a recipe's `teacher.serve`.
            model: stands for {model} in it.
            log: what it says is added to this file.

        Raises:
            EngineError: it cannot be started.
        """
        with socket.socket() as free:
            free.bind((_HOST, 0))
            port = free.getsockname()[1]
        self.url = f"http://{_HOST}:{port}/v1"
        self.log = log
        words = [
            word.replace("{model}", model).replace("{port}", str(port))
            for word in split_command(command)
        ]
        keeper = [sys.executable, "-m", "unspoken.common.keeper", str(os.getpid())]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            file.write(f"--- {now}: {' '.join(words)}\n".encode())
            self._begin = file.tell()
            self._keeper = subprocess.Popen(
                [*keeper, *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for this process
                env={k: v for k, v in os.environ.items() if not _OF_THIS_RUN.fullmatch(k)},
            )

    @property
    def is_running(self) -> bool:
        """Whether it, or something that it has left, is there."""
        return self._keeper.poll() is None

    def end(self) -> None:
        """Ends it with all that it has started, and waits for that: a student needs the memory."""
        self._keeper.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(2 * GRACE_S + 5)
        self._keeper.kill()
        self._keeper.wait()

    @property
    def lost_its_port(self) -> bool:
        """Whether it has ended and says that its port was another program's."""
        return not self.is_running and _PORT_TAKEN.search(self._last_words()) is not None

    def describe_end(self) -> str:
        """How it ended, where it did, and the last lines of its log."""
        status = self._keeper.poll()
        how = "it runs" if status is None else f"it ended with status {status}"
        text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", self._last_words())  # colours
        lines = ["".join(filter(str.isprintable, line)).strip() for line in text.splitlines()]
        last = " | ".join([line for line in lines if line][-_TAIL_LINES:])
        return f"{how}; it says at last: {last[-_TAIL_SIGNS:] or 'nothing'}"

    def _last_words(self) -> str:
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._begin, size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")


class _PortTakenError(EngineError):
    """The server ended because another program had its port; it may have a free one next time."""


class ServedEngine:
    """Answers with a server that it starts when it is first asked, and once more where it dies."""

    name: str = "openai"

    def __init__(
        self,
        command: str,
        model: str,
        log: Path,
        connect: Callable[[str], OpenAIEngine],
        *,
        timeout_s: float = 1800.0,
        settle_s: float = 15.0,
    ) -> None:
        """Starts nothing yet.

        Args:
            command: as a recipe's `teacher.serve`.
            model: stands for {model} in it, and is asked for.
            log: what the server says is added to this file.
            connect: an engine for a base_url.
            timeout_s: it may take until it answers.
            settle_s: once it listens, so long it may refuse what it will answer when its model is
                loaded.

        Raises:
            EngineError, SettingError: for settings that `connect` cannot use.
        """
        self.model = model
        self._command, self._log = command, log
        self._timeout_s, self._settle_s = timeout_s, settle_s
        self._connect = connect
        self._engine = connect(f"http://{_HOST}/v1")  # nobody is asked there
        self.style: Style = self._engine.style
        self.unanswered = Unanswered()
        self._server: LocalServer | None = None
        self._num_deaths = 0
        self._num_retries = 0

    @property
    def num_retries(self) -> int:
        """Tries after the first ones, of all requests so far."""
        return self._num_retries + self._engine.num_retries

    def settings(self) -> dict[str, Any]:
        """As of any server: the model's name."""
        return self._engine.settings()

    def cost(self, usage: Usage) -> float | None:
        """What so many tokens cost, where the prices are given."""
        return self._engine.cost(usage)

    def close(self) -> None:
        """Ends the server; the engine starts another where it is asked again."""
        if self._server is not None:
            self._server.end()
        self._server = None

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        skip: Collection[int],
        used: Usage,
        stopping: Callable[[], bool],
        wrote: Callable[[int], None] = lambda num_tokens: None,
    ) -> Iterator[tuple[int, Reply]]:
        """Yields replies as they come in; see `Engine.generate`.

        What a server that died had not answered is asked again, once another one runs.

        Raises:
            EngineError: it does not start, dies again, or as `OpenAIEngine.generate`.
        """
        done = set(skip)
        while len(done) < len(requests) and not stopping():
            if not self._is_ready(stopping):
                return
            self._engine.unanswered = self.unanswered
            lost_before = self.unanswered.before
            replies = self._engine.generate(
                requests,
                sampling,
                skip=done,
                used=used,
                stopping=lambda: stopping() or not self._is_running,
                wrote=wrote,
            )
            for number, reply in replies:
                done.add(number)
                used = used.plus(reply.num_prompt_tokens, reply.num_tokens)
                yield number, reply
            used = used.plus(*self.unanswered.before).minus(lost_before)

    @property
    def _is_running(self) -> bool:
        return self._server is not None and self._server.is_running

    def _is_ready(self, stopping: Callable[[], bool]) -> bool:
        """Starts the server where it does not run, and waits for it; False: it is to stop."""
        if self._server is not None and self._server.is_running:
            return True
        if self._server is not None:
            self._num_deaths += 1
            if self._num_deaths > _RESTARTS:
                raise EngineError(
                    f"{setting('serve')}: the server died again ({self._server.describe_end()}); "
                    f"needed: one that lives; its log is {self._log}; correct {setting('serve')} "
                    "and run the same command: what is done is kept"
                )
        for _ in range(_PORTS - 1):
            with contextlib.suppress(_PortTakenError):
                return self._start(stopping)
        return self._start(stopping)

    def _start(self, stopping: Callable[[], bool]) -> bool:
        """Starts the server at a free port and waits for it; False: it is to stop."""
        self._num_retries += self._engine.num_retries
        self._server = LocalServer(self._command, self.model, self._log)
        self._engine = self._connect(self._server.url)
        is_ready = False
        try:
            is_ready = self._wait(self._server, stopping)
        finally:
            if not is_ready:
                self.close()
        return is_ready

    def _wait(self, server: LocalServer, stopping: Callable[[], bool]) -> bool:
        """Asks until it answers; False where it is to stop before.

        Raises:
            EngineError: it ends, refuses or takes too long.
        """
        begin, refused_at, problem = time.monotonic(), math.inf, ""
        halt = Halt()
        asking = call_in_thread(lambda: self._engine.require_answer(halt))
        try:
            while not stopping():
                is_done = bool(wait([asking], timeout=_LOOK_EVERY_S).done)
                error = asking.exception() if is_done else None
                if is_done and error is None:
                    return True
                if error is not None:
                    problem, refused_at = _read_problem(error, refused_at)
                self._require_patience(server, begin, refused_at, problem)
                if is_done:
                    asking = call_in_thread(lambda: self._engine.require_answer(halt, _ASK_EVERY_S))
        finally:
            halt.cut()
        return False

    def _require_patience(
        self, server: LocalServer, begin: float, refused_at: float, problem: str
    ) -> None:
        """Raises EngineError where it makes no sense to wait any longer."""
        now, more = time.monotonic(), ""
        kind = _PortTakenError if server.lost_its_port else EngineError
        if not server.is_running:
            how = "ended before it answered"
        elif now - begin > self._timeout_s:
            how = f"has not answered within {self._timeout_s:g} s"
            more = f", or raise {setting('serve_timeout')}"
        elif now - refused_at > self._settle_s:
            how = "refuses"
        else:
            return
        asked = f" (asked for {self.model}: {problem[:300]})" if problem else ""
        raise kind(
            f"{setting('serve')}: the server {how}{asked}; {server.describe_end()}; needed: a "
            f"server that answers for this model; its log is {self._log}; correct "
            f"{setting('serve')}{more}"
        )


def _read_problem(error: BaseException, refused_at: float) -> tuple[str, float]:
    """What is said of an answer that did not come, and since when there are only refusals."""
    if not isinstance(error, EngineError):
        raise error
    if isinstance(error, RefusedError):
        return error.text or str(error), min(refused_at, time.monotonic())
    return str(error), math.inf
