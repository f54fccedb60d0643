"""unspoken: small language models that reason without writing it down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unspoken.common.version import __version__ as __version__

if TYPE_CHECKING:
    from unspoken.launch.sagemaker.submit import (
        setup_sagemaker_training as setup_sagemaker_training,
    )


def __getattr__(name: str) -> Any:
    """What needs more than the standard library, when it is asked for."""
    if name == "setup_sagemaker_training":
        from unspoken.launch.sagemaker.submit import setup_sagemaker_training

        return setup_sagemaker_training
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
