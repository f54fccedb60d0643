"""Models from scratch: built of a recipe's `model.config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unspoken.common.errors import ModelError, UnspokenError
from unspoken.common.nearby import nearest_name
from unspoken.models.files import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: In many a config.json, whatever the model: what a class does not read does no harm.
_OF_EVERY_CONFIG = {
    "architectures", "auto_map", "dtype", "gradient_checkpointing", "is_decoder",
    "is_encoder_decoder", "task_specific_params", "torch_dtype", "transformers_version",
    "use_cache",
}  # fmt: skip
#: No model comes near it, and each is an object even where there are no weights.
_MOST_LAYERS = 10_000


def model_from_config(
    config: dict[str, Any], tokenizer: PreTrainedTokenizerBase, extra: dict[str, Any]
) -> PreTrainedModel:
    """A model of this configuration with new weights, in fp32.

    Args:
        config: a recipe's `model.config`, with its model_type.
        tokenizer: has the size of the vocabulary and the tokens that begin and end.
        extra: more for transformers' `from_config`, such as attn_implementation.

    Raises:
        ModelError: transformers can make nothing of it.
    """
    from transformers import AutoModelForCausalLM

    built = read_config(
        config,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with _usable_config():
        layers = getattr(built.get_text_config(), "num_hidden_layers", 1)
        if not 1 <= layers <= _MOST_LAYERS:
            raise ValueError(f"{layers} layers, where 1 to {_MOST_LAYERS:,} can be")
        return AutoModelForCausalLM.from_config(built, **extra).float()


def read_config(config: dict[str, Any], **defaults: Any) -> Any:
    """The configuration of transformers that a recipe's `model.config` means.

    Args:
        config: with its model_type.
        defaults: where it does not say otherwise.

    Raises:
        ModelError: transformers can make nothing of it, or would not read some of it.
    """
    from transformers import AutoConfig

    own = {name: _number(value) for name, value in config.items() if name != "model_type"}
    arguments = {**defaults, **own}
    with _usable_config():
        built = AutoConfig.for_model(config["model_type"], **arguments)
        _require_known(arguments, built)
    return built


def _require_known(arguments: Mapping[str, Any], built: Any) -> None:
    """Refuses what a configuration keeps without reading it: `n_layers` beside gpt2's `n_layer`."""
    usual = type(built)()
    known = {*vars(usual), *type(built).attribute_map}
    for name in arguments:
        is_read = name not in vars(built) or hasattr(usual, name)
        if is_read or name in _OF_EVERY_CONFIG or name.startswith("_"):
            continue
        near = nearest_name(name, (each for each in known if not each.startswith("_")))
        raise ModelError(
            f"model.config.{name}: found a name that {type(built).__name__} of transformers does "
            "not have, so it would change nothing; needed: names that it has; "
            + (f"did you mean {near}?" if near else "leave it out")
        )


@contextmanager
def _usable_config() -> Iterator[None]:
    """Says where transformers cannot make anything of a recipe's `model.config`."""
    try:
        yield
    except (UnspokenError, MemoryError):
        raise
    except Exception as error:  # whatever a model class makes of a width of 0, or of a dtype
        raise ModelError(
            f"model.config: cannot build a causal language model of it: {one_line(error)[:300]}; "
            "needed: what transformers knows for this model_type; correct it"
        ) from error


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 as text; a configuration means the number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def require_reloadable_tokenizer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
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
