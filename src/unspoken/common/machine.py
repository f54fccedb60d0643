"""What a reader needs to repeat a run: versions, git revision, machine, command."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from unspoken.common.version import __version__


def num_cores() -> int:
    """Cores that this process may use: fewer than there are in a container or a job."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_bfloat16() -> bool:
    """Whether there is a GPU that computes in bfloat16 by itself; older ones pretend to, slowly."""
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


#: Features of a hidden state from which on products in bf16 are faster on a CPU, casts included.
#: Measured in steps: 0.85 to 1.25 times as fast at 128, 2.0 at 576, 2.7 at 768.
WIDE = 512


def gains_from_bfloat16(width: int | None) -> bool:
    """Whether a model computes faster in bfloat16 here: on a GPU with it, a wide one on such a CPU.

    The same answer at any time, on a machine of the same kind.

    Args:
        width: features of the model's hidden states; None where they are not known.
    """
    import torch

    if torch.cuda.is_available():
        return has_bfloat16()
    return width is not None and width >= WIDE and cpu_has_bfloat16()


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16 by itself (AVX-512 BF16 or AMX)."""
    flags = _said_of_processor("flags").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _said_of_processor(name: str) -> str:
    """What Linux tells of the first processor under a name; empty where it does not."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""


def environment() -> dict[str, Any]:
    """Versions, git revision and machine, for reports and benchmarks."""
    import torch

    names = ("torch", "transformers", "accelerate", "peft", "tokenizers", "datasets", "numpy")
    found = {name: metadata.version(name) for name in names}
    with contextlib.suppress(metadata.PackageNotFoundError):  # not on every system
        found["bitsandbytes"] = metadata.version("bitsandbytes")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "versions": {
            "unspoken": __version__,
            "python": platform.python_version(),
            **found,
        },
        "git_revision": _git_revision(),
        "machine": {
            "system": platform.system(),
            "processor": _said_of_processor("model name")
            or platform.processor()
            or platform.machine(),
            "num_threads": torch.get_num_threads(),
            "gpu": gpu,
        },
    }


def _git_revision() -> str | None:
    """Of the checkout that unspoken runs from; with + where files were changed since."""
    try:
        revision, status = (
            subprocess.run(
                ["git", *arguments],
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return revision + ("+" if status else "")


def command_line() -> str:
    """What the user typed."""
    return shlex.join(["unspoken", *sys.argv[1:]])
