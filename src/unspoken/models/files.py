"""The files of a model folder: which one is damaged, where a library cannot read the folder."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unspoken.common.errors import ModelError, UnspokenError

_REMEDY = "needed: the file as it was saved; download or copy it again"
_QWEN = (
    "today's transformers does not support this first generation of Qwen any more, its "
    "counterparts Qwen/Qwen2.5-14B-Instruct (teacher) and Qwen/Qwen2.5-7B (student) need no code"
)
_JSON = (
    "config.json", "adapter_config.json", "generation_config.json", "tokenizer_config.json",
    "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "model.safetensors.index.json", "pytorch_model.bin.index.json",
)  # fmt: skip
_LFS = b"version https://git-lfs.github.com/spec/"
_MOST_HEADER = 10**8  # of a safetensors file; the library's own limit


#: Which files decide what is read, the first one being the likeliest where none is damaged.
_OF = {
    "tokenizer": ("tokenizer_config.json", "tokenizer*.json", "special_tokens_map.json",
                  "added_tokens.json", "vocab.json", "config.json"),
    "model": ("config.json", "generation_config.json", "*.index.json", "*.safetensors", "*.bin"),
    "adapter": ("adapter_config.json", "*.safetensors", "*.bin"),
}  # fmt: skip


def is_damage(error: BaseException) -> bool:
    """Whether an error that a library raises over a folder may come from a damaged file in it.

    Such files end in errors of any kind, from a KeyError to a panic of Rust's; what ends the
    process itself is none of them.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


#: What Rust's and Python's thread pools say where the system starts no more of them.
_NO_THREAD = ("ThreadPoolBuild", "Resource temporarily unavailable", "can't start new thread")


def require_threads(error: BaseException, place: str) -> None:
    """Raises ModelError where an error comes of a limit of threads, and of no file."""
    if any(sign in str(error) for sign in _NO_THREAD):
        raise ModelError(
            f"{place}: found that the system starts no more threads ({one_line(error)}); needed: "
            "some for reading it; raise the limit of processes (ulimit -u), end others, or use "
            "fewer: RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1"
        ) from error


def find_fault(folder: Path, what: str, problem: str) -> str | None:
    """Which file is to blame where a folder could not be read, and what to do; None for no folder.

    Args:
        folder: of a model or adapter.
        what: was read of it: tokenizer, model or adapter.
        problem: what the library said.
    """
    if not folder.is_dir():
        return None
    if damage := find_damage(folder, _OF[what]):
        return f"{damage}; {_REMEDY}"
    if not any(any(folder.glob(each)) for each in _OF[what]):
        return (
            f"{folder}: found none of the files of a {what} in it; needed: a Hugging Face model "
            "folder; name the one with config.json and the weights"
        )
    first = folder / _OF[what][0]
    if what == "tokenizer" and (fault := _config_fault(folder)):  # it is read with every tokenizer
        first, problem = folder / "config.json", fault
    if not first.is_file():
        return f"{first}: is not there ({problem}); {_REMEDY}"
    return f"{first}, or what it describes: cannot be used ({problem}); {_REMEDY}"


