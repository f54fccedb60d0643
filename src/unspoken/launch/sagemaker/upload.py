"""Files that travel, and their way to S3: each once, whole or not at all.

An object counts as there only with the SHA-256 in its metadata and the size of the local file.
boto3 sends large files in parts that S3 joins at the end, so nothing half uploaded ever has the
final name; what is sent is hashed on the way, and a file that changed meanwhile is not completed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from unspoken.common.errors import DataError
from unspoken.common.files import sha256
from unspoken.launch.sagemaker.clients import aws_errors

#: Small enough that Ctrl-C need not wait long for those that are on the way.
_PART_BYTES = 16 << 20
_NUM_PARALLEL = 4
#: S3 takes no more parts of one object.
_MAX_PARTS = 10_000
_LEFT_OUT = {"__pycache__"}
#: Files of this size take long enough to read that a bar is shown.
_LARGE_BYTES = 1 << 30


@dataclass(frozen=True)
class LocalFile:
    """A file that the job needs: bytes, or a path on this machine, and its name in the channel."""

    name: str
    sha256: str
    size: int
    path: Path | None = None
    content: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Channel:
    """Files that SageMaker puts under /opt/ml/input/data/NAME.

    Attributes:
        name: such as data-train, after the recipe's key.
        files: by their names in the channel.
    """

    name: str
    files: tuple[LocalFile, ...]

    @property
    def sha256(self) -> str:
        """Of all names and contents; the channel's place on S3 follows from it."""
        lines = sorted(f"{file.name}:{file.sha256}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def local_files(local: Path, progress: bool) -> Iterator[LocalFile]:
    """A file, or every file of a folder, with its hash; a bar is shown where that takes long.

    Raises:
        DataError: the folder is empty.
    """
    from tqdm import tqdm

    paths = list(files_below(local)) if local.is_dir() else [local]
    if not paths:
        raise DataError(f"{local}: the folder is empty; needed: the files that the recipe names")
    sizes = [path.stat().st_size for path in paths]
    hidden = not progress or sum(sizes) < _LARGE_BYTES
    bar = tqdm(total=sum(sizes), desc=f"read {local}", unit="B", unit_scale=True, disable=hidden)
    with bar:
        for path, size in zip(paths, sizes, strict=True):
            name = path.relative_to(local).as_posix() if local.is_dir() else path.name
            yield LocalFile(name, sha256(path, bar.update), size, path)


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file below, also through links, in a fixed order; hidden ones and caches stay here."""
    above = (*above, folder.resolve())
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _LEFT_OUT:
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and path.resolve() not in above:  # a link back would have no end
            yield from files_below(path, above)


@dataclass(frozen=True)
class Store:
    """A place on S3.

    Attributes:
        client: boto3's S3 client.
        bucket: its name.
        kms_key: ARN of what encrypts uploads; None: as the bucket does it.
        part_bytes: size of a part of a large file; at least 5 MiB.
    """

    client: Any
    bucket: str
    kms_key: str | None = None
    part_bytes: int = _PART_BYTES

    @property
    def encryption(self) -> dict[str, str]:
        """Arguments of every upload."""
        if self.kms_key is None:
            return {}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key}


@dataclass(frozen=True)
class Uploaded:
    """What an upload did: files and bytes sent, and files that were there already."""

    num_sent: int
    num_bytes: int
    num_skipped: int


def upload_channels(store: Store, keys: list[tuple[str, Channel]], *, progress: bool) -> Uploaded:
    """Uploads what is missing, with a bar over all bytes; returns what was done.

    Args:
        store: where to.
        keys: each channel with its place in the bucket, which ends in `/`.
        progress: show the bar.

    Raises:
        LaunchError: AWS refused; nothing half uploaded can be mistaken for a whole file.
        DataError: a file changed while it was sent.
    """
    from tqdm import tqdm

    wanted = [(f"{prefix}{file.name}", file) for prefix, channel in keys for file in channel.files]
    missing = [(key, file) for key, file in wanted if not is_there(store, key, file)]
    num_bytes = sum(file.size for _, file in missing)
    bar = tqdm(
        total=num_bytes,
        desc="upload",
        unit="B",
        unit_scale=True,
        disable=not (progress and missing),
    )
    with bar:
        for key, file in missing:
            upload(store, key, file, bar.update)
    return Uploaded(len(missing), num_bytes, len(wanted) - len(missing))


def is_there(store: Store, key: str, file: LocalFile) -> bool:
    """Whether S3 has this very file under this name, encrypted with the store's key."""
    from botocore.exceptions import ClientError

    with aws_errors(f"s3://{store.bucket}/{key}"):
        try:
            head = store.client.head_object(Bucket=store.bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NotFound"):
                return False
            raise
    has_key = store.kms_key in (None, head.get("SSEKMSKeyId"))
    is_same = head["Metadata"].get("sha256") == file.sha256 and head["ContentLength"] == file.size
    return is_same and has_key


def upload(
    store: Store, key: str, file: LocalFile, sent: Callable[[int], object] = lambda count: None
) -> None:
    """Uploads one file, in parts where it is large; see the module for what holds afterwards.

    `sent` hears how many bytes were sent, negative where some are sent again.

    Raises:
        LaunchError: AWS refused.
        DataError: the file changed since it was hashed.
    """
    with aws_errors(f"upload of {file.path or file.name} to s3://{store.bucket}/{key}"):
        from boto3.s3.transfer import TransferConfig

        part_bytes = max(store.part_bytes, -(-file.size // _MAX_PARTS))
        with _open(file) as source:
            store.client.upload_fileobj(
                _Unchanged(source, file),
                store.bucket,
                key,
                ExtraArgs={
                    "Metadata": {"sha256": file.sha256},
                    "ChecksumAlgorithm": "SHA256",
                    **store.encryption,
                },
                Callback=sent,
                Config=TransferConfig(
                    multipart_threshold=part_bytes,
                    multipart_chunksize=part_bytes,
                    max_concurrency=_NUM_PARALLEL,
                ),
            )


def _open(file: LocalFile) -> contextlib.AbstractContextManager[BinaryIO]:
    return io.BytesIO(file.content) if file.path is None else file.path.open("rb")


class _Unchanged:
    """A source of an upload that ends with an error where its content is not the expected one.

    It is read from the beginning to the end, once: boto3 does not seek where there is no `seek`.
    The error comes before S3 is asked to join the parts.
    """

    def __init__(self, source: BinaryIO, file: LocalFile) -> None:
        self._source, self._file = source, file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            DataError: at the end, for another content than was hashed before.
        """
        block = self._source.read(size)
        self._digest.update(block)
        is_end = size < 0 or len(block) < size
        if is_end and self._digest.hexdigest() != self._file.sha256:
            raise DataError(
                f"{self._file.path}: changed while it was uploaded; needed: a file that stays as "
                "it is; run the command again"
            )
        return block
