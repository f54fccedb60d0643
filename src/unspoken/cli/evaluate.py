"""`unspoken evaluate`: a model's answers, and what they are worth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unspoken.cli.options import AskedModelFlags, EvaluateSamplingFlags, MeasuringFlags, Overwrite
from unspoken.cli.output import importing
from unspoken.common.errors import ModelError, SettingError, setting, settings_of
from unspoken.common.interrupt import EXIT_INTERRUPTED
from unspoken.common.libraries import import_model_classes
from unspoken.common.nearby import path_remedy
from unspoken.parallel.world import is_main_process

if TYPE_CHECKING:
    from unspoken.recipe import Model


def evaluate(
    *,
    model: Annotated[AskedModelFlags, Parameter(name="*")],
    input: Path,
    output: Path,
    measuring: Annotated[MeasuringFlags, Parameter(name="*")] = MeasuringFlags(),  # noqa: B008
    sampling: Annotated[EvaluateSamplingFlags, Parameter(name="*")] = EvaluateSamplingFlags(),  # noqa: B008
    overwrite: Overwrite = False,
) -> None:
    """Ask a model and measure its answers.

    Stopped, the same command goes on.

    Parameters
    ----------
    input
        JSONL with question and, where there are some, answer and category
    output
        predictions: JSONL with question, generated, pred, gold, correct and token counts
    """
    from unspoken.common.files import refuse_existing
    from unspoken.data.example import read_questions

    refuse_existing([output], overwrite=overwrite, inputs=[input])
    settings = {**measuring.values(), **sampling.given()}
    limit, strict = settings.pop("limit"), settings.pop("strict")
    if limit is not None and limit < 1:
        raise SettingError(
            "limit", found=limit, needed="at least 1", remedy="raise it or leave it out"
        )
    examples = read_questions(input, limit=limit, strict=strict)
    with importing():
        import_model_classes()
        from unspoken.measure.evaluate import EvaluateOptions, evaluate_folder
        from unspoken.parallel.world import join_other_processes, leave_processes
        from unspoken.report import print_metrics

    process = join_other_processes()
    try:
        with settings_of({"model.name": "base_model", "adapter": "lora_model"}):
            metrics = evaluate_folder(
                _model(model),
                examples,
                output,
                EvaluateOptions(**settings),
                adapter=model.lora_model,
                template=model.template,
                dtype=model.dtype or "auto",
                overwrite=overwrite,
                process=process,
                progress="evaluate",
            )
    except KeyboardInterrupt:
        print("interrupted: finished batches are kept; run the command again to go on")
        sys.exit(EXIT_INTERRUPTED)
    if process is not None:
        leave_processes(process)
    if is_main_process():
        print_metrics(metrics)
        print(f"predictions: {output}")


def _model(options: AskedModelFlags) -> Model:
    """The section of a recipe that names the model; a run stands for one of its models."""
    from unspoken.recipe import Model
    from unspoken.recipe.named_model import find_model

    values = options.to_recipe()["model"]
    with settings_of({"model": "base_model"}):
        model = Model.model_validate({**values, "name": find_model(values["name"]).source})
        _require_hub_or_folder(model)
    return model


def _require_hub_or_folder(model: Model) -> None:
    """A hub that does not answer is asked once: its own client would try for minutes."""
    from unspoken.check.hub import hub_answers
    from unspoken.check.offline import is_here
    from unspoken.models.local import is_local
    from unspoken.recipe.named_model import run_remedy

    name = str(model.name)
    if model.local_files_only or is_here(name, model.revision, weights=True) or hub_answers():
        return
    remedy = run_remedy(name) or path_remedy(name, fits=is_local)
    raise ModelError(
        f"{setting('model', name)}: no such folder here, it was not downloaded before, and the hub "
        "does not answer; needed: a model on this machine, or a network; "
        f"{remedy}"
    )
