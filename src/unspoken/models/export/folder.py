"""A trained model -> one plain Hugging Face folder that transformers and vLLM serve by themselves.

An adapter is merged into unquantized weights, also one that was trained on 4-bit weights (QLoRA).
Merged into 4-bit weights, every sum would have to be rounded to one of 16 values again, an error as
large as what the adapter learned; and servers quantize plain weights themselves where that is
wanted. Nothing here asks a network.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unspoken.common.errors import ModelError, OutputExistsError
from unspoken.common.files import TEMPORARY, write_folder
from unspoken.models.adapter import base_of, is_adapter
from unspoken.models.card import CARD_FILE, ModelCard

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Sources:
    """Where a model lies.

    Attributes:
        base: folder of a whole model.
        adapter: folder of an adapter that is laid over it, or None.
    """

    base: Path
    adapter: Path | None

    @property
    def trained(self) -> Path:
        """The folder that training wrote."""
        return self.adapter or self.base

    @property
    def tokenizer(self) -> Path:
        """The folder with the tokenizer; training saves it with an adapter."""
        names = ("tokenizer.json", "tokenizer_config.json")
        own = self.adapter is not None and any((self.adapter / name).is_file() for name in names)
        return self.trained if own else self.base


def export_model(
    model: str | Path,
    output: str | Path,
    *,
    adapter: str | Path | None = None,
    dtype: DtypeName = "auto",
    overwrite: bool = False,
) -> Path:
    """The folder `output`: merged weights, tokenizer, chat template, settings and README.md.

    Args:
        model: folder, or hub name of a model downloaded before; of a model, or of an adapter that
            names its base.
        output: appears whole or not at all.
        adapter: folder of an adapter to be laid over `model`, whatever base it names.
        dtype: of the weights that are written; auto is what the base was saved in.
        overwrite: replace a model folder that is there.

    Raises:
        ModelError: something is missing, quantized or does not fit.
        OutputExistsError: `output` exists.
    """
    from unspoken.models.chat_template import chat_template
    from unspoken.models.export.readme import read_story, readme
    from unspoken.models.template import Template

    sources = find_sources(model, adapter)
    output = Path(output)
    _require_free(output, sources, overwrite)
    tokenizer = _tokenizer(sources)
    card = ModelCard.read(sources.trained) or ModelCard.read(sources.base)
    problem = None
    if card is not None:
        try:
            tokenizer.chat_template = chat_template(Template(card.template, tokenizer), tokenizer)
        except ModelError as error:
            problem, tokenizer.chat_template = str(error), None
    merged = _merged(sources, dtype)
    _set_generation(merged, tokenizer, card)
    story = read_story(sources.base, sources.adapter)
    text = readme(
        output.name,
        story,
        card,
        has_template=tokenizer.chat_template is not None,
        problem=problem,
        dtype=str(merged.dtype).removeprefix("torch."),
    )

    def write(folder: Path) -> None:
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _make_greedy(folder / "generation_config.json")
        _require_same_ids(folder, tokenizer)
        for source in (sources.trained, sources.base):
            if (source / CARD_FILE).is_file():
                shutil.copyfile(source / CARD_FILE, folder / CARD_FILE)
                break
        (folder / "README.md").write_text(text, encoding="utf-8")

    try:
        write_folder(output, write)
    except OSError as error:
        raise ModelError(
            f"{output}: cannot be written ({error.strerror or error}); needed: a folder that you "
            "may write to, with room for the whole model; name another --output"
        ) from error
    finally:
        shutil.rmtree(output.parent / f"{TEMPORARY}{output.name}", ignore_errors=True)
    return output


def find_sources(model: str | Path, adapter: str | Path | None = None) -> Sources:
    """The folders of a model and its adapter; arguments as in `export_model`.

    Raises:
        ModelError: one of them is not there or not what it is named as.
    """
    if adapter is None:
        if not is_adapter(str(model)):
            return Sources(_local(str(model), "--model"), None)
        base = base_of(str(model))
        try:
            return Sources(_local(base, "--base_model"), Path(model))
        except ModelError:
            raise ModelError(
                f"--model {model}: found an adapter of {base}, which is not there; needed: its "
                f"base model, too; give --base_model FOLDER --lora_model {model}"
            ) from None
    if not is_adapter(str(adapter)):
        raise ModelError(
            f"--lora_model {adapter}: found no adapter_config.json in it; needed: the folder of a "
            "LoRA adapter; correct the path, or, for a whole model, give --model alone"
        )
    if is_adapter(str(model)):
        raise ModelError(
            f"--base_model {model}: found an adapter, with --lora_model besides; needed: the whole "
            "model below it; name that, or leave --lora_model out"
        )
    return Sources(_local(str(model), "--base_model"), Path(adapter))


def _local(name: str, flag: str) -> Path:
    """The folder of a model: itself, or where an earlier download of a hub name is kept."""
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(name, local_files_only=True))
        except (OSError, ValueError):
            raise ModelError(
                f"{flag} {name}: no such folder, and no such model was downloaded before; needed: "
                "a model on this machine; correct the path, or download it first: unspoken download"
            ) from None
    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(
            f"{flag} {name}: found no config.json in it; needed: a Hugging Face model folder; "
            "name the folder with config.json and the weights"
        )
    if "quantization_config" in json.loads(config.read_text(encoding="utf-8")):
        raise ModelError(
            f"{flag} {name}: found quantized weights; needed: unquantized ones, because merging "
            "into quantized weights would round away what was learned; name the model that it was "
            "quantized from as --base_model"
        )
    return folder


def _require_free(output: Path, sources: Sources, overwrite: bool) -> None:
    place = output.resolve()
    for source in (sources.base, sources.adapter):
        if source is not None and (
            place.is_relative_to(source.resolve()) or source.resolve().is_relative_to(place)
        ):
            raise OutputExistsError(
                f"--output {output}: is, holds or lies in {source}, which is read; needed: another "
                "folder; name one"
            )
    if not (output.exists() or output.is_symlink()):
        return
    is_model = output.is_dir() and not output.is_symlink() and (output / "config.json").is_file()
    if not overwrite:
        raise OutputExistsError(
            f"--output {output}: exists already; needed: a new name; name another, or replace a "
            "model folder with --overwrite"
        )
    if not is_model:
        raise OutputExistsError(
            f"--output {output}: is no model folder, so --overwrite does not replace it; needed: "
            "another name; name one"
        )


def _tokenizer(sources: Sources) -> Any:
    from unspoken.models.load import load_tokenizer
    from unspoken.recipe import Model

    return load_tokenizer(Model(name=str(sources.tokenizer), local_files_only=True))


def _require_same_ids(folder: Path, tokenizer: Any) -> None:
    """Checks that the tokenizer in the folder is what it was.

    For some architectures, such as Qwen2, transformers takes a tokenizer class of its own choice
    and with it another way to cut text into words, whatever tokenizer.json says.
    """
    from transformers import AutoConfig, AutoTokenizer

    from unspoken.models.chat_template import PROBES

    texts = list(PROBES)
    loaded: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if loaded(texts)["input_ids"] != tokenizer(texts)["input_ids"]:
        kind = AutoConfig.from_pretrained(str(folder), local_files_only=True).model_type
        raise ModelError(
            f"the tokenizer reads text otherwise once it lies beside a model of type {kind}, for "
            f"which transformers loads {type(loaded).__name__}; needed: a tokenizer of this type, "
            "or a model of another one, such as gpt2 or llama; train with one of these"
        )


def _merged(sources: Sources, dtype: DtypeName) -> Any:
    """The whole model in the dtype asked for; sums are made in the wider of both dtypes."""
    import torch
    from transformers import AutoModelForCausalLM

    load: Any = AutoModelForCausalLM.from_pretrained
    try:
        base = load(str(sources.base), dtype=_dtype(sources.base, dtype), local_files_only=True)
        if sources.adapter is not None:
            base = _with_adapter(base, sources)
    except (OSError, ValueError) as error:
        raise ModelError(_not_loaded(sources.base, error)) from error
    return base if dtype == "auto" else base.to(getattr(torch, dtype))


def _dtype(base: Path, dtype: DtypeName) -> Any:
    import torch
    from transformers import AutoConfig

    if dtype == "auto":
        return "auto"
    config: Any = AutoConfig.from_pretrained(str(base), local_files_only=True)
    saved = config.dtype or torch.float32
    return torch.promote_types(saved, getattr(torch, dtype))


def _with_adapter(base: Any, sources: Sources) -> Any:
    from peft import PeftModel

    try:
        loaded: Any = PeftModel.from_pretrained(base, str(sources.adapter))
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "size mismatch" not in str(error):
            raise
        first = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{sources.adapter}: cannot be laid over {sources.base}: {first} - needed: an adapter "
            "of this very model; name the model that it was trained on as --base_model"
        ) from error
    return loaded.merge_and_unload(safe_merge=True)


def _not_loaded(base: Path, error: Exception) -> str:
    first = str(error).strip().partition("\n")[0][:300]
    if "trust_remote_code" in str(error):
        return (
            f"{base}: comes with Python code of its own; needed: a model that transformers and "
            "vLLM know, because the export holds no code; choose another base model"
        )
    return (
        f"{base}: cannot be loaded: {first} - needed: a whole Hugging Face model folder; download "
        "it again or correct the path"
    )


def _set_generation(model: Any, tokenizer: Any, card: ModelCard | None) -> None:
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    if card is not None:
        model.generation_config.max_new_tokens = card.max_new_tokens


def _make_greedy(path: Path) -> None:
    """vLLM does not look at do_sample: without a temperature it would draw tokens."""
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "temperature": 0.0}, indent=2), encoding="utf-8")
