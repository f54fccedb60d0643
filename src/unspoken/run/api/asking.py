"""`evaluate`, `generate` and `vet`: what they write into files, as values."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from unspoken.common.caller import leaves_as_found
from unspoken.common.errors import SettingError, UnspokenError, settings_of, shorten
from unspoken.data.example import read_questions
from unspoken.data.jsonl import read_jsonl
from unspoken.data.questions import read_questions_from
from unspoken.measure.ask import LoadedModel, load, with_card
from unspoken.measure.evaluate import EvaluateOptions, warn_of_unknown_signs
from unspoken.measure.evaluate import evaluate as measure
from unspoken.measure.sampling import Sampling
from unspoken.models.template import Template
from unspoken.recipe.arguments import takes_arguments
from unspoken.recipe.choices import make_labels
from unspoken.recipe.layout import DATASET_FILE, GIVEN, TRACES_FILE
from unspoken.recipe.named_model import NamedModel
from unspoken.recipe.sections import TemplateName
from unspoken.recipe.teacher import MAX_NEW_TOKENS
from unspoken.run.api.inputs import (
    AnyModel,
    Records,
    as_file,
    is_named,
    named_records,
    of_outcome,
    own_tokenizer,
    require_model,
    require_no_tokenizer,
    teacher_section,
)
from unspoken.run.api.outcomes import EvaluationOutcome, TracesOutcome, VettingOutcome
from unspoken.teach.engines import Engine
from unspoken.teach.engines.make import EngineName, EngineOptions, make_engine
from unspoken.teach.traces.write import generate_traces
from unspoken.teach.vet import VetRules, vet_traces

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

#: What an engine has, as `Engine` says.
_OF_ENGINES = ("name", "model", "style", "settings", "cost", "generate")
#: What a dict that names a teacher may be.
_TEACHER = (
    'a server as {"base_url": ..., "model": ...}, a model, or who is asked as in a recipe\'s '
    "section teacher"
)


@takes_arguments(EvaluateOptions)
@leaves_as_found()
def evaluate(
    model: AnyModel,
    data: Records,
    *,
    template: TemplateName | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    limit: int | None = None,
    strict: bool = False,
    dtype: str | torch.dtype = "float32",
    progress: bool = True,
    **options: Any,
) -> EvaluationOutcome:
    """Asks a model questions and measures its answers, as `unspoken evaluate` does.

    Args:
        model: run, RUN:level-7, the outcome of a run, folder, hub name or object.
        data: questions with answers: dicts, a DataFrame, a `datasets.Dataset`, or a JSONL file.
        template: how questions are put; default: as a LoadedModel does, else what the model's
            unspoken.json says, else its chat template, else plain.
        tokenizer: of a model object that does not name its own.
        limit: only the first questions.
        strict: a question that stands in `data` twice is an error, and no warning.
        dtype: of the weights of a model that is loaded here.
        progress: show a bar.
        options: of `EvaluateOptions`: max_new_tokens, batch_size, num_latency, num_samples,
            temperature, top_p, seed, choices, only_choices.

    Raises:
        UnspokenError: for everything that the caller can mend.
    """
    asked = _loaded(of_outcome(model), template, tokenizer, dtype)
    options.setdefault("max_new_tokens", asked.max_new_tokens)
    with _folder() as folder:
        file = as_file(data, folder, "data")
        name = "data" if file.is_relative_to(folder) else ""
        examples = read_questions(file, limit=limit, strict=strict, name=name)
    warn_of_unknown_signs(examples, asked.tokenizer, asked.template)
    predictions, metrics = measure(
        asked.model,
        asked.tokenizer,
        asked.template,
        examples,
        EvaluateOptions(**options),
        progress="evaluate" if progress else None,
    )
    return EvaluationOutcome(asked.title, metrics, predictions)


def _loaded(
    model: AnyModel, template: TemplateName | None, tokenizer: Any, dtype: str | torch.dtype
) -> LoadedModel:
    if is_named(model) or isinstance(model, LoadedModel):
        require_no_tokenizer(tokenizer)
    if isinstance(model, LoadedModel):
        if template is None:
            return model
        form = Template(template, model.tokenizer, model.template.choices)
        return replace(model, template=form)
    if is_named(model):
        return load(model, template=template, dtype=dtype)
    require_model(model)
    name = str(getattr(model, "name_or_path", "")) or type(model).__name__
    return with_card(model, own_tokenizer(model, tokenizer), NamedModel(name, name), template)


@takes_arguments(EngineOptions)
@leaves_as_found()
def generate(
    teacher: AnyModel | Mapping[str, Any] | Engine,
    questions: Records,
    *,
    output: str | Path | None = None,
    max_new_tokens: int = MAX_NEW_TOKENS,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    samples_per_question: int = 1,
    system_prompt: str | None = None,
    few_shot: str | Path | None = None,
    choices: Sequence[str] | None = None,
    tokenizer: PreTrainedTokenizerBase | str | None = None,
    progress: bool = True,
    **options: Any,
) -> TracesOutcome:
    """Has a teacher write chains of thought, as `unspoken generate` does.

    Args:
        teacher: run, its outcome, folder or object; "worked" for the solutions that the questions
            carry; a server as {"base_url": ..., "model": ...}; either as in a recipe's section
            `teacher`; or an engine of one's own, an object with the attributes of
            `unspoken.teach.engines.Engine`.
        questions: dicts with question and, if known, answer, a `datasets.Dataset`, or a file.
        output: JSONL, where an interrupted call goes on from; default: nothing is kept of a call
            that ends well, and what one that fails has paid for is in a file that it names.
        max_new_tokens, temperature, top_p, seed: how the next token is chosen.
        samples_per_question: more than one needs a temperature.
        system_prompt: in place of the default instruction.
        few_shot: JSONL with solved questions that are shown first.
        choices: the only answers that there are, which prompts name.
        tokenizer: of an object that does not name its own; of a named model, the name of another.
        progress: show a bar.
        options: of `EngineOptions`: batch_size, dtype, quantization, prompt, concurrency, ...

    Raises:
        UnspokenError: for everything that the caller can mend.
        KeyboardInterrupt: after Ctrl-C; what is done is kept.
    """
    with _folder() as folder, _traces_file(output) as target:
        make = _engine(teacher, folder, tokenizer, options)
        file = as_file(questions, folder, "questions")
        made = {file: "questions", folder / GIVEN / "teacher": "the teacher"}
        with settings_of({"teacher_dir": "teacher"}), named_records(made, folder):
            summary = generate_traces(
                make(),
                read_questions_from(file, may_name=False),
                target,
                sampling=Sampling(max_new_tokens, temperature, top_p, seed),
                samples_per_question=samples_per_question,
                system_prompt=system_prompt,
                few_shot=few_shot,
                choices=None if choices is None else make_labels(choices),
                progress="generate" if progress else None,
            )
        if summary.interrupted:
            raise KeyboardInterrupt(f"{summary.num_missing:,} traces are missing")
        return TracesOutcome(_records(target), summary)


def _engine(
    teacher: Any,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase | str | None,
    options: Mapping[str, Any],
) -> Callable[[], Engine]:
    """What gives the engine that asks a teacher, which may be one already.

    Raises:
        SettingError: an option cannot be used.
    """
    if hasattr(teacher, "generate") and not hasattr(teacher, "save_pretrained"):
        given = {**options, **({} if tokenizer is None else {"tokenizer": tokenizer})}
        return _own_engine(teacher, given)
    name, own = _engine_of(teacher, folder, tokenizer)
    return lambda: make_engine(name, EngineOptions(**{**own, **options}))


def _own_engine(engine: Any, options: Mapping[str, Any]) -> Callable[[], Engine]:
    """What gives an engine of the caller's, which has its settings already."""
    for name in options:
        raise SettingError(
            name,
            found="it with an engine of your own",
            needed="its settings where it is made",
            remedy="leave it out",
        )
    if not isinstance(engine, Engine):
        missing = [name for name in _OF_ENGINES if not hasattr(engine, name)]
        raise SettingError(
            "teacher",
            found=f"a {type(engine).__name__} without {', '.join(missing)}",
            needed="what unspoken.teach.engines.Engine lists",
            remedy="add it",
        )
    return lambda: engine


