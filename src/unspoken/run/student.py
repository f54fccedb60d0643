"""A model trained and measured: every student's way, and a new teacher's."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken.common.errors import ModelError, setting
from unspoken.common.memory import release_models
from unspoken.data.example import read_questions
from unspoken.models.adapter import base_of, is_adapter, require_same_adapter
from unspoken.models.card import ModelCard
from unspoken.models.explained import require_folder
from unspoken.models.fingerprint import fingerprint, weights_hash
from unspoken.models.from_config import require_reloadable_tokenizer
from unspoken.models.gguf import find_gguf
from unspoken.models.load import load_model, load_tokenizer, read_width
from unspoken.models.local import is_local
from unspoken.models.template import Template
from unspoken.parallel.separate_files import has_separate_files
from unspoken.recipe import Recipe
from unspoken.recipe.layout import MODEL, OLD, has_weights
from unspoken.recipe.levels import ALL
from unspoken.recipe.plan import Training
from unspoken.recipe.records import PeakMemory, TrainingRecord, TrainingState
from unspoken.run.data import Splits
from unspoken.run.folder import RunFolder
from unspoken.run.left_models import require_model, was_adapter, weights_bytes
from unspoken.run.measure import evaluate_stage
from unspoken.run.settings import MEASURING, MODEL_INCIDENTAL, TRAIN_INCIDENTAL
from unspoken.train.checkpoint import remove_checkpoints
from unspoken.train.encode import encode_file
from unspoken.train.gap import move_positions, require_gap_support

if TYPE_CHECKING:
    from unspoken.train.dataset import CoTDataset
    from unspoken.train.loop import StepwiseInternalization, TrainResult


def train_and_measure(
    run: RunFolder,
    name: str,
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    *,
    num_steps: int | None = None,
    started_from: TrainingRecord | None = None,
) -> TrainingRecord:
    """Trains one model and asks it the test questions; returns the record of its training.

    The arguments are those of `train_stage`; all processes call this.
    """
    record = train_stage(
        run, name, recipe, splits, folder, num_steps=num_steps, started_from=started_from
    )
    evaluate_stage(run, recipe, splits, folder, model_sha256=record.model_sha256)
    run.process.wait_for_everyone()
    return record


def train_teacher(
    run: RunFolder, training: Training | None, splits: Splits
) -> TrainingRecord | None:
    """Trains a teacher from scratch and measures it; returns the record of its training.

    None for another teacher, which has no training.
    """
    if training is None or splits.teacher is None:
        return None
    own = splits.with_train(splits.teacher, splits.hashes["teacher"], repeats=False)
    folder = run.path / training.folder
    return train_and_measure(run, training.stage, training.recipe, own, folder)


def train_stage(
    run: RunFolder,
    name: str,
    recipe: Recipe,
    splits: Splits,
    folder: Path,
    *,
    num_steps: int | None = None,
    started_from: TrainingRecord | None = None,
) -> TrainingRecord:
    """Trains one model in `folder`, goes on with it, or finds it done; returns its record.

    Args:
        run: the run folder.
        name: of the stage, one of `STAGES`.
        recipe: its model, schedule and train are those of this stage.
        splits: examples and validation questions.
        folder: within the run folder.
        num_steps: exactly so many optimizer steps, whatever the recipe says.
        started_from: the training whose model this one starts from, if there is one.
    """
    recipe = _as_the_model_needs(run, recipe)
    settings = _training_settings(recipe, splits, num_steps, started_from)
    stage = run.open(
        name,
        folder,
        TrainingRecord,
        settings,
        damage=lambda done: _require_whole(done, name, folder),
        needs=lambda: _require_start(run, name, folder, recipe, started_from),
    )
    record, is_main = stage.done, run.process.is_main_process
    if record is not None:
        if is_main:  # what a kill between "done" and the removal left
            remove_checkpoints(folder)
            _tell_of_removed(run, folder)
        return record
    with stage.running():
        outcome = _train(run, recipe, splits, folder, num_steps)
        record = stage.finish(
            replace(
                outcome,
                folder=str(folder.relative_to(run.path)),
                started_from=started_from and started_from.folder,
            )
        )
        if is_main:
            remove_checkpoints(folder)
        run.process.wait_for_everyone()
    return record


def _require_start(
    run: RunFolder, stage: str, folder: Path, recipe: Recipe, started_from: TrainingRecord | None
) -> None:
    """Refuses a training whose model is not there: one of this run, or a folder that is named."""
    if started_from is not None:
        start = Path(str(recipe.model.name))
        require_model(run, start, f"{run.title(stage, folder)} goes on from it")
    elif recipe.model.name is not None:  # a mistyped one sets nothing aside
        require_folder(recipe.model.name)


def _tell_of_removed(run: RunFolder, folder: Path) -> None:
    """Says so where the model of a training that is done was removed."""
    if not has_weights(folder / MODEL):
        run.say(
            f"note: {folder / MODEL} is not there any more; what was trained and measured with it "
            "stays as it is"
        )


def _require_whole(record: TrainingRecord, stage: str, folder: Path) -> str:
    """Refuses a done training whose weights are cut off: another one may take days.

    Where they were removed, what is left to do may not need them.
    """
    found, needed = weights_bytes(folder / MODEL), record.model_bytes
    if not has_weights(folder / MODEL) or (found and needed in (None, found)):
        return ""
    whole = "the weights" if needed is None else f"{needed:,} bytes of weights"
    raise ModelError(
        f"{folder / MODEL}: found {found:,} bytes of weights; needed: {whole} that training left "
        f"there; put the folder back, or train again with {setting('from', stage)}, which keeps "
        f"what is there in {OLD}/"
    )


def _as_the_model_needs(run: RunFolder, recipe: Recipe) -> Recipe:
    """The recipe; an adapter is trained on as one, and another template than before is said."""
    if recipe.lora is None and recipe.model.name and was_adapter(Path(recipe.model.name)):
        recipe = recipe.with_adapter()  # its own settings count
    elif recipe.lora is not None and is_adapter(recipe.model.name):
        require_same_adapter(str(recipe.model.name), recipe.lora)
    card = ModelCard.read(str(recipe.model.name)) if recipe.model.name else None
    if card is not None and card.template != recipe.template:
        run.say(
            f"note: {recipe.model.name} was trained with template {card.template}, this run asks "
            f"it with template {recipe.template} (template: {card.template} changes that)"
        )
    return recipe


def _train(
    run: RunFolder, recipe: Recipe, splits: Splits, folder: Path, num_steps: int | None
) -> TrainingRecord:
    """Trains, and returns what came out; the model's memory is free again."""
    from unspoken.parallel.precision import describe_precision, precision_note, resolve_precision
    from unspoken.parallel.products import BY_ONEDNN

    asked = recipe.train
    if asked.precision == "auto":
        recipe = resolve_precision(recipe, read_width(recipe.model))
        run.say(describe_precision(asked, recipe.train.precision))
    if note := precision_note(recipe):
        run.say(note)
    trainer = _make_trainer(run, recipe, splits, folder, num_steps)
    if trainer.gradient.by_onednn:
        run.say(BY_ONEDNN)
    outcome = _describe(trainer, trainer.run(), is_main=run.process.is_main_process)
    trainer.accelerator.free_memory()
    del trainer  # it and the model refer to each other, and the next model needs their memory
    release_models()
    return outcome


