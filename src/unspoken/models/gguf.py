"""GGUF files, the format of llama.cpp: transformers reads them, and here they become plain models.

A file NAME.gguf, or a folder that holds one and no other weights, may stand wherever a model is
named. Quantized weights are unpacked, so the model trains, and is saved, as any other; it answers
as the file does to whoever computes with the unpacked weights.
"""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unspoken.common.errors import ModelError, setting
from unspoken.common.nearby import path_remedy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SUFFIX = ".gguf"
_OTHER_WEIGHTS = ("*.safetensors", "*.bin")
#: Attribute of a tokenizer -> what the file calls it.
_SPECIAL_TOKENS = {
    "bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"
}  # fmt: skip
#: What readers of a file raise that is damaged, or that they do not know; some of it by accident.
_UNREADABLE = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError,
    OverflowError, AssertionError, struct.error,
)  # fmt: skip


def is_gguf(name: str | Path | None) -> bool:
    """Whether this is a GGUF file on this machine, going by its name."""
    return name is not None and _is_named_so(Path(name)) and Path(name).is_file()


def find_gguf(name: str | Path) -> Path | None:
    """The GGUF file that a model's name means; None where it means a folder or the hub.

    Args:
        name: a file, or a folder with one such file and no other weights.

    Raises:
        ModelError: there is no such file, or a folder holds several.
    """
    path = Path(name)
    if _is_named_so(path) and not path.is_dir():
        if path.is_file():
            return path
        raise ModelError(
            f"{setting('model.name', name)}: no such file; needed: a GGUF file on this machine; "
            f"{path_remedy(path)}"
        )
    if not path.is_dir() or any(any(path.glob(pattern)) for pattern in _OTHER_WEIGHTS):
        return None
    found = sorted(filter(_is_named_so, path.iterdir()))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ModelError(
            f"{setting('model.name', name)}: found {len(found)} GGUF files in it ({names}); "
            f"needed: one; name the file itself, such as {found[0]}"
        )
    return found[0] if found else None


def _is_named_so(path: Path) -> bool:
    """Whether the name ends in .gguf, in letters of either case."""
    return path.suffix.lower() == SUFFIX


def from_gguf(kind: Any, file: Path, **arguments: Any) -> Any:
    """What `kind.from_pretrained` makes of a GGUF file: a configuration, a tokenizer, a model.

    `arguments` are more of `from_pretrained`'s.

    Raises:
        ModelError: the package gguf is missing or too old, or transformers cannot read the file.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(
            f"{setting('model.name', file)}: found a GGUF file, without the package gguf; needed: "
            'the package, which reads such files; pip install "unspoken[gguf]", or pip install gguf'
        )
    try:
        with _explained(file):
            return kind.from_pretrained(
                str(file.parent), gguf_file=file.name, local_files_only=True, **arguments
            )
    except ImportError as error:  # one that is too old, or lacks something itself
        first = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{setting('model.name', file)}: found a GGUF file, and a package gguf that "
            f"transformers cannot use ({first}); needed: a newer one; pip install --upgrade gguf"
        ) from error


def tokenizer_from_gguf(file: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a GGUF file, with the vocabulary and the special tokens of the file.

    transformers 5.17 takes the start token for the end token of a Llama; 5.24 adds the end token of
    GPT-2 to every BPE vocabulary without it, which the model then has no embedding for.

    Raises:
        ModelError: as `from_gguf`.
    """
    from transformers import AutoTokenizer

    tokenizer = from_gguf(AutoTokenizer, file)
    from gguf import GGUFReader

    with _explained(file):
        fields = GGUFReader(file).fields
        size = len(fields["tokenizer.ggml.tokens"].data)
        if len(tokenizer) > size:
            tokenizer = _first_tokens(tokenizer, size)
        for token, key in _SPECIAL_TOKENS.items():
            if field := fields.get(f"tokenizer.ggml.{key}_token_id"):
                number = int(field.parts[field.data[0]][0])
                setattr(tokenizer, token, tokenizer.convert_ids_to_tokens(number))
    return tokenizer


def _first_tokens(tokenizer: Any, size: int) -> PreTrainedTokenizerBase:
    """The tokenizer without what was added to its first `size` tokens."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    values = json.loads(tokenizer.backend_tokenizer.to_str())
    values["added_tokens"] = [token for token in values["added_tokens"] if token["id"] < size]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(values)),
        chat_template=tokenizer.chat_template,
        name_or_path=tokenizer.name_or_path,
        clean_up_tokenization_spaces=False,
    )


def model_from_gguf(file: Path, name: str, dtype: Any, **arguments: Any) -> PreTrainedModel:
    """The model in a GGUF file with its weights unpacked, as if from a plain folder.

    transformers marks what comes from such a file as quantized, and refuses to train or save it;
    so its weights go into a model that is made from the configuration alone.

    Args:
        file: found by `find_gguf`.
        name: that the model gets, which an adapter names as its base.
        dtype: of the weights; auto is float32, in which nothing of the file is lost.
        arguments: more of `from_pretrained`'s, such as where weights go.

    Raises:
        ModelError: as `from_gguf`, or weights of the model are missing in the file.
    """
    import torch
    import transformers

    dtype = torch.float32 if dtype == "auto" else dtype
    # newer versions would leave weights packed where they have a kernel for it
    config_class = getattr(transformers, "GgufConfig", None)
    unpack = {} if config_class is None else {"quantization_config": config_class(dequantize=True)}
    read, report = from_gguf(
        transformers.AutoModelForCausalLM, file, dtype=dtype, output_loading_info=True, **unpack
    )
    if missing := sorted(report["missing_keys"]):
        raise _unusable(file, f"no weights for {', '.join(missing)[:300]}")
    values = read.config.to_dict()
    for mark in ("quantization_config", "_model_name_or_path"):
        values.pop(mark, None)
    plain = type(read).from_pretrained(
        None,
        config=type(read.config).from_dict(values),
        state_dict=read.state_dict(),
        dtype=dtype,
        **arguments,
    )
    plain.name_or_path = plain.config.name_or_path = name
    return plain


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Within the block, whatever a file that cannot be read leads to is one ModelError."""
    try:
        yield
    except _UNREADABLE as error:
        first = " ".join(str(error).split())[:300]
        raise _unusable(file, f"{type(error).__name__}: {first}") from error


def _unusable(file: Path, found: str) -> ModelError:
    return ModelError(
        f"{setting('model.name', file)}: cannot be read; found {found}; needed: a whole GGUF file "
        "of one part, of a kind of language model that transformers reads from such files; fetch "
        "the file again, or name a plain Hugging Face folder of this model"
    )
