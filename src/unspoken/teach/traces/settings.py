"""What a file of traces is to hold and how it is made, kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, model_validator
from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from unspoken.common.errors import (
    DataError,
    OutputExistsError,
    SettingError,
    setting,
    shorten,
)
from unspoken.common.files import AnyPath, write_text
from unspoken.common.settings import Natural, Positive, checked
from unspoken.common.version import __version__
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import Engine
from unspoken.teach.prompts import PromptWriter


@checked
class Selection:
    """Which of the questions are answered, and how often.

    Attributes:
        start_index: of the first question.
        num_samples: so many questions from there; None is all.
        samples_per_question: each gets its own id.
        shard: (i, n): every n-th question, from the i-th on; (1, 1) is all.

    Raises:
        SettingError: for values that make no sense.
    """

    start_index: Natural = 0
    num_samples: Positive | None = None
    samples_per_question: Positive = 1
    shard: tuple[Natural, Natural] = (1, 1)

    @model_validator(mode="after")
    def _shard_is_one_of_them(self) -> Selection:
        number, count = self.shard
        if not 1 <= number <= count:
            raise SettingError(
                "shard",
                found=f"{number}/{count}",
                needed="such as 1/16 to 16/16",
                remedy="correct it",
            )
        return self

    def plan(self, num_questions: int) -> TracePlan:
        """What is to be answered of so many questions.

        Raises:
            SettingError: the first one is behind the last of them.
        """
        if self.start_index and self.start_index >= num_questions:
            raise SettingError(
                "start_index",
                found=str(self.start_index),
                needed=f"below {num_questions:,}, the number of questions",
                remedy="lower it",
            )
        left = num_questions - self.start_index
        total = left if self.num_samples is None else min(self.num_samples, left)
        return TracePlan(self.start_index, total, self.samples_per_question, self.shard)


@dataclass(frozen=True)
class TracePlan:
    """Which samples a file is to hold.

    Attributes:
        start_index: of the first question.
        num_questions: from there on, before sharding.
        num_samples_per_question: of each.
        shard: (i, n): every n-th question, from the i-th on; (1, 1) is all.
    """

    start_index: Natural
    num_questions: Natural
    num_samples_per_question: Positive = 1
    shard: tuple[Positive, Positive] = (1, 1)

    def indices(self) -> range:
        """The indices of the questions."""
        number, count = self.shard
        return range(self.start_index + number - 1, self.start_index + self.num_questions, count)


class _Beside(TypedDict):
    """What stands beside a file of traces."""

    settings: dict[str, Any]
    plan: TracePlan


def settings_path(output: AnyPath) -> Path:
    """The file beside traces that says how they were made."""
    output = Path(output)
    return output.with_name(f"{output.name}.settings.json")


def unanswered_path(output: AnyPath) -> Path:
    """The file beside traces that says what may have been charged without a reply."""
    output = Path(output)
    return output.with_name(f"{output.name}.unanswered.json")


def list_settings(engine: Engine, writer: PromptWriter, sampling: Sampling) -> dict[str, Any]:
    """Everything that decides what an engine writes."""
    settings = {**engine.settings(), **writer.settings()}
    if engine.style != "none":
        settings |= {
            "max_new_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
        }
    if engine.style != "none" and sampling.temperature > 0:
        settings |= {"top_p": sampling.top_p, "seed": sampling.seed}
    return settings


def require_same_settings(path: Path, settings: dict[str, Any]) -> None:
    """Checks that a file of traces, where there is one, can be continued with these settings.

    Raises:
        OutputExistsError: it was begun with other settings, or not by unspoken.
        DataError: it is a folder, or its settings cannot be read.
    """
    if path.is_dir():
        raise DataError(f"{path}: found a folder; needed: the name of a file; name another")
    if not path.exists():
        return
    beside = settings_path(path)
    if not beside.exists():  # they are written before the traces are, so these are not ours
        raise OutputExistsError(
            f"{path}: exists already and has no {beside.name}, so it cannot be continued; needed: "
            "a new name; name another output or allow replacing it with "
            f"{setting('overwrite', True)}"
        )
    before = read_settings(path)[0]
    differing = [
        f"{key}: {shorten(before.get(key))} then, {shorten(settings.get(key))} now"
        for key in sorted({*before, *settings})
        if before.get(key) != settings.get(key)
    ]
    if differing:
        raise OutputExistsError(
            f"{path}: was begun with other settings ({'; '.join(differing)}); needed: the same "
            f"ones to continue it; give those, another {setting('output')}, or "
            f"{setting('overwrite', True)} to begin anew"
        )


def write_settings(path: Path, settings: dict[str, Any], plan: TracePlan) -> None:
    """Writes beside a file of traces how they are made, and which; replaces what stood there."""
    values = {"unspoken_version": __version__, "settings": settings, "plan": asdict(plan)}
    write_text(settings_path(path), json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_settings(output: AnyPath) -> tuple[dict[str, Any], TracePlan]:
    """Reads the settings and the plan of a file of traces.

    Raises:
        DataError: they are missing or cannot be read.
    """
    beside = settings_path(output)
    try:
        read = TypeAdapter(_Beside).validate_json(beside.read_bytes())
        return read["settings"], read["plan"]
    except (OSError, ValidationError) as error:
        problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(
            f"{beside}: cannot be read ({problem}); needed: what unspoken generate wrote beside "
            f"{output}; put it back, or make the traces again with {setting('overwrite', True)}"
        ) from None
