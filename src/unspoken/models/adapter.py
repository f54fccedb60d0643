"""LoRA and QLoRA: low-rank adapters on a frozen, possibly 4-bit, model; peft does the work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken import recipe
from unspoken.common.errors import ModelError, RecipeError, setting
from unspoken.common.libraries import future_warnings_silenced
from unspoken.common.nearby import path_remedy
from unspoken.common.out_of_memory import is_out_of_memory
from unspoken.models.files import find_damage, find_fault, naming_fault, one_line
from unspoken.recipe.layout import DISTILLED, checkpoints_in

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

#: The names of Llama, Qwen2, Mistral and many others. They are those of the first description of
#: distilling here, so gate_proj, the third of an MLP, gets an adapter only where it is named.
_USUAL = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")


def is_adapter(name: str | None) -> bool:
    """Whether a folder holds a PEFT adapter instead of a whole model."""
    return name is not None and (Path(name) / "adapter_config.json").is_file()


def lacks_tokenizer(name: str | None) -> bool:
    """Whether a folder holds an adapter and no tokenizer, as peft's `save_pretrained` leaves it."""
    files = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    return is_adapter(name) and not any((Path(str(name)) / file).exists() for file in files)


def base_of(adapter: str) -> str:
    """The model that an adapter folder belongs to."""
    base = read_adapter_config(adapter).base_model_name_or_path
    if not base or not isinstance(base, str):
        raise ModelError(
            f"{adapter}: adapter_config.json does not name its base model; needed: its folder or "
            "name; write base_model_name_or_path into it"
        )
    return base


def base_revision(adapter: str | Path) -> str | None:
    """The hub revision of the model that an adapter was trained on; None: it names none."""
    return read_adapter_config(str(adapter)).revision


def model_below(settings: recipe.Model, adapter: str | Path | None = None) -> recipe.Model:
    """The settings with the name and the revision of the weights that they stand for.

    They are others where the name is an adapter's folder: those of its base model, by the revision
    that the adapter was trained on, or else the settings' own.

    Args:
        settings: the recipe's section.
        adapter: one that is laid over the model; it knows the revision of one of that name.
    """
    revision = settings.revision
    if is_adapter(settings.name):
        own = str(settings.name)
        known = {"name": base_of(own), "revision": base_revision(own) or revision}
        return settings.model_copy(update=known)
    if adapter is None or revision is not None or not is_adapter(str(adapter)):
        return settings
    config = read_adapter_config(str(adapter))
    is_same = config.base_model_name_or_path == settings.name
    return settings.model_copy(update={"revision": config.revision}) if is_same else settings


def read_adapter_config(adapter: str) -> PeftConfig:
    """What adapter_config.json says, by its kind of adapter.

    Raises:
        ModelError: it is damaged, or of no kind that peft knows.
    """
    from peft import PeftConfig

    with naming_fault("adapter", Path(adapter)):
        return PeftConfig.from_pretrained(adapter)


def require_adapter(adapter: str, model: str | None) -> None:
    """Checks that a folder holds an adapter that can be laid over a model.

    Raises:
        ModelError: it holds none, or the model is an adapter itself.
    """
    folder = Path(adapter)
    weights = ("adapter_model.safetensors", "adapter_model.bin")
    if not is_adapter(adapter) or not any((folder / name).is_file() for name in weights):
        name = weights[0] if is_adapter(adapter) else "adapter_config.json"
        found, remedy = f"no {name} in it", "correct the path"
        if not folder.is_dir():
            found, remedy = "no such folder", path_remedy(folder, remedy, Path.is_dir)
        # OUT_DIR/checkpoint-500, as other trainers have it, and a run that has not ended
        beside = [folder.parent / DISTILLED / folder.name, *checkpoints_in(folder / DISTILLED)]
        if is_adapter(str(beside[-1])):
            remedy = f"did you mean {beside[-1]}?"
        raise ModelError(
            f"{setting('adapter', adapter)}: found {found}; needed: the folder of a LoRA adapter; "
            f"{remedy}, or, for a whole model, name it as {setting('model.name')} alone"
        )
    if is_adapter(model):
        raise ModelError(
            f"{setting('model.name', model)}: found an adapter, with {setting('adapter')} besides; "
            f"needed: the whole model below it; name that, or leave {setting('adapter')} out"
        )


def require_same_adapter(adapter: str, settings: recipe.Lora) -> None:
    """Checks that settings do not ask for another adapter than the one that is trained on.

    Raises:
        RecipeError: rank or scale are given and are others than the adapter's.
    """
    from peft import LoraConfig

    own = read_adapter_config(adapter)
    if not isinstance(own, LoraConfig):
        return
    for name, has in (("r", own.r), ("alpha", own.lora_alpha)):
        wanted = getattr(settings, name)
        if name in settings.model_fields_set and wanted != has:
            raise RecipeError(
                f"{setting(f'lora.{name}')}: found {wanted}, but {adapter} is an adapter with "
                f"{has}, which is trained on as it is; leave it out, or start from the base model"
            )


