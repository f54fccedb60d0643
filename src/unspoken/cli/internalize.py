"""`unspoken run`, `check`, `internalize` and `report`: everything that a recipe decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from unspoken.cli.options import Overwrite
from unspoken.cli.run import run_and_report
from unspoken.common.errors import RecipeError
from unspoken.recipe.sections import TemplateName


def internalize(
    *arguments: str,
    model_name: str | None = None,
    data: Path | None = None,
    valid: Path | None = None,
    test: Path | None = None,
    task: Literal["multiplication", "gsm8k", "jsonl"] | None = None,
    digits: Annotated[list[tuple[int, int]] | None, Parameter(consume_multiple=True)] = None,
    num_train: int | None = None,
    num_valid: int | None = None,
    num_test: int | None = None,
    source: str | None = None,
    template: TemplateName | None = None,
    epochs: float | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    micro_batch_size: int | None = None,
    learning_rate: float | None = None,
    warmup_steps: float | None = None,
    precision: Literal["fp32", "bf16", "fp16"] | None = None,
    removal: Literal["none", "all", "linear", "adaptive"] | None = None,
    delta: float | None = None,
    per: Literal["epoch", "run"] | None = None,
    smoothing: float | None = None,
    max_length: int | None = None,
    baselines: Annotated[bool | None, Parameter(negative="")] = None,
    seed: int | None = None,
    output: Path | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Remove a model's chain of thought while it trains: flags instead of, or over, a recipe.

    `unspoken internalize --epochs 10 --batch_size 32 --learning_rate 5e-5 --model_name gpt2-medium
    --task gsm8k` trains GPT-2 medium on GSM8K as the paper does. Everything that has no flag is set
    with section.key=value, as for `unspoken run`.

    Parameters
    ----------
    arguments
        A recipe to start from, if any, and section.key=value for everything without a flag.
    model_name
        Hub name or folder, also of a distilled student or adapter (default gpt2-medium).
    data
        Training JSONL with question, thought and answer, the paper's .txt, or raw GSM8K.
    valid
        Validation JSONL; the best model is chosen with it (default: a tenth of the data, 1,000
        examples at the most).
    test
        Test JSONL, read once, at the end.
    task
        Make the data: multiplication, or gsm8k from the hub or from --source.
    digits
        Digits of both factors, such as --digits 4 4 5 5.
    source
        Folder with GSM8K's raw train.jsonl and test.jsonl.
    removal
        When thought tokens go (default linear).
    delta
        Tokens removed per epoch, or over the run with --per run.
    smoothing
        Lambda of the random offset.
    baselines
        Also train the explicit-CoT and the no-CoT model, for as many steps.
    output
        Run folder (default runs/internalize).
    """
    from unspoken.models.adapter import is_adapter
    from unspoken.recipe import load_values, recipe_from

    flags = {
        "seed": seed,
        "output": None if output is None else str(output),
        "template": template,
        "baselines": baselines,
        "model.name": model_name,
        "data.task": task,
        "data.digits": digits,
        "data.num_train": num_train,
        "data.num_valid": num_valid,
        "data.num_test": num_test,
        "data.source": source,
        "data.max_length": max_length,
        "train.epochs": epochs,
        "train.max_steps": max_steps,
        "train.batch_size": batch_size,
        "train.micro_batch_size": micro_batch_size,
        "train.learning_rate": learning_rate,
        "train.warmup_steps": warmup_steps,
        "train.precision": precision,
        "schedule.removal": removal,
        "schedule.delta": delta,
        "schedule.per": per,
        "schedule.smoothing": smoothing,
        **_data_flags(data, valid, test),
    }
    recipes = [argument for argument in arguments if "=" not in argument]
    overrides = [argument for argument in arguments if "=" in argument]
    if len(recipes) > 1:
        raise RecipeError(
            f"internalize: found {len(recipes)} recipes ({', '.join(recipes)}); give one"
        )
    recipe = recipes[0] if recipes else None
    if recipe is None and template is None and model_name is not None:
        flags["template"] = _template_of(model_name)
        if is_adapter(model_name):  # trained on as one; its own rank and scale count
            flags["lora"] = {}
    values, nodes = load_values(recipe) if recipe else (_internalize_defaults(flags), None)
    given = [f"{key}={_yaml(value)}" for key, value in flags.items() if value is not None]
    loaded = recipe_from(
        values, [*given, *overrides], where=str(recipe or "command line"), nodes=nodes
    )
    run_and_report(loaded, overwrite)


def _template_of(model_name: str) -> str | None:
    """How a model that unspoken trained is asked, such as a distilled student; else None."""
    from unspoken.models.card import ModelCard

    card = ModelCard.read(model_name)
    return None if card is None else card.template


def _internalize_defaults(flags: dict[str, Any]) -> dict[str, Any]:
    """The defaults of this verb, where there is no recipe."""
    values: dict[str, Any] = {
        "name": "internalize",
        "model": {"name": "gpt2-medium"},
        "train": {"batch_size": 32, "learning_rate": 5e-5},
        "data": {},
    }
    if flags["train.epochs"] is None and flags["train.max_steps"] is None:
        values["train"]["epochs"] = 10
    if flags["data.task"] == "gsm8k":  # the paper's settings, appendix A
        values["data"] = {"max_length": 150}
        values["schedule"] = {"delta": 1, "remove_all_beyond": 39}
    if flags["data.task"] is None and flags.get("data.train") is None:
        raise RecipeError(
            "internalize: no data; give --data FILE.jsonl (question, thought, answer), or "
            "--task multiplication --digits 4 4, or --task gsm8k [--source FOLDER]"
        )
    return values


def _data_flags(data: Path | None, valid: Path | None, test: Path | None) -> dict[str, Any]:
    files = {"data.train": data, "data.valid": valid, "data.test": test}
    return {key: None if path is None else str(path) for key, path in files.items()}


def _yaml(value: Any) -> str:
    return json.dumps(value)
