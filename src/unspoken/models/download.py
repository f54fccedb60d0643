"""Models from the hub in plain folders, pinned to a commit; all that follows needs no network.

A folder appears when it is whole. Until then everything lies beside it in `.downloading-NAME`,
under names that stand for the content, so a second call takes what is there and goes on in the
middle of a file. (The hub's own client throws half a file away when its process ends.)
"""

from __future__ import annotations

import datetime
import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from pydantic.dataclasses import dataclass as pydantic_dataclass

from unspoken.common.errors import DataError, OutputExistsError, setting
from unspoken.common.files import sha256
from unspoken.common.locks import locked
from unspoken.common.places import existing_folder, writing
from unspoken.common.version import __version__
from unspoken.models.hub import (
    DownloadError,
    HubFile,
    HubUnreachableError,
    fetch,
    list_model,
)
from unspoken.recipe.records import JsonRecord

#: Written into a downloaded folder: what it holds and where that comes from.
RECORD_FILE = "download.json"
_STAGING = ".downloading-"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GB = 1e9


@pydantic_dataclass(frozen=True)
class DownloadRecord(JsonRecord):
    """download.json in a folder that was downloaded; the fields are those of `Download`."""

    _: KW_ONLY
    repo: str
    revision: str
    commit: str
    weights: Literal["safetensors", "bin"]
    with_code: bool
    files: tuple[HubFile, ...]
    date: str
    unspoken_version: str


_RECORDED = tuple(field.name for field in fields(DownloadRecord))


@dataclass(frozen=True)
class Download:
    """A model in a folder, or on its way there.

    Attributes:
        folder: where it is or will be.
        repo, revision: what was asked for.
        commit: what the revision stood for, a full hash.
        weights: format of the weights.
        with_code: whether Python files were wanted, too.
        files: all of them; with SHA-256 once they are here.
        date: when it was begun, ISO 8601.
        unspoken_version: of the unspoken that wrote it.
        missing: files that are not in `folder`.
        hub_asked: whether the hub was asked, and answered, which commit it is.
    """

    folder: Path
    repo: str
    revision: str
    commit: str
    weights: Literal["safetensors", "bin"]
    with_code: bool
    files: tuple[HubFile, ...]
    date: str
    unspoken_version: str = __version__
    missing: tuple[HubFile, ...] = ()
    hub_asked: bool = True

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)

    @property
    def num_missing_bytes(self) -> int:
        """Bytes still to be fetched; half files count with what is missing of them."""
        return sum(file.size - _have(self, file) for file in self.missing)

    def holds(self, *, with_code: bool) -> bool:
        """Whether all files are here, the Python files, too, where they are wanted."""
        return not self.missing and self.with_code >= with_code

    @staticmethod
    def read(folder: str | Path) -> Download | None:
        """What an earlier call wrote into a folder, or None where there is no record.

        Raises:
            DownloadError: the record is damaged.
        """
        folder = Path(folder)
        if folder.is_file():  # a GGUF file
            return None
        path = folder / RECORD_FILE
        try:
            found = DownloadRecord.read(path)
        except DataError as error:
            raise DownloadError(f"{error}; that is: remove {folder} and download again") from None
        if found is None:
            return None
        values = {name: getattr(found, name) for name in _RECORDED}
        record = Download(folder=folder, **values)
        return replace(record, missing=_missing(folder, record.files))

    def write(self, folder: Path) -> None:
        """Writes the record into a folder."""
        values = {name: getattr(self, name) for name in _RECORDED}
        DownloadRecord(**values).write(folder / RECORD_FILE)


def plan_download(
    repo: str, folder: str | Path, *, revision: str | None = None, with_code: bool = False
) -> Download:
    """What is to be fetched; nothing is written.

    The hub is not asked about a commit hash whose files are all here.

    Args:
        repo: OWNER/NAME on the hub.
        folder: where it goes; appears when it is whole.
        revision: branch, tag or commit hash; default the main branch.
        with_code: fetch the Python files that came with it, too.

    Raises:
        DownloadError: name, access or network.
        OutputExistsError: the folder holds something else.
    """
    folder, asked = Path(folder), revision or "main"
    with writing(folder):  # it may be below a folder that is closed to us
        if folder.is_symlink():  # to where there is room; what it leads to may not be there yet
            folder = folder.resolve()
        known = _read_known(folder, repo, asked)
    whole = known if known is not None and known.holds(with_code=with_code) else None
    if whole is not None and whole.commit == asked:
        return replace(whole, hub_asked=False)
    with_code = with_code or (known is not None and known.with_code)
    try:
        listing = list_model(repo, asked, with_code=with_code)
    except HubUnreachableError:
        if whole is None or whole.revision != asked:
            raise
        return replace(whole, hub_asked=False)
    if known is not None:
        _require_same(known, repo, listing.commit)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Download(
        folder=folder,
        repo=repo,
        revision=asked,
        commit=listing.commit,
        weights=listing.weights,
        with_code=with_code,
        files=_with_hashes(listing.files, known),
        date=now,
        missing=_missing(folder, listing.files),
    )


def require_space(plans: Sequence[Download]) -> None:
    """Checks that the disk has room for everything that is still to be fetched.

    Raises:
        DownloadError: it has not; says what is needed, found and there already.
    """
    by_disk: dict[Any, list[Download]] = {}
    for plan in plans:
        by_disk.setdefault(existing_folder(plan.folder).stat().st_dev, []).append(plan)
    for group in by_disk.values():
        place = existing_folder(group[0].folder)
        needed = sum(plan.num_missing_bytes for plan in group)
        present = sum(plan.num_bytes for plan in group) - needed
        free = shutil.disk_usage(place).free
        if needed > free:
            raise DownloadError(
                f"{place}: found {free / _GB:.2f} GB free; needed: {needed / _GB:.2f} GB more for "
                f"{' and '.join(plan.repo for plan in group)} ({present / _GB:.2f} GB are there "
                f"already); make room or name another {setting('out_dir')}"
            )


