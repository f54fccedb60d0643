"""Which files of a folder are of which split, as their names tell it.

`datasets` goes by the same names, but also by those above a folder, and it knows shards in data/
alone. So CSV files and shards are chosen here; what else a folder may hold is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unspoken.common.errors import SettingError
from unspoken.data.jsonl import kind_of_name

DATA_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt")
#: Kinds of files that are told apart here, and what `datasets` reads them with.
BUILDERS = {".csv": "csv", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
#: What names hold that `datasets` takes for those of a split, between signs or digits.
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
#: As the hub and `datasets` name the parts of a split: train-00000-of-00002.csv.
_SHARD = re.compile(r"(\w+(?:\.\w+)*)-[0-9]{5}-of-[0-9]{5}.*\..+")


def data_files(folder: Path) -> list[Path]:
    """The files of a folder that hold data by their names, in order; hidden ones left out."""
    files = sorted(path for path in folder.rglob("*") if kind_of_name(path) in DATA_SUFFIXES)
    return [
        path
        for path in files
        if not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    ]


def are_csv(files: Sequence[Path]) -> bool:
    """Whether these are CSV files, one at the least, and no others."""
    return {kind_of_name(path) for path in files} == {".csv"}


def splits_of(folder: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """The files of each split, by names in a folder; empty where `datasets` is to choose them.

    So it is where a folder says itself, as one on the hub may, which files are of which split.
    Names of shards count first, whatever the split is called. For CSV files names of folders count
    then, then those of files; where nothing is named after a split, all are of `train`.

    Args:
        folder: whose own name does not count.
        files: that are in it, as `data_files` finds them.
    """
    if _describes_itself(folder):
        return {}
    shards = _splits_of_shards(folder, files)
    if shards or not are_csv(files):
        return shards
    folders = {path: path.relative_to(folder).parts[:-1] for path in files}
    splits = _splits_by_name(folders) or _splits_by_name({path: (path.name,) for path in files})
    return splits or {"train": list(files)}


def _splits_of_shards(folder: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files of one kind by the splits of which they are shards, those of the usual names first."""
    found: dict[str, list[Path]] = {}
    for path, split in _shards(folder, files):
        found.setdefault(split, []).append(path)
    kinds = {BUILDERS.get(kind_of_name(path)) for paths in found.values() for path in paths}
    if len(kinds) != 1 or None in kinds:
        return {}
    usual = [split for split in _SPLIT_WORDS if split in found]
    return {split: found[split] for split in (*usual, *sorted(found.keys() - {*usual}))}


def _shards(folder: Path, files: Sequence[Path]) -> list[tuple[Path, str]]:
    """The shards that count, each with its split.

    Where some lie in data/, other files do not count, as `datasets` has it; in the folder itself
    there may be no others, such as a test.csv that is a split as well.
    """
    shards = [(path, named[1]) for path in files if (named := _SHARD.fullmatch(path.name))]
    in_data = [each for each in shards if each[0].parent == folder / "data"]
    here = [each for each in shards if each[0].parent == folder]
    return in_data or (here if len(here) == len(files) else [])


def _splits_by_name(names: Mapping[Path, Sequence[str]]) -> dict[str, list[Path]]:
    """Files by the splits that their names hold as words, such as my-test.csv; those of none go."""
    found: dict[str, list[Path]] = {}
    for split, words in _SPLIT_WORDS.items():
        word = re.compile(rf"(^|[-._ 0-9])({'|'.join(words)})($|[-._ 0-9])")
        of_it = [path for path, parts in names.items() if any(map(word.search, parts))]
        found |= {split: of_it} if of_it else {}
    return found


def _describes_itself(folder: Path) -> bool:
    """Whether a folder says, as one on the hub may, which files are of which split."""
    text = folder / "README.md"
    has_head = text.is_file() and text.read_bytes().startswith(b"---")
    return has_head or (folder / ".huggingface.yaml").is_file()


def files_of_splits(
    folder: Path, splits: Mapping[str, list[Path]], asked: str
) -> dict[str, list[Path]]:
    """The files of the splits that are asked for, such as `train[:100]+test`, or `all` of them.

    Files that are all of one split are it whatever is asked for by default: there is nothing else
    that could be meant. `asked` is as `datasets` reads it.

    Raises:
        SettingError: there is no such split.
    """
    if asked == "all":
        return dict(splits)
    names = [part.partition("[")[0] for part in asked.split("+")]
    by_default = {"train": next(iter(splits.values()))} if len(splits) == 1 else {}
    return {name: by_default.get(name) or named_split(folder, splits, name) for name in names}


def named_split(folder: Path, splits: Mapping[str, Any], split: str) -> Any:
    """One of a folder's splits, whatever each of them is.

    Raises:
        SettingError: it has none of this name.
    """
    if split not in splits:
        raise SettingError(
            "split",
            found=f"{split} with {folder}",
            needed=f"one that it has: {', '.join(splits)}",
            remedy="name one",
        )
    return splits[split]
