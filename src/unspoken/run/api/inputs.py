"""What Python gives, as the files and settings that a recipe names."""

from __future__ import annotations

import datetime
import json
import numbers
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from typing_extensions import TypeIs  # comes with pydantic

from unspoken import recipe
from unspoken.common.errors import (
    DataError,
    ModelError,
    SettingError,
    UnspokenError,
    setting,
    shorten,
)
from unspoken.data.example import Example
from unspoken.data.jsonl import kind_of_name, read_jsonl, write_jsonl
from unspoken.data.tasks.icot import iter_lines
from unspoken.measure.ask import LoadedModel
from unspoken.models.template import Template
from unspoken.recipe.arguments import takes_arguments
from unspoken.recipe.layout import GIVEN, MODEL, split_file
from unspoken.recipe.named_model import find_model
from unspoken.run.api.outcomes import RunOutcome

if TYPE_CHECKING:
    import datasets
    import pandas
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Records: TypeAlias = (
    "Iterable[Mapping[str, Any] | Example] | datasets.Dataset | pandas.DataFrame | str | Path"
)
AnyModel: TypeAlias = "str | Path | RunOutcome | LoadedModel | PreTrainedModel | PeftModel"

Other = TypeVar("Other")

#: Sizes of models from scratch: layers, width and heads.
SIZES = {"tiny": (2, 64, 2), "small": (2, 128, 4), "medium": (6, 256, 8), "gpt2": (12, 768, 12)}
#: Positions of a model from scratch are a multiple of this.
_POSITIONS = 64
#: Room for a thought that grows a little.
_ROOM = 16


