"""tacit: small language models that reason without writing it down."""

__version__ = "0.1.0"
