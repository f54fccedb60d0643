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
from typing import TYPE_CHECKING, Any

from unspoken.common.errors import ModelError, OutputExistsError, setting, settings_of
from unspoken.common.files import write_folder
from unspoken.models.adapter import base_of, model_below, require_adapter
from unspoken.models.card import CARD_FILE, ModelCard
from unspoken.models.files import find_fault, naming_fault, one_line
from unspoken.models.local import base_folder, local_folder
from unspoken.recipe import Model
from unspoken.recipe.sections import DtypeName

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
    from unspoken.models.export.readme import read_story, readme
    from unspoken.models.load import load_model, load_tokenizer

    sources = find_sources(model, adapter)
    output = Path(output)
    _require_free(output, sources, overwrite)
    card = ModelCard.read(sources.trained) or ModelCard.read(sources.base)
    with settings_of({"model.name": "model"}):
        named = Model(name=str(sources.tokenizer), local_files_only=True)
        tokenizer = load_tokenizer(named, purpose="merge")
    problem = None if card is None else _set_chat_template(tokenizer, card)
    with settings_of({"model.name": "model"}):
        merged = load_model(
            Model(name=str(sources.base), local_files_only=True),
            tokenizer,
            purpose="merge",
            adapter=sources.adapter,
            dtype=dtype,
        )
    if card is not None:
        merged.generation_config.max_new_tokens = card.max_new_tokens
    text = readme(
        output.name,
        read_story(sources.base, sources.adapter),
        card,
        has_template=tokenizer.chat_template is not None,
        problem=problem,
        dtype=str(merged.dtype).removeprefix("torch."),
    )
    _forget_code(merged, tokenizer)
    weights = sum(one.numel() * one.element_size() for one in merged.parameters())
    write_folder(
        output, lambda folder: _write(folder, merged, tokenizer, sources, text), num_bytes=weights
    )
    return output


def _set_chat_template(tokenizer: PreTrainedTokenizerBase, card: ModelCard) -> str | None:
    """Gives the tokenizer the form in which the model was asked; else says why there is none."""
    from unspoken.models.chat_template import chat_template
    from unspoken.models.template import Template

    try:
        template = Template(card.template, tokenizer, card.choices)
        tokenizer.chat_template = chat_template(template, tokenizer)
    except ModelError as error:
        tokenizer.chat_template = None
        return str(error)
    return None


def _write(
    folder: Path,
    merged: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sources: Sources,
    readme: str,
) -> None:
    merged.save_pretrained(folder)
    try:
        tokenizer.save_pretrained(folder)
    except UnicodeError as error:  # half a sign, which only JSON's escapes can hold
        fault = find_fault(sources.tokenizer, "tokenizer", one_line(error))
        raise ModelError(f"tokenizer {fault}") from error
    _make_greedy(folder / "generation_config.json")
    _require_same_ids(folder, tokenizer, merged.config.model_type)
    for source in (sources.trained, sources.base):
        if (source / CARD_FILE).is_file():
            shutil.copyfile(source / CARD_FILE, folder / CARD_FILE)
            break
    (folder / "README.md").write_text(readme, encoding="utf-8")


def find_sources(model: str | Path, adapter: str | Path | None = None) -> Sources:
    """The folders of a model and its adapter; arguments as in `export_model`.

    Raises:
        ModelError: one of them is not there or not what it is named as.
    """
    if adapter is None:
        folder = local_folder(str(model))
        try:
            base = base_folder(folder)
        except ModelError:
            raise ModelError(
                f"{setting('model', model)}: found an adapter of {base_of(str(folder))}, which is "
                "not there; needed: its base model, too; give "
                f"{setting('model', 'FOLDER')} {setting('adapter', model)}"
            ) from None
        if base is None:
            return Sources(_unquantized(folder), None)
        return Sources(_unquantized(base), folder)
    with settings_of({"model.name": "model"}):
        require_adapter(str(adapter), str(model))
    below = model_below(Model(name=str(model)), adapter)
    return Sources(_unquantized(local_folder(str(model), revision=below.revision)), Path(adapter))


def _unquantized(folder: Path) -> Path:
    """The folder, whose weights an adapter can be merged into; raises a ModelError otherwise."""
    config = folder / "config.json"
    with naming_fault("model", folder):
        values = json.loads(config.read_bytes()) if config.is_file() else {}
        is_quantized = values.get("quantization_config") is not None
    if is_quantized:
        raise ModelError(
            f"{setting('model', folder)}: found quantized weights; needed: unquantized ones, "
            "because merging into quantized weights would round away what was learned; name the "
            f"model that it was quantized from as {setting('model')}"
        )
    return folder


def _require_free(output: Path, sources: Sources, overwrite: bool) -> None:
    place = output.resolve()
    for source in (sources.base, sources.adapter):
        if source is not None and (
            place.is_relative_to(source.resolve()) or source.resolve().is_relative_to(place)
        ):
            raise OutputExistsError(
                f"{setting('output', output)}: is, holds or lies in {source}, which is read; "
                "needed: another folder; name one"
            )
    if not (output.exists() or output.is_symlink()):
        return
    is_model = output.is_dir() and not output.is_symlink() and (output / "config.json").is_file()
    if not overwrite:
        raise OutputExistsError(
            f"{setting('output', output)}: exists already; needed: a new name; name another, or "
            f"replace a model folder with {setting('overwrite', True)}"
        )
    if not is_model:
        raise OutputExistsError(
            f"{setting('output', output)}: is no model folder, so {setting('overwrite', True)} "
            "does not replace it; needed: another name; name one"
        )


def _require_same_ids(folder: Path, tokenizer: PreTrainedTokenizerBase, kind: str) -> None:
    """Checks that the tokenizer in the folder is what it was.

    For some architectures, such as Qwen2, transformers takes a tokenizer class of its own choice
    and with it another way to cut text into words, whatever tokenizer.json says.
    """
    from transformers import AutoTokenizer

    from unspoken.models.chat_template import PROBES

    texts: Any = list(PROBES)
    loaded: Any = AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False
    )
    if loaded(texts)["input_ids"] != tokenizer(texts)["input_ids"]:
        raise ModelError(
            f"the tokenizer reads text otherwise once it lies beside a model of type {kind}, for "
            f"which transformers loads {type(loaded).__name__}; needed: a tokenizer of this type, "
            "or a model of another one, such as gpt2 or llama; train with one of these"
        )


def _forget_code(model: Any, tokenizer: Any) -> None:
    """Takes out where Python code of the model would be: it was not needed, and is not exported."""
    tokenizer.init_kwargs.pop("auto_map", None)
    if hasattr(model.config, "auto_map"):
        del model.config.auto_map


def _make_greedy(path: Path) -> None:
    """vLLM does not look at do_sample: without a temperature it would draw tokens."""
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**values, "temperature": 0.0}, indent=2), encoding="utf-8")
