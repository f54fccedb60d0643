from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter

from helpers.paths import RECIPES
from unspoken.common.errors import RecipeError
from unspoken.launch.sagemaker.settings import JobSettings
from unspoken.launch.slurm.options import SlurmOptions
from unspoken.measure.evaluate import EvaluateOptions
from unspoken.measure.sampling import Sampling
from unspoken.recipe import (
    Data,
    Recipe,
    Schedule,
    Section,
    dump_recipe,
    load_recipe,
    parse_override,
    recipe_from,
)
from unspoken.teach.engines.budget import Limits
from unspoken.teach.engines.make import EngineOptions
from unspoken.teach.traces.settings import Selection
from unspoken.teach.vet.rules import VetRules

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
    ("value", "sizes"),
    [
        ("3x2", [(3, 2)]),
        ("3*2", [(3, 2)]),
        ("3X2,4x4", [(3, 2), (4, 4)]),
        ("3x2 4*4", [(3, 2), (4, 4)]),
        ("[3x2, 4x4]", [(3, 2), (4, 4)]),
        ("[[3, 2], 4x4]", [(3, 2), (4, 4)]),
    ],
)
def test_sizes_are_written_as_people_write_them(value: str, sizes: list[tuple[int, int]]) -> None:
    assert recipe_from(SMALL, [f"data.digits={value}"]).data.digits == sizes


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("q_proj,v_proj", ["q_proj", "v_proj"]),
        ("q_proj v_proj", ["q_proj", "v_proj"]),
        ("[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("c_attn", ["c_attn"]),
        ("all-linear", "all-linear"),
    ],
)
def test_modules_are_named_as_people_write_them(value: str, names: object) -> None:
    lora = recipe_from(SMALL, [f"lora.target_modules={value}"]).lora
    assert lora is not None and lora.target_modules == names


@pytest.mark.parametrize("value", ["ratios,algebra", "ratios algebra", "[ratios, algebra]"])
def test_categories_are_named_as_people_write_them(value: str) -> None:
    assert recipe_from(SMALL, [f"data.categories={value}"]).data.categories == ["ratios", "algebra"]


@pytest.mark.parametrize("value", ["3x", "3", "x", "3x2x1", "[3x]", "0x2", "3y2"])
def test_what_is_no_size_is_said(value: str) -> None:
    assert "data.digits" in error(SMALL, f"data.digits={value}")


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
        ("lora.alhpa=3", "did you mean 'lora.alpha'"),
        ("lora.lora_alpha=3", "did you mean 'lora.alpha'"),
        ("train.lr=3", "did you mean 'train.learning_rate'?"),
        ("train.bf16=true", "did you mean 'train.precision=bf16'?"),
        ("train.pretrain_epochs=1", "did you mean 'schedule.warmup_steps' (in optimizer steps)?"),
        ("train.packing=true", "train.packing: unknown key; nothing is packed; "),
        ("distil.maxsteps=3", "distil.maxsteps: unknown key; did you mean 'distil.max_steps'"),
        ("distil.lr=3", "distil.lr: unknown key; did you mean 'distil.learning_rate'"),
        ("distil.bf16=true", "did you mean 'distil.precision=bf16'"),
        ("distil.epochs=x", "distil.epochs: found 'x'"),
        (
            "distil={batch_size: 7, micro_batch_size: 2}",
            "distil.batch_size (7) must be a multiple of distil.micro_batch_size (2)",
        ),
        (
            "distil.micro_batch_size=5",
            "train.batch_size (32) must be a multiple of distil.micro_batch_size (5)",
        ),
        (
            "teacher={train: {batch_size: 7, micro_batch_size: 2, epochs: 1}}",
            "teacher.train.batch_size (7) must be a multiple of teacher.train.micro_batch_size",
        ),
        ("teacher={model: {config: {}}}", "teacher.model.config needs model_type"),
        ("train.epochs=x", "train.epochs: found 'x'"),
        ("train.batch_size=0", "needed: at least 1; "),
        ("template=fancy", "found 'fancy'"),
        ("train.micro_batch_size=5", "multiple"),
        ("nothing", "found no =; needed section.key=value"),
        ("train..epochs=1", "override 'train..epochs=1': needed section.key=value"),
        ("train.epochs=[1", "not a YAML value"),
        ("model.config={n_layer: 2}", "model.config needs model_type"),
        ("data.task=jsonl", "data.train"),
    ],
)
def test_mistakes_are_named_with_what_to_do(override: str, expected: str) -> None:
    assert expected in error(SMALL, override)


