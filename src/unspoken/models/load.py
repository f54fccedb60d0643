"""Loads or builds models and tokenizers, and saves them as plain Hugging Face folders.

`load_model` is the one place where weights, quantization, devices, adapters and generation settings
come together, whether a model is trained, asked or merged with its adapter.

Where training left gaps in the positions (`schedule.positions: gap`), plain `generate` cannot
jump over them. A learned position table can: its rows are moved so that the position after the
prompt is the one that training used there. That is exact where all prompts are equally long.
"""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken import recipe
from unspoken.common.errors import ModelError, setting, shorten
from unspoken.common.machine import gains_from_bfloat16
from unspoken.models.adapter import (
    add_adapter,
    is_adapter,
    lacks_tokenizer,
    lay_over,
    merge,
    model_below,
)
from unspoken.models.card import ModelCard
from unspoken.models.explained import Purpose, explained
from unspoken.models.files import (
    naming_fault,
    require_finite,
    require_whole,
)
from unspoken.models.from_config import model_from_config, read_config
from unspoken.models.gguf import find_gguf, from_gguf, model_from_gguf, tokenizer_from_gguf
from unspoken.models.local import is_path
from unspoken.models.prepacked import prepack
from unspoken.models.quantization import nf4, require_quantization
from unspoken.models.tokenizer import character_tokenizer
from unspoken.parallel.world import read_world

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Bytes of weights that are not read within two seconds from every disk.
LARGE_BYTES = 10**9
#: transformers loads one model at a time: in two threads one finds weights missing.
_LOADING = threading.RLock()


def load_tokenizer(
    settings: recipe.Model, *, purpose: Purpose = "train"
) -> PreTrainedTokenizerBase:
    """The tokenizer, with an end token and a padding token, and one chat template at the most.

    An adapter's folder without one, as peft leaves it, has that of its base model.

    Raises:
        ModelError: it is not there, has no token for any text, or no end token.
    """
    from transformers import AutoTokenizer

    if settings.tokenizer == "characters":
        return character_tokenizer(settings.alphabet)
    own = settings.name
    if settings.tokenizer is None and lacks_tokenizer(own):
        settings = model_below(settings)
    name = str(settings.tokenizer or settings.name)
    is_gone = name != own and settings.tokenizer is None and not Path(name).exists()
    with explained("tokenizer", own if is_gone else name, purpose):
        file = find_gguf(name)
        tokenizer = (
            tokenizer_from_gguf(file) if file else _pretrained(AutoTokenizer, name, settings)
        )
        tokenizer("1")  # some settings are only looked at when it is used
    _require_tokens(tokenizer, name)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"tokenizer {name!r} has no end token, so a model could never learn to stop; needed: "
            "one in tokenizer_config.json; give it one (tokenizer.eos_token = ...) and save it to "
            "a folder"
        )
    return _completed(tokenizer)


def complete_tokenizer(given: PreTrainedTokenizerBase, model: Any) -> PreTrainedTokenizerBase:
    """A caller's tokenizer, as `load_tokenizer` gives one; what is missing is added to a copy.

    Raises:
        ModelError: it has no token for any text, no end token, or more tokens than the model.
    """
    if _knows_no_text(given):
        raise ModelError(
            f"{setting('tokenizer')}: found no token but special ones; needed: the tokenizer that "
            "the model was trained with; load it from the model's folder"
        )
    if given.eos_token_id is None:
        raise ModelError(
            f"{setting('tokenizer')}: found one without an end token; needed: one, or a model "
            "could neither learn to stop nor be stopped; give it one: tokenizer.eos_token = ..."
        )
    size = model.get_input_embeddings().weight.shape[0]
    if len(given) > size:
        raise ModelError(
            f"{setting('tokenizer')}: found one of {len(given)} tokens with a "
            f"{type(model).__name__} of {size}; needed: the one that belongs to the model; give it"
        )
    lacks_some = given.pad_token_id is None or isinstance(given.chat_template, dict)
    return _completed(copy.deepcopy(given)) if lacks_some else given


