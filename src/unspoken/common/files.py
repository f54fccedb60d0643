"""Files and folders that are there whole or not at all, also after kill -9.

Everything is written under a temporary name beside its place, forced to disk and then renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from unspoken.common.errors import DataError, OutputExistsError, setting

AnyPath: TypeAlias = "str | os.PathLike[str]"

TEMPORARY = ".writing-"
_REPLACED = ".replaced-"


def refuse_existing(paths: Iterable[AnyPath], *, overwrite: bool = False) -> None:
    """Raises before any work is done, if a path could not be written afterwards.

    Raises:
        OutputExistsError: if a file exists and `overwrite` is false.
        DataError: if a path is a folder.
    """
    for path in map(Path, paths):
        if path.is_dir():
            raise DataError(f"{path}: found a folder; needed: the name of a file; name another")
        if not overwrite and (path.exists() or path.is_symlink()):
            raise OutputExistsError(
                f"{path}: exists already; needed: a new name; name another output or allow "
                f"replacing it with {setting('overwrite', True)}"
            )


@contextmanager
def atomic_output(path: AnyPath, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Yields a binary file that becomes `path` only when the block ends without an error.

    Folders above it are made. It is written beside its place, so a reader sees the old file or
    the whole new one, and a crash leaves the old one.

    Raises:
        OutputExistsError: if the file exists and `overwrite` is false.
        DataError: if the place cannot be written.
    """
    path = Path(path)
    refuse_existing([path], overwrite=overwrite)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("wb")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); needed: a folder that you may write "
            "to; name another output"
        ) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, replacing an older one."""
    with atomic_output(path, overwrite=True) as file:
        file.write(text.encode())


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Makes `folder` with what `write(temporary folder)` puts into it, replacing an older one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f"{TEMPORARY}{folder.name}"
    replaced = folder.parent / f"{_REPLACED}{folder.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    write(temporary)
    for path in [*temporary.rglob("*"), temporary]:
        _flush(path)
    if folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        folder.rename(replaced)
    temporary.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def clean(parent: Path) -> None:
    """Removes what a crash left half written, and puts back what it left moved away."""
    for path in parent.glob(f"{_REPLACED}*"):
        whole = parent / path.name.removeprefix(_REPLACED)
        if whole.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(whole)
    for path in parent.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def link_folder(source: Path, target: Path) -> None:
    """A second name for a folder's files where the file system has hard links, else a copy."""

    def write(folder: Path) -> None:
        shutil.copytree(source, folder, copy_function=_link, dirs_exist_ok=True)

    write_folder(target, write)


def link_files(source: Path, target: Path) -> None:
    """The files of one folder in another one, too, replacing those of the same name there."""
    for path in source.iterdir():
        if path.is_file():
            temporary = target / f"{TEMPORARY}{path.name}"
            temporary.unlink(missing_ok=True)
            _link(path, temporary)
            temporary.replace(target / path.name)


def _link(one: AnyPath, other: AnyPath) -> None:
    try:
        os.link(one, other)
    except OSError:
        shutil.copy2(one, other)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(
    path: Path, on_bytes: Callable[[int], object] | None = None, *, named: str | None = None
) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Args:
        path: the file.
        on_bytes: hears how many bytes were read, again and again.
        named: the setting that holds the path, for the error.

    Raises:
        DataError: there is no such file.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                if on_bytes is not None:
                    on_bytes(len(block))
    except (FileNotFoundError, IsADirectoryError):
        place = setting(named, path) if named else path
        raise DataError(f"{place}: no such file; needed: a file; correct the path") from None
    return digest.hexdigest()


def read_text(path: Path) -> str | None:
    """The text of a file, or None where there is none.

    Raises:
        DataError: it cannot be read as UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is none.

    Raises:
        DataError: it is not a JSON object.
    """
    text = read_text(path)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}); remove the file") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: not a JSON object; remove the file and run again")
    return values
