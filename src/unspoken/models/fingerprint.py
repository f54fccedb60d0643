"""Whether two model folders hold the same model."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from unspoken.common.files import sha256

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
#: Files that decide what a model says; notes and reports beside them do not.
_DECIDING = (
    "config.json", "generation_config.json", "adapter_config.json", "tokenizer*", "vocab*",
    "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*", "*.model",
    "*.jinja", "*.py", "unspoken.json", "*.index.json",
)  # fmt: skip
_SAMPLES = 64  # places of a weight file that are read
_SAMPLE_BYTES = 16_384


def fingerprint(model: Path) -> str:
    """A hash that differs when the model does; a copy elsewhere has the same one.

    Args:
        model: its folder, or its GGUF file.

    Small files are read as a whole. Weights are sampled at 64 places, which tells a model that
    was trained again from the one before and takes no minutes for a large one.
    """
    digest = hashlib.sha256()
    for path in sorted(model.iterdir()) if model.is_dir() else [model]:
        if path.suffix.lower() in _WEIGHTS and not path.is_dir():
            digest.update(f"{path.name} {path.stat().st_size}".encode())
            digest.update(_samples(path))
        elif path.is_file() and any(path.match(pattern) for pattern in _DECIDING):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _samples(path: Path) -> bytes:
    size = path.stat().st_size
    pieces = []
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1), os.SEEK_SET)
            pieces.append(file.read(_SAMPLE_BYTES))
    return b"".join(pieces)


def weights_hash(folder: Path) -> str:
    """Of the weights in a model folder: names, sizes and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{sha256(path)}".encode())
    return digest.hexdigest()
