"""Loads or builds models and tokenizers, and saves them as plain Hugging Face folders.

Where training left gaps in the positions (`schedule.positions: gap`), plain `generate` cannot
jump over them. A learned position table can: its rows are moved so that the position after the
prompt is the one that training used there. That is exact where all prompts are equally long.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from unspoken import recipe
from unspoken.common.errors import ModelError
from unspoken.models.card import ModelCard
from unspoken.models.tokenizer import character_tokenizer


def load_tokenizer(settings: recipe.Model) -> Any:
    """The tokenizer, with an end token and a padding token.

    Raises:
        ModelError: it is not there, or has no end token.
    """
    from transformers import AutoTokenizer

    if settings.tokenizer == "characters":
        return character_tokenizer(settings.alphabet)
    name = str(settings.tokenizer or settings.name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
            local_files_only=settings.local_files_only,
        )
    except (OSError, ValueError) as error:
        raise ModelError(_not_loaded("tokenizer", name, error)) from error
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"tokenizer {name!r} has no end token, so a model could never learn to stop; "
            "give it one (tokenizer.eos_token = ...) and save it to a folder"
        )
    if tokenizer.pad_token_id is None:
        # Padding never is in the loss and the end token always is, so sharing one token is safe.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    settings: recipe.Model,
    tokenizer: Any,
    *,
    seed: int | None = None,
    lora: recipe.Lora | None = None,
    dtype: str = "float32",
) -> Any:
    """The model, from a folder, the hub or, from scratch, a configuration.

    A folder that holds a PEFT adapter is loaded together with the model that it belongs to.

    Args:
        settings: the recipe's section.
        tokenizer: sets vocabulary and special tokens of a model from scratch.
        seed: seeds torch before weights are drawn.
        lora: train adapters only: the folder's own, where it holds one, else fresh ones.
        dtype: of the weights; fp32 wherever they are trained themselves.

    Raises:
        UnspokenError: it is not there or cannot be built; the message says what to do.
    """
    import torch

    from unspoken.models.adapter import add_adapter, is_adapter

    if seed is not None:
        torch.manual_seed(seed)
    model: Any
    if settings.config is not None:
        extra = {"attn_implementation": settings.attn_implementation}
        model = _from_config(settings.config, tokenizer, {k: v for k, v in extra.items() if v})
    else:
        model = _from_pretrained(settings, getattr(torch, dtype), trainable=lora is not None)
    embeddings: Any = model.get_input_embeddings()
    size = embeddings.weight.shape[0]
    if len(tokenizer) > size:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens but the model {settings.name!r} only "
            f"{size}; set model.tokenizer to the one that belongs to the model"
        )
    if lora is not None and not is_adapter(settings.name):
        model = add_adapter(model, lora, quantized=settings.quantization is not None)
    _set_special_tokens(model, tokenizer)
    return model


def _from_pretrained(settings: recipe.Model, dtype: Any, *, trainable: bool) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from unspoken.models.adapter import base_of, is_adapter, quantization_config

    name = str(settings.name)
    extra: dict[str, Any] = {"attn_implementation": settings.attn_implementation}
    if settings.quantization is not None:
        extra["quantization_config"] = quantization_config()
        extra["device_map"] = {
            "": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
        }
    try:
        model = AutoModelForCausalLM.from_pretrained(
            base_of(name) if is_adapter(name) else name,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
            local_files_only=settings.local_files_only,
            dtype=dtype,
            **{key: value for key, value in extra.items() if value is not None},
        )
    except (OSError, ValueError) as error:
        raise ModelError(_not_loaded("model", settings.name, error)) from error
    if is_adapter(name):
        from peft import PeftModel

        return PeftModel.from_pretrained(model, name, is_trainable=trainable)
    return model


def restore_weights(model: Any, folder: Path) -> None:
    """Puts the weights, or the adapter, that `save_model` wrote to a folder into the model."""
    import torch
    from peft import PeftModel, set_peft_model_state_dict
    from safetensors.torch import load_file

    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
        return
    saved = type(model).from_pretrained(folder, dtype=torch.float32)
    model.load_state_dict(saved.state_dict())


def build_empty(settings: recipe.Model, tokenizer: Any) -> Any:
    """The model without weights and without memory for them, to count and check.

    Raises:
        ModelError: its configuration is not there or cannot be used.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        if settings.config is not None:
            return _from_config(settings.config, tokenizer, {})
        try:
            config = AutoConfig.from_pretrained(
                str(settings.name),
                revision=settings.revision,
                trust_remote_code=settings.trust_remote_code,
                local_files_only=settings.local_files_only,
            )
        except (OSError, ValueError) as error:
            raise ModelError(_not_loaded("model", settings.name, error)) from error
        return AutoModelForCausalLM.from_config(config)


