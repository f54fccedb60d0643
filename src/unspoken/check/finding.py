"""What `unspoken check` has to say: one value for each line, with its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: `unknown here`: what this machine cannot know, such as a model that it has not got; `warning`:
#: what may go wrong. The others say what a finding is about: `plan` is what the run does, `teacher`
#: who is asked and what it writes, `cost` time and money for that, `model` what learns, from how
#: many tokens.
Kind = Literal[
    "plan", "machine", "data", "teacher", "cost", "model", "steps", "work", "memory", "disk",
    "warning", "unknown here",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that is known of a recipe, or that cannot be known here.

    Attributes:
        kind: for whoever looks for some of them.
        text: for people, in one line.
        part: of the run that it is about, such as `distil` or a phase; empty: all of it.
    """

    kind: Kind
    text: str
    part: str = ""

    def __str__(self) -> str:
        """The line as `unspoken check` prints it."""
        return f"[{self.part}] {self.text}" if self.part else self.text
