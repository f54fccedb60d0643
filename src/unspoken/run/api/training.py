"""`distil`, `internalize` and `run`: a recipe made of what Python gives, run whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken.common.caller import takes_turns
from unspoken.common.errors import SettingError, settings_of, shorten
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.common.places import require_folder_place
from unspoken.measure.ask import LoadedModel
from unspoken.models.adapter import is_adapter
from unspoken.models.card import ModelCard
from unspoken.models.template import Template
from unspoken.recipe import Recipe, load_to_run, recipe_from
from unspoken.recipe.arguments import takes_arguments
from unspoken.recipe.choices import make_labels
from unspoken.recipe.defaults import (
    ACCUMULATION,
    DISTIL,
    DISTIL_ALL_WEIGHTS,
    INTERNALIZE,
    INTERNALIZE_FROM_SCRATCH,
    PER_DEVICE,
    WRITE_FROM_SCRATCH,
)
from unspoken.recipe.layout import DISTILLED, GIVEN, INTERNALIZED, split_file
from unspoken.recipe.merge import merge, nested
from unspoken.recipe.sections import TemplateName
from unspoken.run.api.inputs import (
    AnyModel,
    FromScratch,
    Records,
    as_file,
    as_records,
    is_named,
    model_section,
    named_records,
    of_outcome,
    require_no_tokenizer,
    teacher_section,
    texts_of,
)
from unspoken.run.api.outcomes import RunOutcome
from unspoken.run.run import run_recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: The splits that records are given of, and the arguments that give them.
_ARGUMENTS = {"train": "data", "valid": "valid", "test": "test"}


@takes_arguments()
@takes_turns()
def internalize(
    model: AnyModel | FromScratch,
    data: Records,
    *,
    test: Records | None = None,
    valid: Records | None = None,
    output: str | Path | None = None,
    template: TemplateName | None = None,
    choices: Sequence[str] | None = None,
    epochs: float | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    baselines: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> RunOutcome:
    """Removes a model's chain of thought while it trains, as `unspoken internalize` does.

    Called again with the same arguments, it finds what is done, or goes on where it was stopped.

    Args:
        model: hub name, folder, run, its outcome or an object; or `from_scratch()`.
        data: examples with question, thought and answer: dicts, a DataFrame, a `datasets.Dataset`,
            or a file.
        test: examples or questions that the finished model is measured with; default: none, and
            the validation questions are.
        valid: those that the best model is chosen with; default: up to a tenth of `data`.
        output: run folder; default runs/internalize.
        template: how question, thought and answer are put together; default: as the model was
            trained, else plain.
        choices: the only answers that there are, which prompts name; default: those that the model
            learned, if it learned some.
        epochs, max_steps, batch_size, learning_rate: of the training.
        baselines: train the models that it is compared with, too.
        seed: same seed, same result.
        settings: any others, by their keys in a recipe: {"schedule.removal": "adaptive"}.
        tokenizer: of a model object that does not name its own.
        overwrite: replace what runs again because something changed, instead of keeping it in old/.
        progress: say what runs, and show bars.

    Raises:
        UnspokenError: for everything that the caller can mend.
        KeyboardInterrupt: after Ctrl-C, when all is saved.
    """
    folder, model = Path(output or str(INTERNALIZE["output"])), of_outcome(model)
    is_new = isinstance(model, FromScratch)
    card = _card_of(model)
    form: TemplateName = template or (card.template if card else _own_template(model))
    given = {"train": data, "valid": valid, "test": test}
    labels = (card.choices if card else None) if choices is None else choices
    values = _values(
        model, folder, given, form, argument="model", choices=labels, tokenizer=tokenizer
    )
    defaults = INTERNALIZE_FROM_SCRATCH if is_new else {
        key: value for key, value in INTERNALIZE.items() if key.startswith("train.")
    }  # fmt: skip
    named = _known(
        epochs=epochs, max_steps=max_steps, batch_size=batch_size, learning_rate=learning_rate
    )
    values = merge(values, nested({**defaults, **named, "seed": seed}))
    values["baselines"] = baselines
    if is_adapter(values["model"].get("name")):
        values["lora"] = {}
    recipe = _recipe(values, settings)
    with settings_of({"model.name": "model"}), named_records(_made_of(folder), folder):
        return _run(recipe, INTERNALIZED, overwrite=overwrite, progress=progress)


@takes_arguments()
@takes_turns()
def distil(
    student: AnyModel | FromScratch,
    data: Records,
    *,
    teacher: AnyModel | Mapping[str, Any] | None = None,
    test: Records | None = None,
    valid: Records | None = None,
    output: str | Path | None = None,
    template: TemplateName | None = None,
    choices: Sequence[str] | None = None,
    epochs: float | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    full_finetuning: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> RunOutcome:
    """Trains a student to write its thought, as `unspoken distil` does: LoRA on 4-bit weights.

    Args:
        student: as `model` in `internalize`; from scratch all weights are trained.
        data: a teacher's traces or examples; with `teacher`, questions.
        teacher: who writes the thoughts first: as in `generate`, but no engine of one's own;
            default: `data` has them.
        test, valid, tokenizer, overwrite, progress, seed, settings: as in `internalize`.
        output: run folder; default runs/distil.
        template: default qa, as scripts for distilling have it.
        choices: the only answers that there are, which prompts name; default: any.
        epochs, max_steps, batch_size, learning_rate: of the training.
        full_finetuning: train all weights instead of an adapter.

    Raises:
        UnspokenError: for everything that the caller can mend.
        KeyboardInterrupt: after Ctrl-C, when all is saved.
    """
    folder = Path(output or "runs/distil")
    is_new = isinstance(student, FromScratch)
    form: TemplateName = template or DISTIL["template"]
    given = {"train": data, "valid": valid, "test": test}
    values = _values(
        student, folder, given, form, argument="student", choices=choices, tokenizer=tokenizer
    )
    named = _known(
        epochs=epochs, max_steps=max_steps, batch_size=batch_size, learning_rate=learning_rate
    )
    defaults = dict(WRITE_FROM_SCRATCH)
    if not is_new:
        sizes = {"train.batch_size": PER_DEVICE * ACCUMULATION}
        defaults = {**DISTIL, **sizes, **(DISTIL_ALL_WEIGHTS if full_finetuning else {})}
        if batch_size is None:
            defaults["train.micro_batch_size"] = PER_DEVICE
    defaults["template"] = form
    values = merge(nested({**defaults, **named, "seed": seed}), values)
    values |= {"distil": {}, "internalize": False}
    if not is_new and not full_finetuning:
        values["lora"] = {}
    if teacher is not None:
        values["teacher"] = teacher_section(teacher, folder)
    names = {"model.name": "student", "teacher.model.name": "teacher"}
    with settings_of(names), named_records(_made_of(folder), folder):
        return _run(_recipe(values, settings), DISTILLED, overwrite=overwrite, progress=progress)


@takes_arguments()
@takes_turns()
def run(
    recipe: str | Path | Recipe | Mapping[str, Any],
    *overrides: str,
    start: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> RunOutcome:
    """Runs every stage of a recipe, or goes on with it, as `unspoken run` does.

    Args:
        recipe: file, name of one that comes with unspoken, sections as a dict, or a Recipe.
        overrides: section.key=value.
        start: run again from this stage on.
        overwrite: replace what runs again because something changed, instead of keeping it in old/.
        progress: say what runs, and show bars.

    Raises:
        UnspokenError: for everything that the caller can mend.
        KeyboardInterrupt: after Ctrl-C, when all is saved.
    """
    for override in overrides:
        if not isinstance(override, str):
            raise SettingError(
                "overrides",
                found=shorten(override),
                needed='texts such as "train.max_steps=200", one an argument',
                remedy="write it as such",
            )
    if isinstance(recipe, Recipe):
        loaded = recipe_from(recipe.model_dump(mode="json", exclude_unset=True), overrides)
    elif isinstance(recipe, Mapping):
        loaded = recipe_from(nested(recipe), overrides)
    elif is_named(recipe):
        loaded = load_to_run(recipe, overrides)
    else:
        raise SettingError(
            "recipe",
            found=shorten(recipe),
            needed="a file, the name of a recipe that comes with unspoken, sections as a dict, or "
            "a Recipe",
            remedy="give one",
        )
    main = INTERNALIZED if loaded.internalize else DISTILLED
    with settings_of({"from": "start"}):
        return _run(loaded, main, start=start, overwrite=overwrite, progress=progress)


def _values(
    model: AnyModel | FromScratch,
    folder: Path,
    given: Mapping[str, Records | None],
    template: TemplateName,
    *,
    argument: str,
    choices: Sequence[str] | None,
    tokenizer: PreTrainedTokenizerBase | None,
) -> dict[str, Any]:
    """The recipe of this model, which `argument` names, and these examples, without the training's
    settings."""
    require_folder_place(folder)
    files = {
        split: str(as_file(records, folder, _ARGUMENTS[split], split))
        for split, records in given.items()
        if split == "train" or records is not None
    }
    labels = None if choices is None else make_labels(choices)
    if isinstance(model, FromScratch):
        require_no_tokenizer(tokenizer)
        rows = chain.from_iterable(as_records(path) for path in files.values())
        section = model.section(texts_of(rows), Template(template, choices=labels))
    else:
        section = model_section(model, folder, argument, tokenizer=tokenizer)
    return {
        "name": folder.name,
        "output": str(folder),
        "template": template,
        "data": {**files, **({"choices": labels} if labels else {})},
        "model": section,
    }


def _made_of(folder: Path) -> dict[Path, str]:
    """The files that hold what arguments gave as lists or tables, and the arguments."""
    return {split_file(folder / GIVEN, split): name for split, name in _ARGUMENTS.items()}


def _card_of(model: AnyModel | FromScratch) -> ModelCard | None:
    """What a model that unspoken trained says of itself."""
    if isinstance(model, LoadedModel):
        model = model.folder or ""
    if not is_named(model):
        return None
    from unspoken.recipe.named_model import find_model

    return ModelCard.read(find_model(model).source)


def _own_template(model: AnyModel | FromScratch) -> TemplateName:
    """How a model is asked that has no card: a loaded object as it says."""
    if isinstance(model, LoadedModel) and model.folder is None:
        return model.template.name
    return "plain"


def _known(**values: Any) -> dict[str, Any]:
    """The settings of training that were given; epochs alone are no limit of steps."""
    known = {f"train.{key}": value for key, value in values.items() if value is not None}
    if "train.epochs" in known and "train.max_steps" not in known:
        known["train.max_steps"] = None
    return known


def _recipe(values: dict[str, Any], settings: Mapping[str, Any] | None) -> Recipe:
    if not isinstance(settings, Mapping | None):
        raise SettingError(
            "settings",
            found=shorten(settings),
            needed='a dict such as {"schedule.removal": "linear"}',
            remedy="correct it",
        )
    return recipe_from(values, [nested(settings or {})], where="")


def _run(
    recipe: Recipe,
    main: str,
    *,
    start: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> RunOutcome:
    """Runs the recipe; what came out, `main` being the model that it is about."""
    try:
        page = run_recipe(
            recipe,
            overwrite=overwrite,
            start=start,
            progress=progress,
            say=_say if progress else lambda text: None,
        )
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt("all is saved; the same call goes on") from None
        raise
    return RunOutcome(recipe.folder, main, page)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (what a caller sees while it takes its time)
