"""The files of a local teacher: found without a network, recognized again, and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unspoken import recipe
from unspoken.common.errors import ModelError
from unspoken.models.load import load_tokenizer
from unspoken.parallel.world import read_world


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
            "where there is a network: unspoken download --teacher NAME --out_dir models"
        ) from None


def base_folder(folder: Path) -> Path | None:
    """The folder of the model that an adapter belongs to; None for a folder that holds a model.

    Raises:
        ModelError: it is not there, or the adapter does not name it.
    """
    from unspoken.models.adapter import base_of, is_adapter

    if not is_adapter(str(folder)):
        return None
    base = base_of(str(folder))
    try:
        return local_folder(base)
    except ModelError:
        raise ModelError(
            f"--teacher_dir {folder}: found an adapter of {base}, which is not on this machine; "
            "needed: its base model, too; correct base_model_name_or_path in its "
            "adapter_config.json, or download the base model first"
        ) from None


def teacher_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer in the folder, or that of its base where an adapter came without one.

    Raises:
        ModelError: it is not there, or cannot be used.
    """
    base = base_folder(folder)
    own = base is None or (folder / "tokenizer_config.json").is_file()
    settings = recipe.Model(
        name=str(folder if own else base),
        trust_remote_code=trust_remote_code,
        local_files_only=True,
    )
    try:
        return load_tokenizer(settings)
    except ModelError as error:
        raise ModelError(explained(folder, str(error))) from error


def load_teacher(
    folder: Path, dtype: str, trust_remote_code: bool, quantization: str | None = None
) -> Any:
    """The model, for answering: in half precision and over all GPUs where there are some.

    Of the generation settings that come with it only the end tokens are kept: a repetition
    penalty would bend greedy answers and, since it counts padding, make them depend on the batch.

    Args:
        folder: as `local_folder` gives it; an adapter is put onto its base model.
        dtype: auto, float32, bfloat16 or float16.
        trust_remote_code: run Python code that came with the model.
        quantization: nf4 loads the weights in 4 bits.

    Raises:
        ModelError: it cannot be loaded; the message says what to do.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    cuda = torch.cuda.is_available()
    if dtype == "auto" and not cuda:
        dtype = "float32"
    base = base_folder(folder)
    placed = _placement(quantization)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(base or folder),
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            **placed,
        )
        ends = model.generation_config.eos_token_id
        model.generation_config = GenerationConfig(eos_token_id=ends)
        if base is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(folder))
        return (model.to("cuda") if cuda and not placed else model).eval()
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"--teacher_dir {folder}: memory ran out while it was loaded; needed: more or larger "
            "GPUs, or a smaller model; try --dtype bfloat16, or --quantization nf4"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(explained(folder, str(error))) from error


def _placement(quantization: str | None) -> dict[str, Any]:
    """Arguments of `from_pretrained`: on which devices, in how many bits."""
    import importlib.util

    import torch

    from unspoken.models.adapter import quantization_config

    # one of several processes has its own GPU; alone, a large model may have them all
    alone = read_world().local_size == 1
    several = {"device_map": "auto"} if alone and torch.cuda.device_count() > 1 else {}
    if quantization is None:
        return several
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"--quantization {quantization}: found no bitsandbytes; needed: it (Linux or Windows, "
            "GPU or CPU); pip install bitsandbytes, or leave --quantization out"
        )
    # 4-bit weights are made on their device and cannot be moved there afterwards.
    here = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
    return {"device_map": {"": here}, **several, "quantization_config": quantization_config()}


def in_recipe(error: Exception) -> str:
    """An engine's words with the recipe's key in place of the flag."""
    return str(error).replace("--teacher_dir", "teacher.model.name")


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
