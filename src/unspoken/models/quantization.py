"""4-bit weights (NF4) by bitsandbytes: whether it is there, and how a model is loaded with it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from unspoken.common.errors import SettingError, setting
from unspoken.common.machine import has_bfloat16

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig


def has_bitsandbytes() -> bool:
    """Whether bitsandbytes is installed."""
    return importlib.util.find_spec("bitsandbytes") is not None


def require_bitsandbytes(name: str, value: str, remedy: str) -> None:
    """Checks that bitsandbytes is there.

    Args:
        name, value: the setting that needs it.
        remedy: what to do without it.

    Raises:
        SettingError: it is not installed.
    """
    if not has_bitsandbytes():
        raise SettingError(
            name,
            found=f"{value} without bitsandbytes",
            needed="that it is installed (Linux or Windows, GPU or CPU)",
            remedy=f"pip install bitsandbytes, or {remedy}",
        )


def require_quantization(value: str | None) -> None:
    """Checks that bitsandbytes is there where `model.quantization` needs it.

    Raises:
        SettingError: it is not installed.
    """
    name = "model.quantization"
    if value is not None:
        require_bitsandbytes(name, value, f"leave {setting(name)} out, for unquantized weights")


def nf4() -> BitsAndBytesConfig:
    """NF4 with double quantization; computes in bf16 where the GPU can, else in fp32."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if has_bfloat16() else torch.float32,
    )
