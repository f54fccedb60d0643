"""Whether model, data and recipe fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.recipes import tiny_recipe
from helpers.training import NO_DROPOUT, run
from unspoken.common.errors import ModelError, RecipeError
from unspoken.data.example import Example
from unspoken.data.tasks.multiplication import examples
from unspoken.models.load import load_model, load_tokenizer
from unspoken.models.template import Template
from unspoken.train.encode import encode_examples
from unspoken.train.loop import StepwiseInternalization


def test_examples_longer_than_the_models_positions_are_refused(tmp_path: Path) -> None:
    short = {**NO_DROPOUT, "config": {**NO_DROPOUT["config"], "n_positions": 8}}
    with pytest.raises(ModelError, match=r"data.max_length=8"):
        run(tmp_path, model=short)


@pytest.mark.parametrize("valid", [[], [Example("1 1 * 1 1", "", "")]])
def test_accuracy_as_criterion_needs_validation_questions_with_answers(
    tmp_path: Path, valid: list[Example]
) -> None:
    recipe = tiny_recipe(tmp_path, schedule={"removal": "adaptive", "accuracy_above": 0.5})
    tokenizer = load_tokenizer(recipe.model)
    data = examples([(2, 2)], 50, 0, 0)["train"]
    template = Template("compact")
    with pytest.raises(RecipeError, match=r"schedule.accuracy_above.*data.valid"):
        StepwiseInternalization(
            load_model(recipe.model, tokenizer),
            tokenizer,
            template,
            recipe,
            train=encode_examples(data, tokenizer, template),
            valid=valid,
            folder=tmp_path,
        )