def test_a_mistyped_section_of_an_override_is_not_looked_for_in_the_file() -> None:
    assert error(SMALL, "distill.max_steps=3") == "distill: unknown key; did you mean 'distil'?"


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
    assert recipe_from(scratch, ["model.config=null", "model.name=folder"]).model.config is None


def test_a_key_of_a_configuration_leaves_the_others_and_another_type_of_model_none() -> None:
    scratch = {"config": {"model_type": "gpt2", "n_layer": 2, "n_head": 2}, "tokenizer": "folder"}

    def config(override: str) -> object:
        model = recipe_from({**SMALL, "model": scratch}, [override]).model
        assert model.tokenizer == "folder"
        return model.config

    assert config("model.config.n_layer=1") == {"model_type": "gpt2", "n_layer": 1, "n_head": 2}
    llama = {"model_type": "llama", "hidden_size": 8}
    assert config("model.config={model_type: llama, hidden_size: 8}") == llama


def test_one_switch_turns_the_baselines_on_and_off() -> None:
    on = recipe_from({**SMALL, "baselines": True}).baselines
    assert (on.explicit, on.no_cot) == ("train", True)
    assert recipe_from(SMALL, ["baselines=true"]).baselines == on
    off = recipe_from({**SMALL, "baselines": {"no_cot": True}}, ["baselines=false"]).baselines
    assert (off.explicit, off.no_cot) == ("off", False)


def test_adaptive_removal_measures_unless_a_criterion_is_given() -> None:
    def schedule_of(*settings: str) -> Schedule:
        return recipe_from(SMALL, [f"schedule.{each}" for each in settings]).schedule

    measuring = schedule_of("removal=adaptive")
    assert measuring.measures
    assert (measuring.loss_below, measuring.accuracy_above) == (None, None)
    assert not schedule_of("removal=adaptive", "loss_below=0.06").measures
    by_accuracy = schedule_of("removal=adaptive", "accuracy_above=0.9")
    assert by_accuracy.loss_below is None
    assert not by_accuracy.measures
    assert not schedule_of("removal=linear").measures


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
    other = recipe_from({**SMALL, "model": scratch}, ["model={name: gpt2, tokenizer: folder}"])
    assert (other.model.tokenizer, other.model.alphabet) == ("folder", None)


