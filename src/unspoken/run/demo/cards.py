"""The HTML of the page: a model's reply, and the score of a race. All text of models is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from unspoken.measure.ask import WrittenAnswer, describe_cost
from unspoken.run.demo.contest import Score

#: Colours of the columns and verdicts, in light and dark by the page's own variables. A slider's
#: numbers are places in a list and say nothing; what has the keyboard can be seen.
STYLE = """
.unspoken-card { border: 1px solid var(--border-color-primary); border-radius: 10px;
  padding: 14px 16px; min-height: 150px; background: var(--block-background-fill);
  overflow-wrap: anywhere; }
.unspoken-card h3 { margin: 0 0 8px; font-size: 1rem; color: var(--body-text-color); }
.unspoken-written { font-family: monospace; white-space: pre-wrap;
  color: var(--body-text-color); opacity: .75; min-height: 3em; }
.unspoken-answer { font-size: 1.6rem; font-weight: 600;
  color: var(--body-text-color); min-height: 1.6em; }
.unspoken-right { color: #137333; } .unspoken-wrong { color: #b3261e; }
.dark .unspoken-right { color: #6dd58c; } .dark .unspoken-wrong { color: #f2b8b5; }
.unspoken-cost { color: var(--body-text-color); opacity: .75; font-variant-numeric: tabular-nums; }
.unspoken-bar { height: 10px; border-radius: 5px; background: var(--border-color-primary);
  overflow: hidden; margin: 6px 0; }
.unspoken-bar div { height: 100%; background: var(--color-accent); }
#ask:focus-visible, #race:focus-visible, #level input:focus-visible {
  outline: 3px solid var(--body-text-color); outline-offset: 2px; }
#level .tab-like-container, #level .min_value, #level .max_value { display: none; }
#said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 600px) {
  .unspoken-card { padding: 10px; } .unspoken-answer { font-size: 1.15rem; }
}
"""


def reply_card(title: str, reply: WrittenAnswer | None) -> str:
    """One column: what is written so far, the answer, what it took.

    Args:
        title: of the model.
        reply: as far as it is written; None before a question was asked.
    """
    if reply is None:
        return _card(title, '<div class="unspoken-written">ask something</div>')
    written = reply.written.strip()
    shown = "" if written == reply.answer else escape(written)
    return _card(
        title,
        f'<div class="unspoken-written">{shown}</div>'
        f'<div class="unspoken-answer">{escape(reply.answer)}{_verdict(reply)}</div>'
        f"{_cost(reply.num_tokens, reply.seconds)}",
    )


def say_replies(titles: Sequence[str], replies: Sequence[WrittenAnswer]) -> str:
    """Both answers as a sentence each, for those who cannot see the columns."""
    verdicts = {None: "", True: ", right", False: ", wrong"}
    return " ".join(
        f"{escape(title)}: {escape(reply.answer) or 'no answer'}{verdicts[reply.correct]}."
        for title, reply in zip(titles, replies, strict=False)
    )


def error_card(title: str, message: str) -> str:
    """A column that says why there is no answer."""
    return _card(title, f'<div class="unspoken-wrong">{escape(message)}</div>')


def score_card(score: Score, slowest: float) -> str:
    """How a model stands in the race.

    Args:
        score: so far.
        slowest: seconds of the model that took longest so far, the length of the whole bar.
    """
    share = score.seconds / slowest if slowest else 0
    return _card(
        score.title,
        f'<div class="unspoken-answer">{score.num_right} of {score.num_asked} right</div>'
        f'<div class="unspoken-bar"><div style="width: {100 * share:.0f}%"></div></div>'
        f"{_cost(score.num_tokens, score.seconds)}",
    )


def race_line(question: str, scores: Sequence[Score], number: int) -> str:
    """A sentence about a race of `number` questions: where it stands, and what came out.

    HTML and not Markdown, in which the stars of 3*4*5 are no part of a question.
    """
    first, second = scores
    asked = f"Question {first.num_asked} of {number}: <strong>{escape(question)}</strong>"
    if first.num_asked < number or not second.seconds:
        return asked
    ratio = first.seconds / second.seconds
    return (
        f"{asked}. All {number}: {first.num_right} right thinking aloud, {second.num_right} right "
        f"on the other side, which was {ratio:.1f} times as fast on this machine."
    )


def _card(title: str, body: str) -> str:
    return f'<div class="unspoken-card"><h3>{escape(title)}</h3>{body}</div>'


def _cost(num_tokens: int, seconds: float) -> str:
    """What it took; a number and its unit stay on one line."""
    told = ", ".join(
        part.replace(" ", "&nbsp;") for part in describe_cost(num_tokens, seconds).split(", ")
    )
    return f'<div class="unspoken-cost">{told}</div>'


def _verdict(reply: WrittenAnswer) -> str:
    if reply.correct is None or not reply.answer:
        return ""
    if reply.correct:
        return ' <span class="unspoken-right">right</span>'
    return f' <span class="unspoken-wrong">wrong: {escape(str(reply.right_answer))}</span>'