def _from_config(config: dict[str, Any], tokenizer: Any, extra: dict[str, Any]) -> Any:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModelForCausalLM

    arguments = {k: _number(value) for k, value in config.items() if k != "model_type"}
    arguments.setdefault("vocab_size", len(tokenizer))
    for name in ("bos_token_id", "eos_token_id"):
        arguments.setdefault(name, getattr(tokenizer, name))
    try:
        built = AutoConfig.for_model(config["model_type"], **arguments)
        return AutoModelForCausalLM.from_config(built, **extra).float()
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        first = " ".join(str(error).split())
        raise ModelError(
            f"model.config: cannot build a causal language model of it: {first[:300]}"
        ) from error


def require_reloadable_tokenizer(model: Any, tokenizer: Any) -> None:
    """Checks that a model from scratch will be asked with the tokenizer that it is trained with.

    For some model types, such as qwen2, transformers takes a tokenizer class of its own whatever
    the saved tokenizer says; the character tokenizer would then lose its blanks without a word.

    Raises:
        ModelError: the saved tokenizer gives other ids.
    """
    from tempfile import TemporaryDirectory

    from transformers import AutoTokenizer

    probe = "What is 1 + 2?\n3 4"
    with TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        reloaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if reloaded(probe)["input_ids"] != tokenizer(probe)["input_ids"]:
        raise ModelError(
            f"model.config.model_type {model.config.model_type}: transformers reloads its "
            f"tokenizer as {type(reloaded).__name__}, which reads text otherwise than the one in "
            "model.tokenizer; take model_type gpt2, llama or qwen3, or a tokenizer made for it"
        )


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 as text; a configuration means the number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _set_special_tokens(model: Any, tokenizer: Any) -> None:
    from transformers import GenerationConfig

    # A fresh one: what a chat model ships, such as a repetition penalty, bends even greedy answers.
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )


def save_model(model: Any, tokenizer: Any, folder: Path, card: ModelCard) -> None:
    """Writes a folder that transformers and vLLM load without unspoken."""
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None:  # a model that does not stop must not run out of positions
        num_prompt_tokens = len(tokenizer(card.example_prompt)["input_ids"])
        card = replace(
            card, max_new_tokens=max(1, min(card.max_new_tokens, limit - num_prompt_tokens))
        )
    model.generation_config.max_new_tokens = card.max_new_tokens
    # else peft asks the hub about a base model that is not a folder here
    adapter = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    model.save_pretrained(folder, **adapter)
    tokenizer.save_pretrained(folder)
    card.write(folder)


def _not_loaded(what: str, name: str | None, error: Exception) -> str:
    text = str(error)
    first = text.strip().partition("\n")[0][:300]
    if name and _is_path(name) and not Path(name).is_dir():
        return f"{what} {name!r}: no such folder; check the path (model.name in a recipe)"
    if "trust_remote_code" in text:
        return (
            f"{what} {name!r} comes with its own Python code; read it, and if you trust it "
            "allow it: --trust_remote_code, or model.trust_remote_code=true in a recipe"
        )
    return (
        f"{what} {name!r} could not be loaded: {first} - give a folder that holds it, or, with "
        "a network, its hub name; offline, download it first and set model.name to the folder"
    )


def _is_path(name: str) -> bool:
    """Whether a name is meant as a folder here, and not as OWNER/MODEL on the hub."""
    path = Path(name)
    return path.is_absolute() or name.startswith(".") or ("/" in name and path.parent.is_dir())
