"""What a call changes for the whole process, and puts back for its caller.

A program or a notebook goes on after a call: random numbers, what libraries say and the
environment are its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

from unspoken.common.libraries import silence_libraries

_PARALLEL_TOKENIZERS = "TOKENIZERS_PARALLELISM"

#: Trainings of one process take turns: they seed and draw from the same random numbers.
_TURN = threading.RLock()
#: Guards the two below: of calls in several threads, the last to end puts all back.
_COUNTING = threading.Lock()
_open_calls = 0
_found = contextlib.ExitStack()


@contextlib.contextmanager
def leaves_as_found() -> Iterator[None]:
    """Within the block, or a function it decorates, libraries are silent; then all is as before."""
    global _open_calls  # noqa: PLW0603
    with _COUNTING:
        if not _open_calls:
            _remember(_found)
        _open_calls += 1
        silence_libraries()
    try:
        yield
    finally:
        with _COUNTING:
            _open_calls -= 1
            if not _open_calls:
                _found.close()


@contextlib.contextmanager
def takes_turns() -> Iterator[None]:
    """As `leaves_as_found`, for what trains: in several threads, one call after the other."""
    with _TURN, leaves_as_found():
        yield


def _remember(stack: contextlib.ExitStack) -> None:
    """Has the stack put back what is there now."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging as transformers_logging

    accelerate = logging.getLogger("accelerate")
    stack.callback(accelerate.setLevel, accelerate.level)
    stack.callback(transformers_logging.set_verbosity, transformers_logging.get_verbosity())
    if are_progress_bars_disabled():  # the next line's would show these, too
        stack.callback(disable_progress_bars)
    if transformers_logging.is_progress_bar_enabled():
        stack.callback(transformers_logging.enable_progress_bar)
    if _PARALLEL_TOKENIZERS not in os.environ:  # a process that the caller forks needs it unset
        stack.callback(os.environ.pop, _PARALLEL_TOKENIZERS, None)
    stack.callback(random.setstate, random.getstate())
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        stack.callback(numpy.random.set_state, numpy.random.get_state())
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        stack.enter_context(torch.random.fork_rng(devices))