def finish_download(plan: Download) -> Download:
    """Fetches and checks what is missing, then puts the folder in its place; the record of it.

    Raises:
        DownloadError: the connection broke, or what came was wrong; run it again to go on.
        DataError: another process fetches it now, or the place cannot be written.
    """
    if not plan.missing:
        return plan
    with locked(plan.folder):
        known = Download.read(plan.folder)
        if known is not None and known.holds(with_code=plan.with_code):
            _require_same(known, plan.repo, plan.commit)
            return known  # by another process meanwhile
        other = f"name another {setting('out_dir')}"
        with writing(plan.folder, plan.num_missing_bytes, other=other):
            return _finish(plan, _staging(plan.folder))


def _finish(plan: Download, staging: Path) -> Download:
    """Fetches what is missing, with the folder locked, and puts the whole model in its place."""
    staging.mkdir(exist_ok=True)
    hashes: dict[str, str] = {}
    is_new = not (plan.folder / RECORD_FILE).exists()
    target = _assembled(plan) if is_new else plan.folder
    for file in plan.missing:
        whole = staging / _key(file)
        is_moved = is_new and (target / file.path).exists()  # before a kill came
        if not (is_moved or whole.exists()):
            part = _part(staging, file)
            digest = fetch(plan.repo, plan.commit, file, part)
            part.with_suffix(".sha256").write_text(digest, encoding="ascii")
            part.replace(whole)
        hashes[file.path] = whole.with_suffix(".sha256").read_text(encoding="ascii")
    files = tuple(replace(each, sha256=hashes.get(each.path, each.sha256)) for each in plan.files)
    done = replace(plan, files=files, missing=())
    target.mkdir(exist_ok=True)
    done.write(target)  # first: what it names and is not there will be missed and mended
    for file in plan.missing:
        if (staging / _key(file)).exists():
            place = target / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            (staging / _key(file)).replace(place)
    if is_new:
        if plan.folder.exists():
            plan.folder.rmdir()  # an empty one, else the plan had been refused
        target.rename(plan.folder)
    shutil.rmtree(staging)
    return done


def verify_download(folder: Path) -> Download:
    """The record of a folder whose every file has the SHA-256 in it, such as after copying it.

    Raises:
        DownloadError: there is no record, or files are missing or have other content; names them.
    """
    record = Download.read(folder)
    if record is None:
        raise DownloadError(
            f"{folder}: found no {RECORD_FILE}; needed: one that unspoken download made; name it"
        )
    missing = {file.path for file in record.missing}
    damaged = [
        file.path
        for file in record.files
        if file.path not in missing and sha256(folder / file.path) != file.sha256
    ]
    if missing or damaged:
        told = [f"{path} (not there, or not whole)" for path in sorted(missing)]
        told += [f"{path} (other content)" for path in damaged]
        raise DownloadError(
            f"{folder}: found {', '.join(told)}; needed: {record.repo} at commit {record.commit} "
            "as it was downloaded; copy these files again"
        )
    return record


def _read_known(folder: Path, repo: str, revision: str) -> Download | None:
    """The record in a folder that may hold this revision; None where nothing is there yet.

    Raises:
        OutputExistsError: it holds something else.
    """
    known = Download.read(folder)
    if known is not None:
        _require_same(known, repo, revision if _COMMIT.fullmatch(revision) else known.commit)
    elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputExistsError(
            f"{folder}: exists already and is no download of unspoken; needed: a new folder; name "
            f"another {setting('out_dir')}, or move it away"
        )
    return known


def _require_same(known: Download, repo: str, commit: str) -> None:
    """A folder is never changed to another model or commit: something may depend on it."""
    if (known.repo, known.commit) != (repo, commit):
        raise OutputExistsError(
            f"{known.folder}: holds {known.repo} at commit {known.commit}; needed: a new folder "
            f"for {repo} at commit {commit}; name another {setting('out_dir')}, keep what is there "
            "with the revision set to its commit, or remove the folder"
        )


def _with_hashes(files: Sequence[HubFile], known: Download | None) -> tuple[HubFile, ...]:
    hashes = {file.path: file.sha256 for file in known.files} if known else {}
    return tuple(replace(file, sha256=file.sha256 or hashes.get(file.path)) for file in files)


def _missing(folder: Path, files: Sequence[HubFile]) -> tuple[HubFile, ...]:
    def is_there(file: HubFile) -> bool:
        path = folder / file.path
        return path.is_file() and path.stat().st_size == file.size

    return tuple(file for file in files if not is_there(file))


def _staging(folder: Path) -> Path:
    return folder.parent / f"{_STAGING}{folder.name}"


def _assembled(download: Download) -> Path:
    """Where the files of a new folder come together, whole ones of this very commit."""
    return _staging(download.folder) / download.commit


def _key(file: HubFile) -> str:
    """A name in the staging folder that says which content it is."""
    content = f"{file.path}:{file.size}:{file.sha256 or file.blob_id}"
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _part(staging: Path, file: HubFile) -> Path:
    return staging / f"{_key(file)}.part"


def _have(download: Download, file: HubFile) -> int:
    """Bytes of a file that wait in the staging folder."""
    staging = _staging(download.folder)
    assembled = _assembled(download) / file.path
    for path in (assembled, staging / _key(file), _part(staging, file)):
        if path.is_file():
            return min(path.stat().st_size, file.size)
    return 0
