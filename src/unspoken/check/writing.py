"""What a teacher writes at the most, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unspoken.check.finding import Finding
from unspoken.check.learner import Learner
from unspoken.data.example import Example
from unspoken.recipe import Recipe, Teacher
from unspoken.teach.engines import Request, Usage
from unspoken.teach.engines.budget import Budget
from unspoken.teach.prompts import PromptWriter


@dataclass(frozen=True)
class Asking:
    """What is asked altogether.

    Attributes:
        questions: some of the training questions, or all.
        num_questions: how many of them there will be.
        num_test: test questions that the teacher is asked, too.
        limit: tokens of a trace at the most; None: not counted.
        writer: renders the prompts, where it is known how.
        learner: the teacher without weights, where this run trains it.
        choices: the only answers that there are, which prompts name.
    """

    questions: list[Example]
    num_questions: int
    num_test: int
    limit: int | None
    writer: PromptWriter | None
    learner: Learner | None = None
    choices: tuple[str, ...] | None = None


def count_written(teacher: Teacher, asking: Asking) -> Iterator[Finding]:
    """Yields the tokens of all traces, were each as long as it may be."""
    limit, samples = asking.limit or 0, teacher.samples_per_question
    most = asking.num_questions * samples * limit
    yield Finding(
        "teacher",
        f"teacher writes: at most {most:,} tokens ({asking.num_questions:,} questions x {samples} "
        f"{'sample' if samples == 1 else 'samples'} x {limit:,} tokens)",
    )
    if teacher.retries:
        again = asking.num_questions * teacher.retries * limit
        yield Finding(
            "teacher",
            f"teacher is asked again where nothing was kept, up to {teacher.retries} x: at most "
            f"{again:,} tokens more, were nothing right",
        )
    if asking.num_test:
        yield Finding(
            "teacher",
            f"teacher is measured: {asking.num_test:,} questions, at most "
            f"{asking.num_test * limit:,} tokens more (teacher.evaluate=false leaves it out)",
        )


def count_cost(recipe: Recipe, teacher: Teacher, asking: Asking) -> Iterator[Finding]:
    """Yields the most that can be spent; a prompt token has at least one byte."""
    rate = teacher.requests_per_minute
    if rate is not None:
        requests = asking.num_questions * teacher.samples_per_question + asking.num_test
        hours = requests / rate / 60
        yield Finding("cost", f"time: at least {hours:,.1f} h at {rate:g} requests per minute")
    if teacher.price_prompt is None or teacher.price_completion is None:
        text = "cost: not known; give teacher.price_prompt and teacher.price_completion"
        yield Finding("cost", text)
        return
    budget = Budget(None, teacher.price_prompt, teacher.price_completion, Usage())
    each = [
        budget.worst(make_request(index, question, asking.writer), asking.limit or 0)
        for index, question in enumerate(asking.questions)
    ]
    is_whole = len(each) == asking.num_questions
    once = sum(each) if is_whole else max(each) * asking.num_questions
    traces, again = once * teacher.samples_per_question, once * teacher.retries
    measuring = max(each) * asking.num_test
    parts = [f"{_money(traces)} for the traces"]
    parts += [f"{_money(again)} for asking again"] if teacher.retries else []
    parts += [f"{_money(measuring)} or so for the test questions"] if asking.num_test else []
    yield Finding(
        "cost",
        f"cost: at most {_money(traces + again + measuring)} {recipe.costs.currency}: "
        f"{', '.join(parts)}; every trace counted up to its limit, and a prompt token for each "
        "byte",
    )
    yield Finding("cost", _limit(teacher.max_cost, traces, recipe.costs.currency))


def _limit(max_cost: float | None, traces: float, currency: str) -> str:
    """Whether the limit of what may be spent is enough for the traces."""
    if max_cost is None:
        return "cost: no limit; teacher.max_cost sets one, for each file of traces"
    limit = f"cost: teacher.max_cost {_money(max_cost)} {currency}, for each file of traces, "
    if traces <= max_cost:
        return f"{limit}is enough in any case"
    return (
        f"{limit}is below the most that they can cost; the run stops when it is spent, keeps what "
        "is done, and goes on with a higher one"
    )


def make_request(index: int, question: Example, writer: PromptWriter | None) -> Request:
    """The request that an engine would get; without a writer its prompt is the question alone."""
    prompt = (writer or PromptWriter("none"))(question.question)
    return Request("", index, 0, {"question": question.question}, prompt, 0)


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.01 or not amount else f"{amount:.2g}"
