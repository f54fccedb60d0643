# ruff: noqa: F811 (fixtures are imported, and then named as arguments)
"""Files on their way to a mock of S3: each once, whole or not at all."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.aws import aws, keys_in, server  # noqa: F401
from helpers.patience import patient
from helpers.sagemaker import BUCKET, KEY
from unspoken.common.errors import DataError
from unspoken.common.files import sha256
from unspoken.launch.sagemaker import upload as sagemaker_upload
from unspoken.launch.sagemaker.clients import LaunchError

pytestmark = pytest.mark.integration  # a mocked AWS over HTTP


def local_file(path: Path, content: bytes) -> sagemaker_upload.LocalFile:
    path.write_bytes(content)
    return sagemaker_upload.LocalFile(path.name, sha256(path), len(content), path)


LARGE = os.urandom(1 << 20) * 11


PART_BYTES = 5 << 20


def test_a_large_file_goes_in_parts_and_arrives_whole(aws: Any, tmp_path: Path) -> None:
    file = local_file(tmp_path / "large.bin", LARGE)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    sent: list[int] = []
    sagemaker_upload.upload(store, "large.bin", file, sent.append)
    assert sum(sent) == len(LARGE)
    assert len(sent) >= 3, "a bar hears of it part by part"
    assert aws.get_object(Bucket=BUCKET, Key="large.bin")["Body"].read() == LARGE
    assert sagemaker_upload.is_there(store, "large.bin", file)


def press_ctrl_c() -> None:
    """From any thread; the main one gets it while this one still waits for an answer."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(patient(0.5))


def lose_the_network() -> None:
    from botocore.exceptions import EndpointConnectionError

    raise EndpointConnectionError(endpoint_url="https://s3")


@pytest.mark.parametrize(
    ("happen", "error"), [(lose_the_network, LaunchError), (press_ctrl_c, KeyboardInterrupt)]
)
def test_a_cut_upload_leaves_nothing_that_is_trusted(
    aws: Any, tmp_path: Path, happen: Callable[[], None], error: type[BaseException]
) -> None:
    file = local_file(tmp_path / "large.bin", LARGE)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    parts: list[str] = []

    def cut(request: Any, **_: Any) -> None:
        parts.append(request.url)
        if len(parts) == 2:
            happen()

    aws.meta.events.register("before-send.s3.UploadPart", cut)
    with pytest.raises(error):
        sagemaker_upload.upload(store, "large.bin", file)
    assert len(parts) >= 2
    if keys_in(aws):  # a busy machine was interrupted only when all was sent
        assert aws.get_object(Bucket=BUCKET, Key="large.bin")["Body"].read() == LARGE
        aws.delete_object(Bucket=BUCKET, Key="large.bin")
    assert "Uploads" not in aws.list_multipart_uploads(Bucket=BUCKET), "the parts were given up"
    aws.meta.events.unregister("before-send.s3.UploadPart", cut)
    assert not sagemaker_upload.is_there(store, "large.bin", file)
    sagemaker_upload.upload(store, "large.bin", file)
    assert aws.get_object(Bucket=BUCKET, Key="large.bin")["Body"].read() == LARGE


def test_the_error_of_an_upload_counts_and_not_that_of_giving_it_up(
    aws: Any, tmp_path: Path
) -> None:
    def cut(**_: Any) -> None:
        press_ctrl_c()

    def refuse(**_: Any) -> None:
        lose_the_network()

    file = local_file(tmp_path / "large.bin", LARGE)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    aws.meta.events.register("before-send.s3.UploadPart", cut)
    aws.meta.events.register("before-send.s3.AbortMultipartUpload", refuse)
    with pytest.raises(KeyboardInterrupt):
        sagemaker_upload.upload(store, "large.bin", file)


def test_parts_that_a_killed_process_left_are_not_trusted(aws: Any, tmp_path: Path) -> None:
    file = local_file(tmp_path / "large.bin", LARGE)
    place = {"Bucket": BUCKET, "Key": "large.bin"}
    begun = aws.create_multipart_upload(Metadata={"sha256": file.sha256}, **place)["UploadId"]
    aws.upload_part(UploadId=begun, PartNumber=1, Body=LARGE[:PART_BYTES], **place)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    assert not sagemaker_upload.is_there(store, "large.bin", file)


def test_an_object_of_another_content_or_size_is_replaced(aws: Any, tmp_path: Path) -> None:
    file = local_file(tmp_path / "a.txt", b"whole")
    store = sagemaker_upload.Store(aws, BUCKET)
    for body, digest in ((b"whole", "0" * 64), (b"half", file.sha256), (b"whole", None)):
        metadata = {} if digest is None else {"sha256": digest}
        aws.put_object(Bucket=BUCKET, Key="a.txt", Body=body, Metadata=metadata)
        assert not sagemaker_upload.is_there(store, "a.txt", file)
    sagemaker_upload.upload(store, "a.txt", file)
    assert sagemaker_upload.is_there(store, "a.txt", file)


@pytest.mark.parametrize("content", [b"small", LARGE])
def test_a_file_that_changes_meanwhile_is_not_completed(
    aws: Any, tmp_path: Path, content: bytes
) -> None:
    file = local_file(tmp_path / "a.bin", content)
    (tmp_path / "a.bin").write_bytes(content[:-1] + b"!")
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    with pytest.raises(DataError, match=r"a.bin: changed while it was uploaded"):
        sagemaker_upload.upload(store, "a.bin", file)
    assert keys_in(aws) == set()


def test_uploads_are_encrypted_with_the_users_key(aws: Any, tmp_path: Path) -> None:
    file = local_file(tmp_path / "a.txt", b"text")
    plain = sagemaker_upload.Store(aws, BUCKET)
    sagemaker_upload.upload(plain, "a.txt", file)
    store = sagemaker_upload.Store(aws, BUCKET, KEY)
    assert not sagemaker_upload.is_there(store, "a.txt", file), "it is there without the key"
    sagemaker_upload.upload(store, "a.txt", file)
    head = aws.head_object(Bucket=BUCKET, Key="a.txt")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", KEY)
    assert sagemaker_upload.is_there(store, "a.txt", file)
    assert sagemaker_upload.is_there(plain, "a.txt", file)


def test_several_uploads_do_not_start_threads_that_stay(aws: Any, tmp_path: Path) -> None:
    before = threading.active_count()
    file = local_file(tmp_path / "large.bin", LARGE)
    store = sagemaker_upload.Store(aws, BUCKET, part_bytes=PART_BYTES)
    sagemaker_upload.upload(store, "large.bin", file)
    assert threading.active_count() <= before + 1  # the server's own thread for this client
