"""Memory that runs out while a model trains: what did not fit, and what needs less of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from unspoken.common.errors import TrainingError, setting
from unspoken.common.out_of_memory import amount_asked_for, is_out_of_memory
from unspoken.recipe import Recipe


class AtOnce(NamedTuple):
    """What goes through the model at the same time: examples, and tokens of the longest."""

    num_examples: int
    num_tokens: int


class Room:
    """The memory of a training.

    Attributes:
        at_once: what is in a forward or backward pass now; None: nothing.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, last: Callable[[], Path | None], num_processes: int
    ) -> None:
        """Of a training in `folder`, which goes on from the checkpoint that `last` names."""
        self._recipe, self._folder, self._last = recipe, folder, last
        self._num_processes = num_processes
        self.at_once: AtOnce | None = None

    @contextmanager
    def told(self, moment: str) -> Iterator[None]:
        """Within the block, memory that runs out is an error that says what to do.

        Raises:
            TrainingError: it ran out. Nothing of the step is saved: some weights may be updated.
        """
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise memory_ran_out(
                error,
                self._recipe,
                f"{self._folder}: {moment}",
                at_once=self.at_once,
                checkpoint=self._last(),
                num_processes=self._num_processes,
            ) from error


def memory_ran_out(
    error: BaseException,
    recipe: Recipe,
    where: str,
    *,
    at_once: AtOnce | None,
    checkpoint: Path | None,
    num_processes: int,
) -> TrainingError:
    """The error that a user is told where torch, numpy or Python found no more memory.

    `at_once` is what was in its forward and backward pass; None: it was something else.
    """
    what = "outside of its forward and backward passes"
    if at_once is not None:
        what = f"with {at_once.num_examples} examples of up to {at_once.num_tokens} tokens at once"
    begin = f"goes on from {checkpoint}" if checkpoint else "begins again, without a checkpoint yet"
    same, others = _same_steps(recipe, at_once, num_processes), ", ".join(_other_steps(recipe))
    less = f" with {' and '.join(same)}, which change no result," if same else ""
    return TrainingError(
        f"{where}: memory ran out {what} ({amount_asked_for(error)}); needed: more memory, or less "
        f"at once; the same command{less} {begin}; {others} or a smaller model begin this training "
        "anew"
    )


def _same_steps(recipe: Recipe, at_once: AtOnce | None, num_processes: int) -> list[str]:
    """Settings that take time instead of memory, and the same optimizer steps."""
    settings, found = recipe.train, []
    most = at_once.num_examples // 2 if at_once else 0
    own = settings.batch_size // num_processes
    if most:
        part = max(size for size in range(1, most + 1) if own % size == 0)
        found.append(setting("train.micro_batch_size", part))
    if not settings.gradient_checkpointing:
        found.append(setting("train.gradient_checkpointing", True))
    return found


def _other_steps(recipe: Recipe) -> list[str]:
    """Settings that take less memory, with which the steps that were made are others."""
    found = []
    if recipe.train.precision == "fp32":
        found.append(setting("train.precision", "bf16"))
    if recipe.train.optimizer == "adamw":
        found.append(setting("train.optimizer", "adamw_8bit"))
    if recipe.lora is None:
        found.append(f"{setting('lora')} (adapters instead of all weights)")
    elif recipe.model.quantization is None:
        found.append(setting("model.quantization", "nf4"))
    return [*found, f"a smaller {setting('data.max_length')}"]
