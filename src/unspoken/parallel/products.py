"""fp32 matrix products on a CPU by the faster of torch's two libraries, where both are exact."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from unspoken.common.machine import WIDE
from unspoken.parallel.world import join_processes, read_world

if TYPE_CHECKING:
    import torch

#: How much faster oneDNN must be. Between 1.1 (Zen 4) and 2.2 (Zen 5) nothing was found, so other
#: work on the machine does not turn the decision.
_GAIN = 1.4
#: Rows, features, and outputs of the product that is tried.
_SHAPE = (256, 768, 768)
#: What check and the log say of it.
BY_ONEDNN = (
    "products: fp32 by oneDNN, which was tried against float64 on this processor and is faster "
    "than MKL; the last digits may differ from another machine's"
)


def takes_onednn(precision: str, width: int | None) -> bool:
    """Whether a training's fp32 products go through oneDNN; of several processes, all or none.

    Small models are left as they are, to the bit.

    Args:
        precision: of the training, resolved.
        width: features of the model's hidden states; None where they are not known.
    """
    if precision != "fp32" or width is None or width < WIDE:
        return False
    if read_world().size == 1:
        return onednn_gains()
    from accelerate.utils import gather_object

    join_processes()
    return all(gather_object([onednn_gains()]))


@cache
def onednn_gains() -> bool:
    """Whether oneDNN is as exact in fp32 as MKL on this processor, and clearly faster.

    torch asks oneDNN for `medium` precision only. There it may round to bf16, and does where a
    processor has AMX; on others it stays with fp32. So a product is held against float64 first.
    On AMD's Zen 5 MKL reached 104 to 110 GFLOP/s a thread, oneDNN 235 to 243.
    """
    import torch

    if torch.cuda.is_available() or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    rows, inner, columns = _SHAPE
    left = torch.randn(rows, inner, generator=generator)
    right = torch.randn(inner, columns, generator=generator)
    exact = left.double() @ right.double()
    errors, seconds = {}, {}
    for name, is_onednn in (("usual", False), ("onednn", True)):
        with products_by_onednn(is_onednn):
            errors[name] = float((left @ right - exact).norm() / exact.norm())
            seconds[name] = min(time_product(left, right) for _ in range(5))
    is_exact = errors["onednn"] <= 4 * errors["usual"]
    return is_exact and seconds["usual"] >= _GAIN * seconds["onednn"]


@contextlib.contextmanager
def products_by_onednn(wanted: bool) -> Iterator[None]:
    """A block in which fp32 products on a CPU go through oneDNN, where that is wanted."""
    import torch

    before = torch.get_float32_matmul_precision()
    if wanted:
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def time_product(left: torch.Tensor, right: torch.Tensor) -> float:
    """Seconds of one product of two matrices, (n, k) and (k, m)."""
    begin = time.perf_counter()
    left.mm(right)
    return time.perf_counter() - begin
