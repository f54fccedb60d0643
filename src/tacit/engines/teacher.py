"""The files of a local teacher: found without a network, recognized again, and loaded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from tacit.errors import ModelError

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_SAMPLES = 64  # places of a weight file that are read
_SAMPLE_BYTES = 16_384


def local_folder(teacher_dir: str) -> Path:
    """The folder of a model: itself, or where an earlier download of a hub name is kept.

    Raises:
        ModelError: there is no such folder.
    """
    path = Path(teacher_dir)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise ModelError(
                f"--teacher_dir {teacher_dir}: found no config.json in it; needed: a Hugging Face "
                "model folder; name the folder with config.json and the weights"
            )
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(teacher_dir, local_files_only=True))
    except (OSError, ValueError):
        raise ModelError(
            f"--teacher_dir {teacher_dir}: no such folder, and no such model was downloaded "
            "before; needed: a model on this machine; correct the path, or download it first "
            "where there is a network: tacit download --teacher NAME --out_dir models"
        ) from None


def fingerprint(folder: Path) -> str:
    """A hash that differs when the model does; a copy elsewhere has the same one.

    Small files are read as a whole. Weights are sampled at 64 places, which tells a model that
    was trained again from the one before and takes no minutes for a large one.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _WEIGHTS:
            digest.update(f"{path.name} {path.stat().st_size}".encode())
            digest.update(_samples(path))
        elif path.suffix in (".json", ".jinja", ".txt", ".model", ".py") and path.is_file():
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


def load_teacher(folder: Path, dtype: str, trust_remote_code: bool) -> Any:
    """The model, for answering: in half precision and over all GPUs where there are some.

    Args:
        folder: as `local_folder` gives it.
        dtype: auto, float32, bfloat16 or float16.
        trust_remote_code: run Python code that came with the model.

    Raises:
        ModelError: it cannot be loaded; the message says what to do.
    """
    import torch
    from transformers import AutoModelForCausalLM

    cuda = torch.cuda.is_available()
    if dtype == "auto" and not cuda:
        dtype = "float32"
    extra = {"device_map": "auto"} if torch.cuda.device_count() > 1 else {}
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            **extra,
        )
    except (OSError, ValueError) as error:
        raise ModelError(explained(folder, str(error))) from error
    if cuda and not extra:
        model = model.to("cuda")
    return model.eval()


def explained(folder: Path, problem: str) -> str:
    """What to do when transformers cannot load a teacher's model or tokenizer."""
    if "trust_remote_code" in problem:
        return (
            f"--teacher_dir {folder}: this model comes with its own Python code, which is not run "
            "unless asked for; read it, and if you trust it add --trust_remote_code"
        )
    first = problem.strip().partition("\n")[0][:300]
    return (
        f"--teacher_dir {folder}: cannot be loaded: {first} - needed: a whole Hugging Face model "
        "folder; download it again or correct the path"
    )
