"""How much memory a stage took at its peak: of this process, and of its GPU where there is one."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path


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


def _host_peak() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
