"""The recipes and accelerate configurations that come with unspoken, found by their names.

An installation has them as data of this package, a checkout in its own folders.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from pathlib import Path

from unspoken.common.errors import RecipeError, shorten
from unspoken.common.plain_yaml import read_yaml

_INSTALLED = Path(__file__).parent / "files"
#: What a file of this kind has at its top level, and other YAML files have not.
_KEYS = {
    "recipes": ("data:", "model:", "train:", "teacher:", "phases:"),
    "configs": ("compute_environment:", "distributed_type:", "mixed_precision:"),
}
_CHECKOUT = Path(__file__).parents[3]


def shipped_recipes() -> dict[str, Path]:
    """Name and file of every recipe that comes with unspoken, by name."""
    return _files("recipes")


def shipped_configs() -> dict[str, Path]:
    """Name and file of every configuration of accelerate that comes with unspoken, by name."""
    return _files("configs")


def find_recipe(name_or_path: str | Path) -> Path:
    """A recipe's file: the file of this path, else the shipped recipe of this name.

    Raises:
        RecipeError: there is neither; the message suggests what is.
    """
    return _find(name_or_path, shipped_recipes(), "recipe", "recipes")


def find_config(name_or_path: str | Path) -> Path:
    """A configuration of accelerate: the file of this path, else the shipped one of this name.

    Raises:
        RecipeError: there is neither; the message suggests what is.
    """
    return _find(name_or_path, shipped_configs(), "configuration of accelerate", "configs")


def _files(folder: str) -> dict[str, Path]:
    home = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    return {file.stem: file for file in sorted((home / folder).glob("*.yaml"))}


def _find(name_or_path: str | Path, shipped: Mapping[str, Path], what: str, plural: str) -> Path:
    path = Path(name_or_path)
    if path.is_file():
        return path
    name = str(name_or_path)
    if name in shipped:
        return shipped[name]
    if path.exists() and not path.is_dir():  # such as <(unspoken recipes quickstart)
        return path
    if path.is_dir():
        inside = next(iter(_list(path)), "mine.yaml")
        raise RecipeError(
            f"{name}: found a folder; needed: a file with a {what}, or the name of one that "
            f"unspoken recipes lists; name a file, such as {inside}"
        )
    here = [str(file) for folder in (path.parent, Path(plural)) for file in _list(folder)]
    near = difflib.get_close_matches(name[:200], here, n=5, cutoff=0.5)
    near = [each for each in near if _begins_a_line(Path(each), _KEYS[plural])]
    near = near or difflib.get_close_matches(path.stem, shipped, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"unspoken has {', '.join(shipped)}"
    raise RecipeError(f"{shorten(name)[1:-1]}: no such {what}; {hint}")


def _list(folder: Path) -> list[Path]:
    """Its YAML files; none where it cannot be looked into, and none that are hidden."""
    try:
        return sorted(file for file in folder.glob("*.yaml") if not file.name.startswith("."))
    except OSError:
        return []


def _begins_a_line(file: Path, keys: tuple[str, ...]) -> bool:
    """Whether one of some keys stands at the top level of a YAML file."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    return any(line.startswith(keys) for line in lines)


def describe(file: Path) -> str:
    """What a shipped file is for, in one line: its `description`, else its first comment."""
    text = file.read_text(encoding="utf-8")
    if text.startswith("#"):
        lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
        return " ".join(line.lstrip("# ") for line in lines)
    return " ".join(str(read_yaml(text, str(file))[0].get("description", "")).split())
