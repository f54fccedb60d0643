"""Memory that runs out while a model trains: what did not fit, and what needs less of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from unspoken.common.errors import TrainingError, setting
from unspoken.common.out_of_memory import amount_asked_for
from unspoken.recipe import Recipe


class AtOnce(NamedTuple):
    """What goes through the model at the same time: examples, and tokens of the longest."""

    num_examples: int
    num_tokens: int


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