def _make_trainer(
    run: RunFolder, recipe: Recipe, splits: Splits, folder: Path, num_steps: int | None
) -> StepwiseInternalization:
    """The model loaded, the examples encoded, and what trains the one on the others."""
    from unspoken.train.loop import StepwiseInternalization

    tokenizer = load_tokenizer(recipe.model)
    frozen = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[recipe.train.precision]
    model = load_model(
        recipe.model,
        tokenizer,
        seed=recipe.seed,
        lora=recipe.lora,
        dtype=frozen if recipe.lora is not None else "float32",
    )
    if recipe.model.config is not None:
        require_reloadable_tokenizer(model, tokenizer)
    template = Template(recipe.template, tokenizer, recipe.data.choices)
    # where hosts share no files, each needs an encoding of its own
    separate = has_separate_files()
    first = run.process.local_main_process_first if separate else run.process.main_process_first
    with first():
        train = encode_file(
            splits.train,
            tokenizer,
            template,
            max_length=recipe.data.max_length,
            steps=recipe.schedule.unit == "step",
            allow_empty_thought=recipe.data.allow_empty_thoughts,
            unique=not splits.repeats,
            digest=splits.hashes["train"],
            progress=run.progress,
        )
    if recipe.schedule.positions == "gap":
        _open_gap(model, train, recipe)
    limit, measures = recipe.train.num_valid, recipe.schedule.measures
    valid = (
        read_questions(splits.valid, limit=limit, with_thoughts=measures) if splits.valid else []
    )
    return StepwiseInternalization(
        model,
        tokenizer,
        template,
        recipe,
        train=train,
        valid=valid,
        data_sha256=splits.hashes["train"],
        folder=folder,
        num_steps=num_steps,
        progress=run.progress,
        say=run.say,
    )


