"""Messages of the libraries beneath, which nobody can act on: switched off."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Says on every import that an optional kernel is not installed.
_OPTIONAL_KERNELS = "bitsandbytes.backends.cpu.ops"


def silence_libraries() -> None:
    """Libraries talk when something is wrong, not about every file they load."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    silence_optional_kernels()
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def silence_optional_kernels() -> None:
    """bitsandbytes, which peft and transformers import, may do without kernels and say nothing."""
    logging.getLogger(_OPTIONAL_KERNELS).setLevel(logging.ERROR)


@contextmanager
def future_warnings_silenced() -> Iterator[None]:
    """Within the block, what one library tells another of newer names is not told the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
