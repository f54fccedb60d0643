"""Habits of the libraries beneath that users pay for: idle messages, an early compiler."""

from __future__ import annotations

import functools
import gc
import importlib.machinery
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from unspoken.common.errors import UnspokenError

#: Says on every import that an optional kernel is not installed.
_OPTIONAL_KERNELS = "bitsandbytes.backends.cpu.ops"
#: Calls `torch.compile` while it is imported, for two functions that most processes never call.
_COMPILES_WHEN_IMPORTED = "bitsandbytes.backends.default.ops"


def silence_libraries() -> None:
    """Libraries talk when something is wrong, not about every file they load.

    Raises:
        UnspokenError: Python leaves docstrings out, which transformers reads as it is imported.
    """
    if sys.flags.optimize >= 2:
        raise UnspokenError(
            "Python: found it without docstrings (-OO, or PYTHONOPTIMIZE=2); needed: with them, "
            "which transformers builds its models from; leave that out"
        )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    silence_optional_kernels()
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def silence_optional_kernels() -> None:
    """bitsandbytes, which peft and transformers import, may do without kernels and say nothing.

    Nor that a CPU, whose memory is not paged out for it, needs no paged optimizer.
    """
    logging.getLogger(_OPTIONAL_KERNELS).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU")


def import_model_classes() -> None:
    """What every language model needs of transformers, and no process that asks one can spare."""
    import_bitsandbytes_without_a_compiler()
    with uncollected():
        silence_libraries()
        from transformers import masking_utils, modeling_utils  # noqa: F401


@contextmanager
def uncollected() -> Iterator[None]:
    """Within the block, Python does not look for garbage: for imports, which make none.

    Torch and transformers are millions of objects, which it would walk through again and again
    while they come: a sixth of the processor time of one question to a small model.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def future_warnings_silenced() -> Iterator[None]:
    """Within the block, what one library tells another of newer names is not told the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def import_bitsandbytes_without_a_compiler() -> None:
    """What bitsandbytes compiles when it is imported is compiled when it is first called.

    peft imports bitsandbytes wherever it is installed, and that way a whole compiler (torch's
    inductor): four fifths of the time that `import peft` takes.
    """
    if not any(isinstance(finder, _CompileLater) for finder in sys.meta_path):
        sys.meta_path.insert(0, _CompileLater())


class _CompileLater:
    """Finds one module, as Python would, and has it executed with another `torch.compile`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _COMPILES_WHEN_IMPORTED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_without_compiling(module: ModuleType) -> None:
                with compiled_when_called():
                    execute(module)

            spec.loader.exec_module = execute_without_compiling
        return spec


@contextmanager
def compiled_when_called() -> Iterator[None]:
    """Within the block, `torch.compile` gives back what compiles itself when it is called."""
    import torch

    compile_now = torch.compile

    def compile_later(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        compiled = functools.cache(lambda: compile_now(function, **options))

        @functools.wraps(function)
        def compile_and_call(*values: Any, **named: Any) -> Any:
            return compiled()(*values, **named)

        return compile_and_call

    torch.compile = compile_later
    try:
        yield
    finally:
        torch.compile = compile_now
