"""What is said of a model or tokenizer that could not be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from unspoken.common.errors import ModelError, UnspokenError, setting
from unspoken.common.nearby import path_remedy
from unspoken.common.out_of_memory import amount_asked_for, is_out_of_memory
from unspoken.models.adapter import base_of, is_adapter
from unspoken.models.files import counterpart, find_fault, is_damage, one_line, require_threads
from unspoken.models.local import base_missing, is_local, is_path, way_to_get
from unspoken.recipe.layout import STAGE_FILE

Purpose = Literal["train", "ask", "merge"]

#: What transformers says of a name that is neither a folder here nor found on the hub.
_NOT_FOUND = ("couldn't connect", "not a local folder")


@contextmanager
def explained(what: str, name: str | None, purpose: Purpose = "train") -> Iterator[None]:
    """Within the block, what transformers raises becomes a ModelError with what to do."""
    try:
        yield
    except UnspokenError:
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise ModelError(
                f"{setting('model.name', name)}: memory ran out while it was loaded "
                f"({amount_asked_for(error)}); needed: more or larger GPUs, or a smaller model; "
                f"try {setting('dtype', 'bfloat16')}, or {setting('model.quantization', 'nf4')}"
            ) from error
        if not is_damage(error):
            raise
        require_threads(error, f"{what} {name!r}")
        other = counterpart(name) if name else ""
        told = _not_loaded(what, name, error, purpose)
        raise ModelError(f"{told}; {other}" if other else told) from error


def _not_loaded(what: str, name: str | None, error: BaseException, purpose: Purpose) -> str:
    place, problem = f"{what} {name!r}", str(error)
    if name and (absent := _not_there(place, name, problem)):
        return absent
    if "trust_remote_code" in problem and purpose == "merge":
        return (
            f"{place}: comes with Python code of its own, which an export neither runs nor holds "
            f"({setting('trust_remote_code')} is for what trains and asks); needed: a model that "
            "transformers and vLLM know; choose another base model"
        )
    if "trust_remote_code" in problem:
        return (
            f"{place} comes with its own Python code, which is not run unless allowed; read it, "
            f"and if you trust it allow it: {setting('model.trust_remote_code', True)}"
        )
    first = one_line(error)
    if "ignore_mismatched_sizes" in problem:  # of a report that transformers has written elsewhere
        first = "the weights have other shapes than it says"
    if name and (damage := find_fault(Path(name), what, first)):
        return f"{place}: {damage}"
    return (
        f"{place} could not be loaded: {first} - needed: a whole Hugging Face model folder or, "
        f"with a network, a name on the hub; correct {setting('model.name')}, or download it again"
    )


def _not_there(place: str, name: str, problem: str) -> str:
    """What to say of a model that is neither here nor could be fetched; empty for any other."""
    if is_adapter(name):
        base = base_of(name)
        is_path_or_away = _may_be_path(base) or any(sign in problem for sign in _NOT_FOUND)
        is_missing = is_path_or_away and not Path(base).exists()
        return f"{place}: {base_missing(Path(name))}" if is_missing else ""
    if _may_be_path(name) and not Path(name).is_dir():
        if (Path(name).parent / STAGE_FILE).is_file():  # a run's own, which no setting names
            return (
                f"{place}: no such folder; needed: the model that training left in "
                f"{Path(name).parent}; put it back, or train it again: unspoken run RECIPE --from "
                "STAGE"
            )
        otherwise = f"correct the path in {setting('model.name')}, or {way_to_get(name)}"
        remedy = path_remedy(name, otherwise, Path.is_dir)
        return f"{place}: no such folder; {remedy}"
    if "couldn't connect" in problem.lower() and not Path(name).exists():
        remedy = path_remedy(name, f"correct the path, or {way_to_get(name)}", Path.is_dir)
        return (
            f"{setting('model.name', name)}: no such folder here, it was not downloaded before, "
            f"and the hub was not reached; needed: a model on this machine, or a network; {remedy}"
        )
    return ""


def require_folder(name: str) -> None:
    """Checks that a model is there whose name can only be a path, without reading it.

    Raises:
        ModelError: it is not.
    """
    if is_path(name) and not is_local(name):
        raise ModelError(_not_there(f"model {name!r}", name, ""))


def _may_be_path(name: str) -> bool:
    """Whether a name that was found nowhere was probably meant as a folder here."""
    path = Path(name)
    return is_path(name) or (len(path.parts) == 2 and path.parent.is_dir())
