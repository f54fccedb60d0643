"""Memory that ran out, as each library says it: the errors that torch and numpy really raise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_FAR_TOO_MUCH = 10**14


def _raised_by(allocate: Any) -> BaseException:
    try:
        allocate(_FAR_TOO_MUCH)
    except (RuntimeError, MemoryError) as error:
        return error.with_traceback(None)
    raise AssertionError("there were 400 TB of memory")


#: Name -> error, and how much it says that it could not have.
NO_MEMORY: dict[str, tuple[BaseException, str]] = {
    "cuda": (
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 "
            "GiB of which 1.02 GiB is free. Including non-PyTorch memory, this process has 78.07 "
            "GiB memory in use."
        ),
        "2.50 GiB asked for",
    ),
    "driver": (
        RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA` to enable ..."),
        "how much was asked for is not known",
    ),
    "cublas": (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "how much was asked for is not known",
    ),
    "mps": (
        RuntimeError(
            "MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 MB, max "
            "allowed: 9.07 GB). Tried to allocate 512.00 MB on private pool."
        ),
        "512.00 MB asked for",
    ),
    "cpu": (_raised_by(torch.empty), "364 TiB asked for"),
    "numpy": (_raised_by(np.empty), "728 TiB asked for"),
    "python": (MemoryError(), "how much was asked for is not known"),
}
