"""How verbs print a line, and how the messages of the libraries they call are switched off."""

from __future__ import annotations

import os


def say(text: str) -> None:
    """Prints a line at once, also into a pipe."""
    print(text, flush=True)


def silence_libraries() -> None:
    """Libraries talk when something is wrong, not about every file they load."""
    import logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    # about an optional kernel, on every import without it
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