@dataclass(frozen=True)
class FromScratch:
    """A GPT-2 without weights, which learns characters.

    Attributes:
        num_layers, width, num_heads: of it.
        alphabet: its symbols; None: those of the examples.
        num_positions: tokens of question, thought and answer together at the most; None: as many
            as the longest example needs.
    """

    num_layers: int
    width: int
    num_heads: int
    alphabet: str | None = None
    num_positions: int | None = None

    def section(self, texts: Iterable[tuple[str, str, str]], template: Template) -> Any:
        """The recipe's section `model`.

        Args:
            texts: question, thought and answer of each example.
            template: that they are put together with.
        """
        signs, longest = set(), 0
        for question, thought, answer in texts:
            text = "".join(template.spans(Example(question, thought, answer)))
            signs.update(text)
            longest = max(longest, len(text))
        positions = self.num_positions or -(-(longest + _ROOM) // _POSITIONS) * _POSITIONS
        sizes = {"n_layer": self.num_layers, "n_embd": self.width, "n_head": self.num_heads}
        return {
            "tokenizer": "characters",
            "alphabet": self.alphabet or "".join(sorted(signs)),
            "config": {
                "model_type": "gpt2",
                **sizes,
                "n_positions": positions,
                "resid_pdrop": 0.0,
                "embd_pdrop": 0.0,
                "attn_pdrop": 0.0,
            },
        }


@takes_arguments()
def from_scratch(
    size: str = "tiny", *, alphabet: str | None = None, num_positions: int | None = None
) -> FromScratch:
    """A model without weights, to be trained from nothing.

    Args:
        size: tiny (2 layers of width 64), small (2 of 128), medium (6 of 256) or gpt2 (12 of 768).
        alphabet: its symbols; default: those of the examples.
        num_positions: default: as many as the longest example needs.

    Raises:
        SettingError: there is no such size.
    """
    if size not in list(SIZES):  # which takes what has no hash, too
        raise SettingError(
            "size", found=shorten(size), needed=f"one of {', '.join(SIZES)}", remedy="correct it"
        )
    return FromScratch(*SIZES[size], alphabet=alphabet, num_positions=num_positions)


def is_named(value: object) -> TypeIs[str | Path]:
    """Whether this is a name or a path; an empty one would be the working directory."""
    return isinstance(value, str | Path) and value != ""


def of_outcome(model: RunOutcome | Other) -> str | Other:
    """The name of the model that a run's outcome is about; any other model as it is."""
    return f"{model.folder}:{model.main}" if isinstance(model, RunOutcome) else model


def as_file(records: Records | None, folder: Path, name: str, split: str = "") -> Path:
    """The file that holds these records: a path as it is, others are written into the run folder.

    Args:
        records: a path, dicts or Examples.
        folder: of the run.
        name: of the argument, for the error.
        split: what the file is called; default: as the argument.

    Raises:
        DataError: they are something else.
    """
    if is_named(records):
        return Path(records)
    path = split_file(folder / GIVEN, split or name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, as_records(records, name), overwrite=True)
    return path


@contextmanager
def named_records(files: Mapping[Path, str], folder: Path) -> Iterator[None]:
    """Errors that leave the block name arguments in place of files that were made of them.

    Args:
        files: file -> argument; one that the caller has is left as it is.
        folder: of those that were made.
    """
    try:
        yield
    except UnspokenError as error:
        text = str(error.args[0])
        for file, name in files.items():
            if file.is_relative_to(folder):
                text = re.sub(rf"{re.escape(str(file))}:(?=\d)", f"{name}: record ", text)
                text = text.replace(str(file), name)
        error.args = (text, *error.args[1:])
        raise


def as_records(records: Records | None, name: str = "data") -> Iterator[dict[str, Any]]:
    """Yields records as dicts, numbers as text, without the fields that have no value.

    Args:
        records: a JSONL or icot file, dicts or Examples, rows of a table.
        name: of the argument, for the error.

    Raises:
        DataError: they are something else.
    """
    if is_named(records):
        path = Path(records)
        if kind_of_name(path) == ".txt":
            yield from (example.to_record() for example in iter_lines(path))
        else:
            yield from (dict(record) for _, record in read_jsonl(path))
        return
    number = 0
    for number, row in enumerate(_rows(records), start=1):
        record = row.to_record() if isinstance(row, Example) else row
        if not isinstance(record, Mapping):
            raise DataError(
                f"{setting(name)}: found {shorten(record)} as record {number}; needed: a dict with "
                "question, thought and answer; correct it"
            )
        yield {
            key: _as_json(value, f"{setting(name)}: record {number}: {key}")
            for key, value in record.items()
            if not _is_missing(value)
        }
    if not number:
        found = shorten(records)
        if isinstance(records, Mapping):  # such as a DatasetDict, or a dict of columns
            found = f"a {type(records).__name__} of {shorten(list(records))}"
        raise DataError(
            f"{setting(name)}: found {found}; needed: records (a list of dicts, a DataFrame, a "
            "datasets.Dataset, which is one split) or the path of a file, not empty; give one"
        )


def _rows(records: Any) -> Iterable[Any]:
    """What there is to go through, of a table its rows, without cells that are empty."""
    rows = None
    if hasattr(records, "iter_rows"):  # a DataFrame of polars
        rows = records.iter_rows(named=True)
    elif hasattr(records, "itertuples"):  # of pandas
        rows = records.to_dict("records")
    if rows is not None:
        return ({key: cell for key, cell in row.items() if cell is not None} for row in rows)
    return [] if isinstance(records, Mapping) or not hasattr(records, "__iter__") else records


def _is_missing(value: Any) -> bool:
    """Whether this stands for no value in a table: NaN, NA or NaT."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, numbers.Number) and bool(value != value)  # noqa: PLR0124


def _as_json(value: Any, where: str) -> Any:
    """A value as a JSON file holds it: numbers and dates as text, a scalar of numpy or torch, too.

    Raises:
        DataError: it has no such form.
    """
    is_scalar = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    if is_scalar and not isinstance(value, numbers.Number):
        value = value.item()
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        return str(value).removesuffix(".0")  # a column of whole numbers with a gap is of floats
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    try:
        if not isinstance(value, str):
            json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise DataError(
            f"{where}: found {shorten(value)}, a {type(value).__name__}; needed: text or a number; "
            "write it as text, or leave the field out"
        ) from None
    return value


def texts_of(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yields question, thought and answer of each record, empty where it has none."""
    for record in records:
        thought = record.get("thought") or record.get("cot") or ""
        yield str(record.get("question", "")), str(thought), str(record.get("answer", ""))


def model_section(
    model: AnyModel,
    folder: Path,
    name: str,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    place: str = MODEL,
) -> dict[str, Any]:
    """The recipe's section `model` for one that has weights; an object is saved beside the run.

    Args:
        model: a name as `find_model` takes it, or an object.
        folder: of the run.
        name: of the argument, for errors.
        tokenizer: of an object that does not name its own.
        place: what the folder is called that an object is saved to.

    Raises:
        UnspokenError: there is no such model, or the object is none that can be trained or asked.
    """
    model = of_outcome(model)
    if is_named(model) or isinstance(model, LoadedModel):
        require_no_tokenizer(tokenizer)
    if is_named(model):
        return {"name": find_model(model).source}
    if isinstance(model, LoadedModel):
        if model.folder is not None and _is_as_saved(model.model, model.tokenizer, model.folder):
            return {"name": str(model.folder)}
        model, tokenizer = model.model, model.tokenizer
    require_model(model, name)
    own = own_tokenizer(model, tokenizer)
    saved = folder / GIVEN / place
    if hasattr(model, "peft_config"):
        _require_base(model, own, name)
        saved = _save_adapter(model, saved, name)
    else:
        model.save_pretrained(str(saved))
    own.save_pretrained(str(saved))
    return {"name": str(saved)}


def _save_adapter(model: Any, folder: Path, name: str) -> Path:
    """Saves the adapter that a model of PEFT writes with; returns the folder that holds it.

    Args:
        model: of PEFT.
        folder: PEFT puts an adapter that is not named `default` into a folder of its own below.
        name: of the argument.

    Raises:
        SettingError: several are active, which no folder holds as one.
    """
    active = model.active_adapters
    if len(active) != 1:
        raise SettingError(
            name,
            found=f"a {type(model).__name__} with {len(active)} active adapters",
            needed="one",
            remedy="choose it with set_adapter(), or give all as one: merge_and_unload()",
        )
    model.save_pretrained(str(folder), selected_adapters=active)
    return folder if active == ["default"] else folder / active[0]


def _require_base(model: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuses an adapter whose base model is not what its name gives: it is saved without that.

    Args:
        model: of PEFT.
        tokenizer: of it.
        name: of the argument.

    Raises:
        UnspokenError: the base has no name, is not there any more, or was changed since.
    """
    source, base = getattr(model, "name_or_path", ""), model.get_base_model()
    found = "a model that was loaded from nowhere"
    if source:
        try:
            if _has_weights_of(base, tokenizer, source):
                return
            found = f"a model whose weights are not those of {source}, which it is named after"
        except ModelError as error:
            found = f"a model that is not found again ({error})"
    raise SettingError(
        name,
        found=f"a {type(model).__name__} over {found}",
        needed="one over a model with a folder or name, by which it is found again",
        remedy="save that model and load it before the adapter, or give both as one: "
        "merge_and_unload()",
    )


def _is_as_saved(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> bool:
    """Whether a model is still what its folder holds: a caller may have trained it further."""
    try:
        return _has_weights_of(model, tokenizer, str(folder))
    except ModelError:
        return False


def _has_weights_of(model: Any, tokenizer: PreTrainedTokenizerBase, source: str) -> bool:
    """Whether a model has the weights that are loaded by this name, as far as both have them.

    Quantized ones, which are not trained and cannot be compared, count as having them.
    """
    import torch

    from unspoken.models.load import load_model

    if getattr(model, "is_quantized", False):
        return True
    kind = str(model.dtype).removeprefix("torch.")
    named = load_model(recipe.Model(name=source), tokenizer, dtype=kind)
    weights, others = _weights_of(model), _weights_of(named)
    return all(
        torch.equal(weights[key].cpu(), other.to("cpu", weights[key].dtype))
        for key, other in others.items()
        if key in weights
    )


def _weights_of(model: Any) -> dict[str, torch.Tensor]:
    """A model's weights by name, those in adapted layers by the name that they had before."""
    return {
        key.replace(".base_layer.", ".").replace(".original_module.", "."): weight
        for key, weight in model.state_dict().items()
    }


def teacher_section(
    teacher: AnyModel | Mapping[str, Any],
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerBase | str | None = None,
) -> dict[str, Any]:
    """The recipe's section `teacher`.

    Args:
        teacher: a model as in `model_section`; "worked"; a server as {"base_url": ..., "model":
            ...}; or the section itself.
        folder: where an object is saved.
        tokenizer: of an object that does not name its own; of a named model, the name of another.

    Raises:
        UnspokenError: there is no such model, or the object is none that can be asked.
    """
    if isinstance(teacher, Mapping) or teacher == "worked":
        require_no_tokenizer(tokenizer)
    if isinstance(teacher, Mapping):
        section = dict(teacher)
        if isinstance(section.get("model"), str):
            section["model"] = {"name": section["model"]}
        return {"engine": "openai", **section} if "base_url" in section else section
    if isinstance(teacher, str) and teacher == "worked":
        return {"engine": "worked"}
    own = {"tokenizer": tokenizer} if isinstance(tokenizer, str) else {}
    tokenizer = None if isinstance(tokenizer, str) else tokenizer
    model = model_section(teacher, folder, "teacher", tokenizer=tokenizer, place="teacher")
    return {"model": {**model, **own}}


def require_model(model: Any, name: str = "model") -> None:
    """Checks that an object is a causal language model, with weights.

    Args:
        model: given for one.
        name: of the argument.

    Raises:
        SettingError: it is not.
    """
    remedy = "give one"
    if isinstance(model, type) or not hasattr(model, "save_pretrained"):
        found = f"the class {model.__name__}" if isinstance(model, type) else shorten(model)
    elif not hasattr(model, "generate") or _is_encoder_decoder(model):
        found = f"a {type(model).__name__}, which continues no text"
        remedy = "load it as AutoModelForCausalLM"
    elif _lacks_weights(model):
        found = f"a {type(model).__name__} on the device meta, without weights"
        remedy = "load them, such as with from_pretrained"
    else:
        return
    raise SettingError(
        name,
        found=found,
        needed="the name of a model, a LoadedModel, or a causal language model of transformers or "
        "PEFT with its weights",
        remedy=remedy,
    )


def _is_encoder_decoder(model: Any) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))


