"""`unspoken export`: a trained model as a folder that other software serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unspoken.cli.options import Overwrite
from unspoken.cli.output import silence_libraries, waiting
from unspoken.common.errors import DataError, SettingError, one_word
from unspoken.recipe.named_model import find_model, find_run
from unspoken.recipe.sections import DtypeName


def export(
    run: Path | None = None,
    *,
    model: Annotated[str | None, Parameter(name=["--model", "--base_model"])] = None,
    output: Path,
    level: str | None = None,
    lora_model: Path | None = None,
    dtype: DtypeName = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Write a model folder that other software serves.

    A plain Hugging Face folder, for transformers and vLLM, without unspoken. An adapter is merged
    into the base model's unquantized weights, also after QLoRA.

    Parameters
    ----------
    run
        a folder that `unspoken run` made: its internalized model, or the one of --level; or one of
        its models as unspoken ask names them, such as runs/quickstart:explicit
    model
        folder or GGUF file of a model, or folder of an adapter that unspoken trained; with
        --lora_model, the base model
    output
        new folder, with weights, tokenizer, chat template and README.md
    level
        of the run: a level of removal as unspoken choose lists them, such as 0007
    lora_model
        folder of an adapter to merge into the base model
    dtype
        of the weights (auto: what the base model was saved in)
    """
    with waiting("exporting"):
        silence_libraries()
        from transformers import AutoTokenizer

        from unspoken.models.export.folder import export_model

        source = _source(run, model, level)
        folder = export_model(source, output, adapter=lora_model, dtype=dtype, overwrite=overwrite)
    print(f"exported: {folder}")
    tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    if getattr(tokenizer, "chat_template", None) is None:
        print(f"note: it has no chat template; {folder / 'README.md'} says why")
    served = one_word(str(folder))
    print(f"serve it: vllm serve {served}; without a GPU: transformers serve {served}")


def _source(run: Path | None, model: str | None, level: str | None) -> str:
    """The model that is named: alone, or as one of a run.

    Raises:
        SettingError: none is named, or two are, or a level without its run.
    """
    if (run is None) == (model is None):
        found = "neither a run nor a model" if run is None else f"both {run} and {model}"
        raise SettingError(
            "model", found=found, needed="one of the two", remedy="give RUN or a model's folder"
        )
    if level is None:
        return str(model) if run is None else find_model(run).source
    try:
        folder = find_run(run or str(model))
    except DataError:
        raise SettingError(
            "level",
            found=f"{level} with {run or model}, which is not the folder of a run",
            needed="a folder that `unspoken run` made",
            remedy="give one, or leave the level out",
        ) from None
    if Path(run or str(model)).name != folder.name:
        raise SettingError(
            "level",
            found=f"{level} with {run or model}, which is a model of that run already",
            needed="one of the two",
            remedy=f"leave the level out, or give {folder}",
        )
    from unspoken.report.read.frontier import find_level_model, read_frontier

    return str(find_level_model(folder, read_frontier(folder), level))
