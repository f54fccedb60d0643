"""Files and folders that are there whole or not at all, also after kill -9.

Everything is written under a temporary name beside its place, forced to disk and then renamed."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from unspoken.common.errors import DataError, OutputExistsError, setting
from unspoken.common.places import place_error, require_room, writing

AnyPath: TypeAlias = "str | os.PathLike[str]"

TEMPORARY = ".writing-"
_REPLACED = ".replaced-"
_CHECKSUM = b"crc32"
#: Its process may not hold it yet.
_JUST_MADE_S = 10.0


def refuse_existing(
    paths: Iterable[AnyPath],
    *,
    overwrite: bool = False,
    inputs: Iterable[AnyPath] = (),
    named: str | None = None,
) -> None:
    """Raises before any work is done, if a path could not be written afterwards.

    Args:
        paths: of files that are to be written.
        overwrite: whether they may replace others.
        inputs: files that are read for them, which they do not replace in any case.
        named: the setting that names them, where that is not the output.

    Raises:
        OutputExistsError: if a file exists and `overwrite` is false.
        DataError: if a path is no ordinary file, or one of the inputs.
    """
    sources = {Path(path).resolve() for path in inputs}
    another = f"another as {setting(named)}" if named else "another output"
    for path in map(Path, paths):
        if path.resolve() in sources:
            raise DataError(f"{path}: found it among the inputs; needed: another file; rename it")
        if path.exists() and not path.is_file():
            found = "a folder" if path.is_dir() else "a device or a pipe"
            raise DataError(f"{path}: found {found}; needed: the name of a file; name another")
        if not overwrite and (path.exists() or path.is_symlink()):
            raise OutputExistsError(
                f"{path}: exists already; needed: a new name; name {another} or allow "
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
    with writing(path):
        refuse_existing([path], overwrite=overwrite)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with open_own(temporary, "xb") as file:
                _hold(file)
                yield file
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)  # while it is held, so nobody takes it for left behind
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_outputs(
    paths: Iterable[AnyPath], *, overwrite: bool = False
) -> Iterator[list[BinaryIO]]:
    """Yields a file for each path; all of them take their names, the first one last, or none does.

    Raises:
        OutputExistsError: if one exists and `overwrite` is false.
        PlaceError: if one cannot be written.
    """
    with contextlib.ExitStack() as stack:
        opened = [
            (path, stack.enter_context(atomic_output(path, overwrite=overwrite))) for path in paths
        ]
        yield [file for _, file in opened]
        for path, file in opened:  # what does not fit anywhere is known before the first is there
            with writing(path):
                file.flush()
                os.fsync(file.fileno())


def open_own(path: Path, mode: str) -> BinaryIO:
    """Opens a file whose name is ours; never what a symbolic link of this name leads to.

    Raises:
        OSError: it is a link, or cannot be opened.
    """

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o666)

    return cast(BinaryIO, open(path, mode, opener=opener))


def _hold(file: BinaryIO) -> bool:
    """Whether this process now has the file for itself; the end of the process gives it back."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process has it, or the file system has no locks
        return False
    return True


def _remove_left_behind(path: Path) -> None:
    """Removes what killed processes left half written beside a file."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError), open_own(left, "rb") as file:
            state = os.fstat(file.fileno())
            is_new = not state.st_size and time.time() - state.st_mtime < _JUST_MADE_S
            if not is_new and _hold(file):
                left.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a text file, replacing an older one."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, replacing an older one."""
    with atomic_output(path, overwrite=True) as file:
        file.write(content)


def write_folder(
    folder: Path, write: Callable[[Path], None], *, num_bytes: int | None = None
) -> None:
    """Makes `folder` with what `write(temporary folder)` puts into it, replacing an older one.

    Raises:
        PlaceError: the disk is full, or the place cannot be written; what was there is kept.
    """
    temporary = folder.parent / f"{TEMPORARY}{folder.name}"
    replaced = folder.parent / f"{_REPLACED}{folder.name}"
    with writing(folder, num_bytes):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        require_room(folder, num_bytes or 0)
        temporary.mkdir()
        try:
            write(temporary)
            _give_usual_rights(temporary)
            for path in [*temporary.rglob("*"), temporary]:
                _flush(path)
        except Exception as error:
            refused = place_error(error, folder, num_bytes)  # before there is room again
            _remove(temporary)
            if refused is not None:
                raise refused from error
            raise
        _put_in_place(temporary, folder, replaced)


def _give_usual_rights(folder: Path) -> None:
    """Files may be read as the umask says: safetensors writes them for their owner alone."""
    usual = folder.stat().st_mode & 0o666  # it was just made, so this is the umask's
    for path in folder.rglob("*"):
        mode = path.stat().st_mode
        if path.is_file() and usual & ~mode:
            path.chmod(stat.S_IMODE(mode) | usual)


