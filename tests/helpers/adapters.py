"""Base models on disk, and recipes that train adapters of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.recipes import ALPHABET, tiny_recipe
from unspoken.models.load import load_model
from unspoken.models.tokenizer import character_tokenizer
from unspoken.recipe import recipe_from

CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 1, "n_head": 2, "n_embd": 64, "n_positions": 64},
    "qwen2": {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
}


def base_model(folder: Path, kind: str = "qwen2", **sizes: Any) -> Path:
    """A tiny random model in a local folder, as one from the hub would be.

    Args:
        folder: receives it.
        kind: its model type.
        sizes: in place of those in `CONFIGS`.
    """
    config = {"model_type": kind, **CONFIGS[kind], **sizes}
    settings = tiny_recipe(folder, model={"config": config}).model
    tokenizer = character_tokenizer(ALPHABET)
    load_model(settings, tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, **options: Any) -> Path:
    """An adapter that changes what its base model says; `options` are peft's."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    options = {"target_modules": ["q_proj", "up_proj"], **options}
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(init_lora_weights=False, **options)
    get_peft_model(model, config).save_pretrained(str(folder))
    return folder


def recipe(tmp_path: Path, kind: str = "qwen2", **sections: Any) -> Any:
    base = base_model(tmp_path / "base", kind)
    sections.setdefault("schedule", {"delta": 40})
    model = {"name": str(base), **sections.pop("model", {})}
    values = tiny_recipe(tmp_path / "run", **sections).model_dump(mode="json")
    return recipe_from({**values, "model": model})
