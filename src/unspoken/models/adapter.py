"""LoRA and QLoRA: low-rank adapters on a frozen, possibly 4-bit, model; peft does the work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unspoken import recipe
from unspoken.common.errors import ModelError, RecipeError

#: The names of Llama, Qwen2, Mistral and many others.
_USUAL = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")


def is_adapter(name: str | None) -> bool:
    """Whether a folder holds a PEFT adapter instead of a whole model."""
    return name is not None and (Path(name) / "adapter_config.json").is_file()


def base_of(adapter: str) -> str:
    """The model that an adapter folder belongs to."""
    from peft import PeftConfig

    base = PeftConfig.from_pretrained(adapter).base_model_name_or_path
    if not base:
        raise ModelError(
            f"{adapter}: adapter_config.json does not name its base model; "
            "write base_model_name_or_path into it"
        )
    return base


def require_same_adapter(adapter: str, settings: recipe.Lora) -> None:
    """Checks that settings do not ask for another adapter than the one that is trained on.

    Raises:
        RecipeError: rank or scale are given and are others than the adapter's.
    """
    from peft import LoraConfig, PeftConfig

    own = PeftConfig.from_pretrained(adapter)
    if not isinstance(own, LoraConfig):
        return
    for name, has in (("r", own.r), ("alpha", own.lora_alpha)):
        wanted = getattr(settings, name)
        if name in settings.model_fields_set and wanted != has:
            raise RecipeError(
                f"lora.{name}: found {wanted}, but {adapter} is an adapter with {has}, which is "
                "trained on as it is; leave it out, or start from the base model"
            )


def add_adapter(model: Any, settings: recipe.Lora, *, quantized: bool = False) -> Any:
    """The model with fresh trainable adapters, all else frozen, as a PeftModel.

    Raises:
        RecipeError: lora.target_modules names modules that the model does not have.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    targets: str | list[str] | None = settings.target_modules  # type: ignore[assignment]
    names = _linear_names(model)
    if targets == "auto":
        targets = choose_targets(names)
    elif isinstance(targets, list) and not set(targets) <= set(names):
        raise RecipeError(
            f"lora.target_modules: the model has no {', '.join(sorted(set(targets) - set(names)))};"
            f" it has {', '.join(sorted(set(names)))}; or set lora.target_modules: auto"
        )
    if quantized:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        fan_in_fan_out=_has_conv1d(model),
    )
    return get_peft_model(model, config)


def choose_targets(names: Iterable[str]) -> list[str]:
    """The seed's projections where the model has them, else every linear layer in its blocks.

    Example:
        >>> choose_targets(["q_proj", "gate_proj", "down_proj", "score"])
        ['down_proj', 'q_proj']
        >>> choose_targets(["c_attn", "c_proj", "c_fc"])
        ['c_attn', 'c_fc', 'c_proj']
    """
    names = set(names)
    return sorted(names & set(_USUAL)) or sorted(names)


def quantization_config() -> Any:
    """NF4 with double quantization; computes in bf16 where the GPU can, else in fp32.

    Raises:
        ModelError: bitsandbytes is not there; says what to do.
    """
    import importlib.util

    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            "model.quantization: nf4 needs bitsandbytes, which is not installed; "
            "pip install bitsandbytes (Linux or Windows, GPU or CPU), or set "
            "model.quantization=null and train the adapter on unquantized weights"
        )
    can_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if can_bf16 else torch.float32,
    )


def _linear_names(model: Any) -> list[str]:
    """Last names of the linear layers, the output layer and its like left out."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    found = [
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    return sorted(set(found))


def _has_conv1d(model: Any) -> bool:
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())
