"""How finished models do on the test questions: each model answers them once, to be measured.

How fast they are is measured at the end of a run, of all together (`unspoken.run.latency`).

The teacher answers them in `unspoken.run.teacher`. Vetting and the leak check read them, too, but
only to keep them out of what is learned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from unspoken.common.files import count_lines
from unspoken.common.interrupt import end_if_asked
from unspoken.data.example import read_questions
from unspoken.measure.evaluate import EvaluateOptions, evaluate_folder
from unspoken.models.card import ModelCard
from unspoken.models.fingerprint import fingerprint
from unspoken.models.local import is_local
from unspoken.recipe import Model, Recipe, layout
from unspoken.recipe.evaluation_records import Evaluation, EvaluationSettings
from unspoken.recipe.plan import OnlyMeasured
from unspoken.recipe.sections import TemplateName
from unspoken.run.data import Splits
from unspoken.run.folder import RunFolder
from unspoken.run.left_models import require_model, restore_model, was_adapter
from unspoken.run.settings import EVALUATE_INCIDENTAL, MODEL_INCIDENTAL, changes


def evaluate_stage(
    run: RunFolder,
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    *,
    model_sha256: str | None,
) -> None:
    """Asks the model in `folder`/model the test questions; writes predictions and evaluation.json.

    All processes call this and share the questions out. Without a test split, validation questions
    are asked and the result says so.

    Args:
        run, recipe, splits: of the run.
        folder: of the model's stage.
        model_sha256: of its weights; the main process must know it.
    """
    if splits.measured is None:
        run.say(f"evaluate {folder.relative_to(run.path)}: no test and no validation questions")
        return
    split, path = splits.measured
    settings = {"model_sha256": model_sha256, **asking_settings(recipe, splits, split)}
    file = folder / layout.EVALUATION_FILE
    if is_to_be_asked(run, file, settings, folder / layout.MODEL):
        model = model_in(folder / layout.MODEL, recipe.model)
        title = f"evaluate {folder.name}"
        ask(run, recipe, model, path, file, settings=settings, title=title)


def asking_settings(recipe: Recipe, splits: Splits, split: str) -> dict[str, Any]:
    """What decides the answers to a split, apart from the model."""
    asked = recipe.evaluate.model_dump(mode="json", exclude=EVALUATE_INCIDENTAL)
    if not asked["only_choices"]:  # which runs from before there was such a setting do not have
        del asked["only_choices"]
    if recipe.data.choices:
        asked["choices"] = recipe.data.choices
    return {"split": split, "data_sha256": splits.hashes[split], "evaluate": asked}


def ask(
    run: RunFolder,
    recipe: Recipe,
    model: Model,
    questions: Path,
    file: Path,
    *,
    settings: dict[str, Any],
    title: str,
    limit: int | None = None,
    template: TemplateName | None = None,
) -> None:
    """Has a model answer questions; writes its answers and what they amount to.

    All processes call this and share the questions out.

    Args:
        run, recipe: of the run.
        model: to be asked.
        questions: their file.
        file: evaluation.json, or another one of its kind.
        settings: everything that decides the result.
        title: of the bar.
        limit: of tokens; None: as the recipe or else the model's card says.
        template: None: as the model's card says.
    """
    set_aside_evaluation(run, file)
    wanted = recipe.evaluate
    metrics = evaluate_folder(
        model,
        read_questions(questions, limit=wanted.limit),
        layout.predictions_file(file),
        EvaluateOptions(
            limit or wanted.max_new_tokens,
            wanted.batch_size,
            choices=recipe.data.choices,
            only_choices=wanted.only_choices,
        ),
        template=template,
        dtype=wanted.dtype,
        overwrite=True,
        process=run.process,
        progress=run.bar(title),
    )
    write_evaluation(run, file, settings, metrics)


def evaluate_untrained(run: RunFolder, untrained: OnlyMeasured, splits: Splits) -> None:
    """Asks the student as it was before any training, with the limits of one that was trained.

    Args:
        run: of the run.
        untrained: the student, as the plan has it.
        splits: of its phase.
    """
    import torch

    if splits.measured is None:
        return
    split, path = splits.measured
    recipe = untrained.recipe
    limit, name = run.on_main(lambda: untrained_limit(run, untrained)), recipe.model.name
    settings = {
        "model": recipe.model.model_dump(mode="json", exclude=MODEL_INCIDENTAL),
        "fingerprint": fingerprint(Path(str(name))) if is_local(name) else None,
        "seed": recipe.seed,
        "template": recipe.template,
        "max_new_tokens": limit,
        **asking_settings(recipe, splits, split),
    }
    file = run.path / untrained.folder / layout.EVALUATION_FILE
    if keep_evaluation(run, file, settings):
        return
    torch.manual_seed(recipe.seed)  # of weights that are drawn, the same as training's
    ask(
        run,
        recipe,
        recipe.model,
        path,
        file,
        settings=settings,
        title="evaluate untrained",
        limit=limit,
        template=recipe.template,
    )


def untrained_limit(run: RunFolder, untrained: OnlyMeasured) -> int | None:
    """Tokens that the student may write before any training: as many as its `source`'s model.

    Where that was removed, as many as the student was let write before.

    Raises:
        ModelError: it was removed, and the student has not been asked yet.
    """
    asked, like = untrained.recipe.evaluate, run.path / untrained.source / layout.MODEL
    if asked.max_new_tokens is not None:
        return asked.max_new_tokens
    file = run.path / untrained.folder / layout.EVALUATION_FILE
    known = None if layout.has_weights(like) else Evaluation.read(file)
    if known is not None:
        return known.settings.get("max_new_tokens")
    require_model(run, like, "evaluate (untrained) lets the student write as much as it does")
    card = ModelCard.read(like)
    return card.max_new_tokens if card else None


def model_in(folder: Path, settings: Model) -> Model:
    """A model that training wrote, loaded with the recipe's other settings."""
    own = {"name": str(folder), "config": None, "tokenizer": None, "alphabet": None}
    if not was_adapter(folder):  # an adapter's base is the one that the settings name
        own["revision"] = None
    return settings.model_copy(update={**own, "local_files_only": True})


