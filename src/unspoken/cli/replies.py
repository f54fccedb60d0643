"""How the replies of `unspoken ask` are shown: side by side as they are written, or as lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from unspoken.measure.ask import WrittenAnswer

#: Signs that two columns need; in less they stand one below the other.
_WIDE = 72


def show_plain(
    titles: Sequence[str], states: Iterable[Sequence[WrittenAnswer]]
) -> Sequence[WrittenAnswer]:
    """Prints the answer alone; of several models a line each, with what it took.

    Args:
        titles: of the models.
        states: their replies as far as they are written, the last ones whole.
    """
    replies = deque(states, maxlen=1).pop()
    for title, reply in zip(titles, replies, strict=True):
        if len(titles) == 1:
            print(reply.answer, end="\n" if reply.answer else "", flush=True)
        else:
            print(f"{title}: {reply.answer} ({_took(reply)}): {reply.written}", flush=True)
    return replies


def show_live(
    titles: Sequence[str], states: Iterable[Sequence[WrittenAnswer]]
) -> Sequence[WrittenAnswer]:
    """Draws the replies again with every token; arguments as in `show_plain`."""
    console = Console(highlight=False)
    last: Sequence[WrittenAnswer] = []
    with Live(console=console, refresh_per_second=30) as live:
        for replies in states:
            live.update(_drawn(titles, replies, console.width))
            last = replies
    return last


def _drawn(titles: Sequence[str], replies: Sequence[WrittenAnswer], width: int) -> RenderableType:
    if len(titles) == 1:
        return _column("", replies[0])
    columns = [_column(*each) for each in zip(titles, replies, strict=True)]
    if width < _WIDE:
        return Group(*columns)
    table = Table.grid(expand=True, padding=(0, 2))
    for _ in columns:
        table.add_column(ratio=1)
    table.add_row(*columns)
    return table


def _column(title: str, reply: WrittenAnswer) -> RenderableType:
    """One reply: what is written, the answer, what it took."""
    lines = [Text(title, style="bold")] if title else []
    written = reply.written.strip()
    is_short = reply.answer == written
    if written and not is_short:
        lines.append(Text(written, overflow="fold", style="dim" if reply.answer else ""))
    if reply.answer:
        style = {None: "bold", True: "bold green", False: "bold red"}[reply.correct]
        lines.append(Text(_answer(reply), style=style, overflow="fold"))
    lines.append(Text(_took(reply), style="dim"))
    return Group(*lines)


def _answer(reply: WrittenAnswer) -> str:
    """The answer, and whether it is right."""
    if reply.correct is None:
        return reply.answer
    return f"{reply.answer}  " + ("right" if reply.correct else f"wrong, {reply.right_answer}")


def _took(reply: WrittenAnswer) -> str:
    from unspoken.measure.ask import describe_cost  # torch is imported when it is shown, not before

    return describe_cost(reply.num_tokens, reply.seconds)