def _open_gap(model: Any, train: CoTDataset, recipe: Recipe) -> None:
    """Moves the position table of a model that goes without some of its thought already.

    It was saved to be asked without a gap. With one, at its own level of removal, it is then the
    same model, as a training with a gap left it and takes it to be.
    """
    card = ModelCard.read(str(recipe.model.name)) if recipe.model.name else None
    if card is None or card.removed == 0:
        return
    require_gap_support(model, train, recipe.schedule)
    removed = ALL if card.removed is None else card.removed
    move_positions(model, train, removed, back=True)


def _describe(
    trainer: StepwiseInternalization, result: TrainResult, *, is_main: bool
) -> TrainingRecord:
    """The record of a training that has ended."""
    train, parameters = trainer.train, list(trainer.bare_model.parameters())
    return TrainingRecord(
        level=result.level,
        state=TrainingState(**asdict(result.state)),
        precision=f"{result.precision}{', oneDNN' if trainer.gradient.by_onednn else ''}",
        num_parameters=sum(p.numel() for p in parameters),
        num_trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        num_train=len(train),
        num_dropped=train.num_dropped,
        longest_thought=train.longest_thought,
        tokens_removed=trainer.checkpoints.tokens_gone(result.state.schedule.removed),
        peak_memory_bytes=PeakMemory(**result.peak_memory_bytes),
        model_sha256=weights_hash(result.folder) if is_main else None,
        model_bytes=weights_bytes(result.folder),
        base_bytes=_base_bytes(result.folder),
    )


def _training_settings(
    recipe: Recipe, splits: Splits, num_steps: int | None, started_from: TrainingRecord | None
) -> dict[str, Any]:
    """Everything that decides what a training stage produces."""
    sections = {"seed", "template", "model", "lora", "schedule", "train"}
    incidental = {"train": TRAIN_INCIDENTAL, "model": MODEL_INCIDENTAL}
    if not recipe.schedule.measures:
        incidental["schedule"] = MEASURING
    values = recipe.model_dump(mode="json", include=sections, exclude=incidental)
    hashes = {name: splits.hashes[name] for name in ("train", "valid") if name in splits.hashes}
    values["data"] = {"max_length": recipe.data.max_length, **hashes}
    values["data"] |= {"choices": recipe.data.choices} if recipe.data.choices else {}
    values["num_steps"] = num_steps
    name = recipe.model.name
    if started_from is not None:  # by what is in them: a run folder may be moved
        values["model"] |= {
            "name": f"{started_from.folder}/{MODEL}",
            "sha256": started_from.model_sha256,
        }
    elif name is not None and is_local(name):
        values["model"] |= {"name": Path(name).name, "fingerprint": fingerprint(Path(name))}
    return values


def _base_bytes(folder: Path) -> int | None:
    """The size of the model that an adapter belongs to, where it is on this machine."""
    if not is_adapter(str(folder)):
        return None
    base = Path(base_of(str(folder)))
    if file := find_gguf(base):
        return file.stat().st_size
    return weights_bytes(base) if base.is_dir() else None