def test_switching_one_baseline_off_leaves_the_other() -> None:
    recipe = recipe_from({**SMALL, "baselines": True}, ["baselines.no_cot=false"])
    assert (recipe.baselines.explicit, recipe.baselines.no_cot) == ("train", False)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("schedule.max_hold=3", "at least schedule.window"),
        ("train.settle_steps=0", "needed: at least 1; "),
        ("data.train=mine.jsonl", "data.task=jsonl"),
        (
            "teacher={engine: worked, top_p: 0.9}",
            "teacher.top_p: found 0.9 with teacher.temperature=0",
        ),
        ("vet.pattern=(", "vet.pattern: found '(', which is no regular expression"),
    ],
)
def test_settings_that_cannot_work_are_refused(override: str, expected: str) -> None:
    assert expected in error(SMALL, override)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["baselines.explicit=before_removal", "schedule.start=2"],
            "--baselines.explicit: found before_removal, which needs --schedule.start 0, or there "
            "is no checkpoint with the whole thought; set --baselines.explicit train",
        ),
        (
            ["phases=[{name: a}]", "internalize=false"],
            "--phases: found them with --teacher, --distil or --internalize false; needed: one or "
            "the other; distil first, then run the phases with --model.name "
            "runs/NAME/distilled/model",
        ),
        (
            ["internalize=false"],
            "--internalize: found false without a section --distil, so nothing would be trained; "
            "add --distil {}, or leave it out",
        ),
        (
            ["distil={}", "baselines.explicit=before_removal"],
            "--baselines.explicit: found before_removal, which is what the distil stage leaves "
            "anyway; set --baselines.explicit off",
        ),
    ],
)
def test_what_does_not_fit_together_is_spelled_as_its_reader_writes_it(
    overrides: list[str], expected: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_from(SMALL, overrides)
    told = caught.value.told(lambda name, value: f"--{name}" + (f" {value}" if value else ""))
    assert told.endswith(f": {expected}")


def test_a_longest_hold_has_no_window_to_fit_where_removal_measures() -> None:
    overrides = ["schedule.removal=adaptive", "schedule.max_hold=3"]
    assert recipe_from(SMALL, overrides).schedule.max_hold == 3
    assert "at least schedule.window" in error(SMALL, *overrides, "schedule.loss_below=0.1")


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


def _numbers(schema: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number within a JSON schema, with the way to it."""
    if isinstance(schema, dict):
        if schema.get("type") in ("number", "integer"):
            yield key, schema
        for name, each in schema.items():
            yield from _numbers(each, f"{key}.{name}")
    elif isinstance(schema, list):
        for name, each in enumerate(schema):
            yield from _numbers(each, f"{key}.{name}")


@pytest.mark.parametrize(
    "kind",
    [
        Recipe, EngineOptions, EvaluateOptions, JobSettings, Limits, Sampling, Selection,
        SlurmOptions, VetRules,
    ],
)  # fmt: skip
def test_every_number_has_bounds(kind: type) -> None:
    numbers = dict(_numbers(TypeAdapter(kind).json_schema()))
    lower, upper = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
    without = [key for key, one in numbers.items() if not (lower & {*one} and upper & {*one})]
    assert numbers and not without


def _keys_of_numbers(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """The keys of a recipe that are numbers, and whether it is a list or a pair of them."""
    for name, field in section.model_fields.items():
        kinds = [part for part in (field.annotation, *get_args(field.annotation)) if part]
        inner = next(
            (one for one in kinds if isinstance(one, type) and issubclass(one, Section)), None
        )
        if inner is not None:
            yield from _keys_of_numbers(inner, f"{prefix}{name}.")
        elif "digits" in name or "betas" in name:
            yield prefix + name, True
        elif any(kind in (int, float) for one in kinds for kind in (one, *get_args(one))):
            yield prefix + name, False


@pytest.mark.parametrize(("key", "is_pair"), list(_keys_of_numbers(Recipe)))
def test_no_number_is_endless_or_true(key: str, is_pair: bool) -> None:
    whole = {**SMALL, "lora": {}, "teacher": {"engine": "worked", "model": {"name": "x"}}}
    for value in (math.inf, -math.inf, math.nan, 10**400, "1e400", True, False, "inf", -1, 10**20):
        given: Any = [value, value] if is_pair else value
        for part in reversed(key.split(".")):
            given = {part: [given] if part == "digits" else given}
        with pytest.raises(RecipeError) as caught:
            recipe_from(whole, [given])
        lines = [line for line in str(caught.value).splitlines() if line.startswith(key)]
        assert lines and all("; needed: " in line and len(line) < 300 for line in lines)
        assert all(re.match(r"[\w.]+: ", line) for line in lines)  # no kind of pydantic's in it


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=1:30", "train.epochs: found '1:30'"),
        ("train.epochs=true", "train.epochs: found True; needed: a number, not true or"),
        ("train.betas=[0.9, true]", "train.betas.1: found True"),
        ("train.betas=[0.9, 1.0]", "train.betas.1: found 1.0; needed: below 1; correct it"),
        ("train.betas=[0.9, .inf]", "train.betas.1: found inf; needed: a finite number"),
        ("schedule.smoothing=1e-300", "smoothing: found 1e-300; needed: 0 or at"),
        ("schedule.smoothing=often", "smoothing: found 'often'; needed: a number, or 'auto'; "),
        ("schedule.smoothing=inf", "smoothing: found 'inf'; needed: a number, or 'auto', or sche"),
        ("schedule.smoothing=.inf", "smoothing: found inf; needed: a number, or 'auto', or sche"),
        ("schedule.smoothing=.nan", "smoothing: found nan; needed: a finite number, or 'auto'; "),
        ("schedule.smoothing=-1", "smoothing: found -1; needed: above 0, or 'auto'; correct it"),
        ("train=1", "train: found 1; needed: keys with their values, such as {key: value}; "),
        ("train.batch_size=many", "train.batch_size: found 'many'; needed: a whole number; "),
        ("train.compile=perhaps", "train.compile: found 'perhaps'; needed: true or false; "),
        ("data.train=[1]", "data.train: found [1]; needed: a path, "),
        ("train.trackers=wandb", "train.trackers: found 'wandb'; needed: a list, such as "),
        ("data.digits=[[3]]", "data.digits.0: found [3]; needed: one value more; add it"),
        ("data.digits=[[3, 2, 1]]", "data.digits.0: found [3, 2, 1]; needed: at most 2, not 3; "),
        ("lora.target_modules=5", "lora.target_modules: found 5; needed: 'auto' or 'all-linear'; "),
        ("description=null", "description: found null; needed: text; correct it"),
        ("seed=2024-01-01", "seed: found '2024-01-01'"),
        ("train={epochs: 1, epochs: 2}", "'epochs' a second time"),
        (f"seed={'9' * 5000}", "a number of 5000 digits"),
        (f"seed={'[' * 5000}", "nested deeper"),
        (f"{'.'.join('a' * 1000)}=1", "needed section.key=value"),
        (f"description=[{', '.join(['1'] * 10_000)}]", "description: found [1, 1"),
        (f"{'x' * 10_000}=1", "unknown key"),
        ("vet.pattern=" + "'" + "(" * 5_000 + "'", "no regular expression"),
        ("model.config={model_type: gpt2, n: {a: .inf}}", "config.n.a': found inf; needed: text"),
        ("model={config: {model_type: gpt2, x: !!set {a}}, tokenizer: x}", "the tag"),
        ("name=../../x", "which names a folder of runs/"),
        ("name=a/b", "which names a folder of runs/"),
        (r"name=a\b", "which names a folder of runs/"),
        ("name='..'", "which names a folder of runs/"),
        ("name=''", "which names a folder of runs/"),
        (r'name="a\nb"', "which names a folder of runs/"),
        (f"name={'x' * 300}", "at most 200 bytes"),
        ("phases=[{name: ../x}]", "phases[0]: name: found '../x'"),
        ("data.digits=[[4, 1000000000000]]", "data.digits.0.1: found 1000000000000; needed: "),
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_told_in_a_short_line(override: str, message: str) -> None:
    told = error(SMALL, override)
    assert message in told
    assert all(len(line) < 400 for line in told.splitlines())


def test_a_number_in_the_configuration_of_a_model_is_finite() -> None:
    config: dict[str, Any] = {"model_type": "gpt2", "deep": [{"er": math.inf}]}
    told = error({**SMALL, "model": {"config": config, "tokenizer": "characters"}})
    assert "'model.config.deep.0.er': found inf; needed: text, a finite number" in told


def test_of_many_mistakes_the_first_are_told() -> None:
    told = error({**SMALL, **{f"key{i}": i for i in range(1_000)}}).splitlines()
    assert len(told) == 21
    assert "and 980 problems more" in told[-1]


def test_a_file_that_is_no_text_or_endless_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    for content in (b"\xff\xfe\x00", b"a: 1\n" * 2_000_000, bytes(10_000_000)):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=r"recipe.yaml"):
            load_recipe(path)


def test_of_two_overrides_of_one_key_the_later_one_counts_and_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    values = {"name": "x", "data": {"task": "multiplication"}, "model": {"name": "gpt2"}}
    assert recipe_from(values, ["train.max_steps=2", "train.max_steps=2"]).train.max_steps == 2
    with pytest.raises(RecipeError, match=r"train\.epochs: found nan; needed: a finite number"):
        recipe_from(values, ["train.epochs=.nan"])  # which is not equal to itself
    assert not caplog.messages
    made = recipe_from(values, ["train.max_steps=2", "seed=1", "train.max_steps=3"])
    assert made.train.max_steps == 3
    assert caplog.messages == ["'train.max_steps=3' counts, given after 'train.max_steps=2'"]


@pytest.mark.parametrize(
    "key", ["train.batch_size", "train.micro_batch_size", "evaluate.batch_size"]
)
def test_a_batch_that_no_memory_holds_is_refused(key: str) -> None:
    values = {"name": "x", "data": {"task": "multiplication"}, "model": {"name": "gpt2"}}
    with pytest.raises(RecipeError, match=rf"{key}.*100000000000.*1000000"):
        recipe_from(values, [f"{key}=1e11"])


def test_an_empty_recipe_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("# nothing\n")
    with pytest.raises(RecipeError, match=r"mine.yaml: found an empty file; needed: sections"):
        load_recipe(tmp_path / "mine.yaml")
