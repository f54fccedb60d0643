"""unspoken: small language models that reason without writing it down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unspoken.launch.sagemaker.submit import (
        setup_sagemaker_training as setup_sagemaker_training,
    )

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What needs more than the standard library, when it is asked for."""
    if name == "setup_sagemaker_training":
        from unspoken.launch.sagemaker.submit import setup_sagemaker_training

        return setup_sagemaker_training
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