def keep_evaluation(
    run: RunFolder, file: Path, settings: dict[str, Any], *, is_forced: bool | None = None
) -> bool:
    """Keeps an evaluation that has these settings, unless there is a wish for another one.

    Returns whether it is kept; what it replaced goes then, which a kill may have left.

    All processes call this, and hear what the main one finds.

    Args:
        run: the run folder.
        file: evaluation.json, or another one of its kind.
        settings: everything that decides the result.
        is_forced: there is such a wish; None: as the stage `evaluate` is begun again or not.
    """
    end_if_asked()
    is_forced = run.is_forced("evaluate") if is_forced is None else is_forced

    def holds() -> bool:
        known = Evaluation.read(file)
        if known is None or changes({**known.settings}, settings):
            return False
        return known.num_questions in (None, count_lines(layout.predictions_file(file)))

    is_kept = not is_forced and run.on_main(holds)
    if is_kept:
        run.drop_replaced(file, layout.predictions_file(file))
    return is_kept


def is_to_be_asked(run: RunFolder, file: Path, settings: dict[str, Any], model: Path) -> bool:
    """Whether a model of the run is to answer its questions, which it may have done already.

    All processes call this.

    Args:
        run, file, settings: as in `keep_evaluation`.
        model: its folder. Where it was removed, answers that hold stay, whatever is wished.

    Raises:
        ModelError: it was removed, and there are no such answers.
    """
    if keep_evaluation(run, file, settings):
        return False
    is_there = run.on_main(lambda: restore_model(run, model))
    run.share()
    name = file.parent.relative_to(run.path)
    if not is_there and keep_evaluation(run, file, settings, is_forced=False):
        run.say(f"evaluate ({name}): stays as it is, because {model} is not there any more")
        return False
    run.on_main(lambda: require_model(run, model, f"evaluate ({name}) asks it"))
    return True


def set_aside_evaluation(run: RunFolder, file: Path) -> None:
    """Makes place for a new evaluation and its answers, and says that it begins."""
    run.did_something = True
    run.say(f"evaluate ({file.parent.relative_to(run.path)}): running")
    if run.process.is_main_process:
        for path in (file, layout.predictions_file(file)):
            if path.exists():
                run.old.take(path)


def write_evaluation(
    run: RunFolder, file: Path, settings: dict[str, Any], metrics: dict[str, Any]
) -> None:
    """Writes evaluation.json, or another one of its kind; the main process does.

    Args:
        run: the run folder.
        file: to write.
        settings: everything that decided the result.
        metrics: as `Metrics.to_json` gives them; a teacher's may have a `cost`.
    """
    if run.process.is_main_process:
        decided = cast("EvaluationSettings", settings)
        Evaluation(settings=decided, **metrics).write(file)
        run.drop_replaced(file, layout.predictions_file(file))
