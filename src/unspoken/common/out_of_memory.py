"""Memory that ran out: how torch, numpy and Python say so, and how much they asked for."""

from __future__ import annotations

import re
import sys

from unspoken.common.errors import UnspokenError

#: What torch says where it has no class of its own for it: the CPU's allocator on Linux and
#: Windows, the driver and a library below its CUDA allocator, Apple's GPUs.
_SAID_BY_TORCH = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory",
    "HIP error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)
#: torch: "tried to allocate 2.00 GiB", numpy: "Unable to allocate 7.28 TiB for an array".
_AMOUNT = re.compile(r"\ballocate (\d+(?:\.\d*)?) ?([KMGTP]i?B|bytes)", re.IGNORECASE)
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, a GPU's or the machine's, did not suffice.

    One of ours that was raised from such an error says so, too.
    """
    if isinstance(error, UnspokenError) and error.__cause__ is not None:
        return is_out_of_memory(error.__cause__)
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # whoever ran out of a GPU's memory has imported it
    if torch is None or not isinstance(error, RuntimeError):
        return False
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(each in said for each in _SAID_BY_TORCH)


def amount_asked_for(error: BaseException) -> str:
    """What could not be had, such as `2.00 GiB asked for`, or that this is not known.

    Examples:
        >>> amount_asked_for(MemoryError("you tried to allocate 400000000000000 bytes."))
        '364 TiB asked for'
        >>> amount_asked_for(MemoryError())
        'how much was asked for is not known'
    """
    found = _AMOUNT.search(str(error))
    if found is None:
        return "how much was asked for is not known"
    if found[2].lower() != "bytes":
        return f"{found[1].rstrip('.')} {found[2]} asked for"
    amount, unit = float(found[1]), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.3g} {_UNITS[unit]} asked for"
