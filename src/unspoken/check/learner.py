"""A model without weights and its examples as tokens: what learns, and from what."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unspoken.check.data import Sample, Thoughts
from unspoken.common.errors import DataError, ModelError
from unspoken.models.adapter import add_adapter, base_of, is_adapter
from unspoken.models.load import build_empty, load_tokenizer
from unspoken.models.template import Template
from unspoken.recipe import Recipe
from unspoken.train.dataset import CoTDataset
from unspoken.train.encode import encode_examples
from unspoken.train.fit import require_fit


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

    model: Any
    tokenizer: Any
    num_parameters: int
    num_trained: int
    dataset: CoTDataset
    share: float
    thoughts: Thoughts


def build(recipe: Recipe, sample: Sample) -> Generator[str, None, Learner | None]:
    """Yields what is known of model and tokens; returns None where the model is not here.

    Raises:
        UnspokenError: model, data and recipe do not fit together; the message says how.
    """
    settings = recipe.model
    adapter = settings.name if is_adapter(settings.name) else None
    try:
        base = (
            settings
            if adapter is None
            else settings.model_copy(
                update={"name": base_of(adapter), "tokenizer": settings.tokenizer or adapter}
            )
        )
        tokenizer = load_tokenizer(base)
        model = build_empty(base, tokenizer)
    except ModelError as error:
        is_here = adapter is None and Path(str(settings.name)).is_dir()
        if is_here or settings.tokenizer == "characters":
            raise  # another machine would not help
        missing = settings.local_files_only and not Path(str(settings.name)).is_dir()
        yield "model: not known here: " + (
            f"{settings.name}: no such folder; correct model.name, or download it first where "
            "there is a network: unspoken download --student NAME --out_dir models"
            if missing
            else str(error)
        )
        return None
    total = sum(parameter.numel() for parameter in model.parameters())
    note = f"model: {model.config.model_type}, {total / 1e6:,.1f} M parameters"
    trained = total
    if adapter is not None or recipe.lora is not None:
        model = _with_adapter(model, recipe, adapter)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        note += f"; adapters of {trained / 1e6:,.2f} M are trained, {trained / total:.2%} of them"
    yield note
    if not sample.examples:
        return None
    template = Template(recipe.template, tokenizer)
    whole = {"tokenizer": tokenizer, "template": template, "max_length": recipe.data.max_length}
    if sample.thoughts == "learned":
        dataset = encode_examples(sample.examples, **whole)
        require_fit(recipe, model, dataset, num_processes=1, num_valid=sample.num_valid or 0)
    else:
        dataset, known = yield from _stand_in(recipe, model, sample, whole)
        sample = sample if known else replace(sample, thoughts="none")
    share = len(dataset) / (len(dataset) + dataset.num_dropped)
    yield _tokens(dataset, sample, share)
    return Learner(model, tokenizer, total, trained, dataset, share, sample.thoughts)


def _with_adapter(model: Any, recipe: Recipe, adapter: str | None) -> Any:
    """The model with fresh adapters, or with a folder's own; raises as `add_adapter`."""
    import torch

    with torch.device("meta"):
        if adapter is None and recipe.lora is not None:
            return add_adapter(model, recipe.lora)
        from peft import PeftConfig, get_peft_model

        return get_peft_model(model, PeftConfig.from_pretrained(str(adapter)))


def _stand_in(
    recipe: Recipe, model: Any, sample: Sample, whole: dict[str, Any]
) -> Generator[str, None, tuple[CoTDataset, bool]]:
    """The examples as tokens, and whether with thoughts.

    What does not fit whatever the teacher writes is an error; what may not fit is said.
    """
    fit = {"num_processes": 1, "num_valid": sample.num_valid or 0}
    bare = [replace(one, thought="", answer=one.answer or "0") for one in sample.examples]
    questions = encode_examples(bare, **whole)
    require_fit(recipe, model, questions, **fit)
    if sample.thoughts == "none":
        return questions, False
    try:
        dataset = encode_examples(sample.examples, **whole)
        require_fit(recipe, model, dataset, **fit)
    except (DataError, ModelError) as error:
        yield f"warning: with the task's thoughts in place of the teacher's: {error}"
        return questions, False
    return dataset, True


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