def _config_fault(folder: Path) -> str | None:
    """What transformers says of config.json, if it cannot use it."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        return None
    try:  # without a word on its code, transformers asks at the terminal whether to run it
        AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever the values lead to
        return None if "trust_remote_code" in str(error) else one_line(error)
    return None


def counterpart(name: str) -> str:
    """Which model to take in place of one of a kind that transformers has given up; empty: none."""
    try:
        config = json.loads(Path(name, "config.json").read_text(encoding="utf-8"))
        outdated = isinstance(config, dict) and config.get("model_type") == "qwen"
    except (OSError, ValueError, RecursionError):
        outdated = name.startswith("Qwen/Qwen-")
    return _QWEN if outdated else ""


@contextmanager
def naming_fault(what: str, folder: Path) -> Iterator[None]:
    """Within the block, what libraries raise over a folder becomes a ModelError that names a file.

    Raises:
        ModelError: with the file, what is wrong with it and what to do.
    """
    try:
        yield
    except UnspokenError:
        raise
    except BaseException as error:
        if not is_damage(error):
            raise
        require_threads(error, f"{what} {str(folder)!r}")
        raise ModelError(f"{what} {find_fault(folder, what, one_line(error))}") from error


def require_whole(model: Any, info: Mapping[str, Any], name: str) -> Any:
    """The model, of whose folder everything was there and was wanted.

    Weights that are missing would be random, layers that are left over would be left out, and
    generation settings that are damaged would be none, all without a word.

    Args:
        model: as loaded.
        info: transformers' account of the loading.
        name: of its folder, or on the hub.

    Raises:
        ModelError: names the first weight that is missing, or is of a layer that config.json has
            no place for, or the damaged file.
    """
    if damage := find_damage(Path(name), ("generation_config.json",)):
        raise ModelError(f"model {damage}; {_REMEDY}")
    modules = {name for name, _ in model.named_modules()}
    over = [key for key in info["unexpected_keys"] if _is_of_another_layer(key, modules)]
    missing = info["missing_keys"]
    if not missing and not over:
        return model
    keys = sorted(missing or over)
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    found = "there are no weights for" if missing else "config.json has no place for"
    raise ModelError(
        f"model {name!r}: {found} {keys[0]}{more}; needed: config.json and weights of one model; "
        "download or copy it again"
    )


def require_finite(model: Any, name: str) -> None:
    """Refuses weights with which every answer would be rubbish.

    A sum is finite only where all of it is, and takes no memory; 135 M weights take 0.1 s.

    Raises:
        ModelError: names the first tensor that holds NaN or infinity.
    """
    for key, weight in model.named_parameters():
        is_summed = weight.is_floating_point() and weight.element_size() > 1  # torch adds up no fp8
        if weight.is_meta or not is_summed or weight.detach().sum().isfinite():
            continue
        num_bad = int((~weight.detach().isfinite()).sum())
        if num_bad:  # else finite numbers whose sum is beyond their dtype
            raise ModelError(
                f"model {name!r}: found {num_bad:,} of {weight.numel():,} weights of {key} that "
                "are NaN or infinite; needed: finite weights; download or copy the model again, "
                "or take the last good checkpoint of its training"
            )


def _is_of_another_layer(key: str, modules: Collection[str]) -> bool:
    """Whether a weight is of a layer beyond the last one, as model.layers.3.x of three layers."""
    match = re.match(r"(.+?)\.\d+\.", key)
    if match is None:
        return False
    layer, first = match[0][:-1], f"{match[1]}.0"
    return any(name == first or name.endswith(f".{first}") for name in modules) and not any(
        name == layer or name.endswith(f".{layer}") for name in modules
    )


def one_line(error: BaseException) -> str:
    """The first line of what an error says, with the next where it announces one; else its kind."""
    lines = str(error).strip().splitlines()[:2]
    announces = bool(lines) and lines[0].rstrip().endswith(":")
    said = " ".join(map(str.strip, lines if announces else lines[:1]))
    text = "".join(sign if sign.isprintable() else " " for sign in said)
    return text[:200] or type(error).__name__


def find_damage(folder: Path, files: tuple[str, ...] | None = None) -> str | None:
    """The first file of a model folder that is damaged, and how; None where none is found.

    Args:
        folder: of a model or adapter.
        files: names or patterns to look at; default all that are known.
    """
    patterns = files or ("*.json", "*.safetensors", "*.bin")
    found = dict.fromkeys(path for each in patterns for path in sorted(folder.glob(each)))
    for path in found:
        check = _check_of(path)
        try:
            problem = check(path) if check is not None else None
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        if problem is not None:
            return f"{path}: {problem}"
    return None


def _check_of(path: Path) -> Callable[[Path], str | None] | None:
    if path.suffix == ".safetensors":
        return _check_safetensors
    if path.name == "tokenizer.json":
        return _check_tokenizer
    if path.name == "model.safetensors.index.json":
        return _check_index
    if path.name in _JSON:
        return _check_json
    if path.suffix == ".bin" and "model" in path.name:
        return _check_pickled
    return None


def _check_json(path: Path) -> str | None:
    raw = path.read_bytes()
    if problem := _not_the_file(raw):
        return problem
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return f"is no JSON ({one_line(error)})"
    return None if isinstance(values, dict) else "is no JSON object"


def _check_index(path: Path) -> str | None:
    """Whether all files with weights are there, as after a copy that was broken off."""
    if problem := _check_json(path):
        return problem
    try:
        names = sorted({str(name) for name in json.loads(path.read_bytes())["weight_map"].values()})
    except (KeyError, AttributeError):
        return "does not say where the weights are"
    gone = [name for name in names if not (path.parent / name).is_file()]
    return f"names {gone[0]}, which is not there" if gone else None


def _check_tokenizer(path: Path) -> str | None:
    from tokenizers import Tokenizer

    if problem := _check_json(path):
        return problem
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # Rust's errors have no class of their own
        return f"is no tokenizer ({one_line(error)})"
    return None


def _check_safetensors(path: Path) -> str | None:
    """Whether a file is as long as its header says, without reading the weights."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(200)
        if problem := _not_the_file(start):
            return problem
        length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else _MOST_HEADER + 1
        if length > min(_MOST_HEADER, size - 8):
            return "is damaged at its beginning, or cut off there"
        file.seek(8)
        try:
            header = json.loads(file.read(length))
            tensors = {name: header[name] for name in header if name != "__metadata__"}
            ends = [tensor["data_offsets"][1] for tensor in tensors.values()]
            holes = [name for name, tensor in tensors.items() if not _fills_its_place(tensor)]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            return "has a damaged header"
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        kind = "is cut off" if size < expected else "has bytes too many"
        return f"{kind}: {size:,} bytes instead of {expected:,}"
    return f"has a damaged header ({holes[0]})" if holes else None


def _fills_its_place(tensor: dict[str, Any]) -> bool:
    begin, end = tensor["data_offsets"]
    return math.prod(tensor["shape"]) == 0 or 0 <= begin < end


def _check_pickled(path: Path) -> str | None:
    import torch

    with path.open("rb") as file:
        if problem := _not_the_file(file.read(200)):
            return problem
    try:
        values = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:
        return (
            f"cannot be unpickled without running code ({one_line(error)}); safetensors is safe to "
            "read: where you trust the file, load it and save it with save_pretrained"
        )
    return None if isinstance(values, dict) else "holds no weights by name"


def _not_the_file(start: bytes) -> str | None:
    """What stands in place of the file, if anything is known to."""
    if not start:
        return "is empty"
    if start.startswith(_LFS):
        return "is only Git LFS's pointer to the file (git lfs pull fetches it)"
    return "is a web page" if start.lstrip()[:1] == b"<" else None
