"""The verbs of the command line, a room for each stage; `unspoken.cli.main` puts them together.

Heavy imports stand inside the verbs, so `unspoken --help` answers at once.
"""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

Overwrite = Annotated[bool, Parameter(negative="", help="replace what exists")]
Flag = Annotated[bool, Parameter(negative="")]


def quiet() -> None:
    """Libraries talk when something is wrong, not about every file they load."""
    import logging

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    # about an optional kernel, on every import without it
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
