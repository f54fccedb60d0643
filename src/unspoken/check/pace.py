"""How fast one model learns and writes on this machine: a real step, and a short burst of answers.

Each takes seconds, and is remembered for the same model, settings and machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from unspoken.check.learner import Learner
from unspoken.common.cache import default_cache
from unspoken.common.errors import UnspokenError
from unspoken.common.files import write_text
from unspoken.common.machine import num_cores
from unspoken.common.memory import free_memory, release_models
from unspoken.models.fingerprint import fingerprint
from unspoken.models.local import is_local
from unspoken.recipe import Recipe

_FILE = "pace.json"
#: What one measurement may take, so far as that is known before.
_MOST_S = 3.0
_ENOUGH_S = 1.0  # after so long nothing is measured again
_TIMES = 5
_WARM = 3  # answers after which a decoder has recorded what it will
_BUSY_PERCENT = 30.0
#: n threads are n to the power of this as fast as one: two 1.6 times, for small models on a CPU.
_GAIN = 0.7
#: Of a section `train`: what the time of a step depends on.
_DECIDING = {
    "batch_size", "micro_batch_size", "precision", "optimizer", "gradient_checkpointing", "threads",
    "group_by_length",
}  # fmt: skip
_WRITTEN = 16  # tokens of each answer of a burst
#: Weights, gradients and moments may take so much of what is free; activations need the rest.
_SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True)
class TrainingPace:
    """Seconds of an optimizer step.

    Attributes:
        whole_s: with the whole thought.
        bare_s: with none of it.
    """

    whole_s: float
    bare_s: float


@dataclass(frozen=True)
class WritingPace:
    """How fast answers are written.

    Attributes:
        tokens_per_s: many at once.
        token_s: seconds of a token of a single answer.
    """

    tokens_per_s: float
    token_s: float


class NotMeasuredError(Exception):
    """A model that is not here or too large to be loaded for a check; says which."""


def measure_training(recipe: Recipe, learner: Learner, work_s: float) -> TrainingPace:
    """Takes a few optimizer steps, in a folder that is gone at once.

    Args:
        recipe: of the training.
        learner: its model without weights, and examples.
        work_s: seconds of a step, roughly, by the rate of large products; of one that takes long
            only some of its examples are done.

    Raises:
        NotMeasuredError: the model is not here, or too large for that.
    """
    batch = recipe.train.batch_size
    some = max(1, min(batch, int(batch * _MOST_S / max(work_s, 1e-9))))
    micro = min(some, recipe.train.micro_batch_size or some)
    some -= some % micro
    own: dict[str, Any] = {
        "batch_size": some, "micro_batch_size": micro, "trackers": [], "compile": False,
    }  # fmt: skip
    own |= {"threads": None} if is_busy() else {}
    measured = recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update=own),
            "schedule": recipe.schedule.model_copy(update={"removal": "none"}),
        }
    )
    deciding = measured.train.model_dump(mode="json", include=_DECIDING)
    parts = ["training", _model_key(recipe), deciding]
    parts += [recipe.schedule.positions, recipe.schedule.auxiliary_loss > 0, _lengths_key(learner)]
    seconds = _remembered(parts, lambda: list(_time_steps(measured, learner)))
    return TrainingPace(*(each * batch / some for each in seconds))


def measure_writing(recipe: Recipe, learner: Learner, batch_size: int) -> WritingPace:
    """Has the model write a few answers; with weights that are drawn where it has none yet.

    Raises:
        NotMeasuredError: the model is not here, or too large for that.
    """
    parts = ["writing", _model_key(recipe), batch_size, _lengths_key(learner)]
    return WritingPace(
        *_remembered(parts, lambda: list(_time_writing(recipe, learner, batch_size)))
    )


def _time_steps(recipe: Recipe, learner: Learner) -> Iterator[float]:
    from unspoken.models.template import Template
    from unspoken.train.checkpoint import TrainState
    from unspoken.train.loop import StepwiseInternalization
    from unspoken.train.schedule import ALL, RemovalState

    with _loaded(recipe, learner) as model, tempfile.TemporaryDirectory() as folder:
        trainer = StepwiseInternalization(
            model,
            learner.tokenizer,
            Template(recipe.template, learner.tokenizer, recipe.data.choices),
            recipe,
            train=learner.dataset,
            folder=Path(folder),
            progress=False,
        )
        trainer.model.train()
        for removed in (0, ALL):
            state = TrainState(schedule=RemovalState(removed=removed))
            yield _median_s(lambda state=state: trainer.step(state))
        trainer.accelerator.free_memory()


def _time_writing(recipe: Recipe, learner: Learner, batch_size: int) -> Iterator[float]:
    with _loaded(recipe, learner) as model:
        prompts = learner.dataset.prompts()
        many = [prompts[index % len(prompts)] for index in range(batch_size)]
        num_tokens, seconds = _write(model, learner, many, batch_size)
        yield num_tokens / seconds
        num_tokens, seconds = _write(model, learner, many[:_TIMES], 1)
        yield seconds / num_tokens


def _write(
    model: Any, learner: Learner, prompts: Sequence[Sequence[int]], batch_size: int
) -> tuple[int, float]:
    """Tokens that are written, and the seconds that takes, by a decoder that is warm."""
    from unspoken.measure.decode import Decoder

    tokenizer: Any = learner.tokenizer
    decoder = Decoder(
        model,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        batch_size=batch_size,
        patience=0 if batch_size == 1 else 1,
    )
    for prompt in prompts[:_WARM]:
        list(decoder.stream([prompt], _WRITTEN))
    watch = _Stopwatch()
    done = [completion for _, completion in decoder.stream(prompts, _WRITTEN)]
    seconds = watch.seconds()
    return max(1, sum(completion.num_tokens for completion in done)), seconds


@contextlib.contextmanager
def _loaded(recipe: Recipe, learner: Learner) -> Iterator[Any]:
    """The model with weights, for as long as the block runs.

    Raises:
        NotMeasuredError: it is not here, too large, or fails within the block.
    """
    import torch

    from unspoken.models.load import load_model

    settings = recipe.model
    if settings.name is not None and not is_local(settings.name):
        raise NotMeasuredError("the model is not here")
    trained, rest = learner.num_trained, learner.num_parameters - learner.num_trained
    needed, free = 16.0 * trained + 4.0 * max(0, rest), free_memory()
    if free is None:  # as on macOS, where there is no /proc
        import psutil

        free = psutil.virtual_memory().available
    if needed > _SHARE_OF_MEMORY * free:
        raise NotMeasuredError(
            f"the model is too large to be loaded for a check ({needed / 1e9:,.1f} GB of "
            f"{free / 1e9:,.1f} GB that are free)"
        )
    threads, state = _num_threads(), torch.get_rng_state()
    model = None
    try:
        if is_busy():
            torch.set_num_threads(1)
        model = load_model(settings, learner.tokenizer, seed=recipe.seed, lora=recipe.lora)
        if torch.cuda.is_available():
            model = model.to("cuda")
        yield model
    except (UnspokenError, RuntimeError, MemoryError, OSError) as error:  # as memory runs out, too
        raise NotMeasuredError(f"it could not be measured ({str(error)[:200]})") from error
    finally:
        del model
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        release_models()


def _median_s(call: Callable[[], object]) -> float:
    """Seconds of a call, once it is warm."""
    call()
    seconds: list[float] = []
    while len(seconds) < _TIMES and sum(seconds) < _ENOUGH_S:
        watch = _Stopwatch()
        call()
        seconds.append(watch.seconds())
    return statistics.median(seconds)


class _Stopwatch:
    """Takes the time that something would need here, were nothing else to be done."""

    def __init__(self) -> None:
        self._begin, self._used = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """So far."""
        if not is_busy():
            return time.perf_counter() - self._begin
        return (time.process_time() - self._used) / _num_threads() ** _GAIN


@cache
def is_busy() -> bool:
    """Whether others have the processors of this machine.

    Threads that wait for each other would then take many times as long, and as much of the
    processors. So one thread is timed, on its processor, and what others bring is a guess.
    """
    import psutil
    import torch

    return not torch.cuda.is_available() and psutil.cpu_percent(interval=0.5) > _BUSY_PERCENT


@cache
def _num_threads() -> int:
    """Threads that torch computes with, before any measurement changes that."""
    import torch

    return torch.get_num_threads()


def _remembered(parts: Sequence[Any], measure: Callable[[], list[float]]) -> list[float]:
    """What was measured before for the same model, settings and machine, or is measured now."""
    text = json.dumps([*parts, _machine_key()], sort_keys=True, default=str)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    path, known = default_cache() / _FILE, {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(known, dict) or not isinstance(known.get(key), list):
        found = measure()
        known = {**(known if isinstance(known, dict) else {}), key: found}
        with contextlib.suppress(OSError, UnspokenError):  # then it is measured again next time
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(known))
    return known[key]


def _model_key(recipe: Recipe) -> Any:
    values: dict[str, Any] = recipe.model_dump(mode="json", include={"model", "lora", "template"})
    name = recipe.model.name
    if name is not None and is_local(name):
        values["fingerprint"] = fingerprint(Path(name))
    return values


def _lengths_key(learner: Learner) -> list[int]:
    lengths = learner.dataset.lengths
    return [len(lengths), int(np.sum(lengths)), int(lengths.max())]


def _machine_key() -> list[Any]:
    import torch
    import transformers

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else f"busy: {is_busy()}"
    versions = [torch.__version__, transformers.__version__]
    return [platform.node(), platform.machine(), num_cores(), _num_threads(), gpu, *versions]
