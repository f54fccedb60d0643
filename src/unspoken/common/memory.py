"""Memory: how much a stage took at its peak, and what is freed kept for the next tensors."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import resource
import sys
from pathlib import Path

#: Of glibc's mallopt, as malloc.h has them.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
#: Variables of the environment by which a user says what glibc's allocator does.
_SET_UP = {
    "GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
}  # fmt: skip
#: Where Linux says what this container may use (cgroup v2).
CGROUP = Path("/sys/fs/cgroup")


def reset_peak() -> None:
    """Begins a new measurement, where the system can; else the peak is that of the process."""
    with contextlib.suppress(OSError):  # Linux: VmHWM starts again from what is in use
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, int]:
    """Bytes at the peak since `reset_peak`: `host`, and `gpu` where there is one."""
    peak = {"host": _host_peak()}
    torch = sys.modules.get("torch")  # whoever used a GPU has imported it
    if torch is not None and torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated()
    return peak


def _bytes_in(table: str, name: str) -> int | None:
    """A size that a table of Linux's has, in KiB, under a name; None where it does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc", table).read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _host_peak() -> int:
    if (peak := _bytes_in("self/status", "VmHWM")) is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class FreedMemory:
    """What this process frees, kept for its next tensors, but not without bound.

    glibc's allocator gives large tensors' memory back to the system at once, which then clears
    every page of the next one: a third of the processor time of a training step on a CPU. Kept for
    good, memory that tensors of ever other sizes leave in pieces adds up: SmolLM2 came to 13 GB
    in 400 steps that need 5.
    """

    #: Of the memory after a step that began with nothing kept, what may be there with all kept.
    MOST = 1.5

    def __init__(self) -> None:
        """Begins to keep it, where `keep_freed_memory` can."""
        self.is_kept = keep_freed_memory()
        self._needed = 0
        self._is_fresh = True

    def bound(self) -> None:
        """Gives it back where it has become too much; to be called after each step."""
        if not self.is_kept or (resident := resident_memory()) is None:
            return
        if self._is_fresh:
            self._needed = max(self._needed, resident)
            self._is_fresh = False
        elif resident > self.MOST * self._needed:
            give_back_memory()
            self._is_fresh = True


def keep_freed_memory() -> bool:
    """Lets this process keep the memory that it frees, for its next tensors; returns whether.

    Other systems and allocators than glibc's stay as they are, and so does one that the user has
    set up (`MALLOC_TRIM_THRESHOLD_` and its like).
    """
    if platform.libc_ver()[0] != "glibc" or _SET_UP & os.environ.keys():
        return False
    set_option = ctypes.CDLL(None).mallopt
    # no tensor of its own mapping, nothing given back, and the heap grows by so much at once
    options = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1, _M_TOP_PAD: 64 << 20}
    done = [set_option(name, value) for name, value in options.items()]
    return done == [1, 1, 1]


def give_back_memory() -> None:
    """Gives the system back what this process has freed and kept."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def release_models() -> None:
    """Frees the memory of models that are not referred to any more, on the GPU too."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def resident_memory() -> int | None:
    """Bytes of memory that this process has now; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize()


def free_memory() -> int | None:
    """Bytes that can be had where models are asked: on the GPU, where there is one, else here.

    What a container may use counts; None where the system does not tell. What this process kept of
    freed memory (`FreedMemory`) is given back before.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        held = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(free) + int(held)
    give_back_memory()
    free_here = (_bytes_in("meminfo", "MemAvailable"), _free_of_container())
    return min((free for free in free_here if free is not None), default=None)


def total_memory() -> int | None:
    """Bytes that this machine, or this container, has in all; None where it does not say."""
    found = [_limit_of_container()]
    with contextlib.suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * resource.getpagesize())
    return min((size for size in found if size is not None), default=None)


def _limit_of_container() -> int | None:
    """What cgroup v2 allows; None where it sets no limit, which it calls "max"."""
    try:
        return int((CGROUP / "memory.max").read_text())
    except (OSError, ValueError):
        return None


def _free_of_container() -> int | None:
    """What cgroup v2 leaves, files that it would drop included."""
    limit = _limit_of_container()
    if limit is None:
        return None
    try:
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return limit - used + int(stat.get("inactive_file", 0))