def add_adapter(
    model: PreTrainedModel,
    settings: recipe.Lora,
    *,
    quantized: bool = False,
    revision: str | None = None,
) -> PeftModel:
    """The model with fresh trainable adapters, all else frozen, as a PeftModel.

    Args:
        model: changed in place.
        settings: the recipe's section.
        quantized: whether its weights are in 4 bits.
        revision: of the model on the hub; whoever loads the adapter loads the same one.

    Raises:
        RecipeError: lora.target_modules names modules that the model does not have.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers.pytorch_utils import Conv1D

    targets: str | list[str] | None = settings.target_modules  # type: ignore[assignment]
    names = _linear_names(model)
    if targets == "auto":
        targets = choose_targets(names)
    elif isinstance(targets, list) and not set(targets) <= set(names):
        raise RecipeError(
            f"{setting('lora.target_modules')}: found "
            f"{', '.join(sorted(set(targets) - set(names)))}, which the model does not have; "
            f"needed: some of {', '.join(sorted(set(names)))}; name those, or give "
            f"{setting('lora.target_modules', 'auto')}"
        )
    if quantized:
        with future_warnings_silenced():
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        revision=revision,
    )
    with future_warnings_silenced():
        return get_peft_model(model, config)


def lay_over(
    model: PreTrainedModel | PeftModel, adapter: str | Path, *, trainable: bool = False
) -> PeftModel:
    """The model with the adapter in a folder laid over it.

    The model is changed in place.

    Raises:
        ModelError: they do not fit.
    """
    from peft import PeftModel, load_peft_weights, set_peft_model_state_dict

    read_adapter_config(str(adapter))  # its faults are its own, and not for want of fitting
    try:
        base: Any = model
        with future_warnings_silenced():
            laid = PeftModel.from_pretrained(base, str(adapter), is_trainable=trainable)
        if laid.peft_config["default"].is_prompt_learning:
            return laid
        weights = load_peft_weights(str(adapter), device="cpu")
        if not weights:
            raise ValueError("it has no weights")
        # peft only warns of what is missing, and says nothing of what is left over
        result = set_peft_model_state_dict(laid, weights)
    except Exception as error:  # a damaged file ends in an error of any kind
        if is_out_of_memory(error):
            raise
        folder = Path(adapter)
        is_damaged = find_damage(folder) or not isinstance(error, ValueError | RuntimeError)
        if is_damaged:
            fault = find_fault(folder, "adapter", one_line(error))
            raise ModelError(f"adapter {fault}") from error
        raise _does_not_fit(model, adapter, one_line(error)) from error
    # of weights that two layers share, the file has one
    shared = dict(laid.named_parameters(remove_duplicate=False)).keys() - dict(
        laid.named_parameters()
    )
    missing = [key for key in result.missing_keys if ".default" in key and key not in shared]
    if result.unexpected_keys:
        key, count = min(result.unexpected_keys), len(result.unexpected_keys)
        raise _does_not_fit(model, adapter, f"{count} of its weights have no place, such as {key}")
    if missing:
        raise _does_not_fit(
            model, adapter, f"it has no weights for {len(missing)}, such as {min(missing)}"
        )
    return laid


def _does_not_fit(model: Any, adapter: str | Path, problem: str) -> ModelError:
    return ModelError(
        f"{setting('adapter', adapter)}: cannot be laid over "
        f"{getattr(model, 'name_or_path', '')}: {problem} - needed: an adapter of this very "
        f"model; name the model that it was trained on as {setting('model.name')}"
    )


def merge(model: PeftModel) -> PreTrainedModel:
    """The model with what its adapter adds to its weights.

    Where input and output layer share their weights and the adapter changes one of them alone, they
    have weights of their own afterwards: shared, they would both be changed.

    Raises:
        ModelError: the adapter is of a kind that changes no weights, or one that cannot be merged.
    """
    base: Any = model.get_base_model()
    head, table = base.get_output_embeddings(), base.get_input_embeddings()
    shares = head is not None and _own_layer(head).weight is _own_layer(table).weight
    separates = shares and (_own_layer(head) is not head or _own_layer(table) is not table)
    if separates:
        weight = _own_layer(head).weight
        _own_layer(head).weight = type(weight)(weight.detach().clone(), requires_grad=False)
    try:
        merged: Any = model.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise ModelError(
            f"{model.peft_config['default'].base_model_name_or_path}: its adapter of kind "
            f"{model.peft_config['default'].peft_type} cannot be merged ({one_line(error)}); "
            "needed: one such as LoRA, which adds to weights; serve the base model and the adapter"
        ) from error
    head, table = merged.get_output_embeddings(), merged.get_input_embeddings()
    if separates and head.weight is not table.weight:  # an adapter can change both as one
        # config.json decides whether whoever loads the model shares them
        merged.config.tie_word_embeddings = False
        merged.config.get_text_config().tie_word_embeddings = False
    return merged


def _own_layer(layer: Any) -> Any:
    """A layer of the model itself, below whatever peft has put around it."""
    return getattr(layer, "base_layer", getattr(layer, "original_module", layer))


def choose_targets(names: Iterable[str]) -> list[str]:
    """The usual projections where the model has them, else every linear layer in its blocks.

    Examples:
        >>> choose_targets(["q_proj", "gate_proj", "down_proj", "score"])
        ['down_proj', 'q_proj']
        >>> choose_targets(["c_attn", "c_proj", "c_fc"])
        ['c_attn', 'c_fc', 'c_proj']
    """
    names = set(names)
    return sorted(names & set(_USUAL)) or sorted(names)


def _linear_names(model: PreTrainedModel) -> list[str]:
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