def _completed(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The same tokenizer, with a padding token and one chat template at the most."""
    if tokenizer.pad_token_id is None:
        # Padding never is in the loss and the end token always is, so sharing one token is safe.
        tokenizer.pad_token = tokenizer.eos_token
    templates: Any = tokenizer.chat_template
    if isinstance(templates, dict) and "default" in templates:  # beside one for tools, say
        tokenizer.chat_template = templates["default"]
    return tokenizer


def _require_tokens(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuses a tokenizer that knows no text.

    Of a folder without the files of one, transformers makes such a tokenizer for many models (GPT-2
    and Qwen2 are among them), without a word: every text would be empty.
    """
    if _knows_no_text(tokenizer):
        raise ModelError(
            f"tokenizer {name!r}: found no token but special ones, as of a folder without a "
            "tokenizer's files; needed: those that belong to the model, such as tokenizer.json; "
            f"copy them into the folder, or name another {setting('model.tokenizer')}"
        )


def _knows_no_text(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.get_vocab().keys() <= set(tokenizer.all_special_tokens)


@contextmanager
def _in_turn() -> Iterator[None]:
    with _LOADING:
        yield


@_in_turn()
def load_model(
    settings: recipe.Model,
    tokenizer: PreTrainedTokenizerBase,
    *,
    purpose: Purpose = "train",
    adapter: str | Path | None = None,
    dtype: str = "float32",
    seed: int | None = None,
    lora: recipe.Lora | None = None,
    spread: bool = False,
) -> Any:
    """The model, from a folder, a GGUF file, the hub or, from scratch, a configuration.

    A folder that holds a PEFT adapter is loaded together with the model that it belongs to, by the
    revision that it was trained on.

    Of the generation settings that come with a model at most the end tokens are kept: a repetition
    penalty would bend even greedy answers and, since it counts padding, make them depend on the
    batch.

    Args:
        settings: the recipe's section.
        tokenizer: sets vocabulary and special tokens of a model from scratch.
        purpose: train: where it was loaded, its end token the tokenizer's. ask: on the device that
            answers, with its own end tokens. merge: as train, with the adapter merged into the
            weights; sums are made in the wider of both dtypes.
        adapter: folder of an adapter that is laid over the model, whatever base it names.
        dtype: of the weights: fp32 wherever they are trained themselves. auto: as they were saved;
            to be asked on a CPU, as `dtype_for_asking` says.
        seed: seeds torch before weights are drawn.
        lora: train adapters only: the folder's own, where it holds one, else fresh ones.
        spread: ask: over all GPUs of the machine, where this process has it to itself.

    Returns:
        A `PreTrainedModel`, or a `PeftModel` where there is an adapter that is not merged.

    Raises:
        UnspokenError: it is not there or cannot be built; the message says what to do.
    """
    import torch

    if seed is not None:
        torch.manual_seed(seed)
    own = settings.name if is_adapter(settings.name) else None
    model: Any
    devices: dict[str, Any] = {}
    if settings.config is not None:
        attention = settings.attn_implementation
        extra = {"attn_implementation": attention} if attention else {}
        model = model_from_config(settings.config, tokenizer, extra)
    else:
        devices = _devices(settings, spread=spread and purpose == "ask")
        below = model_below(settings, adapter)
        model = _from_pretrained(below, str(settings.name), dtype, purpose, devices)
    _fuse_gelu(model)
    _require_vocabulary(model, tokenizer, settings)
    if purpose == "ask":
        _keep_end_tokens_alone(model)
    model = _with_adapters(model, [own, adapter], settings, lora)
    if settings.config is None:
        require_finite(model, str(adapter or settings.name))
    if purpose == "ask":
        with explained("model", settings.name):
            model = _on_its_device(model, devices).eval()
            prepack(model, width_of(model.config))
            return model
    if purpose == "merge":
        model = _merged(model, dtype)
    _set_special_tokens(model, tokenizer)
    return model


def _fuse_gelu(model: PreTrainedModel) -> None:
    """GPT-2's GELU as one operation of torch's, in place of transformers' eight; the same function.

    On a CPU they took a fifth of the time of a forward and backward pass of GPT-2 small.
    """
    from torch import nn
    from transformers.activations import NewGELUActivation

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


def _with_adapters(
    model: Any,
    folders: Sequence[str | Path | None],
    settings: recipe.Model,
    lora: recipe.Lora | None,
) -> Any:
    """The model with the adapters in these folders; with fresh ones, where they are asked for."""
    for folder in filter(None, folders):
        model = lay_over(model, folder, trainable=lora is not None)
    if lora is None:
        return model
    if is_adapter(settings.name):  # one from before adapters named a revision names it from now on
        model.peft_config["default"].revision = model_below(settings).revision
        return model
    is_quantized = settings.quantization is not None
    return add_adapter(model, lora, quantized=is_quantized, revision=settings.revision)


def _merged(model: Any, dtype: str) -> Any:
    """The weights with what an adapter adds to them, in this dtype."""
    import torch

    merged = merge(model) if hasattr(model, "peft_config") else model
    return merged if dtype == "auto" else merged.to(getattr(torch, dtype))


def _from_pretrained(
    settings: recipe.Model,
    named: str,
    dtype: str,
    purpose: Purpose,
    devices: dict[str, Any],
) -> PreTrainedModel:
    """The weights of a folder or hub name; in errors they have the name that the user gave."""
    from transformers import AutoModelForCausalLM

    extra: dict[str, Any] = {"attn_implementation": settings.attn_implementation, **devices}
    require_quantization(settings.quantization)
    if settings.quantization is not None:
        extra["quantization_config"] = nf4()
    with explained("model", named, purpose):
        base = str(settings.name)
        extra = {key: value for key, value in extra.items() if value is not None}
        extra["dtype"] = _dtype(base, settings, dtype, purpose)
        _tell_of_large_weights(base)
        if file := find_gguf(base):
            return model_from_gguf(file, base, **extra)
        extra["output_loading_info"] = True
        model, info = _pretrained(AutoModelForCausalLM, base, settings, **extra)
    return require_whole(model, info, base)


def _tell_of_large_weights(name: str) -> None:
    """A line to standard error where reading a folder's or file's weights takes seconds."""
    path = Path(name)
    files = path.iterdir() if path.is_dir() else [path]
    kinds = (".safetensors", ".bin", ".gguf")
    weights = [file for file in files if file.suffix.lower() in kinds and file.is_file()]
    size = sum(file.stat().st_size for file in weights)
    if size >= LARGE_BYTES and read_world().is_main:
        line = f"loading {name}: {size / 1e9:,.1f} GB of weights"
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def _pretrained(kind: Any, name: str, settings: recipe.Model, **arguments: Any) -> Any:
    """What `kind.from_pretrained` makes of a name, with where it may look and what it may run."""
    if file := find_gguf(name):
        return from_gguf(kind, file, **arguments)
    return kind.from_pretrained(
        name,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
        local_files_only=settings.local_files_only or is_path(name),
        **arguments,
    )


def _devices(settings: recipe.Model, *, spread: bool) -> dict[str, Any]:
    """The argument of `from_pretrained` that says where weights go; empty where they may move."""
    import torch

    # one of several processes has its own GPU; alone, a large model may have them all
    if spread and torch.cuda.device_count() > 1 and read_world().local_size == 1:
        return {"device_map": "auto"}
    if settings.quantization is None:
        return {}
    # 4-bit weights are made on their device and cannot be moved there afterwards
    return {"device_map": {"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"}}


def _on_its_device(model: Any, devices: dict[str, Any]) -> Any:
    import torch

    return model if devices else model.to("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(base: str, settings: recipe.Model, dtype: str, purpose: Purpose) -> torch.dtype | str:
    """What the weights are loaded in."""
    import torch
    from transformers import AutoConfig

    if dtype == "auto":
        if purpose != "ask" or torch.cuda.is_available():
            return "auto"
        dtype = dtype_for_asking(settings)
    wanted = getattr(torch, dtype)
    if purpose != "merge":
        return wanted
    config = _pretrained(AutoConfig, base, settings)
    return torch.promote_types(config.dtype or torch.float32, wanted)


def dtype_for_asking(settings: recipe.Model) -> str:
    """The dtype in which this machine asks a model fastest: bfloat16 or float32."""
    return "bfloat16" if gains_from_bfloat16(read_width(settings)) else "float32"


def read_width(settings: recipe.Model) -> int | None:
    """Features of a model's hidden states, by its configuration alone; None: it does not say.

    Raises:
        ModelError: the configuration is not there or cannot be used.
    """
    from transformers import AutoConfig

    if settings.config is not None:
        return width_of(read_config(settings.config))
    with explained("model", settings.name):
        below = model_below(settings)
        return width_of(_pretrained(AutoConfig, str(below.name), below))


def width_of(config: Any) -> int | None:
    """Features of the hidden states of a model with this configuration; None: it does not say."""
    return getattr(config.get_text_config(), "hidden_size", None)


def _require_vocabulary(model: Any, tokenizer: Any, settings: recipe.Model) -> None:
    size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > size:
        model_name, remedy = repr(settings.name), "set it to the one that belongs to the model"
        if settings.config is not None:
            model_name, remedy = "of model.config", "or leave vocab_size out of model.config"
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens but the model {model_name} only {size}; "
            f"needed: a {setting('model.tokenizer')} of at most as many; {remedy}"
        )


def restore_weights(model: PreTrainedModel | PeftModel, folder: Path) -> None:
    """Puts the weights, or the adapter, that `save_model` wrote to a folder into the model.

    Raises:
        ModelError: a file is damaged; the message names it.
    """
    import torch
    from peft import PeftModel, set_peft_model_state_dict
    from safetensors.torch import load_file

    if isinstance(model, PeftModel):
        with naming_fault("adapter", folder):
            set_peft_model_state_dict(model, load_file(folder / "adapter_model.safetensors"))
        return
    with naming_fault("model", folder):
        kind: Any = type(model)
        saved, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        model.load_state_dict(require_whole(saved, info, str(folder)).state_dict())


def build_empty(settings: recipe.Model, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The model without weights and without memory for them, to count and check.

    Raises:
        ModelError: its configuration is not there or cannot be used.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        if settings.config is not None:
            model = model_from_config(settings.config, tokenizer, {})
            _require_vocabulary(model, tokenizer, settings)
            return model
        with explained("model", settings.name):
            config = _pretrained(AutoConfig, str(settings.name), settings)
            return AutoModelForCausalLM.from_config(config)


def _set_special_tokens(model: Any, tokenizer: Any) -> None:
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )


def _keep_end_tokens_alone(model: Any) -> None:
    """Takes all else out of the generation settings that came with the model."""
    from transformers import GenerationConfig

    end = model.generation_config.eos_token_id
    ends = [] if end is None else end if isinstance(end, list) else [end]
    if not all(type(each) is int and each >= 0 for each in ends):
        raise ModelError(
            f"{model.name_or_path}: generation_config.json or config.json has eos_token_id "
            f"{shorten(end)}; needed: a token's number, or several; correct it"
        )
    model.generation_config = GenerationConfig(eos_token_id=end)


def num_positions(model: PreTrainedModel | PeftModel) -> int | None:
    """Tokens that the model has positions for, prompt and completion together; None: no limit."""
    return getattr(model.config, "max_position_embeddings", None) or None


def save_model(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    card: ModelCard,
) -> None:
    """Writes a folder that transformers and vLLM load without unspoken."""
    limit = num_positions(model)
    if limit is not None:  # a model that does not stop must not run out of positions
        num_prompt_tokens = len(tokenizer(card.example_prompt)["input_ids"])
        card = replace(
            card, max_new_tokens=max(1, min(card.max_new_tokens, limit - num_prompt_tokens))
        )
    model.generation_config.max_new_tokens = card.max_new_tokens
    # else peft asks the hub about a base model that is not a folder here
    adapter: Any = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    model.save_pretrained(str(folder), **adapter)
    tokenizer.save_pretrained(folder)
    card.write(folder)
