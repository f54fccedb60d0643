"""What a file of traces is to hold and how it is made, kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unspoken.common.errors import DataError, OutputExistsError
from unspoken.common.files import AnyPath, write_text
from unspoken.common.version import __version__
from unspoken.measure.sampling import Sampling
from unspoken.teach.engines import Engine
from unspoken.teach.prompts import PromptWriter


@dataclass(frozen=True)
class Plan:
    """Which samples a file is to hold.

    Attributes:
        start_index: of the first question.
        num_questions: from there on, before sharding.
        num_samples_per_question: of each.
        shard: (i, n): every n-th question, from the i-th on; (1, 1) is all.
    """

    start_index: int
    num_questions: int
    num_samples_per_question: int = 1
    shard: tuple[int, int] = (1, 1)

    def indices(self) -> range:
        """The indices of the questions."""
        number, count = self.shard
        return range(self.start_index + number - 1, self.start_index + self.num_questions, count)


def settings_path(output: AnyPath) -> Path:
    """The file beside traces that says how they were made."""
    output = Path(output)
    return output.with_name(f"{output.name}.settings.json")


def settings_of(engine: Engine, writer: PromptWriter, sampling: Sampling) -> dict[str, Any]:
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


def settle_settings(path: Path, settings: dict[str, Any], plan: Plan, overwrite: bool) -> None:
    """Writes the settings beside the output, or refuses to continue with other ones.

    They are there before the output is, so a file without them is not ours.

    Raises:
        OutputExistsError: the output was begun with other settings, or not by unspoken.
        DataError: it is a folder, or its settings cannot be read.
    """
    beside = settings_path(path)
    if path.is_dir():
        raise DataError(f"{path}: found a folder; needed: the name of a file; name another")
    if overwrite:
        path.unlink(missing_ok=True)
    elif path.exists():
        if not beside.exists():
            raise OutputExistsError(
                f"{path}: exists already and has no {beside.name}, so it cannot be continued; "
                "needed: a new name; name another output or allow replacing it with --overwrite"
            )
        before = read_settings(path)[0]
        differing = [
            f"{key}: {_shown(before.get(key))} then, {_shown(settings.get(key))} now"
            for key in sorted({*before, *settings})
            if before.get(key) != settings.get(key)
        ]
        if differing:
            raise OutputExistsError(
                f"{path}: was begun with other settings ({'; '.join(differing)}); needed: the same "
                "ones to continue it; give those, another --output, or --overwrite to begin anew"
            )
    values = {"unspoken_version": __version__, "settings": settings, "plan": asdict(plan)}
    write_text(beside, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def read_settings(output: AnyPath) -> tuple[dict[str, Any], Plan]:
    """The settings and the plan of a file of traces.

    Raises:
        DataError: they are missing or cannot be read.
    """
    beside = settings_path(output)
    try:
        values = json.loads(beside.read_text(encoding="utf-8"))
        plan = values["plan"]
        return values["settings"], Plan(**{**plan, "shard": tuple(plan["shard"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{beside}: cannot be read ({error}); needed: what unspoken generate wrote beside "
            f"{output}; put it back, or make the traces again with --overwrite"
        ) from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