def _engine_of(
    teacher: AnyModel | Mapping[str, Any],
    folder: Path,
    tokenizer: PreTrainedTokenizerBase | str | None,
) -> tuple[EngineName, dict[str, Any]]:
    """The name of the engine that asks a teacher, and its options."""
    section = teacher_section(teacher, folder, tokenizer=tokenizer)
    engine, model = section.pop("engine", "transformers"), section.pop("model", {})
    if engine not in get_args(EngineName) or not isinstance(model, Mapping):
        raise SettingError(
            "teacher",
            found=shorten(teacher),
            needed=_TEACHER,
            remedy="correct it",
        )
    own = {**section, **model}
    if "name" in own:
        own["model" if engine == "openai" else "teacher_dir"] = own.pop("name")
    known = [field.name for field in fields(EngineOptions)]
    for key in own:
        if key not in known:
            raise SettingError(
                "teacher",
                found=f"the key {shorten(key)}",
                needed=_TEACHER,
                remedy="correct it, or give it as an argument",
            )
    return engine, own


@takes_arguments(VetRules)
def vet(
    traces: Records,
    *,
    test: Records | None = None,
    output: str | Path | None = None,
    rejected: str | Path | None = None,
    overwrite: bool = False,
    **rules: Any,
) -> VettingOutcome:
    """Keeps the traces that a student may learn from, as `unspoken vet` does.

    Args:
        traces: of `generate`, or dicts with question and cot, or a file.
        test: questions that must not be among them.
        output: JSONL of what is kept; default: nothing is written.
        rejected: JSONL of the others; default: rejected.jsonl beside `output`.
        overwrite: replace these files.
        rules: of `VetRules`: majority, max_tokens, pattern, overlap, max_per_question, choices.

    Raises:
        UnspokenError: for everything that the caller can mend.
    """
    with _folder() as folder:
        target = folder / DATASET_FILE if output is None else Path(output)
        asked = [] if test is None else [as_file(test, folder, "test")]
        file = as_file(traces, folder, "traces")
        with named_records({file: "traces", **dict.fromkeys(asked, "test")}, folder):
            summary = vet_traces(
                [file],
                target,
                VetRules(**rules),
                test=asked,
                rejected=rejected,
                overwrite=overwrite,
            )
        summary.warn()
        return VettingOutcome(_records(target), _records(summary.rejected_output), summary)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextlib.contextmanager
def _traces_file(output: str | Path | None) -> Iterator[Path]:
    """The caller's file of traces; without one, a file that stays, and is named, after an error."""
    if output is not None:
        yield Path(output)
        return
    folder = Path(tempfile.mkdtemp(prefix="unspoken-"))
    target = folder / TRACES_FILE
    stays = False
    try:
        yield target
    except BaseException as error:
        stays = target.is_file() and target.stat().st_size > 0
        told = f'the same call with output="{target}" goes on from the traces that are there'
        if stays and isinstance(error, UnspokenError):
            error.args = (f"{error.args[0]}; {told}", *error.args[1:])
        elif stays:
            logger.warning(told)
        raise
    finally:
        if not stays:
            shutil.rmtree(folder)


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.stat().st_size:
        return []
    return [dict(record) for _, record in read_jsonl(path)]
