"""question -> what a teacher is asked: a plain prompt, or messages for a chat template.

The student's prompts are rendered in `unspoken.models.template`; these are the ones that make
traces.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from unspoken.common.errors import DataError, setting
from unspoken.common.files import AnyPath
from unspoken.data.example import FINAL_ANSWER, extract_solution
from unspoken.data.jsonl import read_jsonl, require_text
from unspoken.recipe.choices import name_choices
from unspoken.teach.engines import Message, Prompt, Style

#: First line of the plain prompt, and the system message in style chat. With `Q:` and `A:` below
#: it is a format: traces made with it can be compared.
INSTRUCTION = (
    "You are a careful reasoning assistant. Solve the problem step-by-step and end with a line "
    f"that starts with '{FINAL_ANSWER}'."
)
#: In a plain prompt a model without an end goes on with a question of its own.
NEXT_QUESTION = "\nQ:"


@dataclass(frozen=True)
class PromptWriter:
    """Renders questions.

    Attributes:
        style: chat, plain, or trained or none: the question alone, the engine knows the rest.
        system_prompt: in place of `INSTRUCTION`; an empty one leaves it out.
        few_shot: (question, solution) pairs that stand before the question.
        choices: the only answers that there are; a line after each question names them. A model
            that unspoken trained has them in its own prompt, if it learned them.
    """

    style: Style = "plain"
    system_prompt: str = INSTRUCTION
    few_shot: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] | None = None

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end a reply to such a prompt."""
        return (NEXT_QUESTION,) if self.style == "plain" else ()

    def __call__(self, question: str) -> Prompt:
        """The prompt for one question."""
        if self.style in ("trained", "none"):
            return Prompt(text=question)
        question = name_choices(question, self.choices)
        if self.style == "plain":
            head = f"{self.system_prompt}\n\n" if self.system_prompt else ""
            shots = "".join(f"Q: {one}\n\nA: {other}\n\n" for one, other in self.few_shot)
            return Prompt(text=f"{head}{shots}Q: {question}\n\nA:")
        messages = [Message(role="system", content=self.system_prompt)]
        for one, other in self.few_shot:
            messages.append(Message(role="user", content=one))
            messages.append(Message(role="assistant", content=other))
        messages.append(Message(role="user", content=question))
        return Prompt(messages=tuple(messages if self.system_prompt else messages[1:]))

    def settings(self) -> dict[str, Any]:
        """What decides the prompts; few-shot examples by their hash."""
        if self.style in ("trained", "none"):
            return {"prompt": self.style}
        shots = json.dumps(self.few_shot).encode()
        return {
            "prompt": self.style,
            "system_prompt": self.system_prompt,
            "few_shot": hashlib.sha256(shots).hexdigest()[:16] if self.few_shot else None,
            **({"choices": list(self.choices)} if self.choices else {}),
        }


def make_prompt_writer(
    style: Style,
    system_prompt: str | None = None,
    few_shot: AnyPath | None = None,
    choices: tuple[str, ...] | None = None,
) -> PromptWriter:
    """The writer for an engine's style.

    Args:
        style: `Engine.style`.
        system_prompt: in place of the default instruction.
        few_shot: JSONL with question and thought or cot, and answer where the thought lacks it.
        choices: the only answers that there are.

    Raises:
        DataError: for a few-shot file that cannot be used, and for settings that a model trained
            by unspoken would not understand.
    """
    if style in ("trained", "none") and (system_prompt is not None or few_shot is not None):
        name = "system_prompt" if system_prompt is not None else "few_shot"
        who = "a model that unspoken trained, which is asked as it was trained"
        raise DataError(
            f"{setting(name)}: found it for {who if style == 'trained' else 'worked solutions'}; "
            "needed: a teacher that reads instructions; leave it out"
            + (f", or give {setting('prompt', 'plain or chat')}" if style == "trained" else "")
        )
    shots = _read_shots(few_shot, choices) if few_shot is not None else ()
    instruction = INSTRUCTION if system_prompt is None else system_prompt
    return PromptWriter(style, instruction, shots, choices)


def _read_shots(path: AnyPath, choices: tuple[str, ...] | None) -> tuple[tuple[str, str], ...]:
    """Questions, asked in the form of the one that follows them, and their solutions."""
    shots = []
    for line, record in read_jsonl(path):
        where = f"{path}:{line}"
        solution = extract_solution(record, where)
        if solution is None:
            raise DataError(
                f"{where}: thought: missing; needed: a worked solution in 'thought' or 'cot'; "
                "add it or delete the line"
            )
        question = name_choices(require_text(record, "question", where), choices)
        shots.append((question, solution))
    return tuple(shots)
