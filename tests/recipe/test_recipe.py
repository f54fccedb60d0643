from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.paths import RECIPES
from unspoken.common.errors import RecipeError
from unspoken.recipe import Data, Recipe, dump_recipe, load_recipe, parse_override, recipe_from

FILES = sorted(RECIPES.glob("*.yaml"))

SMALL: dict[str, Any] = {
    "data": {"task": "multiplication"},
    "model": {"name": "gpt2"},
    "train": {"epochs": 1},
}


def error(values: dict[str, Any], *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe_from(values, overrides)
    return str(caught.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_recipe_parses_and_survives_a_round_trip(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    copy = tmp_path / "resolved.yaml"
    copy.write_text(dump_recipe(recipe))
    assert load_recipe(copy) == recipe
    assert len(recipe.resolved_phases()) == max(1, len(recipe.phases))


@pytest.mark.integration
def test_importing_recipes_does_not_import_torch() -> None:
    code = "import sys, unspoken.recipe; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_overrides_win_and_are_read_as_yaml() -> None:
    recipe = recipe_from(
        SMALL, ["train.learning_rate=1e-3", "data.digits=[[3, 2]]", "train.epochs=2.5", "seed=7"]
    )
    assert recipe.train.learning_rate == 1e-3
    assert recipe.data.digits == [(3, 2)]
    assert (recipe.train.epochs, recipe.seed) == (2.5, 7)
    assert parse_override("a.b=x=y") == {"a": {"b": "x=y"}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "train.learning_rat=1",
            "train.learning_rat: unknown key; did you mean 'train.learning_rate'",
        ),
        ("schedule.batch_size=3", "did you mean 'train.batch_size'"),
        ("learning_rate=3", "did you mean 'train.learning_rate'"),
        ("trainn.epochs=3", "did you mean 'train'"),
        ("train.epochs=x", "train.epochs: found 'x'"),
        ("train.batch_size=0", "greater than 0"),
        ("template=fancy", "found 'fancy'"),
        ("train.micro_batch_size=5", "multiple"),
        ("nothing", "needed section.key=value"),
        ("train.epochs=[1", "not a YAML value"),
        ("model.config={n_layer: 2}", "model.config needs model_type"),
        ("data.task=jsonl", "data.train"),
    ],
)
def test_mistakes_are_named_with_what_to_do(override: str, expected: str) -> None:
    assert expected in error(SMALL, override)


def test_a_mistake_in_a_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "data: {task: multiplication}\nmodel:\n  name: gpt2\n  nam: x\ntrain: {epochs: 1}\n"
    )
    with pytest.raises(RecipeError, match=r"recipe.yaml:4: model.nam: unknown key.*model.name"):
        load_recipe(path)
    path.write_text("data: [\n")
    with pytest.raises(RecipeError, match=r"recipe.yaml:2: not YAML"):
        load_recipe(path)
    with pytest.raises(RecipeError, match=r"did you mean .*recipe.yaml"):
        load_recipe(tmp_path / "recip.yaml")


def test_a_model_is_a_name_or_a_configuration() -> None:
    assert "exactly one of" in error({**SMALL, "model": {}})
    replaced = recipe_from(
        SMALL, ["model.config={model_type: gpt2, n_layer: 1}", "model.tokenizer=characters"]
    )
    assert replaced.model.name is None
    scratch = {**SMALL, "model": {"config": {"model_type": "gpt2"}, "tokenizer": "characters"}}
    assert recipe_from(scratch, ["model.name=folder"]).model.config is None


def test_one_switch_turns_the_baselines_on_and_off() -> None:
    on = recipe_from({**SMALL, "baselines": True}).baselines
    assert (on.explicit, on.no_cot) == ("train", True)
    assert recipe_from(SMALL, ["baselines=true"]).baselines == on
    off = recipe_from({**SMALL, "baselines": {"no_cot": True}}, ["baselines=false"]).baselines
    assert (off.explicit, off.no_cot) == ("off", False)


def test_adaptive_removal_has_a_criterion_of_its_own() -> None:
    assert recipe_from(SMALL, ["schedule.removal=adaptive"]).schedule.loss_below == 0.06
    by_accuracy = recipe_from(SMALL, ["schedule.removal=adaptive", "schedule.accuracy_above=0.9"])
    assert by_accuracy.schedule.loss_below is None


def test_phases_are_laid_over_the_recipe() -> None:
    recipe = recipe_from(
        {**SMALL, "phases": [{"name": "a", "train": {"epochs": 3}}, {"data": {"task": "gsm8k"}}]}
    )
    first, second = recipe.resolved_phases()
    assert (first.name, first.train.epochs, first.model.name) == ("a", 3, "gpt2")
    assert (second.data.task, second.train.epochs) == ("gsm8k", 1)
    assert "phases[0]: train.epoch: unknown key" in error(
        {**SMALL, "phases": [{"train": {"epoch": 1}}]}
    )


def test_the_command_line_wins_over_phases() -> None:
    phases = [{"train": {"epochs": 3}}, {"name": "b", "data": {"digits": [[5, 5]]}}]
    recipe = recipe_from({**SMALL, "phases": phases}, ["train.epochs=1", "data.digits=[[2, 2]]"])
    first, second = recipe.resolved_phases()
    assert (first.train.epochs, second.train.epochs) == (1, 1)
    assert first.data.digits == second.data.digits == [(2, 2)]


@pytest.mark.parametrize("key", ["model", "seed", "baselines", "output", "lora"])
def test_what_a_phase_cannot_have_of_its_own_is_refused(key: str) -> None:
    assert f"phases[0]: {key}: one model" in error({**SMALL, "phases": [{key: {}}]})


def test_a_model_by_name_brings_its_own_tokenizer() -> None:
    scratch = {"config": {"model_type": "gpt2"}, "tokenizer": "characters", "alphabet": "ab"}
    replaced = recipe_from({**SMALL, "model": scratch}, ["model.name=gpt2"]).model
    assert (replaced.tokenizer, replaced.alphabet) == (None, None)


def test_switching_one_baseline_off_leaves_the_other() -> None:
    recipe = recipe_from({**SMALL, "baselines": True}, ["baselines.no_cot=false"])
    assert (recipe.baselines.explicit, recipe.baselines.no_cot) == ("train", False)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("schedule.max_hold=3", "at least schedule.window"),
        ("train.settle_steps=0", "greater than 0"),
        ("data.train=mine.jsonl", "data.task=jsonl"),
        ("teacher={engine: worked, top_p: 0.9}", "teacher.top_p: found 0.9 with temperature 0"),
        ("vet.pattern=(", "vet.pattern: found '(', which is no regular expression"),
    ],
)
def test_settings_that_cannot_work_are_refused(override: str, expected: str) -> None:
    assert expected in error(SMALL, override)


def test_a_teacher_that_is_asked_again_draws_then() -> None:
    teacher = recipe_from(SMALL, ["teacher={engine: worked, top_p: 0.9, retries: 1}"]).teacher
    assert teacher is not None and teacher.top_p == 0.9


def test_sizes_are_those_of_the_task() -> None:
    assert recipe_from(SMALL, ["data={task: gsm8k, num_valid: 0}"]).data.num_valid == 0
    sizes = Data.model_validate({"task": "gsm8k"}), Data.model_validate({"task": "arithmetic"})
    assert [data.num_valid for data in sizes] == [500, 0]


def test_a_recipe_does_not_change_after_reading() -> None:
    recipe: Recipe = recipe_from(SMALL)
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]
