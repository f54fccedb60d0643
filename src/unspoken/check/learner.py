"""A model without weights and its examples as tokens: what learns, and from what."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from unspoken.check.data import Sample, Thoughts
from unspoken.check.finding import Finding
from unspoken.common.errors import DataError, ModelError
from unspoken.data.example import Example
from unspoken.models.adapter import add_adapter, is_adapter, model_below, read_adapter_config
from unspoken.models.load import build_empty, load_tokenizer
from unspoken.models.local import is_local, is_path, may_come, way_to_get
from unspoken.models.template import Template
from unspoken.recipe import Model, Recipe
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples
from unspoken.train.fit import require_fit

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Learner:
    """A model without weights, and its examples as tokens.

    Attributes:
        model, tokenizer: as they will be trained, adapters included.
        num_parameters, num_trained: of the model; those that are trained.
        dataset: the sample's examples, encoded; thoughts are empty where they are not known.
        share: of the examples, those not over data.max_length.
        thoughts: whose they are, as in `Sample`.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    num_parameters: int
    num_trained: int
    dataset: CoTDataset
    share: float
    thoughts: Thoughts


def build_learner(recipe: Recipe, sample: Sample) -> Generator[Finding, None, Learner | None]:
    """Yields what is known of model and tokens; returns None where the model is not here.

    Raises:
        UnspokenError: model, data and recipe do not fit together; the message says how.
    """
    adapter = recipe.model.name if is_adapter(recipe.model.name) else None
    try:
        model, tokenizer = _build_empty(recipe.model, adapter)
    except ModelError as error:
        name = model_below(recipe.model).name  # an adapter may be here without it
        is_wrong = is_path(name) and not may_come(name)
        if is_local(name) or is_wrong or recipe.model.tokenizer == "characters":
            raise  # neither another machine nor a download would help
        yield Finding("unknown here", f"model: not known here: {_absence(recipe.model, error)}")
        return None
    total = sum(parameter.numel() for parameter in model.parameters())
    note = f"model: {model.config.model_type}, {total / 1e6:,.1f} M parameters"
    trained = total
    if adapter is not None and recipe.lora is None:
        recipe = recipe.with_adapter()
    if recipe.lora is not None:
        model = _with_adapter(model, recipe, adapter)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        note += f"; adapters of {trained / 1e6:,.2f} M are trained, {trained / total:.2%} of them"
    yield Finding("model", note)
    if not sample.examples:
        return None
    dataset, thoughts = yield from _encode(recipe, model, tokenizer, sample)
    share = len(dataset) / (len(dataset) + dataset.num_dropped)
    yield Finding("model", _tokens(dataset, replace(sample, thoughts=thoughts), share))
    return Learner(model, tokenizer, total, trained, dataset, share, thoughts)


def _build_empty(
    settings: Model, adapter: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model without weights, and its tokenizer; of an adapter, the model that it belongs to."""
    if adapter is not None:
        own = {"tokenizer": settings.tokenizer or adapter}
        settings = model_below(settings).model_copy(update=own)
    tokenizer = load_tokenizer(settings)
    return build_empty(settings, tokenizer), tokenizer


def _absence(settings: Model, error: ModelError) -> str:
    """Why the model is not here, and what to do."""
    if not (settings.local_files_only or may_come(settings.name)) or is_local(settings.name):
        return str(error)
    return (
        f"{settings.name}: no such folder; correct model.name, or {way_to_get(str(settings.name))}"
    )


def _with_adapter(
    model: PreTrainedModel, recipe: Recipe, adapter: str | None
) -> PreTrainedModel | PeftModel:
    """The model with fresh adapters, or with a folder's own; raises as `add_adapter`."""
    import torch

    with torch.device("meta"):
        if adapter is None and recipe.lora is not None:
            return add_adapter(model, recipe.lora)
        from peft import get_peft_model

        return get_peft_model(model, read_adapter_config(str(adapter)))


def _encode(
    recipe: Recipe,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    sample: Sample,
) -> Generator[Finding, None, tuple[CoTDataset, Thoughts]]:
    """The sample as tokens, and whose the thoughts in it are.

    What does not fit whatever a teacher writes is an error; what may not fit is said.
    """
    template = Template(recipe.template, tokenizer, recipe.data.choices)

    def encode(examples: Sequence[Example]) -> CoTDataset:
        dataset = encode_examples(
            examples, tokenizer=tokenizer, template=template, max_length=recipe.data.max_length
        )
        num_valid = sample.num_valid or 0 if sample.num_answered is None else sample.num_answered
        require_fit(recipe, model, dataset, num_processes=1, num_valid=num_valid)
        return dataset

    if sample.thoughts == "learned":
        return encode(sample.examples), "learned"
    bare = [replace(one, thought="", answer=one.answer or "0") for one in sample.examples]
    questions = encode(bare)
    if sample.thoughts == "none":
        return questions, "none"
    try:
        return encode(sample.examples), "stand-in"
    except (DataError, ModelError) as error:
        text = f"warning: with the task's thoughts in place of the teacher's: {error}"
        yield Finding("warning", text)
        return questions, "none"


def _tokens(dataset: CoTDataset, sample: Sample, share: float) -> str:
    thought = _range(dataset.thought_lengths)
    if sample.thoughts == "stand-in":
        thought += " (the task's own; the teacher's are not known before they are written)"
    elif sample.thoughts == "none":
        thought = "not known before the traces are there"
    answered = all(one.answer for one in sample.examples)
    answer = _range(dataset.answer_lengths) if answered else "not known for all"
    return (
        f"tokens: prompt {_range(dataset.prompt_lengths)}, thought {thought}, answer {answer}; "
        f"{1 - share:.1%} of the examples are over data.max_length and left out"
    )


def _range(lengths: np.ndarray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return str(low) if low == high else f"{low}-{high}"