def _remove(path: Path) -> None:
    """Removes a folder of ours, or what stands in its place; a link, not what it leads to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def _put_in_place(temporary: Path, folder: Path, replaced: Path) -> None:
    if os.path.lexists(folder):  # a link to where a user has moved it is replaced, too
        _remove(replaced)
        folder.rename(replaced)
    temporary.rename(folder)
    _flush(folder.parent)
    _remove(replaced)


def move(path: Path, target: Path) -> None:
    """Gives a file or folder another place; a link leads to the same as before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() and not path.readlink().is_absolute():
        target.symlink_to(path.parent.resolve() / path.readlink())
        path.unlink()
    else:
        path.rename(target)


def remove(path: Path) -> None:
    """Removes a file, a link or a folder; of a link, not what it leads to.

    After a kill in the middle, nothing of a folder is left under its own name.
    """
    if path.is_dir() and not path.is_symlink():
        temporary = path.with_name(f"{TEMPORARY}{path.name}")
        _remove(temporary)
        shutil.rmtree(path.rename(temporary))
    else:
        path.unlink(missing_ok=True)


def clean(parent: Path) -> None:
    """Removes what a crash left half written, and puts back what it left moved away."""
    for path in parent.glob(f"{_REPLACED}*"):
        whole = parent / path.name.removeprefix(_REPLACED)
        if whole.exists():
            _remove(path)
        else:
            path.rename(whole)
    for path in parent.glob(f"{TEMPORARY}*"):
        _remove(path)


def link_folder(source: Path, target: Path, *, copies: bool = False) -> None:
    """A second name for a folder's files where the file system has hard links, else a copy.

    Args:
        source: the folder.
        target: where it is to be, too.
        copies: copy the files in any case, such as those that are written on.
    """

    def write(folder: Path) -> None:
        by = shutil.copy2 if copies else _link
        shutil.copytree(source, folder, copy_function=by, dirs_exist_ok=True)

    write_folder(target, write)


def link_files(source: Path, target: Path) -> None:
    """The files of one folder in another one, too, replacing those of the same name there."""
    with writing(target):
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


def set_aside(path: Path) -> Path:
    """Gives a damaged file or folder of ours a name that nothing reads; returns it."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(kept)
    return kept


def seal(record: dict[str, Any]) -> bytes:
    """A line of a file of ours, with a checksum of itself."""
    text = json.dumps(record).encode()
    return b'%s, "%s": "%08x"}\n' % (text[:-1], _CHECKSUM, zlib.crc32(text))


def unseal(line: bytes) -> dict[str, Any]:
    """What `seal` made a line of; one without a checksum, from before there were any, as it is.

    Readers refuse keys that a line cannot have, so a damaged name of the checksum is noticed.

    Raises:
        ValueError: the line is not whole, or was changed.
    """
    if not line.endswith(b"\n"):
        raise ValueError("not whole")
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("no object")
    known = record.pop(_CHECKSUM.decode(), None)
    if known is not None:
        text = line[: line.rindex(b', "' + _CHECKSUM)] + b"}"
        if known != f"{zlib.crc32(text):08x}":
            raise ValueError("changed")
    return record


def sha256(
    path: Path, on_bytes: Callable[[int], object] | None = None, *, named: str | None = None
) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Args:
        path: the file.
        on_bytes: hears how many bytes were read, again and again.
        named: the setting that holds the path, for the error.

    Raises:
        DataError: there is no such file, or it is a folder.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                if on_bytes is not None:
                    on_bytes(len(block))
    except OSError as error:
        place, told = setting(named, path) if named else path, os.strerror(error.errno or 0)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            told = "no such file"
        if isinstance(error, IsADirectoryError):
            told = "found a folder"
        raise DataError(f"{place}: {told}; needed: a file; correct the path") from None
    return digest.hexdigest()


def count_lines(path: Path) -> int:
    """Whole lines of a file; 0 where there is none."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


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
        raise _not_ours(path, f"cannot be read as UTF-8 text ({error})") from None


def read_json(path: Path, name_of_list: str = "") -> dict[str, Any] | None:
    """The object in a JSON file, or None where there is none.

    Args:
        path: of the file.
        name_of_list: a list in place of the object is its field of this name.

    Raises:
        DataError: it is not a JSON object.
    """
    text = read_text(path)
    if text is None:
        return None
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise _not_ours(f"{path}:{error.lineno}", f"not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # endless digits, endless brackets
        raise _not_ours(path, f"JSON that cannot be read ({error})") from None
    if name_of_list and isinstance(values, list):
        return {name_of_list: values}
    if not isinstance(values, dict):
        raise _not_ours(path, "found no JSON object")
    return values


def _not_ours(place: AnyPath, found: str) -> DataError:
    return DataError(
        f"{place}: {found}; needed: what unspoken writes there; put it back, or remove it and run "
        "again"
    )