def _lacks_weights(model: Any) -> bool:
    """Whether weights are missing that nobody will fetch, as accelerate does what it offloaded."""
    is_offloaded = hasattr(model, "hf_device_map")
    return not is_offloaded and any(weight.is_meta for weight in model.parameters())


def require_no_tokenizer(tokenizer: object) -> None:
    """Refuses a tokenizer for a model that brings one, which would be used in its place."""
    if tokenizer is not None:
        raise SettingError(
            "tokenizer",
            found="one for a model that has its own",
            needed="none, but for an object of transformers or PEFT",
            remedy="leave it out, or give the model as such an object",
        )


def own_tokenizer(model: Any, given: Any = None) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to a model object: the given one, or that from where it came.

    Raises:
        SettingError: there is none, or what was given is none.
        ModelError: it lacks what a model is trained and asked with.
    """
    from transformers import PreTrainedTokenizerBase

    from unspoken.models.load import complete_tokenizer, load_tokenizer

    if isinstance(given, PreTrainedTokenizerBase):
        return complete_tokenizer(given, model)
    if given is not None:
        raise SettingError(
            "tokenizer",
            found=shorten(given),
            needed="a tokenizer of transformers",
            remedy="load it, such as with AutoTokenizer.from_pretrained",
        )
    name = getattr(model, "name_or_path", "")
    if not name:
        raise SettingError(
            "tokenizer",
            found=f"nothing with a {type(model).__name__} that was loaded from nowhere",
            needed="the tokenizer that it was trained with",
            remedy="give it, or give the model as an unspoken.LoadedModel, which has one",
        )
    return load_tokenizer(recipe.Model(name=name), purpose="ask")
