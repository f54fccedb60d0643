"""Any OpenAI-compatible server as the teacher: vLLM, SGLang, llama.cpp, a cloud service.

Style chat posts messages to chat/completions, where the server applies the chat template; style
plain posts one text to completions.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import Any, Literal, TypeVar

from unspoken.common.errors import SettingError, setting
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import (
    REFUSED,
    EngineError,
    Message,
    Prompt,
    Reply,
    Request,
    Style,
    Usage,
)
from unspoken.teach.engines.budget import Budget, Limits, Unanswered, most_tokens
from unspoken.teach.engines.dialect import Dialect, Inquiry, read_reply
from unspoken.teach.engines.exchange import Halt
from unspoken.teach.engines.server import RefusedError, Secret, Server, StoppedError

logger = logging.getLogger(__name__)

#: The variable that is read when none is named; without a value no key is sent.
DEFAULT_KEY = "OPENAI_API_KEY"
_DOUBTFUL = 8  # so many refused requests and none answered: the settings may be wrong
_MOST_SIGNS = 300  # of what a server says to a request that it refuses
#: So long what is under way may take when the run is asked to stop; a launcher's time to save is
#: longer, and a terminal's user expects no more.
STOP_S = 1.0
#: So long what is cut off may take to tell whether the server had it.
_LAST_WORDS_S = 0.5
_FIRST_WORDS = "1 + 1 ="  # that show whether a server answers

Result = TypeVar("Result")


class OpenAIEngine:
    """Answers with a server, several requests at a time."""

    name: str = "openai"

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        style: Literal["chat", "plain"] = "chat",
        api_key_env: str | None = None,
        limits: Limits | None = None,
        timeout_s: float = 600.0,
        max_attempts: int = 12,
        first_delay_s: float = 0.5,
    ) -> None:
        """An engine for one model of one server.

        Args:
            base_url: such as http://localhost:8000/v1.
            model: as the server calls it.
            style: chat, or plain for models without a chat template.
            api_key_env: environment variable with the key; it has to be set. Default:
                OPENAI_API_KEY if that is set, else no key.
            limits: of pace and cost.
            timeout_s, max_attempts, first_delay_s: as in `Server`.

        Raises:
            EngineError, SettingError: for settings that cannot be used.
        """
        if not model:
            raise SettingError(
                "model", found="nothing", needed="the model's name on the server", remedy="give it"
            )
        self.model = model
        self.style: Style = style
        self.limits = limits or Limits()
        secret = Secret(api_key_env or DEFAULT_KEY, required=api_key_env is not None)
        self.server = Server(
            base_url,
            secret,
            requests_per_minute=self.limits.requests_per_minute,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            first_delay_s=first_delay_s,
        )
        self.unanswered = Unanswered()
        self._dialect = Dialect()

    @property
    def num_retries(self) -> int:
        """Tries after the first ones, of all requests so far."""
        return self.server.num_retries

    def settings(self) -> dict[str, Any]:
        """The model's name; a server may move to another address meanwhile."""
        return {"engine": self.name, "model": self.model}

    def cost(self, usage: Usage) -> float | None:
        """What so many tokens cost, where the prices are given."""
        limits = self.limits
        if limits.price_prompt is None or limits.price_completion is None:
            return None
        return Budget(None, limits.price_prompt, limits.price_completion, usage).spent

    def require_answer(self, halt: Halt, delay_s: float = 0.0) -> None:
        """Asks once for one token, and returns when there is an answer, whatever it says.

        It waits `delay_s` before.

        Raises:
            RefusedError, EngineError, StoppedError: there is no answer; as `Server.post`.
        """
        if halt.wait(delay_s):
            raise StoppedError
        messages = (Message(role="user", content=_FIRST_WORDS),)
        prompt = Prompt(_FIRST_WORDS, messages)
        request = Request("", 0, 0, {"question": _FIRST_WORDS}, prompt, 0)
        self._post(request, Sampling(max_new_tokens=1), halt, is_patient=False)

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

        After an error nothing new is sent, what is under way is still yielded, and then the error
        is raised; when `stopping` says so, what is not there within STOP_S is given up. A request
        that the server refuses by itself (it is too long, say) does not hold up the others: at the
        end it has an empty reply that says so. Where none was answered, a tiny question shows
        whether the questions or the settings are refused.

        Raises:
            EngineError: the server cannot be reached, refuses, or the money is used up.
        """
        limits = self.limits
        prices = (limits.price_prompt or 0.0, limits.price_completion or 0.0)
        budget = Budget(limits.max_cost, *prices, used, self.unanswered)
        work = _Work(deque(n for n in range(len(requests)) if n not in skip), len(requests))
        asked = [*requests, *map(_make_trial, requests[:1])]
        try:
            while work.goes_on():
                if stopping():
                    work.stop()
                self._send(work, asked, sampling, budget)
                if not work.pending:
                    break
                done, _ = wait(work.pending, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    number, most = work.pending[future]
                    reply = work.result(future, number)
                    yield from work.told(number, reply, wrote)
                    del work.pending[future]  # only now: one that cannot be kept counts as lost
                    budget.settle(most, reply)
        finally:
            work.halt.cut()
            for tokens in work.given_up():
                budget.lose(tokens)
            budget.close()
        yield from work.refusals(requests)
        work.raise_problem(budget)

    def _send(
        self,
        work: _Work,
        requests: Sequence[Request],
        sampling: Sampling,
        budget: Budget,
    ) -> None:
        """Sends as many of the waiting requests as may be under way."""
        while work.waiting and len(work.pending) < self.limits.concurrency:
            request = requests[work.waiting[0]]
            most = most_tokens(request, sampling.max_new_tokens)
            if not budget.reserve(most):
                return
            number = work.waiting.popleft()
            lost = functools.partial(_count_lost, budget, most, work.halt)
            ask = functools.partial(self._ask, request, sampling, work.halt, lost)
            work.pending[call_in_thread(ask)] = (number, most)

    def _ask(
        self, request: Request, sampling: Sampling, halt: Halt, lost: Callable[[], None]
    ) -> Reply:
        answer = self._post(request, sampling, halt, lost=lost)
        try:
            return read_reply(answer, sampling)
        except ValueError:
            lost()
            shown = self.server.shown
            fields = self.server.scrub(", ".join(sorted(answer)))[:200]
            raise RefusedError(
                f"{shown}: found an answer without choices[0] and its text, with the fields "
                f"{fields}; needed: an OpenAI-compatible server; correct {setting('base_url')}",
                "",
                is_alone=True,
            ) from None

    def _post(
        self, request: Request, sampling: Sampling, halt: Halt, **options: Any
    ) -> dict[str, Any]:
        """What the server answers, in its own form; `options` as of `Server.post`."""
        is_plain = self.style == "plain"
        inquiry = Inquiry(
            request, sampling, model=self.model, is_plain=is_plain, dialect=self._dialect
        )
        path = "completions" if is_plain else "chat/completions"
        answer = self.server.post(path, inquiry.body, halt, adapt=inquiry.adapt, **options)
        inquiry.note_answer()
        return answer


def _count_lost(budget: Budget, most: Usage, halt: Halt) -> None:
    """Counts a try that is perhaps charged; raises EngineError where no other can be paid."""
    if not budget.lose(most) and not halt.is_set:
        raise EngineError(
            f"{setting('max_cost', budget.limit)}: {budget.spent:.4f} spent, tries that were "
            "perhaps charged without an answer included, and another try could go beyond the "
            f"limit; what is done is kept; raise {setting('max_cost')} and run the same command"
        )


def call_in_thread(call: Callable[[], Result]) -> Future[Result]:
    """Calls in a thread of its own, which a process that ends does not wait for."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # whoever waits for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _make_trial(request: Request) -> Request:
    """The same request with a question that no server refuses for itself."""

    def with_other_question(text: str) -> str:
        return text.replace(request.question, _FIRST_WORDS)

    messages = [
        Message(role=message["role"], content=with_other_question(message["content"]))
        for message in request.prompt.messages
    ]
    prompt = Prompt(with_other_question(request.prompt.text), tuple(messages))
    return replace(request, prompt=prompt)


