"""`unspoken export`: a trained model as a folder that other software serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unspoken.cli.options import Overwrite
from unspoken.cli.output import silence_libraries, waiting


def export(
    *,
    model: Annotated[str, Parameter(name=["--model", "--base_model"])],
    output: Path,
    lora_model: Path | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Write a model folder that other software serves.

    A plain Hugging Face folder, for transformers and vLLM, without unspoken. An adapter is merged
    into the base model's unquantized weights, also after QLoRA.

    Parameters
    ----------
    model
        folder or GGUF file of a model, or folder of an adapter that unspoken trained; with
        --lora_model, the base model
    output
        new folder, with weights, tokenizer, chat template and README.md
    lora_model
        folder of an adapter to merge into the base model
    dtype
        of the weights (auto: what the base model was saved in)
    """
    with waiting("exporting"):
        silence_libraries()
        from transformers import AutoTokenizer

        from unspoken.models.export.folder import export_model

        folder = export_model(model, output, adapter=lora_model, dtype=dtype, overwrite=overwrite)
    print(f"exported: {folder}")
    if (
        getattr(
            AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False),
            "chat_template",
            None,
        )
        is None
    ):
        print(f"note: it has no chat template; {folder / 'README.md'} says why")
    print(f"serve it: vllm serve {folder}")
