"""`unspoken internalize`: a thought is removed while a model trains, by flags or a recipe."""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from cyclopts import Parameter

from unspoken.cli.options import (
    DataFlags,
    LoraFlags,
    RemovalFlags,
    Replace,
    RunFolderFlags,
    StudentFlags,
    TrainingFlags,
)
from unspoken.cli.running import run_and_report
from unspoken.common.errors import RecipeError, SettingError, setting
from unspoken.parallel.world import read_world
from unspoken.recipe.defaults import INTERNALIZE
from unspoken.recipe.merge import merge, nested

#: Goes from multiplications to word problems; what is learned where nothing says what.
CURRICULUM = "curriculum-gpt2-medium"
#: What is taken for GSM8K, too: the paper's, appendix A.
_GSM8K = {"data.max_length": 150, "schedule.delta": 1, "schedule.remove_all_beyond": 39}


class InternalizeStudentFlags(StudentFlags, defaults=INTERNALIZE):
    """Who learns."""


class InternalizeTrainingFlags(TrainingFlags, defaults=INTERNALIZE):
    """How it learns."""


class InternalizeFolderFlags(RunFolderFlags, defaults=INTERNALIZE):
    """Where it goes."""


def internalize(
    *arguments: str,
    data: Annotated[DataFlags, Parameter(name="*")] = DataFlags(),  # noqa: B008
    student: Annotated[InternalizeStudentFlags, Parameter(name="*")] = InternalizeStudentFlags(),  # noqa: B008
    lora: Annotated[LoraFlags, Parameter(name="*")] = LoraFlags(),  # noqa: B008
    training: Annotated[InternalizeTrainingFlags, Parameter(name="*")] = InternalizeTrainingFlags(),  # noqa: B008
    removal: Annotated[RemovalFlags, Parameter(name="*")] = RemovalFlags(),  # noqa: B008
    folder: Annotated[InternalizeFolderFlags, Parameter(name="*")] = InternalizeFolderFlags(),  # noqa: B008
    overwrite: Replace = False,
) -> None:
    """Remove a model's chain of thought while it trains.

    Without a recipe, --data and --task, multiplications of growing size come first and then GSM8K,
    as recipe curriculum-gpt2-medium has it; flags count in all of its phases.

    Parameters
    ----------
    arguments
        a recipe to start from, if any, and section.key=value for everything without a flag
    """
    from unspoken.recipe import recipe_from

    recipe_file, overrides = _split(arguments)
    flags: dict[str, Any] = {}
    for group in (data, student, lora, training, removal, folder):
        flags = merge(flags, group.to_recipe())
    if recipe_file is None:
        flags = merge(_flags_of_student(student, data), flags)
        if data.digits is not None and data.task is None and data.data is None:
            flags = merge(flags, {"data": {"task": "multiplication"}})
    values, nodes = _base(recipe_file, data)
    if lora.full_finetuning:
        flags["lora"] = None
    elif student.quantization == "nf4" and values.get("lora") is None:
        flags.setdefault("lora", {})
    if training.gradient_accumulation_steps is not None:
        flags["train"] = {**flags.get("train", {}), **_batches(training, values)}
    recipe = recipe_from(values, [flags, *overrides], where=recipe_file or "", nodes=nodes)
    by_default = student.model_name is None and not any(
        each.startswith("model.name=") for each in overrides
    )
    if recipe_file is None and (data.data is None or by_default):
        from unspoken.check.hub import require_hub_or_files

        require_hub_or_files(recipe, by_default=by_default)
    run_and_report(recipe, overwrite=overwrite)


def _split(arguments: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """The recipe among the arguments, and the overrides; raises RecipeError for two recipes."""
    recipes = [argument for argument in arguments if "=" not in argument]
    if len(recipes) > 1:
        raise RecipeError(
            f"internalize: found {len(recipes)} recipes ({', '.join(recipes)}); give one"
        )
    return (recipes[0] if recipes else None), [each for each in arguments if "=" in each]


def _base(recipe_file: str | None, data: DataFlags) -> tuple[dict[str, Any], yaml.Node | None]:
    """The values that flags are laid over, and where they stand in a file."""
    from unspoken.recipe import load_values

    if recipe_file is not None:
        return load_values(recipe_file)
    if (data.data, data.task, data.digits) == (None, None, None):
        _refuse_files_alone(data)
        return {**load_values(CURRICULUM)[0], "name": "internalize"}, None
    values = nested({**INTERNALIZE, **(_GSM8K if data.task == "gsm8k" else {})})
    return {"name": "internalize", "data": {}, **values}, None


def _refuse_files_alone(data: DataFlags) -> None:
    for name in ("valid", "test"):
        if getattr(data, name) is not None:
            raise SettingError(
                name,
                found="it without training data",
                needed="both, or neither",
                remedy=f"give {setting('data', 'FILE.jsonl')} (question, thought, answer), or "
                "leave it out",
            )


def _flags_of_student(student: StudentFlags, data: DataFlags) -> dict[str, Any]:
    """What a model that unspoken trained says of itself, such as a distilled student."""
    from unspoken.models.adapter import is_adapter
    from unspoken.models.card import ModelCard

    if student.model_name is None:
        return {}
    card = ModelCard.read(student.model_name)
    flags: dict[str, Any] = {} if card is None else {"template": card.template}
    if card is not None and card.choices and data.data is not None:
        flags["data"] = {"choices": card.choices}
    if is_adapter(student.model_name):  # trained on as one; its own rank and scale count
        flags["lora"] = {}
    return flags


def _batches(training: TrainingFlags, values: dict[str, Any]) -> dict[str, Any]:
    """The batch and its parts, where flags tell how many forward passes it takes."""
    base = values.get("train", {})
    return training.batches(
        batch=base.get("batch_size", INTERNALIZE["train.batch_size"]),
        micro=base.get("micro_batch_size"),
        accumulation=None,
        processes=read_world().size,
    )
