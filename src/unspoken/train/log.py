"""What a training run tells while it goes on: metrics.jsonl, a progress bar, trackers."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from unspoken.common.errors import RecipeError, setting
from unspoken.common.files import write_text
from unspoken.common.places import writing
from unspoken.common.progress import bar_intervals
from unspoken.recipe import Recipe, Train
from unspoken.recipe.layout import METRICS_FILE

if TYPE_CHECKING:
    from accelerate import Accelerator


def require_trackers(train: Train, place: str = "train") -> None:
    """Refuses a tracker that is not installed; Accelerate drops it without a word."""
    for tracker in train.trackers:
        spec = importlib.util.find_spec(tracker)
        if spec is None or spec.origin is None:  # a folder of its logs looks like a package
            raise RecipeError(
                f"{setting(f'{place}.trackers')}: {tracker} is not installed; pip install "
                f"'unspoken[{tracker}]', or leave it out"
            )


def start_trackers(accelerator: Accelerator, recipe: Recipe) -> None:
    """Tells the recipe's trackers what is trained."""
    if recipe.train.trackers:
        settings = _flat(recipe.model_dump(mode="json"))
        accelerator.init_trackers("unspoken", config=settings)


class TrainingLog:
    """A context in which a run is logged; only the main process writes and shows anything."""

    def __init__(
        self, folder: Path, accelerator: Accelerator, *, num_steps: int, step: int, progress: bool
    ) -> None:
        """Opens metrics.jsonl, and drops lines from after `step`, where the run goes on."""
        self.accelerator = accelerator
        self.path = folder / METRICS_FILE
        self.file: TextIO | None = None
        self.bar = tqdm(
            total=num_steps,
            initial=step,
            desc=folder.name,
            unit="step",
            disable=not (progress and accelerator.is_main_process),
            **bar_intervals(),
        )
        if accelerator.is_main_process:
            path = self.path
            with writing(path):
                lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
                write_text(path, "".join(f"{line}\n" for line in lines if _step_of(line) <= step))
                self.file = path.open("a", encoding="utf-8")

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.close()
        if self.file is not None:
            with writing(self.path):
                self.file.close()

    def train(self, step: int, figures: dict[str, Any]) -> None:
        """One line about an optimizer step; the bar shows part of it."""
        self.write(step, "train", figures)
        self.bar.set_postfix(
            {
                "loss": f"{figures['loss']:.3f}",
                "removed": figures["removed"],
                "ex/s": f"{figures['examples_per_s']:.0f}",
            },
            refresh=False,
        )

    def write(self, step: int, event: str, figures: dict[str, Any]) -> None:
        """One line about a step, a validation (`valid`) or a `recovery` and the way back."""
        # fp16 overflows now and then; JSON has no infinity
        figures = {name: _finite(value) for name, value in figures.items()}
        if self.file is not None:
            with writing(self.path):
                self.file.write(json.dumps({"step": step, "event": event, **figures}) + "\n")
                self.file.flush()
        numbers = {f"{event}/{k}": v for k, v in figures.items() if isinstance(v, int | float)}
        self.accelerator.log(numbers, step=step)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # a line that a crash cut off
        return float("inf")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recipe's values under keys such as `train.batch_size`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, int | float | str) else str(value)
    return flat
