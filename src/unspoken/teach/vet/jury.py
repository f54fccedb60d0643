"""The rules of vetting, in the order in which they are asked, and the votes of samples.

Stands between `reading` and `vetting`; `rules` has what can be set.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import groupby
from typing import Literal, NamedTuple

from unspoken.data.overlap import QuestionIndex
from unspoken.measure.grade import compare_with_gold, is_right
from unspoken.measure.stats import majority
from unspoken.teach.vet.ledger import Ledger, open_ledger
from unspoken.teach.vet.reading import TornLine, Trace
from unspoken.teach.vet.rules import VetRules

#: Why a trace is not kept. One that breaks several rules has the first of them, in this order.
Reason = Literal[
    "torn_line",  # the file ends in the middle of it
    "refused",  # a server would not answer this question
    "truncated",  # the teacher was stopped at its limit
    "no_final_answer",  # nothing marks the final answer
    "no_thought",  # the answer stands alone
    "no_choice",  # the answer is not plainly one of the choices
    "leak",  # its question is one of a test file
    "too_long",  # more tokens than allowed
    "wrong_answer",  # not the gold answer
    "undecided",  # nobody can tell whether it is the gold answer
    "no_majority",  # without a gold answer, and no answer has the most votes
    "minority",  # without a gold answer, and another one has the most votes
    "off_pattern",  # the thought has not the wanted form
    "duplicate",  # the same thought and answer were kept for this question before
    "surplus",  # enough were kept for this question
]


class Verdict(NamedTuple):
    """Why a trace is rejected: a word for programs, and the details for people."""

    reason: Reason
    detail: str


class Jury:
    """Judges trace after trace, and counts.

    Args:
        rules: those that can be set.
        index: of test questions; None looks for no leaks.
        ledger: where it remembers what was kept; with the votes of samples, if they vote.

    Attributes:
        ledger: how many traces of each question were kept, and which questions leak.
        num_kept, num_unverified, num_unmeasured, num_torn_bytes, rejected: see `VetSummary`.
    """

    def __init__(self, rules: VetRules, *, index: QuestionIndex | None, ledger: Ledger) -> None:
        self._rules = rules
        self._index = index
        self.ledger = ledger
        self.num_kept = 0
        self.num_unverified = 0
        self.num_unmeasured = 0
        self.num_torn_bytes = 0
        self.rejected: Counter[str] = Counter()

    def judge(self, trace: Trace | TornLine) -> Verdict | None:
        """Returns why a trace is rejected, or None; what is kept is remembered."""
        if isinstance(trace, TornLine):
            self.num_torn_bytes += trace.num_bytes
            verdict = Verdict("torn_line", f"{trace.where} ends after {trace.num_bytes} bytes")
        else:
            self._meet(trace)
            verdict = self._find_broken_rule(trace)
        if verdict is not None:
            self.rejected[verdict.reason] += 1
        elif isinstance(trace, Trace):
            self._keep(trace)
        return verdict

    def _meet(self, trace: Trace) -> None:
        """Looks a question up when it comes for the first time."""
        if not self.ledger.has_met(trace.key):
            found = self._index.find(trace.question) if self._index is not None else None
            label = trace.label if trace.choices else None
            self.ledger.meet(trace.key, str(found) if found else "", label)

    def _find_broken_rule(self, trace: Trace) -> Verdict | None:
        """The first rule that a trace breaks, if it breaks one."""
        return (
            _incomplete(trace)
            or self._leak(trace)
            or self._too_long(trace)
            or self._unconfirmed(trace)
            or self._off_pattern(trace)
            or self._repeated(trace)
        )

    def _leak(self, trace: Trace) -> Verdict | None:
        place = self.ledger.leak(trace.key)
        return Verdict("leak", f"the question is {place}") if place else None

    def _too_long(self, trace: Trace) -> Verdict | None:
        num_tokens, limit = trace.num_tokens, self._rules.max_tokens
        if limit is None or num_tokens is None or num_tokens <= limit:
            return None
        return Verdict("too_long", f"{num_tokens} tokens, at most {limit} are wanted")

    def _unconfirmed(self, trace: Trace) -> Verdict | None:
        if trace.gold is not None:
            is_gold = trace.answer == trace.gold or (
                not trace.choices and compare_with_gold(trace.answer, trace.gold)
            )
            if is_gold:
                return None
            reason = "undecided" if is_gold is None else "wrong_answer"
            return Verdict(reason, f"found {trace.answer}, gold is {trace.gold}")
        if not self._rules.majority:
            return None
        winner, problem = self.ledger.vote(trace.key)
        if problem:
            return Verdict("no_majority", problem)
        if _agreement(self._rules)(trace.answer, winner):
            return None
        return Verdict("minority", f"found {trace.answer}, most samples say {winner}")

    def _off_pattern(self, trace: Trace) -> Verdict | None:
        pattern = self._rules.pattern
        if pattern is None or pattern.fullmatch(trace.thought):
            return None
        return Verdict("off_pattern", f"the thought does not match {pattern.pattern}")

    def _repeated(self, trace: Trace) -> Verdict | None:
        if self.ledger.has_kept(trace.whole_key):
            return Verdict("duplicate", "the same thought and answer were kept before")
        limit = self._rules.max_per_question
        if limit is not None and self.ledger.num_kept_of(trace.key) == limit:
            return Verdict("surplus", f"{limit} of this question were kept before")
        return None

    def _keep(self, trace: Trace) -> None:
        self.ledger.keep(trace.key, trace.whole_key)
        self.num_kept += 1
        self.num_unverified += trace.gold is None and not self._rules.majority
        self.num_unmeasured += self._rules.max_tokens is not None and trace.num_tokens is None


def _agreement(rules: VetRules) -> Callable[[str, str], bool]:
    """What says whether two answers are the same."""
    return operator.eq if rules.choices else _agree


def _agree(predicted: str, gold: str) -> bool:
    """Whether two answers are the same, at once for the many that are written alike."""
    return predicted == gold != "" or is_right(predicted, gold)


def _incomplete(trace: Trace) -> Verdict | None:
    if trace.refusal is not None:
        return Verdict("refused", trace.refusal)
    if trace.is_truncated:
        return Verdict("truncated", _say_how_stopped(trace))
    if not trace.has_answer:
        end = trace.cot.strip()[-60:]
        return Verdict("no_final_answer", f"ends with {end!r}" if end else "nothing was written")
    if not trace.thought:
        return Verdict("no_thought", f"says {trace.answer} and nothing before it")
    if trace.choices and trace.choice is None:
        return Verdict("no_choice", f"found {trace.answer}, one of the choices is needed")
    return None


def _say_how_stopped(trace: Trace) -> str:
    tokens = "" if trace.num_tokens is None else f" after {trace.num_tokens} tokens"
    reason = trace.record.get("finish_reason")
    return f"the teacher was stopped{tokens}" + (f" ({reason})" if reason else "")


@contextmanager
def ledger_of(rules: VetRules, traces: Iterable[Trace | TornLine]) -> Iterator[Ledger]:
    """Opens a ledger; where samples vote, the votes on each question are in it."""
    with open_ledger() as ledger:
        if rules.majority:
            for trace in traces:
                if isinstance(trace, Trace) and trace.gold is None and _incomplete(trace) is None:
                    ledger.add_sample(trace.key, trace.answer)
            for key, samples in groupby(ledger.samples(), lambda sample: sample[0]):
                answers = [answer for _, answer in samples]
                ledger.set_vote(key, *_find_winner(answers, _agreement(rules)))
        yield ledger


def _find_winner(answers: list[str], agree: Callable[[str, str], bool]) -> tuple[str, str]:
    """Returns the answer of most samples, or the problem why there is none."""
    if len(answers) == 1:
        return "", f"{answers[0]} is the answer of the only complete sample"
    agree = cache(agree)  # many samples, few answers
    winner = majority(answers, agree)
    others = [answer for answer in answers if not agree(answer, winner)]
    if others:
        second = majority(others, agree)
        num_votes = sum(agree(answer, second) for answer in others)
        if num_votes >= len(answers) - len(others):
            return "", f"as many samples say {second} as {winner}"
    return winner, ""
