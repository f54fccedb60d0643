"""What the hub says: a model's commit, the files of it that are needed, and one file's content.

`unspoken.models.download` is the only caller. Nothing here logs or prints a token: the hub's own
client takes it from HF_TOKEN or from its login and adds it to the request.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from unspoken.common.errors import UnspokenError, setting

_CODE = (".py", ".cpp", ".cu", ".cuh", ".h", ".so", ".pyd", ".dll")
#: Weights in other formats than the one that is taken.
_OTHER_WEIGHTS = (
    ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx", ".onnx_data", ".gguf",
    ".tflite", ".mlmodel", ".pkl",
)  # fmt: skip
_TIMEOUT_S = 20

WeightFormat = Literal["safetensors", "bin"]
_BLOCK = 1 << 20


class DownloadError(UnspokenError):
    """A model that cannot be had from the hub: name, access, network, space or content."""


class HubUnreachableError(DownloadError):
    """No answer from the hub."""


@dataclass(frozen=True)
class HubFile:
    """A file of a model on the hub.

    Attributes:
        path: inside the repository, with `/`.
        size: in bytes.
        sha256: of its content; from the hub for large files, computed here for all others.
        blob_id: git's hash of it; None where the hub does not tell.
    """

    path: str
    size: int
    sha256: str | None = None
    blob_id: str | None = None


@dataclass(frozen=True)
class Listing:
    """A model at one commit.

    Attributes:
        commit: the full hash.
        files: what is needed of it.
        weights: their format.
    """

    commit: str
    files: tuple[HubFile, ...]
    weights: WeightFormat


def list_model(repo: str, revision: str, *, with_code: bool) -> Listing:
    """The commit that `revision` stands for now, and the files that are needed, in one request.

    Raises:
        HubUnreachableError: no answer.
        DownloadError: wrong name, no access, or no weights that can be used.
    """
    from huggingface_hub import HfApi

    with explained(repo, revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
    every = [
        HubFile(
            path=sibling.rfilename,
            size=sibling.size or (sibling.lfs.size if sibling.lfs else 0),
            sha256=sibling.lfs.sha256 if sibling.lfs else None,
            blob_id=None if sibling.lfs else sibling.blob_id,
        )
        for sibling in info.siblings or []
    ]
    for file in every:
        parts = PurePosixPath(file.path).parts
        if ".." in parts or "\\" in file.path or PurePosixPath(file.path).is_absolute():
            raise DownloadError(
                f"{repo}: found a file named {file.path!r}; needed: names inside the folder; do "
                "not use this model"
            )
    paths, weights = choose_files([file.path for file in every], with_code=with_code)
    if weights is None:
        raise DownloadError(
            f"{repo}: found no weights as .safetensors or .bin; needed: a model in Hugging Face's "
            "format (GGUF and the like cannot be trained); name another repository"
        )
    chosen = set(paths)
    files = tuple(file for file in every if file.path in chosen)
    return Listing(str(info.sha), files, weights)


def choose_files(paths: Sequence[str], *, with_code: bool) -> tuple[list[str], WeightFormat | None]:
    """The files that are needed, and the format of the weights among them (None: there are none).

    Safetensors are taken alone where there are some: other formats hold the same weights again,
    and .bin files are pickles.

    Examples:
        >>> choose_files(["config.json", "model.safetensors", "pytorch_model.bin"], with_code=False)
        (['config.json', 'model.safetensors'], 'safetensors')
    """
    weights, kind = _weights_among(paths)
    kept = set(weights)
    chosen = [path for path in paths if path in kept or _is_needed(path, with_code=with_code)]
    return chosen, kind


def _weights_among(paths: Sequence[str]) -> tuple[list[str], WeightFormat | None]:
    """The files with weights that are taken, and their format."""
    tensors = [path for path in paths if path.endswith(".safetensors")]
    # consolidated files hold the same weights again
    plain = [path for path in tensors if not PurePosixPath(path).name.startswith("consolidated")]
    tensors = plain or tensors
    if tensors:
        return tensors, "safetensors"
    pickles = [path for path in paths if re.search(r"(^|/)(pytorch|adapter)_model.*\.bin$", path)]
    return pickles, "bin" if pickles else None


def _is_needed(path: str, *, with_code: bool) -> bool:
    """Whether a file that holds no weights is taken."""
    if path == ".gitattributes" or path.endswith((".safetensors", *_OTHER_WEIGHTS)):
        return False
    return with_code or not is_code(path)


def is_code(path: str) -> bool:
    """Whether a file is Python code, or what such code compiles or loads."""
    return path.endswith(_CODE)


def fetch(repo: str, commit: str, file: HubFile, part: Path) -> str:
    """Fetches one file into `part`, from where an earlier call stopped; returns its SHA-256.

    Raises:
        DownloadError: the connection broke (`part` stays), or what came is not what the hub lists
            (`part` is removed).
    """
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    if file.size > constants.MAX_HTTP_DOWNLOAD_SIZE:
        raise DownloadError(
            f"{repo}: {file.path} has {file.size / 1e9:.0f} GB; needed: files of at most "
            f"{constants.MAX_HTTP_DOWNLOAD_SIZE / 1e9:.0f} GB, which is what plain HTTP gets from "
            f"the hub; fetch this model with: hf download {repo} --revision {commit} --local-dir"
        )
    have = part.stat().st_size if part.exists() else 0
    if have > file.size:
        part.unlink()
        have = 0
    # identity: a range of a compressed answer would be another range of the file
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    with explained(repo, commit, file.path), part.open("ab") as stream:
        http_get(
            hf_hub_url(repo, file.path, revision=commit),
            stream,
            resume_size=have,
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.path,
        )
        stream.flush()
        os.fsync(stream.fileno())
    found, blob_id = _hashes(part, file.size)
    if part.stat().st_size != file.size or (file.sha256 or found, file.blob_id or blob_id) != (
        found, blob_id,
    ):  # fmt: skip
        size = part.stat().st_size
        part.unlink()
        raise DownloadError(
            f"{repo}: {file.path}: what arrived ({size:,} bytes) is not what the hub lists "
            f"({file.size:,} bytes, {file.sha256 or file.blob_id}); it was thrown away; run the "
            "same command again, and if it happens again look at the proxy in between"
        )
    return found


def _hashes(path: Path, size: int) -> tuple[str, str]:
    """SHA-256 of a file, and git's hash of it."""
    content = hashlib.sha256()
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            content.update(block)
            blob.update(block)
    return content.hexdigest(), blob.hexdigest()