class _Work:
    """Which requests wait, which are under way, and what went wrong.

    The request of number `trial` comes after all others, and is asked only in doubt.
    """

    def __init__(self, waiting: deque[int], trial: int) -> None:
        self.waiting = waiting
        self.pending: dict[Future[Reply], tuple[int, Usage]] = {}
        self.halt = Halt()
        self.error: EngineError | None = None
        self._num_wanted = len(waiting)
        self._num_answered = 0
        self._refused: dict[int, RefusedError] = {}
        self._trial = trial
        self._held: deque[int] | None = None  # what waits for the trial
        self._overdue_at: float | None = None

    def goes_on(self) -> bool:
        """Whether there is more to ask or to wait for; in doubt the trial comes before it."""
        is_last = not self.waiting and not self.pending
        is_doubtful = len(self._refused) >= _DOUBTFUL or (is_last and self._refused)
        if self._num_answered:
            self.waiting.extend(self._held or ())
            self._held = deque()
        elif is_doubtful and self._held is None and not self.halt.is_set:
            self._held, self.waiting = self.waiting, deque([self._trial])
        return bool(self.waiting or self.pending) and not self.is_overdue

    def end(self) -> None:
        """Begins nothing new, not even another try."""
        self.waiting.clear()
        if self._held:
            self._held.clear()
        self.halt.set()

    def stop(self) -> None:
        """Begins nothing new, and waits only a moment for what is under way."""
        self.end()
        if self._overdue_at is None:
            self._overdue_at = time.monotonic() + STOP_S

    def given_up(self) -> list[Usage]:
        """Tokens of requests that were sent and whose reply nobody takes any more, at the most.

        A request that is cut off tells so itself, if it has a moment.
        """
        ended = wait(self.pending, timeout=_LAST_WORDS_S).done
        return [
            most
            for future, (_, most) in self.pending.items()
            if future not in ended or future.exception() is None
        ]

    @property
    def is_overdue(self) -> bool:
        """Whether what is under way has had its moment."""
        return self._overdue_at is not None and time.monotonic() > self._overdue_at

    def result(self, future: Future[Reply], number: int) -> Reply | None:
        """The reply, or None for what was stopped or went wrong, which is noted."""
        try:
            reply = future.result()
        except StoppedError:
            return None
        except RefusedError as error:
            if not error.is_alone:
                self._fail(error)
            elif number != self._trial:
                self._refused[number] = error
            elif not self._num_answered:  # the settings are wrong, and who was first tells how
                self._fail(next(iter(self._refused.values())))
            return None
        except EngineError as error:
            self._fail(error)
            return None
        self._num_answered += 1
        if number != self._trial:
            return reply
        # nobody keeps it, so what it may have cost is counted as lost
        return replace(reply, num_prompt_tokens=None, num_tokens=None)

    def _fail(self, error: EngineError) -> None:
        self.error = self.error or error
        self.end()

    def told(
        self, number: int, reply: Reply | None, wrote: Callable[[int], None]
    ) -> list[tuple[int, Reply]]:
        """The pair, once its tokens are told; nothing without a reply, and of the trial."""
        if reply is None or number == self._trial:
            return []
        wrote(reply.num_tokens or 0)
        return [(number, reply)]

    def refusals(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """Yields an empty reply to each request that was refused; none, where all were."""
        if not self._refused or not self._num_answered:
            return
        refused = sorted(self._refused.items())
        told = [f"{requests[number].id} in {requests[number].place}" for number, _ in refused[:5]]
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        reasons = {number: (e.text or str(e))[:_MOST_SIGNS] for number, e in refused}
        logger.warning(
            "%d of %d samples were refused (%s%s), which vetting rejects; the first: %s",
            len(reasons), self._num_wanted, ", ".join(told), more, next(iter(reasons.values())),
        )  # fmt: skip
        for number, reason in reasons.items():
            yield number, Reply("", 0, 0, stopped=False, finish_reason=f"{REFUSED}: {reason}")

    def raise_problem(self, budget: Budget) -> None:
        """Raises what went wrong, if anything did."""
        if self.error is not None:
            raise self.error
        missing = {*self.waiting, *(self._held or ())} - {self._trial}
        if not self._num_answered:  # not even the trial could be paid
            missing |= self._refused.keys()
        if missing and self._overdue_at is None:
            raise EngineError(
                f"{setting('max_cost', budget.limit)}: {budget.spent:.4f} spent, and the next "
                f"request could go beyond the limit; {len(missing)} samples are missing; what "
                f"is done is kept; raise {setting('max_cost')} and run the same command"
            )
