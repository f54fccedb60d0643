"""Loads or builds models and tokenizers, and saves them as plain Hugging Face folders.

Where training left gaps in the positions (`schedule.positions: gap`), plain `generate` cannot
jump over them. A learned position table can: its rows are moved so that the position after the
prompt is the one that training used there. That is exact where all prompts are equally long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit import __version__, recipe
from tacit.errors import ModelError
from tacit.template import Template, TemplateName
from tacit.tokenizer import character_tokenizer

if TYPE_CHECKING:
    from tacit.dataset import CoTDataset

#: Written beside a saved model: how it is asked.
CARD_FILE = "tacit.json"


@dataclass(frozen=True)
class ModelCard:
    """How a saved model is asked, and what it learned.

    Attributes:
        template: renders its prompt, one of `tacit.template`.
        removed: thought tokens that were removed in training; None means all.
        max_new_tokens: what its longest answer, with the rest of its thought, needs.
        step: optimizer step of the checkpoint.
        example_prompt: a prompt as the model expects it.
        tacit_version: of the tacit that wrote it.
    """

    template: TemplateName
    removed: int | None
    max_new_tokens: int
    step: int
    example_prompt: str
    tacit_version: str = __version__

    @staticmethod
    def read(folder: str | Path) -> ModelCard | None:
        """The card in a model folder, or None where tacit did not write the folder."""
        path = Path(folder) / CARD_FILE
        if not path.is_file():
            return None
        return ModelCard(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        """Writes the card into a model folder."""
        (folder / CARD_FILE).write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")


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


def load_model(settings: recipe.Model, tokenizer: Any, *, seed: int | None = None) -> Any:
    """The model in fp32, from a folder, the hub or, from scratch, a configuration.

    Args:
        settings: the recipe's section.
        tokenizer: sets vocabulary and special tokens of a model from scratch.
        seed: seeds torch before the weights of a model from scratch are drawn.

    Raises:
        ModelError: it is not there or cannot be built; the message says what to do.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if seed is not None:
        torch.manual_seed(seed)
    extra = {"attn_implementation": settings.attn_implementation}
    extra = {key: value for key, value in extra.items() if value is not None}
    model: Any
    if settings.config is not None:
        model = _from_config(settings.config, tokenizer, extra)
    else:
        try:
            model = AutoModelForCausalLM.from_pretrained(
                str(settings.name),
                revision=settings.revision,
                trust_remote_code=settings.trust_remote_code,
                local_files_only=settings.local_files_only,
                dtype=torch.float32,
                **extra,
            )
        except (OSError, ValueError) as error:
            raise ModelError(_not_loaded("model", settings.name, error)) from error
    embeddings: Any = model.get_input_embeddings()
    size = embeddings.weight.shape[0]
    if len(tokenizer) > size:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens but the model {settings.name!r} only "
            f"{size}; set model.tokenizer to the one that belongs to the model"
        )
    _set_special_tokens(model, tokenizer)
    return model


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
    from transformers import AutoConfig, AutoModelForCausalLM

    arguments = {key: value for key, value in config.items() if key != "model_type"}
    arguments.setdefault("vocab_size", len(tokenizer))
    for name in ("bos_token_id", "eos_token_id"):
        arguments.setdefault(name, getattr(tokenizer, name))
    try:
        built = AutoConfig.for_model(config["model_type"], **arguments)
        return AutoModelForCausalLM.from_config(built, **extra).float()
    except (ValueError, TypeError, KeyError) as error:
        first = str(error).partition("\n")[0]
        raise ModelError(
            f"model.config: cannot build a causal language model of it: {first[:300]}"
        ) from error


def _set_special_tokens(model: Any, tokenizer: Any) -> None:
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.do_sample = False
    for sampling in ("temperature", "top_p", "top_k"):
        setattr(model.generation_config, sampling, None)


def save_model(model: Any, tokenizer: Any, folder: Path, card: ModelCard) -> None:
    """Writes a folder that transformers and vLLM load without tacit."""
    model.generation_config.max_new_tokens = card.max_new_tokens
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card.write(folder)


def model_card(
    dataset: CoTDataset, tokenizer: Any, template: Template, removed: int, step: int
) -> ModelCard:
    """The card for a model at this level of removal.

    The limit on new tokens leaves room for a thought that grew by a few tokens.
    """
    everything = removed >= dataset.longest_thought
    kept = max(0, dataset.longest_thought - removed)
    return ModelCard(
        template=template.name,
        removed=None if everything else int(removed),
        max_new_tokens=kept + int(dataset.answer_lengths.max()) + 8,
        step=step,
        example_prompt=tokenizer.decode(dataset.prompts([0])[0]),
    )


def require_gap_support(model: Any, dataset: CoTDataset, unit: str) -> None:
    """Checks that a model trained with gaps can be exported exactly.

    Raises:
        ModelError: it cannot, with the reason.
    """
    advice = "set schedule.positions: natural"
    if _position_table(model) is None:
        raise ModelError(
            f"schedule.positions: gap needs a learned position table that can be moved; "
            f"{model.config.model_type} has none (rotary or relative positions); {advice}"
        )
    for span, lengths in (
        ("prompts", dataset.prompt_lengths),
        ("thoughts", dataset.thought_lengths),
    ):
        if lengths.min() != lengths.max():
            raise ModelError(
                f"schedule.positions: gap needs {span} of one length, found {lengths.min()} to "
                f"{lengths.max()} tokens: where the gap ends would depend on the question, and "
                f"plain generate cannot know it; {advice}"
            )
    if unit != "token":
        raise ModelError(f"schedule.positions: gap needs schedule.unit: token; {advice}")


@contextmanager
def gap_closed(model: Any, dataset: CoTDataset, removed: int) -> Iterator[None]:
    """Within the block, plain `generate` behaves as training with gaps did."""
    move_positions(model, dataset, removed)
    try:
        yield
    finally:
        move_positions(model, dataset, removed, back=True)


def move_positions(model: Any, dataset: CoTDataset, removed: int, *, back: bool = False) -> None:
    """Moves the rows of the position table over the gap, or back again.

    Row prompt_length + i becomes what row prompt_length + removed + i was. It is a permutation,
    so moving back is exact; the rows that are not needed go to the end of the table.
    """
    import torch

    table = _position_table(model)
    start = int(dataset.prompt_lengths[0])
    removed = min(removed, dataset.longest_thought)
    order = torch.arange(table.shape[0], device=table.device)
    order = torch.cat([order[:start], order[start + removed :], order[start : start + removed]])
    with torch.no_grad():
        table.copy_(table[torch.argsort(order) if back else order])


def _position_table(model: Any) -> Any:
    """The weight of a GPT-2-like learned position embedding, (positions, width), or None."""
    for name, module in model.named_modules():
        if name.rpartition(".")[2] == "wpe":
            return module.weight
    return None


def _not_loaded(what: str, name: str | None, error: Exception) -> str:
    text = str(error)
    first = text.strip().partition("\n")[0][:300]
    if name and (Path(name).is_absolute() or name.startswith(".")) and not Path(name).is_dir():
        return f"{what} {name!r}: no such folder; check model.name"
    if "trust_remote_code" in text:
        return (
            f"{what} {name!r} comes with its own Python code; read it, and if you trust it set "
            "model.trust_remote_code=true"
        )
    return (
        f"{what} {name!r} could not be loaded: {first} - give a folder that holds it, or, with "
        "a network, its hub name; offline, download it first and set model.name to the folder"
    )