@contextmanager
def explained(repo: str, revision: str, path: str | None = None) -> Iterator[None]:
    """Within the block, what the hub's client raises becomes a DownloadError with what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HFValidationError:
        raise DownloadError(
            f"{repo!r}: found no name of a model on the hub; needed: OWNER/NAME, such as "
            "Qwen/Qwen2.5-7B; correct it"
        ) from None
    except errors.GatedRepoError:
        raise DownloadError(
            f"{repo}: its owner gives access on request only; needed: your login with access; ask "
            "for it on the model's page on the hub, then hf auth login, or set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise DownloadError(
            f"{repo}: found no such model on the hub, or it is private; needed: OWNER/NAME; check "
            "the spelling, or, for a private one, hf auth login or set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise DownloadError(
            f"{repo}: found no revision {revision!r}; needed: a branch, a tag or a commit hash; "
            "correct it or leave it out"
        ) from None
    except errors.OfflineModeIsEnabled:
        raise HubUnreachableError(
            "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set, so the hub is not asked; needed: a "
            "network on the download node; unset it for this command: env -u HF_HUB_OFFLINE -u "
            "TRANSFORMERS_OFFLINE unspoken download ..."
        ) from None
    except errors.HfHubHTTPError as error:
        raise _refused(repo, error.response.status_code) from None
    except (errors.HTTPError, OSError) as error:  # HTTPError is the HTTP library's own base
        raise _broken(repo, path, error) from None


def _refused(repo: str, status: int) -> DownloadError:
    if status == 401:
        return DownloadError(
            f"{repo}: the hub refused the token (status 401); needed: a valid login; hf auth login "
            "again, or correct HF_TOKEN"
        )
    if status >= 500 or status == 429:
        return HubUnreachableError(
            f"{repo}: the hub answers with status {status} now; needed: a hub that works; run the "
            "same command again later, it goes on where it stopped"
        )
    return DownloadError(
        f"{repo}: the hub refused (status {status}); needed: access to the model; look at its page "
        "on the hub, and check HF_TOKEN"
    )


def _broken(repo: str, path: str | None, error: Exception) -> DownloadError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(
            f"{repo}: {path}: no space left while writing; needed: more space or quota; make some "
            "and run the same command again, it goes on where it stopped"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return DownloadError(
            f"{error.filename}: cannot be written ({error.strerror}); needed: a folder that you "
            f"may write to; name another {setting('out_dir')}"
        )
    kind = type(error).__name__
    if path is not None:
        return HubUnreachableError(
            f"{repo}: {path}: the connection broke ({kind}); needed: a network; run the same "
            "command again, it goes on where it stopped"
        )
    return HubUnreachableError(
        f"{repo}: the hub cannot be reached ({kind}); needed: a network on this machine (behind a "
        "proxy: HTTPS_PROXY; a mirror: HF_ENDPOINT); or download on another machine and copy the "
        "folder"
    )
